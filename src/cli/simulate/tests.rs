use clap::{CommandFactory, Parser};

use super::*;
use crate::config::TlsVersion;
use crate::config::gateway_key_in;
use crate::link::certs::Certs;
use crate::link::gateway_key;
use crate::link::host_names::HostNames;
use crate::link::key_files;
use crate::link::link_key::LinkKey;
use crate::sim::device::Behaviour;
use crate::sim::fleet::Place;
use crate::sim::link::Security;
use crate::sim::resources::Resource;
use crate::sim::spec::{Opening, Spec};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    simulate: Simulate,
}

fn plan(arguments: &str) -> Result<Plan, clap::Error> {
    let words = arguments.split_whitespace();
    let program = Program::try_parse_from(["gatehouse"].into_iter().chain(words))?;
    Plan::new(&program.simulate)
}

fn devices(arguments: &str) -> Vec<(Spec, Place)> {
    plan(arguments).unwrap().collect()
}

fn problem(arguments: &str) -> String {
    let error = plan(arguments).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{arguments}");
    error.to_string()
}

#[test]
fn the_command_is_well_formed() {
    Program::command().debug_assert();
}

#[test]
fn devices_that_listen_count_up_ids_and_ports() {
    let devices = devices("--listen 127.0.0.1 --link plain --count 3 --first-id 7 --port 65533");
    let ids: Vec<u32> = devices.iter().map(|(spec, _)| spec.id).collect();
    assert_eq!(ids, [7, 8, 9]);
    let names: Vec<&str> = devices
        .iter()
        .map(|(spec, _)| &*spec.device.device)
        .collect();
    assert_eq!(names, ["7", "8", "9"]);
    let last = Place::Listens(([127, 0, 0, 1], 65535).into());
    assert_eq!(devices[2].1, last);
    let free = plan("--listen ::1 --link plain --port 0").unwrap();
    for (_, place) in free {
        assert_eq!(place.to_string(), "listen at [::1]:0");
    }
}

#[test]
fn devices_that_dial_take_the_sources_in_turn() {
    let devices = devices(
        "--dial 127.0.0.1:25204 --link plain --count 3 --sources 127.0.0.2,127.0.0.3 --redial 2s",
    );
    let from: Vec<String> = devices
        .iter()
        .map(|(_, place)| match place {
            Place::Dials(dialling) => dialling.from.unwrap().to_string(),
            Place::Listens(_) => panic!("{place}"),
        })
        .collect();
    assert_eq!(from, ["127.0.0.2", "127.0.0.3", "127.0.0.2"]);
    assert_ne!(devices[0].0.seed, devices[1].0.seed);
}

#[test]
fn keys_are_those_of_the_fleet_or_of_each_device() {
    let dir = tempfile::tempdir().unwrap();
    for id in [1001, 1002_u32] {
        let key = LinkKey::new([id.to_be_bytes()[3]; 32]);
        std::fs::write(dir.path().join(format!("{id}.key")), key.to_hex()).unwrap();
    }
    let shown = dir.path().display();
    let keys = |arguments: String| -> Vec<LinkKey> {
        let securities = plan(&arguments).unwrap().map(|(spec, _)| spec.security);
        let keys = securities.map(|security| match security {
            Security::Aes(key) => key,
            Security::Plain | Security::Tls(_) => panic!("no aes link"),
        });
        keys.collect()
    };
    let own = keys(format!("--dial [::1]:1 --count 2 --device-keys {shown}"));
    assert_ne!(own[0], own[1]);
    let fleet = keys(format!("--dial [::1]:1 --count 2 --key {shown}/1001.key"));
    assert_eq!(fleet, [own[0].clone(), own[0].clone()]);
    let missing = problem(&format!("--dial [::1]:1 --count 3 --device-keys {shown}"));
    assert!(missing.contains("1003.key"), "{missing}");
}

