use proptest::prelude::*;

use super::*;
use crate::config::CredentialDigest;
use crate::identity::{KeyOwner, Secrets};
use crate::registry::StoreChange;
use crate::registry::records::{Record, RecordKey};

fn id(id: u32) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn named(name: &str) -> Identity {
    let (owner, device) = name.split_once('/').unwrap_or(("", name));
    Identity::new(owner, device).unwrap()
}

fn digest(secret: &str) -> CredentialDigest {
    CredentialDigest::of(secret.as_bytes())
}

fn key(seed: u8) -> LinkKey {
    LinkKey::new([seed; 32])
}

/// 1001 has a credential for any owner, alice/door one, 7 a link key, 2001 one in the
/// configuration.
fn ledger() -> Ledger {
    let configured = Credential {
        identity: named("2001"),
        any_owner: true,
        digest: digest("configured"),
        previous: None,
        provisional: false,
    };
    let keys = LinkKeys {
        fleet: vec![key(1)],
        devices: vec![(id(7), key(7))],
        provisional: vec![],
    };
    let files = InFiles {
        keys,
        credentials: vec![configured],
        ..InFiles::default()
    };
    let mut ledger = Ledger::new(files, vec![]);
    for name in ["1001", "alice/door"] {
        let added = ledger.add_credential(named(name), &digest(name), 5);
        assert!(!added.unwrap().is_empty());
    }
    ledger
}

fn matches(ledger: &Ledger, name: &str, secret: &str, unix_ms: u64) -> bool {
    let ring = ledger.ring(unix_ms).unwrap();
    let identity = named(name);
    let matched = ring.matches_credential(identity.serial(), &identity, secret.as_bytes());
    matched.is_some()
}

fn has_credential(ledger: &Ledger, name: &str) -> bool {
    let identity = named(name);
    let ring = ledger.ring(0).unwrap();
    ring.has_credential(identity.serial(), &identity)
}

fn use_credential(ledger: &mut Ledger, secret: &str) -> Plan {
    let basis = Basis::Credential(digest(secret).id());
    ledger.used(&[basis].into())
}

#[test]
fn a_device_has_one_credential_wherever_it_stands() {
    let mut ledger = ledger();
    for name in ["1001", "alice/1001", "2001", "bob/2001", "alice/door"] {
        let error = ledger.add_credential(named(name), &digest("new"), 6);
        let error = error.unwrap_err();
        assert!(matches!(error, VaultError::AlreadyThere { .. }), "{name}");
    }
    for name in ["bob/door", "1002"] {
        assert!(
            ledger
                .add_credential(named(name), &digest("new"), 6)
                .is_ok()
        );
    }
    assert!(matches(&ledger, "bob/1001", "1001", 0));
    assert!(!matches(&ledger, "door", "alice/door", 0));
}

#[test]
fn what_stands_in_the_configuration_is_changed_there() {
    let mut ledger = ledger();
    let two = named("2001");
    let refused = [
        ledger.rotate_credential(&two, &digest("new"), 6, 9),
        ledger.remove(&[named("1001"), two.clone()], None),
        ledger.begin_tls(two, &digest("new"), 6, 9),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(VaultError::Configured(_))));
    }
}

#[test]
fn a_link_key_is_of_a_serial_number() {
    let mut ledger = ledger();
    let error = ledger.add_key(&named("door"), key(9)).unwrap_err();
    assert!(matches!(error, VaultError::NoSerial(_)), "{error}");
    let error = ledger.rotate_key(&named("door"), key(9), 6, 9).unwrap_err();
    assert!(matches!(error, VaultError::NoSerial(_)), "{error}");
    let error = ledger.add_key(&named("7"), key(9)).unwrap_err();
    assert!(matches!(error, VaultError::AlreadyThere { .. }), "{error}");
    let error = ledger.rotate_key(&named("8"), key(9), 6, 9).unwrap_err();
    assert!(matches!(error, VaultError::NotThere { .. }), "{error}");
}

