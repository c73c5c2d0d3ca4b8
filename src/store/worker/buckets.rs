//! What the store's thread does with buckets.

use super::answers::working;
use super::{BATCH_MAX, GATHER, Reports, Worker};
use crate::clock;
use crate::store::bucket::BucketName;
use crate::store::disk::DiskError;
use crate::store::inbox::BucketOrder;
use crate::store::meters::sample;

impl Worker {
    /// Takes points and removals of buckets in their order, and writes points when that is due.
    pub(super) fn take_buckets(
        &mut self,
        orders: Vec<BucketOrder>,
        closing: bool,
        reports: &Reports,
    ) {
        for order in orders {
            match order {
                BucketOrder::Append(point) => {
                    if let Err(problem) = self.space.admits_growth() {
                        point.refuse(problem);
                        continue;
                    }
                    if self.points.is_empty() {
                        self.points_since = clock::now().instant;
                    }
                    self.points.push(point);
                }
                BucketOrder::Delete(bucket, answer) => {
                    self.guarded(reports, |worker| worker.write_points(true));
                    self.guarded(reports, |worker| {
                        let done = worker.delete_bucket(&bucket);
                        worker.tell(answer, done)
                    });
                }
            }
        }
        self.guarded(reports, |worker| worker.write_points(closing));
    }

    pub(super) fn write_points(&mut self, at_once: bool) -> Result<(), DiskError> {
        let now = clock::now();
        let due = at_once || self.points_since + GATHER <= now.instant;
        let Some(disk) = &self.disk else {
            self.points.fail(&self.problem);
            return Ok(());
        };
        if !due && self.points.len() < BATCH_MAX {
            return Ok(());
        }
        let count = self.points.len() as u64;
        self.points.write(disk, now.unix_ms)?;
        if count > 0 {
            self.meters.points.record(sample(count));
        }
        Ok(())
    }

    fn delete_bucket(&mut self, bucket: &BucketName) -> Result<(), DiskError> {
        let disk = working(&self.disk, &self.problem)?;
        self.space
            .admits_removal()
            .map_err(|problem| DiskError::from(&problem))?;
        self.points.delete(disk, bucket)
    }
}
