use std::time::Duration;

use proptest::prelude::*;

use super::*;

const FILE: &str = include_str!("../../config/gateway.toml");

fn error(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

/// Every key with its section.
fn keys(table: &toml::Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in table {
        match value.as_table() {
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => keys.push(name.clone()),
        }
    }
    keys.sort();
    keys
}

#[test]
fn the_file_holds_every_key_with_its_default() {
    assert_eq!(Config::parse(FILE).unwrap(), Config::default());
    let in_file: toml::Table = FILE.parse().unwrap();
    let in_struct = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(keys(&in_file), keys(&in_struct));
}

#[test]
fn the_example_credentials_of_the_file_parse() {
    let (_, after) = FILE.split_once("#\n# [[credential]]").unwrap();
    let examples: String = after
        .lines()
        .take_while(|line| !line.starts_with("# ---"))
        .map(|line| format!("{}\n", line.trim_start_matches('#').trim_start()))
        .collect();
    let config = Config::parse(&format!("[[credential]]\n{examples}")).unwrap();
    assert_eq!(config.credential.len(), 2);
    assert!(config.credential[0].digest.matches(b"secret"));
    assert_eq!(config.credential[1].owner.as_deref(), Some("alice"));
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_known_ones() {
    let text = error("data_dir = \"x\"\n\n[grpc]\nlisen = \"127.0.0.1:4000\"\n");
    assert!(
        text.starts_with("line 4, key grpc.lisen: unknown key `lisen`"),
        "{text}"
    );
    assert!(
        text.contains("`listen`") && text.contains("`open_to`"),
        "{text}"
    );
    let text = error("data = 1\n");
    assert!(
        text.starts_with("line 1, key data: unknown key `data`"),
        "{text}"
    );
    let text = error("[rpc]\n");
    assert!(
        text.starts_with("line 1, section [rpc]: unknown key `rpc`"),
        "{text}"
    );
    assert!(text.contains("`grpc`"), "{text}");
    let text = error("[[credential]]\ndevice = \"1\"\nsecret = \"x\"\n");
    assert!(
        text.contains("credential.secret") && text.contains("`digest`"),
        "{text}"
    );
}

#[test]
fn a_value_of_another_type_names_its_key() {
    let text = error("[dial]\nrate_max = \"fast\"\n");
    assert!(text.starts_with("line 2, key dial.rate_max: "), "{text}");
    let text = error("[dial]\nlink = \"tls\"\n");
    assert!(
        text.contains("dial.link") && text.contains("`plain`"),
        "{text}"
    );
    let text = error("[inbound]\nfirst_byte_deadline = \"5 sec\"\n");
    assert!(
        text.contains("inbound.first_byte_deadline") && text.contains("\"30s\""),
        "{text}"
    );
    let text = error("[aes]\nlisten = \"51212\"\n");
    assert!(
        text.contains("aes.listen") && text.contains("\"0.0.0.0:51212\""),
        "{text}"
    );
}

#[test]
fn every_error_is_one_line() {
    for text in [
        "[grpc",
        "x",
        "[dial]\nlink = 3",
        "a = [1,\n2",
        "[dial]\nrate_max = 0",
    ] {
        let error = error(text);
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_bound_names_key_value_and_what_would_be_right() {
    let text = error("[session]\nsessions_max = 0\n");
    assert_eq!(text, "session.sessions_max = 0 cannot stand: 1 to 1000000");
    let text = error("[reconnect]\nmin = \"1m\"\n");
    assert_eq!(text, "reconnect.max = 30s cannot stand: 1m to 1d");
}

#[test]
fn every_bound_is_watched() {
    let outside = [
        ("", "data_dir = \"\""),
        ("grpc", "message_max_bytes = 4095"),
        ("grpc", "message_max_bytes = 268435457"),
        ("grpc", "commands_in_flight_max = 0"),
        ("grpc", "commands_in_flight_max = 65537"),
        ("grpc", "subscribers_max = 0"),
        ("grpc", "subscribers_max = 65537"),
        ("grpc", "names = [\"a b\"]"),
        ("inbound", "waiting_max = 0"),
        ("inbound", "waiting_max = 100001"),
        ("inbound", "waiting_per_source_max = 0"),
        ("inbound", "waiting_per_source_max = 100001"),
        ("inbound", "first_byte_deadline = \"9ms\""),
        ("inbound", "handshake_deadline = \"301s\""),
        ("inbound", "connect_deadline = \"0s\""),
        ("inbound", "handshakes_at_once_max = 4097"),
        ("dial", "deadline = \"6m\""),
        ("dial", "in_flight_max = 0"),
        ("dial", "in_flight_max = 65537"),
        ("dial", "rate_max = 0"),
        ("dial", "rate_max = 1000001"),
        ("reconnect", "min = \"9ms\""),
        ("reconnect", "max = \"25h\""),
        ("reconnect", "max = \"500ms\""),
        ("reconnect", "stable_after = \"25h\""),
        ("takeover", "burst = 0"),
        ("takeover", "burst = 1001"),
        ("takeover", "interval = \"0s\""),
        ("session", "frame_in_max_bytes = 1023"),
        ("session", "frame_in_max_bytes = 16777217"),
        ("session", "frame_out_max_bytes = 1023"),
        ("session", "requests_in_flight_max = 0"),
        ("session", "requests_in_flight_max = 1025"),
        ("session", "requests_bytes_max = 32767"),
        ("session", "requests_bytes_max = 67108865"),
        ("session", "request_deadline = \"11m\""),
        ("session", "out_buffer_max_bytes = 32767"),
        ("session", "sessions_max = 1000001"),
        ("registry", "devices_max = 0"),
        ("registry", "devices_max = 1000001"),
        ("registry", "pending_max = 0"),
        ("registry", "pending_max = 100001"),
        ("drain", "pace = 0"),
        ("drain", "pace = 1000001"),
        ("drain", "grace = \"999ms\""),
        ("drain", "grace = \"16m\""),
        ("events", "keep_max = 999"),
        ("events", "keep_max = 100000001"),
        ("events", "keep_for = \"59s\""),
        ("events", "keep_for = \"3651d\""),
        ("store", "free_min = 1099511627777"),
        ("log", "level = \"\""),
        ("log", "level = \"loud\""),
        ("log", "level = \"info,gatehouse=loud\""),
        ("log", "device_burst = 0"),
        ("log", "device_burst = 10001"),
        ("log", "device_interval = \"9ms\""),
        ("log", "device_interval = \"61m\""),
        ("log", "total_burst = 99"),
        ("log", "total_burst = 10000001"),
        ("log", "total_rate_max = 0"),
        ("log", "total_rate_max = 1000001"),
        ("log", "slow_after = \"9ms\""),
        ("log", "slow_after = \"61s\""),
        ("trace", "endpoint = \"collector:4317\""),
        ("trace", "certificate = \"gateway.crt\""),
        ("trace", "key = \"gateway.key\""),
        ("trace", "headers = { \"a b\" = \"c\" }"),
        ("trace", "sample_one_in = 0"),
        ("trace", "sample_one_in = 1000001"),
        ("trace", "service_name = \"\""),
        ("trace", "timeout = \"99ms\""),
        ("trace", "timeout = \"61s\""),
    ];
    for (section, line) in outside {
        let header = if section.is_empty() {
            String::new()
        } else {
            format!("[{section}]\n")
        };
        let text = error(&format!("{header}{line}\n"));
        let key = line.split_once(" =").unwrap().0;
        assert!(
            text.contains(key) && text.contains("cannot stand"),
            "{line}: {text}"
        );
        assert!(!text.contains("; "), "one problem only: {text}");
    }
}

#[test]
fn single_targets_have_levels_of_their_own() {
    for level in ["warn", "info,gatehouse::session=debug", "gatehouse=trace"] {
        assert!(Config::parse(&format!("[log]\nlevel = \"{level}\"\n")).is_ok());
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = error("[dial]\nrate_max = 0\nin_flight_max = 0\n");
    assert!(
        text.contains("dial.rate_max") && text.contains("dial.in_flight_max"),
        "{text}"
    );
}

#[test]
fn the_api_is_opened_by_name_only_where_certificates_are_optional() {
    for listen in ["127.0.0.2:1", "[::1]:4000", "0.0.0.0:4000"] {
        assert!(Config::parse(&format!("[grpc]\nlisten = \"{listen}\"\n")).is_ok());
    }
    let outside = "[grpc]\nlisten = \"[::]:4000\"\n";
    assert!(Config::parse(&format!("{outside}client_certificates = \"required\"\n")).is_ok());
    assert!(Config::parse(&format!("{outside}open_to = [\"10.0.0.0/8\"]\n")).is_ok());
    let both = "client_certificates = \"required\"\nopen_to = [\"10.0.0.0/8\"]\n";
    assert!(error(&format!("{outside}{both}")).starts_with("grpc.open_to"));
}

#[test]
fn the_api_is_open_to_loopback_and_the_networks_named() {
    let mut grpc = Grpc {
        open_to: vec![
            "192.168.0.0/24".parse().unwrap(),
            "fd00::/8".parse().unwrap(),
        ],
        ..Grpc::default()
    };
    let admitted = |grpc: &Grpc, peer: &str| grpc.is_open_to(peer.parse().unwrap());
    for peer in [
        "127.0.0.1",
        "::1",
        "192.168.0.9",
        "::ffff:192.168.0.9",
        "fd00::5",
    ] {
        assert!(admitted(&grpc, peer), "{peer}");
    }
    for peer in ["192.168.1.9", "8.8.8.8", "fe80::1", "::ffff:8.8.8.8"] {
        assert!(!admitted(&grpc, peer), "{peer}");
    }
    grpc.open_to.clear();
    assert!(admitted(&grpc, "127.0.0.1") && !admitted(&grpc, "192.168.0.9"));
}

#[test]
fn plain_is_dialled_where_it_is_named() {
    let config = Config::parse("[dial]\nplain_to = [\"10.7.0.0/16\"]\n").unwrap();
    let link = |device: &str| config.dial.link_to(device.parse().unwrap());
    assert_eq!(link("10.7.1.2"), DialLink::Plain);
    assert_eq!(link("::ffff:10.7.1.2"), DialLink::Plain);
    assert_eq!(link("10.8.1.2"), DialLink::Aes);
}

#[test]
fn handshakes_at_once_follow_the_cores() {
    let mut inbound = Inbound::default();
    assert_eq!(inbound.handshakes_at_once(4), 8);
    inbound.handshakes_at_once_max = 3;
    assert_eq!(inbound.handshakes_at_once(4), 3);
}

#[test]
fn a_device_has_one_credential() {
    let stanza = |device: &str, owner: &str| {
        let digest = String::from(CredentialDigest::of(b"x"));
        format!("[[credential]]\ndevice = \"{device}\"\n{owner}digest = \"{digest}\"\n")
    };
    let named = stanza("door", "owner = \"alice\"\n") + &stanza("door", "owner = \"bob\"\n");
    assert!(Config::parse(&named).is_ok());
    let twice = stanza("door", "") + &stanza("door", "owner = \"\"\n");
    assert!(error(&twice).contains("one [[credential]]"));
    let serial = stanza("1001", "") + &stanza("1001", "owner = \"bob\"\n");
    assert!(error(&serial).contains("one [[credential]]"));
    assert!(error(&stanza("a door", "")).contains("credential.device = \"a door\""));
}

#[test]
fn what_is_shown_hides_digests_and_tells_the_rest() {
    let mut config = Config::default();
    config.dial.deadline = Duration::from_millis(1500);
    config.credential.push(Credential {
        device: "1001".to_owned(),
        owner: None,
        digest: CredentialDigest::of(b"secret"),
    });
    let shown = config.show().unwrap();
    assert!(shown.contains("deadline = \"1500ms\""), "{shown}");
    assert!(shown.contains("digest = \"sha256:hidden\""), "{shown}");
    assert!(!shown.contains("2bb80d53"), "{shown}");
    assert!(
        shown.find("[grpc]") < shown.find("[aes]"),
        "in the order of the file"
    );
    config.credential.clear();
    assert_eq!(Config::parse(&config.show().unwrap()).unwrap(), config);
}

proptest! {
    #[test]
    fn no_text_panics(text in "([a-z_.\\[\\]=\"0-9 #]|\n|\\PC){0,80}") {
        let _ = Config::parse(&text).map_err(|error| error.to_string());
    }
}