#[test]
fn the_list_tells_every_proof_by_name() {
    let mut ledger = ledger();
    let seven = named("7");
    let _ = ledger.rotate_key(&seven, key(8), 6, 9).unwrap();
    let _ = ledger
        .rotate_credential(&named("1001"), &digest("new"), 6, 9)
        .unwrap();
    let list = ledger.list();
    let rows: Vec<_> = list
        .iter()
        .map(|row| {
            let identity = row.identity.to_string();
            let marks = (row.in_file, row.rotating, row.created_unix_ms);
            (identity, row.kind, marks)
        })
        .collect();
    let credential = SecretKind::Credential;
    let expected = [
        ("1001", credential, (false, true, 6)),
        ("2001", credential, (true, false, 0)),
        ("7", SecretKind::LinkKey, (false, true, 0)),
        ("alice/door", credential, (false, false, 5)),
    ];
    assert_eq!(
        rows,
        expected.map(|(name, kind, marks)| (name.to_owned(), kind, marks))
    );
}

#[test]
fn removal_names_the_first_that_has_none() {
    let of = |names: &[&str], kind| {
        let names: Vec<_> = names.iter().map(|name| named(name)).collect();
        ledger().remove(&names, kind)
    };
    let text = |names: &[&str], kind| of(names, kind).unwrap_err().to_string();
    let (credential, link_key) = (Some(SecretKind::Credential), Some(SecretKind::LinkKey));
    assert_eq!(text(&["1001", "7"], credential), "7 has no credential here");
    assert_eq!(text(&["7", "1001"], link_key), "1001 has no link key here");
    let text_of_both = text(&["1001", "7", "9"], None);
    assert_eq!(text_of_both, "9 has no credential or link key here");
    assert_eq!(
        text(&["bob/1001"], None),
        "bob/1001 has no credential or link key here"
    );
    // A name is not looked for by its device alone.
    assert_eq!(
        text(&["door"], None),
        "door has no credential or link key here"
    );
    assert!(of(&["1001", "7", "7"], None).is_ok());
}

#[test]
fn a_removal_is_whole_and_can_be_undone() {
    let mut ledger = ledger();
    let _ = ledger.rotate_key(&named("7"), key(8), 6, 9).unwrap();
    let plan = ledger
        .remove(&[named("7"), named("alice/door")], None)
        .unwrap();
    let (steps, store) = plan.into_parts();
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].step, FileStep::Remove(id(7)));
    let undo = [
        FileStep::Write(id(7), key(7)),
        FileStep::WriteProvisional(id(7), key(8), Some(9)),
    ];
    assert_eq!(steps[0].undo, undo);
    let gone = RecordKey::Credential(named("alice/door"));
    assert_eq!(store, Some(StoreChange::DeleteRecords(vec![gone])));
    assert_eq!(ledger.ring(0).unwrap().link_key(key(7).id()), None);
}

#[test]
fn a_credential_of_enable_ssl_shuts_nothing_before_it_is_confirmed() {
    let mut ledger = ledger();
    let device = named("alice/3001");
    let begin = |ledger: &mut Ledger, secret: &str| {
        let plan = ledger.begin_tls(device.clone(), &digest(secret), 6, 99);
        assert!(!plan.unwrap().is_empty());
    };
    begin(&mut ledger, "first");
    assert!(matches(&ledger, "alice/3001", "first", 0));
    assert!(
        !has_credential(&ledger, "3001"),
        "the fleet key opens it still"
    );
    begin(&mut ledger, "second");
    assert!(matches(&ledger, "alice/3001", "first", 0));
    assert!(matches(&ledger, "alice/3001", "second", 0));
    assert!(!has_credential(&ledger, "3001"));

    let abandoned = {
        let mut ledger = ledger.clone();
        let _ = ledger.abandon_tls(&device);
        assert!(!matches(&ledger, "alice/3001", "second", 0));
        assert!(matches(&ledger, "alice/3001", "first", 0));
        let _ = ledger.abandon_tls(&device);
        ledger
    };
    assert!(!matches(&abandoned, "alice/3001", "first", 0));

    assert!(!ledger.confirm_tls(&device).unwrap().is_empty());
    assert!(ledger.confirm_tls(&device).unwrap().is_empty());
    assert!(has_credential(&ledger, "3001"));
    assert!(
        matches(&ledger, "alice/3001", "first", 0),
        "until its first use"
    );
    assert!(!use_credential(&mut ledger, "second").is_empty());
    assert!(!matches(&ledger, "alice/3001", "first", 0));
    assert!(
        ledger.abandon_tls(&device).is_empty(),
        "the device has used it"
    );
    assert!(!ledger.withdraw_tls(&device).is_empty());
    assert!(ledger.withdraw_tls(&device).is_empty());
    assert!(!has_credential(&ledger, "3001"));
    let error = ledger.confirm_tls(&device).unwrap_err();
    assert!(matches!(error, VaultError::NotThere { .. }), "{error}");
}

