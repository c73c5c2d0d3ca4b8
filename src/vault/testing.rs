//! A vault on a disk of its own, with a store in memory that can refuse, and devices by script.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use tempfile::TempDir;

use crate::codec::message::Answer;
use crate::codec::pson::Value;
use crate::device::{DeviceId, LinkKind};
use crate::identity::Identity;
use crate::link::keyring::Keyring;
use crate::link::link_key::LinkKey;
use crate::link::seal::Sealer;
use crate::registry::records::{Record, RecordKey};
use crate::registry::{NotStored, StoreChange};
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};
use crate::vault::key_store::{KeyDir, KeyStore};
use crate::vault::{Devices, Surroundings, Vault};

/// What a gateway has beside its vault. A clone is the same.
#[derive(Clone)]
pub struct World {
    pub keys: KeyDir,
    pub records: Arc<Mutex<BTreeMap<RecordKey, Record>>>,
    /// The store refuses what it is given.
    pub refuses: Arc<AtomicBool>,
    /// Every keyring that the registry was told of.
    pub told: Arc<Mutex<Vec<Arc<Keyring>>>>,
    _directory: Arc<TempDir>,
}

impl Default for World {
    fn default() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            keys: KeyDir::new(directory.path().to_owned(), Sealer::new([9; 32])),
            records: Arc::default(),
            refuses: Arc::default(),
            told: Arc::default(),
            _directory: Arc::new(directory),
        }
    }
}

impl World {
    /// A vault as at the start of a gateway.
    pub fn vault(&self) -> Vault {
        let records = self.records.lock().expect("whole").clone();
        let stored = records.into_values().filter_map(|record| match record {
            Record::Credential(credential) => Some(credential),
            _ => None,
        });
        let vault = Vault::open(
            self.surroundings(),
            vec![],
            Arc::default(),
            stored.collect(),
        );
        vault.expect("a vault")
    }

    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// How many keyrings the registry was told of.
    pub fn changes(&self) -> usize {
        self.told.lock().expect("whole").len()
    }

    fn surroundings(&self) -> Surroundings {
        let (world, told) = (self.clone(), Arc::clone(&self.told));
        Surroundings {
            keys: Arc::new(self.keys.clone()) as Arc<dyn KeyStore>,
            commit: Box::new(move |change| {
                let result = world.commit(change);
                async move { result }.boxed()
            }),
            on_change: Box::new(move |ring| told.lock().expect("whole").push(ring)),
        }
    }

    fn commit(&self, change: StoreChange) -> Result<(), NotStored> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(NotStored::NoSpace("no space left on device".to_owned()));
        }
        let mut records = self.records.lock().expect("whole");
        match change {
            StoreChange::PutRecords(put) => {
                records.extend(put.into_iter().map(|record| (record.key(), record)));
            }
            StoreChange::DeleteRecords(keys) => keys.iter().for_each(|key| {
                records.remove(key);
            }),
            other => panic!("no change of the vault: {other:?}"),
        }
        Ok(())
    }
}

/// Devices that are connected, each with its link and what it answers when it is given a key.
#[derive(Clone, Default)]
pub struct Script {
    devices: Arc<Mutex<HashMap<DeviceId, Scripted>>>,
}

#[derive(Clone)]
struct Scripted {
    link: LinkKind,
    answer: Result<Answered, RequestError>,
    given: Vec<LinkKey>,
}

impl Script {
    pub fn connect(&self, id: DeviceId, link: LinkKind, answer: Result<Answered, RequestError>) {
        let scripted = Scripted {
            link,
            answer,
            given: Vec::new(),
        };
        self.devices.lock().expect("whole").insert(id, scripted);
    }

    /// The keys that a device was given, the newest last.
    pub fn given(&self, id: DeviceId) -> Vec<LinkKey> {
        self.devices.lock().expect("whole")[&id].given.clone()
    }
}

impl Devices for Script {
    fn link(&self, id: DeviceId) -> Option<LinkKind> {
        let devices = self.devices.lock().expect("whole");
        devices.get(&id).map(|device| device.link)
    }

    async fn ask(&self, id: DeviceId, request: Request) -> Result<Answered, RequestError> {
        let Request::Run { resource, payload } = request else {
            panic!("{request:?}");
        };
        assert_eq!(resource, "security/key");
        let payload = payload.expect("a payload");
        let Some(Value::Bytes(key)) = payload.get("key") else {
            panic!("no key");
        };
        let mut devices = self.devices.lock().expect("whole");
        let device = devices.get_mut(&id).ok_or(RequestError::NotConnected)?;
        let key = key.as_slice().try_into().expect("32 bytes");
        device.given.push(LinkKey::new(key));
        device.answer.clone()
    }
}

pub fn ok() -> Result<Answered, RequestError> {
    Ok(Answered::Ok(Answer::default()))
}

pub fn error(code: u64) -> Result<Answered, RequestError> {
    Ok(Answered::Error(Answer {
        parameters: Some(Value::Unsigned(code)),
        ..Answer::default()
    }))
}

pub fn id(id: u32) -> DeviceId {
    DeviceId::new(id).expect("not zero")
}

pub fn named(name: &str) -> Identity {
    let (owner, device) = name.split_once('/').unwrap_or(("", name));
    Identity::new(owner, device).expect("a name")
}
