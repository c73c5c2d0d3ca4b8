//! Certificates that are replaced and revoked while devices are connected.

use std::path::Path;

use gatehouse::grpc::proto::gatehouse::v1::watch_response::Item;
use gatehouse::grpc::proto::gatehouse::v1::{Change, Event, WatchRequest, WatchResponse};
use gatehouse::grpc::proto::gsdk::connect::Status;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tonic::Streaming;

use crate::support::client::{self, allow_all, list};
use crate::support::process::Process;
use crate::support::tls::{Device, Shown};
use crate::support::{run, soon};

const FLEET: u32 = 200;
const REVOKED: u32 = 17;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("readable")
}

fn shown(gateway: &Process, id: u32) -> Shown {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().to_str().expect("a path in UTF-8");
    gateway.certs(&["device", &id.to_string(), "--out-dir", out]);
    Shown {
        certificate: read(&directory.path().join(format!("device_{id}.crt"))),
        key: read(&directory.path().join(format!("device_{id}_key.pem"))),
    }
}

/// The fleet's own events from now on.
struct Events(Streaming<WatchResponse>);

impl Events {
    async fn watch(gateway: &Process) -> Self {
        let mut fleet = client::fleet(gateway.channel().await);
        let stream = fleet.watch(WatchRequest::default()).await;
        Self(stream.expect("watched").into_inner())
    }

    async fn next(&mut self) -> Event {
        loop {
            let item = soon("an event", self.0.message()).await;
            let item = item.expect("the stream goes on").expect("more");
            if let Some(Item::Event(event)) = item.item {
                return event;
            }
        }
    }
}

#[test]
fn a_revoked_device_is_closed_and_the_others_are_not_disturbed() {
    run(async {
        let gateway = Process::start("");
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        let old_root = read(&gateway.ca());
        let devices: Vec<(u32, Shown)> = (1..=FLEET).map(|id| (id, shown(&gateway, id))).collect();
        gateway.hang_up();
        let mut up = Vec::new();
        for (id, shown) in &devices {
            let device = Device::new(*id, &old_root, shown, &TLS13);
            up.push((*id, device.connect(gateway.tls).expect("admitted")));
        }
        let mut events = Events::watch(&gateway).await;

        gateway.certs(&["root", "--replace"]);
        gateway.certs(&["revoke", "--device", &REVOKED.to_string()]);
        gateway.hang_up();
        let event = events.next().await;
        assert_eq!(
            (event.device_id, event.change()),
            (REVOKED, Change::Removed)
        );
        assert_eq!(event.new_status(), Status::Disconnected);
        assert_eq!(event.cause.expect("a cause").kind, "revoked");
        let place = usize::try_from(REVOKED - 1).expect("small");
        let (_, revoked) = up.remove(place);
        let shown_before = revoked.gateway();
        revoked.until_closed();

        // Whoever comes now is shown a certificate of the new root, and knows it by that alone.
        let roots = read(&gateway.ca());
        let new_root = first_certificate(&roots);
        assert!(!old_root.contains(new_root.trim()), "the new one is first");
        let (id, shown) = &devices[0];
        let (_, before) = up.remove(0);
        drop(before);
        assert_eq!(events.next().await.device_id, *id);
        let again = Device::new(*id, &new_root, shown, &TLS13);
        let again = again
            .connect(gateway.tls)
            .expect("the old device certificate still holds");
        assert_ne!(again.gateway(), shown_before);
        let event = events.next().await;
        assert_eq!((event.device_id, event.change()), (*id, Change::Added));

        // Nobody else was told of, and everybody else is there.
        let count = list(&mut client).await.len();
        assert_eq!(count, up.len() + 1);
        drop(again);
        assert_eq!(events.next().await.device_id, *id);
    });
}

fn first_certificate(pem: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let end = pem.find(END).expect("a certificate") + END.len();
    format!("{}\n", &pem[..end])
}

fn a_ticket_of_a_revoked_device_is_refused(version: &'static SupportedProtocolVersion) {
    run(async {
        let mut gateway = Process::start("");
        allow_all(&mut gateway.client().await).await;
        let shown_by = shown(&gateway, REVOKED);
        let root = read(&gateway.ca());
        let device = Device::new(REVOKED, &root, &shown_by, version);
        let connect = |gateway: &Process| device.connect(gateway.tls);
        assert!(!connect(&gateway).expect("admitted").is_resumed());
        assert!(
            connect(&gateway).expect("admitted").is_resumed(),
            "by its ticket"
        );
        gateway.kill();
        gateway.restart();
        let over = connect(&gateway).expect("admitted");
        assert!(over.is_resumed(), "also over a restart");

        let mut events = Events::watch(&gateway).await;
        gateway.certs(&["revoke", "--device", &REVOKED.to_string()]);
        gateway.hang_up();
        assert_eq!(events.next().await.cause.expect("a cause").kind, "revoked");
        over.until_closed();
        assert!(connect(&gateway).is_err(), "its ticket is worth nothing");
        gateway.kill();
        gateway.restart();
        assert!(connect(&gateway).is_err(), "nor after a restart");
    });
}

#[test]
fn a_ticket_of_a_revoked_device_is_refused_on_tls_1_2() {
    a_ticket_of_a_revoked_device_is_refused(&TLS12);
}

#[test]
fn a_ticket_of_a_revoked_device_is_refused_on_tls_1_3() {
    a_ticket_of_a_revoked_device_is_refused(&TLS13);
}
