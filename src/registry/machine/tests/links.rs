//! The tls link and its statuses, and sessions whose proof is withdrawn.

use super::*;
use crate::identity::{CertificateId, DeviceCertificate};

fn tls(id: u32) -> AutoDevice {
    AutoDevice {
        use_ssl: true,
        ..auto(id)
    }
}

/// Dialled over tls and proven by a credential, which device 8 alone has.
fn over_tls() -> Claim {
    let mut claim = dialled("8");
    claim.link = LinkKind::Tls;
    claim.evidence.link_key = None;
    claim.evidence.credential = (*b"open sesame").into();
    claim
}

fn add_one(desk: &mut Desk, device: AutoDevice) -> Vec<Output> {
    desk.command(Command::AddAsync(vec![device])).1
}

#[test]
fn a_device_with_ssl_is_dialled_over_tls_whatever_the_link_of_its_address() {
    for plain_to in [vec![], vec!["10.0.0.0/8".parse().unwrap()]] {
        let mut policy = policy();
        policy.dial.plain_to = plain_to;
        let mut desk = Desk::with(policy, numbered());
        let outputs = add_one(&mut desk, tls(8));
        let dial = dials(&outputs)[0];
        assert_eq!(dial.link, DialLink::Tls);
        let outputs = desk.claim(dial.generation, over_tls());
        assert_eq!(told(&outputs), [(8, Status::TlsConnected)]);
    }
}

#[test]
fn no_link_key_is_needed_for_tls() {
    let secrets = Arc::new(TestSecrets {
        withdrawn: FLEET_KEYS.map(Basis::LinkKey).to_vec(),
    });
    let mut desk = Desk::new();
    desk.machine.handle_secrets(secrets, desk.now);
    let outputs = add_one(&mut desk, auto(3));
    assert!(dials(&outputs).is_empty());
    assert_eq!(
        told(&outputs),
        [(3, Status::TcpNotAllowed)],
        "the aes link has no key"
    );
    assert_eq!(dials(&add_one(&mut desk, tls(8))).len(), 1);
}

#[test]
fn a_failed_try_is_told_by_how_far_it_came() {
    use CauseKind::*;
    let rows = [
        (
            DialFailed,
            Status::TcpCannotConnect,
            Status::TcpCannotConnect,
        ),
        (
            DialTimeout,
            Status::TcpCannotConnect,
            Status::TcpCannotConnect,
        ),
        (
            HandshakeFailed,
            Status::TcpCannotConnect,
            Status::TlsCannotConnect,
        ),
        (
            HandshakeTimeout,
            Status::TcpCannotConnect,
            Status::TlsCannotConnect,
        ),
        (
            ConnectTimeout,
            Status::TcpCannotConnect,
            Status::TlsCannotConnect,
        ),
        (
            ProtocolError,
            Status::TcpCannotConnect,
            Status::TlsCannotConnect,
        ),
        (NotProven, Status::TcpNotAllowed, Status::TlsNotAllowed),
        (WrongDevice, Status::TcpNotAllowed, Status::TlsNotAllowed),
        (BadIdentity, Status::TcpNotAllowed, Status::TlsNotAllowed),
        (Revoked, Status::TcpNotAllowed, Status::TlsNotAllowed),
    ];
    for (kind, over_aes, over_tls) in rows {
        for (device, status) in [(auto(3), over_aes), (tls(3), over_tls)] {
            let mut desk = Desk::new();
            let generation = dials(&add_one(&mut desk, device))[0].generation;
            let outputs = desk.end(generation, kind);
            assert_eq!(told(&outputs), [(3, status)], "{kind}");
        }
    }
}

#[test]
fn c_03_a_connect_with_the_wrong_ssl_leaves_nothing() {
    for use_ssl in [false, true] {
        let mut desk = Desk::new();
        let (_, outputs) = desk.command(Command::Connect {
            address: auto(3).address,
            use_ssl,
        });
        let dial = dials(&outputs)[0];
        assert_eq!(dial.link == DialLink::Tls, use_ssl);
        let outputs = desk.end(dial.generation, CauseKind::HandshakeFailed);
        assert!(matches!(
            replies(&outputs).as_slice(),
            [Err(CommandError::CannotConnect(_))]
        ));
        assert!(events(&outputs).is_empty() && desk.machine.snapshot().devices.is_empty());
        assert_eq!(desk.machine.attempts(), 0);
    }
}

#[test]
fn another_ssl_replaces_the_session_and_the_dial() {
    let mut desk = Desk::new();
    let up = bring_up(&mut desk, 3);
    let outputs = add_one(&mut desk, tls(3));
    assert!(matches!(orders(&outputs).as_slice(),
        [(generation, SessionCommand::Close(cause))]
            if *generation == up && cause.kind == CauseKind::Replaced));
    let outputs = desk.end(up, CauseKind::Replaced);
    let dial = dials(&outputs)[0].clone();
    assert_eq!(dial.link, DialLink::Tls);
    let outputs = add_one(&mut desk, auto(3));
    assert_eq!(orders(&outputs)[0].0, dial.generation);
    let outputs = desk.end(dial.generation, CauseKind::Replaced);
    assert_eq!(dials(&outputs)[0].link, DialLink::Aes(FLEET_KEYS[0]));
}

