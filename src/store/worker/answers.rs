//! What the store's thread answers to questions.

use tokio::sync::oneshot;

use super::Worker;
use crate::clock;
use crate::device::DeviceId;
use crate::event::{History, StatusEvent};
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
        let disk = working(&self.disk, &self.problem);
        let value = disk.and_then(|disk| disk.property(read.device, &read.name));
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
    pub(super) fn tell<T>(
        &self,
        answer: oneshot::Sender<Result<T, String>>,
        found: Result<T, DiskError>,
    ) -> Result<(), DiskError> {
        let failed = found.as_ref().err().cloned();
        // Who asked may have gone away meanwhile.
        let _ = answer.send(found.map_err(|error| error.to_string()));
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
            let disk = working(&self.disk, &self.problem)?;
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

    fn read_all(&self, device: DeviceId) -> Result<Properties, DiskError> {
        working(&self.disk, &self.problem)?.properties(device)
    }

    fn read_points(&mut self, bucket: &BucketName, range: &Range) -> Result<Vec<Point>, DiskError> {
        let disk = working(&self.disk, &self.problem)?;
        self.points.read(disk, bucket, range, clock::now().unix_ms)
    }

    fn bucket_infos(&mut self, owner: &str) -> Result<Vec<BucketInfo>, DiskError> {
        let disk = working(&self.disk, &self.problem)?;
        self.points.infos(disk, owner, clock::now().unix_ms)
    }
}

/// The disk, or why it is not there.
pub(super) fn working<'a>(disk: &'a Option<Disk>, problem: &str) -> Result<&'a Disk, DiskError> {
    let refused = || DiskError::Refused(problem.to_owned());
    disk.as_ref().ok_or_else(refused)
}
