//! What the store's thread answers to questions.

use tokio::sync::oneshot;

use super::Worker;
use crate::clock;
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::event::{History, StatusEvent};
use crate::registry::NotStored;
use crate::registry::records::AuditEntry;
use crate::store::HISTORY_MAX;
use crate::store::bucket::{BucketInfo, BucketName, Point, Range};
use crate::store::disk::{Disk, DiskError};
use crate::store::inbox::{Query, Read};
use crate::store::property::Properties;

impl Worker {
    pub(super) fn answer(&mut self, query: Query) -> Result<(), DiskError> {
        match query {
            Query::Events {
                after,
                until,
                answer,
            } => self.answer_with(answer, |worker| worker.history(after, until)),
            Query::Audit { after, max, answer } => {
                self.answer_with(answer, |worker| worker.entries(after, max))
            }
            Query::Properties { device, answer } => {
                self.answer_with(answer, |worker| worker.read_all(device))
            }
            Query::Points {
                bucket,
                range,
                answer,
            } => self.answer_with(answer, |worker| worker.read_points(&bucket, &range)),
            Query::Buckets { owner, answer } => {
                self.answer_with(answer, |worker| worker.bucket_infos(&owner))
            }
        }
    }

    pub(super) fn read(&self, read: Read) -> Result<(), DiskError> {
        if read.answer.is_closed() {
            return Ok(());
        }
        let value = self.read_one(read.device, &read.name);
        self.tell(read.answer, value)
    }

    /// Answers who still waits.
    fn answer_with<T>(
        &mut self,
        answer: oneshot::Sender<Result<T, String>>,
        find: impl FnOnce(&mut Self) -> Result<T, DiskError>,
    ) -> Result<(), DiskError> {
        if answer.is_closed() {
            return Ok(());
        }
        let found = find(self);
        self.tell(answer, found)
    }

    /// Answers who asked; an error of a disk that is thought to work is ours as well.
    pub(super) fn tell<T, E: From<NotStored>>(
        &self,
        answer: oneshot::Sender<Result<T, E>>,
        found: Result<T, DiskError>,
    ) -> Result<(), DiskError> {
        let failed = found.as_ref().err().cloned();
        // Who asked may have gone away meanwhile.
        let _ = answer.send(found.map_err(|error| NotStored::from(error).into()));
        match failed {
            Some(error) if self.disk.is_some() => Err(error),
            _ => Ok(()),
        }
    }

    fn entries(&mut self, after: u64, max: usize) -> Result<Vec<AuditEntry>, DiskError> {
        self.write_audit(true)?;
        let disk = working(&self.disk, &self.problem)?;
        // Nobody may be told a number that a crash could give to another entry.
        disk.sync()?;
        disk.audit(after, max)
    }

    fn history(&mut self, after: u64, until: u64) -> Result<History, DiskError> {
        if !self.coverage.reaches(after, self.gathered.newest()) {
            return Ok(History::Gap);
        }
        let wanted = |event: &StatusEvent| event.number > after && event.number <= until;
        let mut events = Vec::new();
        for first in self.coverage.batches(after, until) {
            if events.len() >= HISTORY_MAX {
                break;
            }
            let disk = readable(&self.disk, &self.reading, &self.problem)?;
            let Some(batch) = disk.batch(first)? else {
                // The batch goes together with the note that the log does not reach behind it.
                self.coverage.lose_batch(first);
                disk.drop_batches(&[first], &self.coverage)?;
                return Ok(History::Gap);
            };
            events.extend(batch.into_iter().filter(wanted));
        }
        let room = HISTORY_MAX.saturating_sub(events.len());
        let gathered = self.gathered.iter().filter(|event| wanted(event));
        events.extend(gathered.take(room).cloned());
        events.truncate(HISTORY_MAX);
        Ok(History::Events(events))
    }

    fn read_one(&self, device: DeviceId, name: &str) -> Result<Option<Value>, DiskError> {
        match self.before.iter().find(|before| before.is_of(device, name)) {
            // Somebody was told that it is not changed.
            Some(before) => Ok(before.value()),
            None => self.readable()?.property(device, name),
        }
    }

    fn read_all(&self, device: DeviceId) -> Result<Properties, DiskError> {
        let mut properties = self.readable()?.properties(device)?;
        self.before
            .iter()
            .rev()
            .for_each(|before| before.put_back(device, &mut properties));
        Ok(properties)
    }

    fn read_points(&mut self, bucket: &BucketName, range: &Range) -> Result<Vec<Point>, DiskError> {
        let disk = readable(&self.disk, &self.reading, &self.problem)?;
        self.points.read(disk, bucket, range, clock::now().unix_ms)
    }

    fn bucket_infos(&mut self, owner: &str) -> Result<Vec<BucketInfo>, DiskError> {
        let disk = readable(&self.disk, &self.reading, &self.problem)?;
        self.points.infos(disk, owner, clock::now().unix_ms)
    }

    fn readable(&self) -> Result<&Disk, DiskError> {
        readable(&self.disk, &self.reading, &self.problem)
    }
}

/// The disk, or the one that a full disk left, which can be read; else why there is none.
fn readable<'a>(
    disk: &'a Option<Disk>,
    reading: &'a Option<Disk>,
    problem: &NotStored,
) -> Result<&'a Disk, DiskError> {
    let disk = disk.as_ref().or(reading.as_ref());
    disk.ok_or_else(|| problem.into())
}

/// The disk, or why it is not there.
pub(super) fn working<'a>(
    disk: &'a Option<Disk>,
    problem: &NotStored,
) -> Result<&'a Disk, DiskError> {
    disk.as_ref().ok_or_else(|| problem.into())
}