#[test]
fn each_behaviour_is_another() {
    let of = |behaviour: &str| {
        let arguments = format!("--dial [::1]:1 --link plain --behaviour {behaviour}");
        let (spec, _) = plan(&arguments).unwrap().next().unwrap();
        (spec.device.behaviour, spec.opening, spec.device.credential)
    };
    let none = String::new;
    let proper = Opening::Proper;
    assert_eq!(of("normal"), (Behaviour::Normal, proper, none()));
    let slow = Behaviour::Slow(Duration::from_secs(2));
    assert_eq!(of("slow --answer-delay 2s"), (slow, proper, none()));
    assert_eq!(of("silent"), (Behaviour::MuteOnceConnected, proper, none()));
    assert_eq!(of("no-connect"), (Behaviour::Mute, proper, none()));
    assert_eq!(of("mute").1, Opening::Silence);
    assert_eq!(of("garbage").1, Opening::Garbage);
    assert_eq!(of("half-handshake").1, Opening::Half);
    assert!(!of("wrong-credential").2.is_empty());
}

#[test]
fn devices_behave_as_the_client_that_is_named() {
    use crate::sim::quirks::Like;
    let of = |arguments: &str| {
        let arguments = format!("--dial [::1]:1 --link plain {arguments}");
        devices(&arguments).remove(0).0
    };
    for (name, like) in [
        ("linux", Like::Linux),
        ("embedded", Like::Embedded),
        ("legacy", Like::Legacy),
        ("2020", Like::Of2020),
        ("2020-doc", Like::Doc2020),
    ] {
        let spec = of(&format!("--like {name} --keep-alive 9s"));
        let mut expected = spec.device.clone();
        like.apply(&mut expected);
        expected.quirks.keep_alive = Some(Duration::from_secs(9));
        assert_eq!(spec.device, expected);
    }
    let plain = of("");
    assert_eq!(plain.device.extras, Resource::PANEL);
    assert!(!plain.websocket);
    assert!(of("--websocket").websocket);
    let hostile = of("--hostile-text").device;
    assert_eq!(hostile.extras, Resource::HOSTILE_PANEL);
    assert!(hostile.info.name.contains("<script>"));
    let problem = problem("--dial [::1]:1 --websocket --key a");
    assert!(problem.contains("--link plain"), "{problem}");
}

#[test]
fn what_does_not_go_together_is_told_in_one_line() {
    let base = "--dial 127.0.0.1:1 --link plain";
    for (arguments, expected) in [
        ("--dial 127.0.0.1:1", "an aes link needs a key"),
        (
            "--dial 127.0.0.1:1 --key /nowhere/a.key",
            "/nowhere/a.key: ",
        ),
        ("--dial 127.0.0.1:1 --link plain --key a", "takes no keys"),
        ("--dial 127.0.0.1:1 --link tls", "--ca FILE or --data-dir"),
        (
            "--dial 127.0.0.1:1 --link tls --ca /nowhere/ca",
            "/nowhere/ca: ",
        ),
        ("--dial 127.0.0.1:1 --ca ca.crt --key a", "--link tls"),
        (&format!("{base} --tls-turned"), "needs a certificate"),
        ("--dial 127.0.0.1 --link plain", "not HOST:PORT"),
        (
            "--listen 127.0.0.1 --link plain --count 20000",
            "14325 ports",
        ),
        (&format!("{base} --first-id 4294967290"), "beyond the last"),
        (&format!("{base} --sources ::1"), "cannot be reached"),
        (
            &format!("{base} --sources 127.0.0.1,::1"),
            "cannot be dialled from ::1",
        ),
        (&format!("{base} --keep-alive 500ms"), "whole seconds"),
        (
            &format!("{base} --churn 5s --behaviour mute"),
            "--churn goes with",
        ),
        (
            &format!("{base} --credential a --behaviour wrong-credential"),
            "of its own",
        ),
        (
            &format!("{base} --owner {}", "a".repeat(65)),
            "--owner has 64",
        ),
    ] {
        let problem = problem(arguments);
        assert!(problem.contains(expected), "{arguments}: {problem}");
        assert_eq!(problem.trim_end().lines().count(), 1, "{problem}");
    }
    for arguments in [
        "--link plain",
        "--dial 127.0.0.1:1 --link plain --tls-versions 1.1",
        "--dial 127.0.0.1:1 --link plain --tls-insist",
        "--dial 127.0.0.1:1 --link plain --without door",
        "--dial 127.0.0.1:1 --link plain --cert a",
        "--dial 127.0.0.1:1 --link plain --search-subnets 10.0.0.0/8",
        "--dial 127.0.0.1:1 --link plain --rs485 0",
        "--dial a:1 --listen 127.0.0.1 --link plain",
        "--dial 127.0.0.1:1 --link plain --count 0",
        "--dial 127.0.0.1:1 --link plain --first-id 0",
        "--dial 127.0.0.1:1 --link plain --churn soon",
        "--dial 127.0.0.1:1 --link plain --port 5",
        "--listen 127.0.0.1 --link plain --sources 127.0.0.2",
    ] {
        problem(arguments);
    }
}

