//! The vault over real key files.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::testing::{Script, World, error, id, named, ok};
use super::*;
use crate::config::CredentialDigest;
use crate::device::LinkKind;
use crate::identity::{Basis, CredentialId, Identity, Secrets};
use crate::link::keyring::{Certificates, Credential, Keyring};
use crate::link::link_key::LinkKey;
use crate::session::KeyLookup;
use crate::session::requests::RequestError;
use crate::vault::key_store::KeyStore;

const DAY: Duration = Duration::from_secs(86_400);

fn matched(ring: &Keyring, name: &str, secret: &str) -> Option<CredentialId> {
    let identity = named(name);
    ring.matches_credential(identity.serial(), &identity, secret.as_bytes())
}

fn matches(vault: &Vault, name: &str, secret: &str) -> bool {
    matched(&vault.live().current(), name, secret).is_some()
}

fn link_key(text: &str) -> LinkKey {
    LinkKey::from_hex(text).unwrap()
}

async fn begin(vault: &Vault, device: &Identity) -> String {
    let begun = vault.begin_tls_credential(device.clone()).await;
    begun.unwrap().expect("none in the configuration")
}

fn opens(vault: &Vault, key: &LinkKey) -> bool {
    vault.live().find(key.id()).is_some()
}

#[tokio::test]
async fn secrets_hold_at_once_and_after_a_restart() {
    let world = World::default();
    let vault = world.vault();
    let secret = vault.add_credential(named("alice/door")).await.unwrap();
    let key = vault.add_link_key(named("7")).await.unwrap();
    assert_eq!((secret.len(), key.len()), (64, 64));
    assert_eq!(world.changes(), 2);
    for vault in [vault, world.vault()] {
        assert!(matches(&vault, "alice/door", &secret));
        assert!(!matches(&vault, "alice/door", &key));
        assert!(opens(&vault, &link_key(&key)));
        assert_eq!(vault.list().await.len(), 2);
    }
    let files = world.keys.load().unwrap();
    assert_eq!(files.keys.devices, [(id(7), link_key(&key))]);
}

#[tokio::test]
async fn nothing_changes_when_the_disk_refuses() {
    let world = World::default();
    let vault = world.vault();
    let secret = vault.add_credential(named("1001")).await.unwrap();
    let key = vault.add_link_key(named("7")).await.unwrap();
    let new_key = vault
        .rotate(named("7"), SecretKind::LinkKey, DAY)
        .await
        .unwrap();
    let (list, changes) = (vault.list().await, world.changes());

    world.refuse(true);
    let both = vec![named("7"), named("1001")];
    let refused = [
        vault.add_credential(named("1002")).await.err(),
        vault
            .rotate(named("1001"), SecretKind::Credential, DAY)
            .await
            .err(),
        vault.remove(both.clone(), None).await.err(),
        vault.begin_tls_credential(named("1001")).await.err(),
    ];
    for refused in refused {
        let text = refused.expect("refused").to_string();
        assert_eq!(
            text,
            "the change could not be stored: no space left on device"
        );
    }
    assert_eq!(world.changes(), changes, "nobody was told of anything");
    for vault in [&vault, &world.vault()] {
        assert_eq!(vault.list().await, list);
        assert!(matches(vault, "1001", &secret));
        assert!(opens(vault, &link_key(&key)) && opens(vault, &link_key(&new_key)));
    }

    world.refuse(false);
    vault.remove(both, None).await.unwrap();
    for vault in [&vault, &world.vault()] {
        assert!(vault.list().await.is_empty());
        assert!(!matches(vault, "1001", &secret));
        assert!(!opens(vault, &link_key(&key)) && !opens(vault, &link_key(&new_key)));
    }
}

#[tokio::test]
async fn a_key_file_that_cannot_be_written_changes_nothing() {
    let world = World::default();
    let vault = world.vault();
    // Somebody put a key there of which the vault has not heard.
    let other = LinkKey::new([9; 32]);
    world.keys.write(id(7), &other).unwrap();
    let error = vault.add_link_key(named("7")).await.unwrap_err();
    assert!(matches!(error, VaultError::KeyFile(_)), "{error}");
    assert_eq!(world.changes(), 0);
    assert!(vault.list().await.is_empty());
    let reloaded = vault.reload_files(vec![], Arc::default(), || ()).await;
    reloaded.unwrap();
    assert!(opens(&vault, &other));
}