#[test]
fn an_inbound_session_of_an_auto_device_stays_when_its_ssl_changes() {
    let mut desk = Desk::new();
    desk.allow_all();
    desk.add(&[3]);
    desk.arrive(inbound("3"));
    assert!(orders(&add_one(&mut desk, tls(3))).is_empty());
    assert_eq!(desk.status(3), Some(Status::TcpConnected));
}

fn withdraw(desk: &mut Desk, withdrawn: &[Basis]) -> Vec<Output> {
    let withdrawn = withdrawn.to_vec();
    let secrets = Arc::new(TestSecrets { withdrawn });
    desk.machine.handle_secrets(secrets, desk.now);
    desk.outputs()
}

fn with_certificate(mut claim: Claim, of: u32) -> Claim {
    claim.evidence.link_key = None;
    claim.evidence.certificate = Some(Arc::new(DeviceCertificate {
        id: CertificateId([1; 16]),
        devices: Box::new([device(of)]),
    }));
    claim
}

#[test]
fn sessions_end_with_what_they_stand_on_and_no_others_do() {
    let rows = [
        (inbound("5"), Basis::LinkKey(FLEET_KEYS[0]), "link key"),
        (
            with_key(inbound("7"), 7),
            Basis::LinkKey(KeyId([7; 8])),
            "link key",
        ),
        (
            with_certificate(inbound("6"), 6),
            Basis::Certificate(CertificateId([1; 16])),
            "certificate",
        ),
        (
            {
                let mut claim = over_tls();
                claim.mode = ConnectionMode::DeviceToServer;
                claim
            },
            Basis::Credential(CredentialId([8; 8])),
            "credential",
        ),
    ];
    for (at, (_, basis, word)) in rows.iter().enumerate() {
        let mut desk = Desk::new();
        desk.allow_all();
        let sessions: Vec<_> = rows
            .iter()
            .map(|(claim, ..)| desk.arrive(claim.clone()).0)
            .collect();
        let outputs = withdraw(&mut desk, &[*basis]);
        let [(closed, SessionCommand::Close(cause))] = orders(&outputs)[..] else {
            panic!("{outputs:?}");
        };
        assert_eq!((closed, cause.kind), (sessions[at], CauseKind::Revoked));
        assert!(cause.detail.contains(word), "{cause}");
        assert!(withdraw(&mut desk, &[*basis]).is_empty(), "once");
        let outputs = desk.end(closed, CauseKind::Revoked);
        let [event] = events(&outputs).try_into().unwrap();
        assert_eq!(event.change, Change::Removed);
        assert_eq!(
            event.cause.as_ref().map(|cause| cause.kind),
            Some(CauseKind::Revoked)
        );
        assert_eq!(desk.machine.snapshot().devices.len(), rows.len() - 1);
        let (_, outputs) = desk.arrive(rows[at].0.clone());
        assert_eq!(refusal(&outputs), Some(CauseKind::NotProven));
    }
}

#[test]
fn a_revoked_auto_device_is_dialled_again_by_its_rules() {
    let mut desk = Desk::new();
    let up = bring_up(&mut desk, 3);
    withdraw(&mut desk, &[Basis::LinkKey(FLEET_KEYS[0])]);
    let outputs = desk.end(up, CauseKind::Revoked);
    assert_eq!(told(&outputs), [(3, Status::Disconnected)]);
    assert!(dials(&outputs).is_empty(), "after its backoff");
    let outputs = desk.pass(Duration::from_secs(31));
    assert_eq!(dials(&outputs)[0].link, DialLink::Aes(FLEET_KEYS[1]));
}

#[test]
fn dials_in_flight_go_on_when_secrets_change() {
    let mut desk = Desk::new();
    let dial = dials(&desk.add(&[3]))[0].generation;
    assert!(withdraw(&mut desk, &[Basis::LinkKey(FLEET_KEYS[1])]).is_empty());
    let outputs = desk.claim(dial, dialled("3"));
    assert_eq!(told(&outputs), [(3, Status::TcpConnected)]);
}

#[test]
fn connects_that_wait_are_judged_again() {
    let mut desk = Desk::new();
    desk.allow_all();
    // One waits for the store, another for the end of the session before it.
    let (old, _) = desk.arrive(with_key(inbound("7"), 7));
    let (newcomer, _) = desk.arrive(with_key(inbound("7"), 7));
    let storing = Generation::accepted(900);
    let claimed = SessionEvent::Claimed(inbound("5"));
    desk.machine.handle_session(storing, claimed, desk.now);
    let Some(Output::Persist(commit, _)) = desk.machine.poll_output() else {
        panic!("nothing to persist");
    };
    let withdrawn = [Basis::LinkKey(FLEET_KEYS[0]), Basis::LinkKey(KeyId([7; 8]))];
    let outputs = withdraw(&mut desk, &withdrawn);
    let refused: Vec<_> = orders(&outputs)
        .into_iter()
        .filter(|(_, order)| matches!(order, SessionCommand::Refuse(cause) if cause.kind == CauseKind::Revoked))
        .map(|(generation, _)| generation)
        .collect();
    assert_eq!(refused, [newcomer, storing]);
    desk.machine.handle_committed(commit, Ok(()), desk.now);
    assert!(orders(&desk.outputs()).is_empty());
    let outputs = desk.end(old, CauseKind::Superseded);
    assert!(orders(&outputs).is_empty());
    for generation in [newcomer, storing] {
        desk.end(generation, CauseKind::Revoked);
    }
    assert!(desk.machine.snapshot().devices.is_empty());
    assert_eq!(desk.machine.attempts(), 0);
}
