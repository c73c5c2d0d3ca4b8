//! What is read again while the gateway runs.

use std::fs::{self, File};
use std::io::Write;

use gatehouse::grpc::proto::gsdk::connect::AddAsyncConnectionRequest;
use reqwest::StatusCode;
use tonic::Code;

use crate::support::client::{self, auto};
use crate::support::device::{self, Spec};
use crate::support::process::{self, Process};
use crate::support::web::Web;
use crate::support::{PATIENCE, run};

/// The fields of the first line of the log with this message that comes after `from` bytes.
fn logged(gateway: &Process, from: usize, message: &str) -> serde_json::Value {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let log = gateway.log();
        let lines = log[from..].lines();
        let mut entries = lines.filter_map(|line| serde_json::from_str(line).ok());
        let found = entries.find(|entry: &serde_json::Value| entry["fields"]["message"] == message);
        if let Some(entry) = found {
            return entry["fields"].clone();
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{message} in vain:\n{log}"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn rewrite(gateway: &Process, change: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(gateway.config()).expect("a file");
    process::replace(gateway.config(), &change(&text));
}

const READ: &str = "the settings were read again";
const RESTART: &str = "these settings have changed and count from the next start on";

#[test]
fn a_changed_file_counts_where_it_can_and_names_what_needs_a_restart() {
    run(async {
        let gateway = Process::start("session.sessions_max = 1\nstream.queue_max = 7");
        let mut client = gateway.client().await;
        client::allow_all(&mut client).await;
        let key = gateway.fleet_key();
        let first = device::dial(Spec::keyed(1, key.clone()), gateway.aes);
        first.admitted(1).await;
        let mut second = device::dial(Spec::keyed(2, key), gateway.aes);
        second.wait_for(device::Event::is_refused).await;
        let from = gateway.log().len();
        rewrite(&gateway, |text| {
            text.replace("sessions_max = 1", "sessions_max = 2")
                .replace("queue_max = 7", "queue_max = 8")
        });
        let read = logged(&gateway, from, READ);
        assert_eq!(read["applied"], "session.sessions_max");
        let keys = logged(&gateway, from, RESTART)["keys"].to_string();
        assert!(keys.contains("stream.queue_max"), "{keys}");
        assert!(!keys.contains("session"), "{keys}");
        second.admitted(1).await;
        let metrics = Web::new(gateway.http).get("/metrics").await.to_string();
        let reloads = r#"gatehouse_config_reloads_total{outcome=\"applied\"}"#;
        assert!(metrics.contains(reloads), "{metrics}");
    });
}

#[test]
fn a_file_at_fault_changes_nothing_and_names_the_key() {
    run(async {
        let gateway = Process::start("drain.pace = 7");
        let from = gateway.log().len();
        rewrite(&gateway, |text| {
            text.replace("drain.pace = 7", "drain.pace = 0\nsession.sessions_max = 1")
        });
        let refused = logged(&gateway, from, "the settings stay as they were");
        let error = refused["error"].as_str().expect("a text");
        assert!(error.contains("drain.pace = 0 cannot stand"), "{error}");
        assert!(error.contains("gateway.toml"), "{error}");
        // SIGHUP says the same, and what was right in the file did not count either.
        let from = gateway.log().len();
        gateway.hang_up();
        logged(&gateway, from, "the settings stay as they were");
        client::allow_all(&mut gateway.client().await).await;
        let key = gateway.fleet_key();
        let devices = [1, 2].map(|id| device::dial(Spec::keyed(id, key.clone()), gateway.aes));
        for device in &devices {
            device.admitted(1).await;
        }
        let from = gateway.log().len();
        rewrite(&gateway, |text| {
            text.replace("drain.pace = 0", "drain.pace = 9")
        });
        let read = logged(&gateway, from, READ);
        assert_eq!(read["applied"], "drain.pace, session.sessions_max");
        let (status, _) = Web::new(gateway.http).try_get("/readyz").await;
        assert_eq!(status, StatusCode::OK);
    });
}

#[test]
fn a_file_that_was_emptied_changes_nothing() {
    run(async {
        let gateway = Process::start("session.sessions_max = 1");
        let whole = fs::read_to_string(gateway.config()).expect("a file");
        for emptied in ["", "\n \n", "# The gateway\n[session]\n"] {
            let from = gateway.log().len();
            // In place, as editors and `cp` do.
            fs::write(gateway.config(), emptied).expect("written");
            let refused = logged(&gateway, from, "the settings stay as they were");
            let error = refused["error"].as_str().expect("a text");
            assert!(error.contains("gateway.toml sets nothing"), "{error}");
        }
        let from = gateway.log().len();
        gateway.hang_up();
        logged(&gateway, from, "the settings stay as they were");
        // What was in force still is, and the file is taken when it is whole again.
        let from = gateway.log().len();
        let whole = whole.replace("sessions_max = 1", "sessions_max = 2");
        fs::write(gateway.config(), whole).expect("written");
        let read = logged(&gateway, from, READ);
        assert_eq!(read["applied"], "session.sessions_max");
    });
}

#[test]
fn what_is_kept_and_left_free_changes_at_once() {
    run(async {
        let gateway = Process::start("store.free_min = 0");
        let mut client = gateway.client().await;
        let nowhere = device::closed_port().await;
        let mut add = async |id| {
            let connect_infos = vec![auto(id, nowhere)];
            let request = AddAsyncConnectionRequest { connect_infos };
            client.add_async_connection(request).await
        };
        add(1).await.expect("added");
        let from = gateway.log().len();
        // As much as no disk has.
        rewrite(&gateway, |text| {
            text.replace(
                "free_min = 0",
                "free_min = 1099511627776\nevents.keep_max = 1000",
            )
        });
        let read = logged(&gateway, from, READ);
        assert_eq!(read["applied"], "events.keep_max, store.free_min");
        let refused = add(2).await.expect_err("too little is free");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        let from = gateway.log().len();
        rewrite(&gateway, |text| {
            text.replace("free_min = 1099511627776", "free_min = 0")
        });
        logged(&gateway, from, READ);
        add(2).await.expect("added");
    });
}

#[test]
fn sighup_reads_a_file_at_once_that_somebody_still_writes() {
    run(async {
        let gateway = Process::start("session.sessions_max = 1");
        let whole = fs::read_to_string(gateway.config()).expect("a file");
        let whole = whole.replace("sessions_max = 1", "sessions_max = 2");
        let from = gateway.log().len();
        let mut file = File::create(gateway.config()).expect("open");
        file.write_all(whole.as_bytes()).expect("written");
        gateway.hang_up();
        let read = logged(&gateway, from, READ);
        assert_eq!(read["applied"], "session.sessions_max");
        drop(file);
    });
}
