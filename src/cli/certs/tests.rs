use std::error::Error;
use std::fs;
use std::path::Path;

use clap::{CommandFactory, Parser};

use super::Certs;
use crate::config::Config;
use crate::link::gateway_key;
use crate::link::key_files;
use crate::link::link_key::LinkKey;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    certs: Certs,
}

fn answer(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let program = Program::try_parse_from([&["gatehouse"], arguments].concat())?;
    program.certs.command.answer()
}

/// As if typed: a space parts arguments, `DATA` is the data directory and `OUT` another.
fn typed(data: &Path, line: &str) -> Result<String, String> {
    let out = data.join("out");
    let words: Vec<String> = line
        .split(' ')
        .map(|word| word.replace("DATA", text(data)).replace("OUT", text(&out)))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    answer(&words).map_err(|error| error.to_string())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A data directory with a root and a place for what is made.
fn data() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("out")).unwrap();
    typed(data.path(), "root --data-dir DATA").unwrap();
    typed(
        data.path(),
        "server --name gate.example.org --data-dir DATA",
    )
    .unwrap();
    data
}

/// The rows of the list as `what for state`.
fn rows(data: &Path) -> Vec<String> {
    let listed = typed(data, "list --json --data-dir DATA").unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let row = |row: &serde_json::Value| {
        let words = ["what", "for", "state"].map(|key| row[key].as_str().unwrap().to_owned());
        words.join(" ")
    };
    let skipped = listed.iter().filter(|row| row["what"] != "root");
    skipped.map(row).collect()
}

#[test]
fn the_commands_are_well_formed() {
    Program::command().debug_assert();
}

#[test]
fn a_link_key_is_filed_for_the_fleet_or_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let told = typed(dir.path(), "link-key --data-dir DATA").unwrap();
    assert!(told.contains("fleet/0001.key: key ID "), "{told}");
    let told = typed(dir.path(), "link-key --data-dir DATA").unwrap();
    assert!(told.contains("fleet/0002.key: "), "{told}");
    let of_device = "link-key --device 7 --data-dir DATA";
    let told = typed(dir.path(), of_device).unwrap();
    assert!(told.contains("device/7.key: "), "{told}");
    assert!(typed(dir.path(), of_device).is_err());
    let sealer = gateway_key::read(&dir.path().join("gateway.key")).unwrap();
    let read = key_files::load(&dir.path().join("keys"), &sealer).unwrap();
    assert_eq!((read.fleet.len(), read.devices.len()), (2, 1));
    assert!(told.ends_with(&format!("{}\n", read.devices[0].1.id())));

    let shown = typed(dir.path(), "show-key --data-dir DATA").unwrap();
    assert_eq!(LinkKey::from_hex(&shown).as_ref(), Ok(&read.fleet[0]));
    let shown = typed(dir.path(), "show-key --device 7 --data-dir DATA").unwrap();
    assert_eq!(LinkKey::from_hex(&shown).as_ref(), Ok(&read.devices[0].1));
    typed(dir.path(), "show-key --out OUT --data-dir DATA").unwrap();
    let written = fs::read_to_string(dir.path().join("out")).unwrap();
    assert_eq!(LinkKey::from_hex(&written).as_ref(), Ok(&read.fleet[0]));
    let error = typed(dir.path(), "show-key --device 8 --data-dir DATA").unwrap_err();
    assert!(error.contains("device 8 has no key"), "{error}");
}

