//! Who a device is, and what does not count as proof of it.

use std::net::SocketAddr;

use gatehouse::codec::dialect::Dialect;
use gatehouse::codec::message::{self, Authentication, Connect, Message};
use gatehouse::config::{Config, Credential, CredentialDigest};
use gatehouse::device::DeviceId;
use gatehouse::grpc::proto::gsdk::connect::Status;
use gatehouse::link::key_files;
use gatehouse::link::link_key::LinkKey;
use gatehouse::link::noise::Initiator;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{self, Statuses, allow_all, listed};
use crate::support::device::{self, Event, Spec};
use crate::support::gateway::TestGateway;
use crate::support::{run, soon};

/// Gives device `id` a link key of its own.
fn give_key(config: &Config, id: u32) -> LinkKey {
    let key = key_files::generate().expect("a key");
    let id = DeviceId::new(id).expect("not zero");
    let path = key_files::device_path(&config.keys_dir(), id);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    key_files::write(&path, &key).expect("written");
    key
}

#[test]
fn the_fleet_key_opens_no_device_that_has_its_own() {
    run(async {
        let mut key = None;
        let gateway = TestGateway::with(|config| key = Some(give_key(config, 7))).await;
        let key = key.expect("given");
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        let mut statuses = Statuses::subscribe(&mut client, 16).await;

        let mut impostor = device::dial(Spec::new(7, &gateway), gateway.aes());
        impostor.wait_for(Event::is_refused).await;
        assert!(
            listed(&mut client, 7).await.is_none(),
            "refused while the device is down"
        );

        let mut owner = device::dial(Spec::keyed(7, key.clone()), gateway.aes());
        owner.wait_for(Event::is_admitted).await;
        statuses.wait_for(7, Status::TcpConnected).await;
        impostor.wait_for(Event::is_refused).await;
        impostor.wait_for(Event::is_refused).await;
        let mut other = device::dial(Spec::keyed(8, key), gateway.aes());
        other.wait_for(Event::is_refused).await;
        assert_eq!(
            (owner.links_open(), owner.links_accepted()),
            (1, 1),
            "the session is undisturbed"
        );
        assert_eq!(
            listed(&mut client, 7).await.expect("listed").status(),
            Status::TcpConnected
        );
        assert_eq!(statuses.of(7), [Status::TcpConnected]);
        gateway.stop().await;
    });
}

#[test]
fn a_device_with_its_own_key_is_dialled_with_it() {
    run(async {
        let mut key = None;
        let gateway = TestGateway::with(|config| key = Some(give_key(config, 7))).await;
        let mut client = gateway.client().await;
        let mut statuses = Statuses::subscribe(&mut client, 16).await;
        let device = device::listen(Spec::keyed(7, key.expect("given"))).await;
        client::add(&mut client, vec![client::auto(7, device.address())]).await;
        statuses.wait_for(7, Status::TcpConnected).await;

        let stranger = device::listen(Spec::keyed(9, key_files::generate().expect("a key"))).await;
        client::add(&mut client, vec![client::auto(9, stranger.address())]).await;
        statuses.wait_for(9, Status::TcpNotAllowed).await;
        gateway.stop().await;
    });
}

#[test]
fn a_stored_credential_is_proof_on_a_plain_link_too() {
    run(async {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let gateway = TestGateway::with(|config| {
            config.plain.listen = gatehouse::config::Listen(Some(free));
            config.credential.push(Credential {
                device: "1001".into(),
                owner: None,
                digest: CredentialDigest::of(b"open sesame"),
            });
        })
        .await;
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        let wrong = Spec::new(1001, &gateway).plain().credential("sesame");
        let mut wrong = device::dial(wrong, gateway.plain());
        wrong.wait_for(Event::is_refused).await;
        let mut fleet_key = device::dial(Spec::new(1001, &gateway), gateway.aes());
        fleet_key.wait_for(Event::is_refused).await;
        let mut nothing = device::dial(Spec::new(1002, &gateway).plain(), gateway.plain());
        nothing.wait_for(Event::is_refused).await;
        let right = Spec::new(1001, &gateway).plain().credential("open sesame");
        let mut right = device::dial(right, gateway.plain());
        right.wait_for(Event::is_admitted).await;
        gateway.stop().await;
    });
}

#[test]
fn a_named_device_gets_an_id_of_its_own_and_keeps_its_owner() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        let mut lamp = device::dial(
            Spec::new(1, &gateway).named("lamp").owner("alice"),
            gateway.aes(),
        );
        lamp.wait_for(Event::is_admitted).await;
        let id = client::list(&mut client).await[0].device_id;
        assert!(id >= 0xC000_0000, "{id}");
        let mut serial = device::dial(Spec::new(5, &gateway).owner("alice"), gateway.aes());
        serial.wait_for(Event::is_admitted).await;
        serial.stop().await;
        let mut stolen = device::dial(Spec::new(5, &gateway).owner("mallory"), gateway.aes());
        stolen.wait_for(Event::is_refused).await;
        let mut taken = device::dial(Spec::new(id, &gateway), gateway.aes());
        taken.wait_for(Event::is_refused).await;
        gateway.stop().await;
    });
}

#[test]
fn a_replayed_first_noise_message_wins_nothing() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        let mut connect = Vec::new();
        let message = Message::Connect(Connect {
            stream_id: Some(1),
            authentication: Authentication::Credentials {
                username: String::new(),
                device: "1001".into(),
                credential: Vec::new(),
            },
            keep_alive: None,
        });
        message::encode(Dialect::Current, &message, &mut connect);

        // The real device: what it sends is overheard.
        let (mut handshake, first) =
            Initiator::start(&gateway.fleet_key(), [7; 32]).expect("started");
        let mut genuine = TcpStream::connect(gateway.aes()).await.expect("open");
        genuine.write_all(&first).await.expect("sent");
        let mut answer = [0; 50];
        soon("the answer", genuine.read_exact(&mut answer))
            .await
            .expect("answered");
        assert!(handshake.read(&mut &answer[..]).expect("an answer"));
        let mut transport = handshake.finish().expect("established");
        let mut record = Vec::new();
        transport.encrypt(&connect, &mut record).expect("encrypted");
        genuine.write_all(&record).await.expect("sent");
        let mut ok = [0; 1];
        soon("the Ok", genuine.read_exact(&mut ok))
            .await
            .expect("admitted");

        // The same bytes again, from somebody who cannot read the answer.
        let mut replay = TcpStream::connect(gateway.aes()).await.expect("open");
        replay.write_all(&first).await.expect("sent");
        let mut other = [0; 50];
        soon("the answer", replay.read_exact(&mut other))
            .await
            .expect("answered");
        assert_ne!(answer, other, "each answer has a fresh key");
        replay.write_all(&record).await.expect("sent");
        let mut rest = Vec::new();
        // It may be reset instead of closed; either way nothing more is said.
        let _ = soon("the end", replay.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{rest:?}");
        assert_eq!(
            listed(&mut client, 1001).await.expect("listed").status(),
            Status::TcpConnected
        );
        gateway.stop().await;
    });
}
