//! What a device says is text, whatever is in it: for `gatehouse ctl`, and in the log.

use std::process::Command;

use gatehouse::codec::dialect::Dialect;
use gatehouse::codec::message::{Answer, Message};
use gatehouse::codec::pson::Value;
use gatehouse::config::CredentialDigest;

use crate::support::client::{allow_all, list};
use crate::support::peer::{Peer, connect};
use crate::support::process::{BINARY, Process};
use crate::support::{run, soon};

const EVIL: &str = "<script>alert(1)</script>\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m";

#[test]
fn escapes_of_a_device_are_shown_and_not_obeyed() {
    run(async {
        let digest = String::from(CredentialDigest::of(b"secret"));
        let gateway = Process::start(&format!(
            "plain.listen = \"127.0.0.1:0\"\nlog.level = \"trace\"\n\
             [[credential]]\ndevice = \"1001\"\ndigest = \"{digest}\"\n"
        ));
        allow_all(&mut gateway.client().await).await;
        let plain = gateway.plain.expect("a plain listener");

        // Names that are none.
        let mut stranger = Peer::dial(plain).await;
        stranger.say(&connect(EVIL, EVIL)).await;
        while stranger.frame().await.is_some() {}

        let mut device = Peer::admitted(plain, Dialect::Current, "", "1001").await;
        assert_eq!(list(&mut gateway.client().await).await.len(), 1);
        let mut asked = Command::new(BINARY);
        asked
            .args(["ctl", "ip", "get", "1001", "--address"])
            .arg(gateway.grpc.to_string())
            .arg("--data-dir")
            .arg(gateway.data_dir())
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env_remove("GATEHOUSE_TOKEN");
        let asked = tokio::task::spawn_blocking(move || asked.output());
        let run = device.hears_run("network/ip").await;
        let error = Answer {
            stream_id: run.stream_id,
            parameters: Some(Value::Unsigned(500)),
            payload: Some(Value::map([("error", EVIL)])),
        };
        device.say(&Message::Error(error)).await;
        let output = soon("ctl", asked).await.expect("done").expect("it runs");
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(said.contains("owned"), "{said}");
        is_plain(&said);

        // A property, a topic and an event of such names, and an end with such a word.
        for (resource, parameters) in [
            (Value::Unsigned(1), Value::from(EVIL)),
            (Value::Unsigned(4), Value::from(EVIL)),
        ] {
            let run = gatehouse::codec::message::Run {
                stream_id: Some(9),
                resource: Some(resource),
                parameters: Some(parameters),
                ..Default::default()
            };
            device.say(&Message::Run(run)).await;
            assert!(matches!(device.hear().await, Message::Error(_)));
        }
        let end = Message::Disconnect {
            stream_id: Some(10),
            reason: None,
            detail: Some(EVIL.into()),
        };
        device.say(&end).await;
        while device.frame().await.is_some() {}
        is_plain(&gateway.log());
    });
}

fn is_plain(text: &str) {
    let evil = text
        .chars()
        .find(|letter| letter.is_control() && !matches!(letter, '\n' | '\t'));
    assert_eq!(evil, None, "{text:?}");
}
