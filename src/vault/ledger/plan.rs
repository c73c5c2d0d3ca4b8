//! What a change of the books takes before it counts.

use crate::device::DeviceId;
use crate::link::link_key::LinkKey;
use crate::registry::StoreChange;
use crate::registry::records::{Record, RecordKey, StoredCredential};

/// Files first, then the store; if the store refuses, or a file, what was done is undone.
#[derive(Debug, Default)]
pub struct Plan {
    files: Vec<Reversible>,
    put: Vec<Record>,
    delete: Vec<RecordKey>,
}

/// A step, and what puts it back.
#[derive(Debug)]
pub struct Reversible {
    pub step: FileStep,
    pub undo: Vec<FileStep>,
}

/// One change of the key files of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileStep {
    Write(DeviceId, LinkKey),
    /// With the time until which the key before holds, in milliseconds since the Unix epoch.
    WriteProvisional(DeviceId, LinkKey, Option<u64>),
    Promote(DeviceId),
    DropProvisional(DeviceId),
    Remove(DeviceId),
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.put.is_empty() && self.delete.is_empty()
    }

    /// The steps on files, and what the store is to do after them.
    pub fn into_parts(self) -> (Vec<Reversible>, Option<StoreChange>) {
        let put = (!self.put.is_empty()).then_some(StoreChange::PutRecords(self.put));
        let delete = (!self.delete.is_empty()).then_some(StoreChange::DeleteRecords(self.delete));
        let store = match (put, delete) {
            (Some(put), Some(delete)) => Some(StoreChange::All(vec![put, delete])),
            (put, delete) => put.or(delete),
        };
        (self.files, store)
    }

    /// A step that can be repeated, or leaves nothing when it fails.
    pub(super) fn file(&mut self, step: FileStep) {
        let undo = Vec::new();
        self.files.push(Reversible { step, undo });
    }

    pub(super) fn reversible(&mut self, step: FileStep, undo: Vec<FileStep>) {
        self.files.push(Reversible { step, undo });
    }

    pub(super) fn put(&mut self, credential: &StoredCredential) {
        self.put.push(Record::Credential(credential.clone()));
    }

    pub(super) fn delete(&mut self, credential: &StoredCredential) {
        let identity = credential.identity.clone();
        self.delete.push(RecordKey::Credential(identity));
    }
}