#[test]
fn nothing_is_made_where_a_key_is_only_shown() {
    let dir = tempfile::tempdir().unwrap();
    let error = typed(dir.path(), "show-key --data-dir DATA").unwrap_err();
    assert!(error.contains("gateway.key"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_link_key_is_written_or_printed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("my.key");
    answer(&["link-key", "--out", text(&out)]).unwrap();
    let written = fs::read_to_string(out).unwrap();
    assert!(LinkKey::from_hex(&written).is_ok());
    let printed = answer(&["link-key"]).unwrap();
    assert!(LinkKey::from_hex(&printed).is_ok());
}

#[test]
fn a_link_key_goes_to_one_place_only() {
    for wrong in [
        &["link-key", "--data-dir", "a", "--out", "b"][..],
        &["link-key", "--device", "7"],
        &["link-key", "--key-file", "a"],
        &["link-key", "--device", "0", "--data-dir", "a"],
    ] {
        assert!(answer(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_device_secret_comes_with_lines_that_the_gateway_takes() {
    let told = answer(&["device-secret", "--device", "door", "--owner", "alice"]).unwrap();
    let secret = told.lines().nth(2).unwrap();
    let (_, stanza) = told.split_once("[[credential]]").unwrap();
    let config = Config::parse(&format!("[[credential]]{stanza}")).unwrap();
    let credential = &config.credential[0];
    assert!(credential.digest.matches(secret.as_bytes()));
    assert_eq!(credential.identity().unwrap().to_string(), "alice/door");
    assert!(!stanza.contains(secret));
    let error = answer(&["device-secret", "--device", "a door"]).unwrap_err();
    assert!(error.to_string().contains("device"), "{error}");
}

#[test]
fn whoever_signs_needs_the_gateways_root() {
    let dir = tempfile::tempdir().unwrap();
    for line in [
        "operator alice --data-dir DATA",
        "device 7 --data-dir DATA",
        "list --data-dir DATA",
        "revoke --device 7 --data-dir DATA",
        "root --replace --data-dir DATA",
        "server --data-dir DATA",
    ] {
        let error = typed(dir.path(), line).unwrap_err();
        assert!(error.contains("start the gateway once"), "{line}: {error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn certificates_are_made_listed_and_revoked() {
    let data = data();
    for line in [
        "client anna --role admin --data-dir DATA --out-dir OUT",
        "operator bob --days 30 --data-dir DATA --out-dir OUT",
        "device 7 8 --data-dir DATA --out-dir OUT",
        "tenant administrator --data-dir DATA --out-dir OUT",
        "gateway acme gate-1 --data-dir DATA --out-dir OUT",
    ] {
        let told = typed(data.path(), line).unwrap();
        for path in told.lines() {
            assert!(Path::new(path).exists(), "{path}");
        }
    }
    let valid = [
        "server this gateway valid",
        "client admin anna valid",
        "client operator bob valid",
        "device 7 8 valid",
        "tenant administrator valid",
        "gateway gate-1 of acme valid",
    ];
    assert_eq!(rows(data.path()), valid);
    let table = typed(data.path(), "list --data-dir DATA").unwrap();
    assert_eq!(table.lines().count(), 8, "{table}");

    let told = typed(data.path(), "revoke --device 8 --data-dir DATA").unwrap();
    assert!(told.contains("ca.crl: revoked "), "{told}");
    let told = typed(data.path(), "revoke OUT/anna.crt --data-dir DATA").unwrap();
    let serial = told.trim().rsplit(' ').next().unwrap().to_owned();
    let told = typed(data.path(), &format!("revoke {serial} --data-dir DATA")).unwrap();
    assert!(told.contains("before"), "{told}");
    typed(data.path(), "revoke --client bob --data-dir DATA").unwrap();
    let states = ["valid", "revoked", "revoked", "revoked", "valid", "valid"];
    let seen = rows(data.path());
    for (row, state) in seen.iter().zip(states) {
        assert!(row.ends_with(&format!(" {state}")), "{row}");
    }
    for (line, problem) in [
        ("revoke --device 9 --data-dir DATA", "certs list"),
        ("revoke --device 8 --data-dir DATA", "still good"),
        ("revoke nobody.crt --data-dir DATA", "neither a file"),
        ("revoke --data-dir DATA", "required"),
    ] {
        let error = typed(data.path(), line).unwrap_err();
        assert!(error.contains(problem), "{line}: {error}");
    }
}

#[test]
fn what_cannot_be_is_told() {
    let data = data();
    for (line, problem) in [
        (
            "client anna --role root --data-dir DATA",
            "viewer, operator or admin",
        ),
        ("client an/na --role admin --data-dir DATA", "1 to 64"),
        ("device 0 --data-dir DATA", "1 to 4294967295"),
        ("device 7 --days 0 --data-dir DATA", "36525"),
        ("tenant a/b --data-dir DATA", "without /"),
        ("server --name a/b --data-dir DATA", "no DNS name"),
        ("root --data-dir DATA", "there already"),
        (
            "root --replace --forget-old --data-dir DATA",
            "cannot be used",
        ),
    ] {
        let error = typed(data.path(), line).unwrap_err();
        assert!(error.contains(problem), "{line}: {error}");
    }
}

#[test]
fn a_root_is_replaced_and_the_old_one_forgotten() {
    let data = data();
    let ca = data.path().join("certs/ca.crt");
    let old = fs::read_to_string(&ca).unwrap();
    typed(data.path(), "root --replace --data-dir DATA").unwrap();
    let both = fs::read_to_string(&ca).unwrap();
    assert!(both.ends_with(&old) && both.len() > old.len(), "{both}");
    typed(data.path(), "root --forget-old --data-dir DATA").unwrap();
    let new = fs::read_to_string(&ca).unwrap();
    assert_eq!(format!("{new}{old}"), both);
}
