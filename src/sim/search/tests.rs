use std::collections::BTreeSet;
use std::num::NonZeroU16;

use tokio::time::timeout;

use super::*;
use crate::link::link_key::LinkKey;
use crate::search::message::parse_answer;
use crate::sim::link::Security;
use crate::sim::report::Reports;
use crate::sim::run;
use crate::sim::spec::{Dialling, Spec};

const FREE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

fn settings() -> Settings {
    Settings {
        listen: FREE,
        subnets: Vec::new(),
        rate: RATE,
    }
}

fn question(number: u8) -> Question {
    Question {
        stream_id: NonZeroU16::MIN,
        nonce: [number; 16],
    }
}

fn listening(id: u32) -> DeviceHandle {
    let key = LinkKey::new([7; 32]);
    let spec = Spec::new(id, Security::Aes(key));
    run::listen(spec, FREE.into(), Reports::default()).unwrap()
}

struct Asker(UdpSocket);

impl Asker {
    async fn new() -> Self {
        Self(UdpSocket::bind(FREE).await.unwrap())
    }

    async fn ask(&self, datagram: &[u8], responder: &Responder) {
        self.0.send_to(datagram, responder.address()).await.unwrap();
    }

    async fn answer(&self, question: &Question) -> Found {
        let mut datagram = [0; 2048];
        // It only keeps a broken run from hanging.
        let received = timeout(Duration::from_secs(60), self.0.recv(&mut datagram));
        let len = received.await.expect("no answer").unwrap();
        assert!(len <= DATAGRAM_MAX);
        parse_answer(question, &datagram[..len]).unwrap()
    }
}

#[tokio::test]
async fn every_device_answers_once_and_tells_how_it_is() {
    let responder = Responder::start(settings()).unwrap();
    let devices: Vec<DeviceHandle> = (1..=30).map(listening).collect();
    devices.iter().for_each(|device| responder.add(device));
    let dialling = Dialling {
        to: ([127, 0, 0, 9], 1).into(),
        from: None,
        redial: Duration::from_secs(3600),
    };
    let dials = run::dial(Spec::new(31, Security::Plain), dialling, Reports::default());
    responder.add(&dials);
    let asker = Asker::new().await;
    // The same heard twice is one question.
    asker.ask(&question(1).datagram(), &responder).await;
    asker.ask(&question(1).datagram(), &responder).await;
    let mut ids = BTreeSet::new();
    for _ in 0..31 {
        let found = asker.answer(&question(1)).await;
        assert!(ids.insert(found.id), "{} answered twice", found.id);
        assert_eq!(found.address, Ipv4Addr::LOCALHOST);
        if found.id == 31 {
            assert_eq!(found.mode, ConnectionMode::DeviceToServer);
            assert_eq!(found.server_addr, "127.0.0.9");
        } else {
            let at = devices[found.id as usize - 1].address().unwrap();
            assert_eq!(found.port, at.port());
            assert_eq!(found.mode, ConnectionMode::ServerToDevice);
            assert_eq!((found.server_addr.as_str(), found.use_ssl), ("", false));
        }
    }
    // What comes next is the answer to the next question, and not to the one heard twice.
    asker.ask(&question(2).datagram(), &responder).await;
    asker.answer(&question(2)).await;
}

#[tokio::test]
async fn two_who_ask_are_both_answered_and_a_stopped_device_is_not_there() {
    let responder = Responder::start(settings()).unwrap();
    let devices: Vec<DeviceHandle> = (1..=3).map(listening).collect();
    devices.iter().for_each(|device| responder.add(device));
    let mut devices = devices.into_iter();
    devices.next().unwrap().stop().await;
    let askers = [Asker::new().await, Asker::new().await];
    for asker in &askers {
        asker.ask(&question(1).datagram(), &responder).await;
    }
    for asker in &askers {
        let mut ids = [0; 2];
        for id in &mut ids {
            *id = asker.answer(&question(1)).await.id;
        }
        ids.sort_unstable();
        assert_eq!(ids, [2, 3]);
    }
}

#[tokio::test]
async fn only_a_question_of_a_neighbour_is_heard() {
    let subnet: Ipv4Net = "10.1.0.0/16".parse().unwrap();
    let ear = Ear {
        socket: socket_at(FREE).unwrap(),
        settings: Settings {
            subnets: vec![subnet],
            ..settings()
        },
        neighbours: Arc::default(),
    };
    let hears = |datagram: &[u8], by: [u8; 4]| {
        let mut heard = VecDeque::new();
        ear.new_question(datagram, (by, 4000).into(), &mut heard)
            .is_some()
    };
    let datagram = question(1).datagram();
    assert!(hears(&datagram, [127, 0, 0, 1]));
    assert!(hears(&datagram, [10, 1, 2, 3]));
    assert!(!hears(&datagram, [10, 2, 2, 3]));
    assert!(!hears(&datagram[..DATAGRAM_MAX - 1], [127, 0, 0, 1]));
    assert!(!hears(&[datagram, vec![0]].concat(), [127, 0, 0, 1]));
}

#[test]
fn answers_are_spread_over_time() {
    let rate = |rate| pace(NonZeroU32::new(rate).unwrap());
    assert_eq!(rate(2_000), (Duration::from_millis(10), 20));
    assert_eq!(rate(10), (Duration::from_millis(100), 1));
    assert_eq!(rate(u32::MAX).0, ROUND_MIN);
}