#[test]
fn a_first_use_confirms_the_credential_of_enable_ssl() {
    let mut ledger = ledger();
    let _ = ledger
        .begin_tls(named("3001"), &digest("new"), 6, 99)
        .unwrap();
    assert!(!use_credential(&mut ledger, "new").is_empty());
    assert!(has_credential(&ledger, "3001"));
    assert!(use_credential(&mut ledger, "new").is_empty());
}

#[test]
fn disable_ssl_leaves_what_somebody_made_by_hand() {
    let mut ledger = ledger();
    let _ = ledger
        .begin_tls(named("alice/1001"), &digest("new"), 6, 99)
        .unwrap();
    assert!(matches(&ledger, "1001", "1001", 0), "the one before holds");
    let _ = ledger.confirm_tls(&named("bob/1001")).unwrap();
    assert!(ledger.withdraw_tls(&named("1001")).is_empty());

    let _ = ledger
        .begin_tls(named("3001"), &digest("new"), 6, 99)
        .unwrap();
    let rotated = ledger.rotate_credential(&named("3001"), &digest("by hand"), 7, 99);
    assert!(!rotated.unwrap().is_empty());
    assert!(ledger.withdraw_tls(&named("3001")).is_empty());
}

#[test]
fn an_offered_key_opens_its_device_beside_the_fleet_key() {
    let mut ledger = ledger();
    assert_eq!(ledger.offered_key(id(8)), None);
    let _ = ledger.offer_key(id(8), key(18));
    assert_eq!(ledger.offered_key(id(8)), Some(key(18)));
    let ring = ledger.ring(u64::MAX).unwrap();
    assert!(!ring.has_device_key(id(8)), "an offer has no end");
    let owner = ring.link_key(key(18).id()).map(|(_, owner)| owner);
    assert_eq!(owner, Some(KeyOwner::Device(id(8))));
    let error = ledger.rotate_key(&named("8"), key(28), 6, 9).unwrap_err();
    assert!(matches!(error, VaultError::Enrolling(_)), "{error}");

    assert!(
        ledger.retract_key(id(8), key(17).id()).is_empty(),
        "another key"
    );
    let mut retracted = ledger.clone();
    assert!(!retracted.retract_key(id(8), key(18).id()).is_empty());
    assert_eq!(retracted.list().len(), ledger.list().len() - 1);

    let (steps, _) = ledger.accept_key(id(8), key(18).id()).into_parts();
    assert_eq!(steps[0].step, FileStep::Promote(id(8)));
    assert!(ledger.ring(0).unwrap().has_device_key(id(8)));
    assert!(ledger.accept_key(id(8), key(18).id()).is_empty());
    assert!(ledger.retract_key(id(8), key(18).id()).is_empty());
}

#[test]
fn what_was_stored_is_the_same_after_a_restart() {
    let mut before = ledger();
    let plan = before.rotate_credential(&named("1001"), &digest("new"), 6, 50);
    let (_, store) = plan.unwrap().into_parts();
    let Some(StoreChange::PutRecords(records)) = store else {
        panic!("{store:?}");
    };
    let credentials = records.into_iter().map(|record| match record {
        Record::Credential(credential) => credential,
        other => panic!("{other:?}"),
    });
    let after = Ledger::new(InFiles::default(), credentials.collect());
    for (secret, unix_ms, holds) in [
        ("new", 0, true),
        ("new", 99, true),
        ("1001", 49, true),
        ("1001", 50, false),
    ] {
        assert_eq!(
            matches(&after, "1001", secret, unix_ms),
            holds,
            "{secret} at {unix_ms}"
        );
    }
    assert_eq!(after.next_expiry(), Some(50));
}