#[test]
fn too_few_files_are_told_with_the_count_that_they_allow() {
    let dials = plan("--dial 127.0.0.1:1 --link plain --count 100").unwrap();
    assert!(dials.check_file_limit(164).is_ok());
    let problem = dials.check_file_limit(163).unwrap_err().to_string();
    assert!(problem.contains("--count 99"), "{problem}");
    let listens = plan("--listen 127.0.0.1 --link plain --count 100").unwrap();
    assert!(listens.check_file_limit(263).is_err());
}

#[test]
fn the_data_directory_of_a_gateway_has_all_that_a_link_needs() {
    let dir = tempfile::tempdir().unwrap();
    let now = crate::clock::now();
    let sealer = gateway_key::open(&gateway_key_in(dir.path()), dir.path()).unwrap();
    let certs = dir.path().join("certs");
    Certs::open(&certs, &HostNames::loopback(), &sealer, now).unwrap();
    let keys = dir.path().join("keys");
    key_files::ensure_fleet_key(&keys, &sealer).unwrap();
    let key = key_files::newest_fleet_key(&keys, &sealer)
        .unwrap()
        .unwrap();
    let shown = dir.path().display();
    let (aes, _) = devices(&format!("--dial [::1]:1 --data-dir {shown}")).remove(0);
    assert!(matches!(aes.security, Security::Aes(of_fleet) if of_fleet == key));
    let tls = format!("--dial [::1]:1 --data-dir {shown} --link tls --count 2");
    for (tls, _) in devices(&tls) {
        assert!(matches!(tls.security, Security::Tls(_)));
        assert_eq!(tls.state.key, Some(key.clone()));
    }
    let certs = certs.display().to_string();
    let own =
        format!("--ca {certs}/ca.crt --cert {certs}/server.crt --cert-key {certs}/server_key.pem");
    let turned = format!("--listen ::1 --link tls {own} --tls-turned --tls-versions 1.3");
    let (turned, _) = devices(&turned).remove(0);
    assert!(turned.tls.certificate.is_some() && turned.tls.turned.is_some());
    assert_eq!(turned.tls.versions, [TlsVersion::V1_3]);
    let missing = problem(&format!(
        "--dial [::1]:1 --link tls --ca {certs}/ca.crt --device-certs {certs}"
    ));
    assert!(missing.contains("1001.crt"), "{missing}");
    let empty = tempfile::tempdir().unwrap();
    let none = problem(&format!(
        "--dial [::1]:1 --data-dir {}",
        empty.path().display()
    ));
    assert!(none.contains("holds no fleet key"), "{none}");
}

#[test]
fn slaves_and_lacks_and_searches_are_taken() {
    let arguments = "--listen ::1 --link plain --rs485 1,2 --wiegand 3 --without slaves \
                     --without security/key --redial 2s";
    let (spec, _) = devices(arguments).remove(0);
    assert_eq!(spec.state.slaves.rs485, [1, 2]);
    assert_eq!(spec.state.slaves.wiegand, [3]);
    assert_eq!(spec.lacking, [Resource::Slaves, Resource::Key].into());
    assert_eq!(spec.redial, Duration::from_secs(2));
    let settings = |arguments: &str| {
        let words = format!("--listen ::1 --link plain {arguments}");
        let words = ["gatehouse"].into_iter().chain(words.split_whitespace());
        let program = Program::try_parse_from(words).unwrap();
        program.simulate.search_settings()
    };
    assert_eq!(settings(""), None);
    let usual = settings("--search").unwrap();
    assert_eq!(usual, Settings::of_this_machine());
    let own = settings("--search 127.0.0.1:7 --search-subnets 10.0.0.0/8").unwrap();
    assert_eq!(own.listen, "127.0.0.1:7".parse().unwrap());
    assert_eq!(own.subnets, ["10.0.0.0/8".parse().unwrap()]);
}