#[tokio::test]
async fn the_registry_hears_that_a_removed_secret_holds_no_longer() {
    let world = World::default();
    let vault = world.vault();
    let secret = vault.add_credential(named("1001")).await.unwrap();
    let key = link_key(&vault.add_link_key(named("7")).await.unwrap());
    let of_credential = matched(&vault.live().current(), "1001", &secret).unwrap();
    let bases = [Basis::Credential(of_credential), Basis::LinkKey(key.id())];
    let newest = || Arc::clone(world.told.lock().unwrap().last().unwrap());
    assert!(bases.iter().all(|basis| newest().still_holds(*basis)));
    vault
        .remove(vec![named("1001"), named("7")], None)
        .await
        .unwrap();
    assert!(bases.iter().all(|basis| !newest().still_holds(*basis)));
    assert!(Arc::ptr_eq(&newest(), &vault.live().current()));
}

#[tokio::test]
async fn a_rotation_ends_with_the_first_use_or_by_time() {
    for ends_by_use in [true, false] {
        let world = World::default();
        let vault = world.vault();
        let old = vault.add_credential(named("1001")).await.unwrap();
        let old_key = link_key(&vault.add_link_key(named("7")).await.unwrap());
        let kind = SecretKind::Credential;
        let new = vault.rotate(named("1001"), kind, DAY).await.unwrap();
        let kind = SecretKind::LinkKey;
        let new_key = link_key(&vault.rotate(named("7"), kind, DAY).await.unwrap());
        let ring = vault.live().current();
        assert!(matches(&vault, "1001", &old) && matches(&vault, "1001", &new));
        assert!(opens(&vault, &old_key) && opens(&vault, &new_key));

        let now = crate::clock::now().unix_ms;
        vault.expire(now).await.unwrap();
        assert!(Arc::ptr_eq(&ring, &vault.live().current()), "not yet");
        if ends_by_use {
            let credential = CredentialDigest::of(new.as_bytes()).id();
            let used = [Basis::Credential(credential), Basis::LinkKey(new_key.id())];
            vault.used(used.into()).await.unwrap();
        } else {
            let tomorrow = now + u64::try_from(DAY.as_millis()).unwrap() + 60_000;
            world.refuse(true);
            vault.expire(tomorrow).await.unwrap_err();
            assert!(!matches(&vault, "1001", &old), "whatever the disk says");
            world.refuse(false);
            vault.expire(tomorrow).await.unwrap();
        }
        for vault in [&vault, &world.vault()] {
            assert!(!matches(vault, "1001", &old) && matches(vault, "1001", &new));
            assert!(!opens(vault, &old_key) && opens(vault, &new_key));
            assert!(vault.list().await.iter().all(|row| !row.rotating));
        }
        assert!(vault.next_expiry().await.is_none());
    }
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_has_gone() {
    let world = World::default();
    let vault = world.vault();
    let mut adding = Box::pin(vault.add_credential(named("1001")));
    // Polled once, so that it has begun.
    assert!(adding.as_mut().now_or_never().is_none());
    drop(adding);
    // Changes are made one after the other.
    vault.add_credential(named("1002")).await.unwrap();
    assert_eq!(vault.list().await.len(), 2);
    assert_eq!(world.records.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn files_that_do_not_go_together_are_refused_whole() {
    let world = World::default();
    let vault = world.vault();
    let secret = vault.add_credential(named("1001")).await.unwrap();
    let changes = world.changes();
    let configured = |name: &str| Credential {
        identity: named(name),
        any_owner: false,
        digest: CredentialDigest::of(b"configured"),
        previous: None,
        provisional: false,
    };
    let certificates = Arc::new(Certificates {
        issued: [id(5)].into(),
        ..Certificates::default()
    });
    let both = vec![configured("door"), configured("alice/1001")];
    let refused = || unreachable!("nothing is put in force");
    let error = vault.reload_files(both, Arc::clone(&certificates), refused);
    let error = error.await.unwrap_err().to_string();
    assert!(
        error.contains("1001 has two keys or credentials"),
        "{error}"
    );
    assert_eq!(world.changes(), changes);
    assert!(matches(&vault, "1001", &secret) && !matches(&vault, "door", "configured"));
    assert!(!vault.live().current().has_certificate(id(5)));

    // It is in force before anybody hears of it.
    let told = Arc::clone(&world.told);
    let put_in_force = move || assert_eq!(told.lock().unwrap().len(), changes);
    let only = vec![configured("door")];
    let reloaded = vault.reload_files(only, certificates, put_in_force).await;
    reloaded.unwrap();
    assert!(matches(&vault, "1001", &secret) && matches(&vault, "door", "configured"));
    assert!(vault.live().current().has_certificate(id(5)));
    assert_eq!(world.changes(), changes + 1);
    let begun = vault.begin_tls_credential(named("door")).await.unwrap();
    assert_eq!(begun, None, "the one of the configuration stays");
}

#[tokio::test]
async fn an_enrolled_device_stands_on_its_own_key() {
    let world = World::default();
    let (vault, script) = (world.vault(), Script::default());
    script.connect(id(7), LinkKind::Aes, ok());
    vault.enrol(&script, id(7)).await.unwrap();
    let [first] = script.given(id(7)).try_into().unwrap();
    for vault in [&vault, &world.vault()] {
        let ring = vault.live().current();
        assert!(
            ring.has_device_key(id(7)),
            "the fleet key opens it no longer"
        );
        assert_eq!(ring.dial_keys(Some(id(7))), [first.id()]);
    }

    // Again: the session may stand on the key that it was given before.
    vault.enrol(&script, id(7)).await.unwrap();
    let [_, second] = script.given(id(7)).try_into().unwrap();
    assert!(opens(&vault, &first) && opens(&vault, &second));
    vault
        .used([Basis::LinkKey(second.id())].into())
        .await
        .unwrap();
    assert!(!opens(&vault, &first) && opens(&vault, &second));
}

#[tokio::test]
async fn a_device_that_refuses_is_as_before() {
    let world = World::default();
    let (vault, script) = (world.vault(), Script::default());
    script.connect(id(7), LinkKind::Tls, error(403));
    let text = vault.enrol(&script, id(7)).await.unwrap_err().to_string();
    assert_eq!(text, "device 7 refused the link key with the code 403");
    let full = RequestError::TooMany { max: 1 };
    script.connect(id(7), LinkKind::Tls, Err(full));
    vault.enrol(&script, id(7)).await.unwrap_err();
    assert!(vault.list().await.is_empty());
    assert!(world.vault().list().await.is_empty());
    assert!(!vault.live().current().awaits_use());
}

#[tokio::test]
async fn a_device_that_does_not_answer_gets_in_either_way() {
    let world = World::default();
    let (vault, script) = (world.vault(), Script::default());
    for lost in [RequestError::TimedOut, RequestError::NotConnected] {
        script.connect(id(7), LinkKind::Aes, Err(lost));
        let failed = vault.enrol(&script, id(7)).await.unwrap_err();
        assert!(matches!(failed, EnrolError::NotAnswered { .. }), "{failed}");
    }
    let [offered] = script.given(id(7)).try_into().unwrap();
    for vault in [&vault, &world.vault()] {
        assert!(opens(vault, &offered));
        assert!(
            !vault.live().current().has_device_key(id(7)),
            "the fleet key too"
        );
    }
    // A device that refuses now may have taken it before.
    script.connect(id(7), LinkKind::Aes, error(500));
    vault.enrol(&script, id(7)).await.unwrap_err();
    let [again] = script.given(id(7)).try_into().unwrap();
    assert_eq!(again, offered);
    assert!(opens(&vault, &offered));
    script.connect(id(7), LinkKind::Aes, ok());
    vault.enrol(&script, id(7)).await.unwrap();
    assert!(vault.live().current().has_device_key(id(7)));
}

#[tokio::test]
async fn only_a_device_on_a_secured_link_is_enrolled() {
    let world = World::default();
    let (vault, script) = (world.vault(), Script::default());
    script.connect(id(7), LinkKind::Plain, ok());
    let plain = vault.enrol(&script, id(7)).await.unwrap_err();
    assert!(matches!(plain, EnrolError::PlainLink(_)), "{plain}");
    let away = vault.enrol(&script, id(8)).await.unwrap_err();
    assert!(matches!(away, EnrolError::NotConnected(_)), "{away}");
    assert!(script.given(id(7)).is_empty());
    assert_eq!(world.changes(), 0);
}

#[tokio::test]
async fn enable_ssl_goes_through_its_states() {
    let world = World::default();
    let vault = world.vault();
    let device = named("alice/3001");
    let secret = begin(&vault, &device).await;
    let has = |vault: &Vault| vault.live().current().has_credential(None, &device);
    for vault in [&vault, &world.vault()] {
        assert!(matches(vault, "alice/3001", &secret) && !has(vault));
    }
    vault.abandon_tls_credential(device.clone()).await.unwrap();
    assert!(!matches(&vault, "alice/3001", &secret));
    let secret = begin(&vault, &device).await;
    vault.confirm_tls_credential(device.clone()).await.unwrap();
    for vault in [&vault, &world.vault()] {
        assert!(matches(vault, "alice/3001", &secret) && has(vault));
    }
    vault.withdraw_tls_credential(device.clone()).await.unwrap();
    for vault in [&vault, &world.vault()] {
        assert!(!matches(vault, "alice/3001", &secret) && !has(vault));
    }
}