/// What happens to the secret of one device.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new one is made; the old one holds for so long.
    Rotate(u64),
    /// The device comes in with the newest.
    UseNew,
    /// The device comes in with what it has.
    UseOld,
    Wait(u64),
    /// The vault looks at the clock.
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20u64).prop_map(Step::Rotate),
        2 => Just(Step::UseNew),
        1 => Just(Step::UseOld),
        3 => (0..20u64).prop_map(Step::Wait),
        1 => Just(Step::Expire),
    ]
}

/// The kinds behave alike, so one test drives both.
#[derive(Clone, Copy, Debug)]
struct Driven(SecretKind);

impl Driven {
    fn name(self) -> Identity {
        match self.0 {
            SecretKind::Credential => named("alice/door"),
            SecretKind::LinkKey => named("7"),
        }
    }

    /// Secret 0 is the one that the device has at first.
    fn secret(self, number: u8) -> (CredentialDigest, LinkKey) {
        let text = match number {
            0 => "alice/door".to_owned(),
            number => format!("secret {number}"),
        };
        (digest(&text), key(100 + number))
    }

    fn rotate(self, ledger: &mut Ledger, number: u8, now: u64, until: u64) {
        let (digest, key) = self.secret(number);
        let plan = match self.0 {
            SecretKind::Credential => ledger.rotate_credential(&self.name(), &digest, now, until),
            SecretKind::LinkKey => ledger.rotate_key(&self.name(), key, now, until),
        };
        assert!(!plan.unwrap().is_empty());
    }

    fn basis(self, number: u8) -> Basis {
        let (digest, key) = self.secret(number);
        match self.0 {
            SecretKind::Credential => Basis::Credential(digest.id()),
            SecretKind::LinkKey => Basis::LinkKey(key.id()),
        }
    }

    fn holds(self, ledger: &Ledger, number: u8, now: u64) -> bool {
        ledger.ring(now).unwrap().still_holds(self.basis(number))
    }
}

proptest! {
    /// What the device has used holds until it has used a newer one or its time is over, the
    /// newest always, and after that nothing else does.
    #[test]
    fn a_rotation_never_leaves_a_device_without_a_secret(
        of_key: bool,
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let kind = if of_key { SecretKind::LinkKey } else { SecretKind::Credential };
        let driven = Driven(kind);
        let mut ledger = ledger();
        if of_key {
            let _ = ledger.remove(&[named("7")], None).unwrap();
            let _ = ledger.add_key(&named("7"), driven.secret(0).1).unwrap();
        }
        let (mut now, mut newest, mut held, mut until) = (0, 0, 0, None);
        for step in steps {
            match step {
                Step::Rotate(grace) => {
                    if until.is_some_and(|until| until <= now) {
                        // What had its time over is not the device's any more.
                        held = newest;
                    }
                    newest += 1;
                    until = Some(now + grace);
                    driven.rotate(&mut ledger, newest, now, now + grace);
                }
                Step::UseNew => {
                    let _ = ledger.used(&[driven.basis(newest)].into());
                    (held, until) = (newest, None);
                }
                Step::UseOld if held != newest => {
                    let plan = ledger.used(&[driven.basis(held)].into());
                    prop_assert!(plan.is_empty(), "an old secret ends nothing");
                }
                Step::UseOld => {}
                Step::Wait(time) => now += time,
                Step::Expire => drop(ledger.expire(now)),
            }
            let is_over = until.is_some_and(|until| until <= now);
            prop_assert!(driven.holds(&ledger, newest, now));
            for number in 0..newest {
                let holds = number == held && !is_over;
                prop_assert_eq!(driven.holds(&ledger, number, now), holds, "secret {}", number);
            }
            let rotating = ledger.list().into_iter().any(|row| row.rotating);
            prop_assert!(rotating || until.is_none() || is_over);
        }
    }
}
