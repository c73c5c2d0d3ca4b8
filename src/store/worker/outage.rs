//! What the store's thread does when the disk does not take what it is given, or soon will not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Reports, Worker};
use crate::clock;
use crate::registry::NotStored;
use crate::store::Health;
use crate::store::disk::{Disk, DiskError, Loaded, Older};
use crate::store::files;
use crate::store::meters::sample;
use crate::store::open;
use crate::store::space::Room;
use crate::time::Instant;

/// So long after a failure the files are opened again; doubled each time …
pub(super) const REOPEN_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const REOPEN_MAX: Duration = Duration::from_secs(10);
/// The free space is looked at before changes are written, at most this often: within it nobody
/// fills the usual reserve …
const MEASURE_BUSY: Duration = Duration::from_millis(10);
/// … this often while there is too little of it …
const MEASURE_SHORT: Duration = Duration::from_secs(1);
/// … and this often when nothing is to be done.
const MEASURE_IDLE: Duration = Duration::from_secs(10);

impl Worker {
    /// Looks how much space there is, if that is due.
    pub(super) fn measure(&mut self, reports: &Reports) {
        let now = clock::now().instant;
        if now < self.measure_at {
            return;
        }
        self.measure_at = now + MEASURE_BUSY;
        let before = self.space.room();
        let told = files::space(self.layout.directory()).ok();
        self.space.measured(told.map(|told| told.free));
        if let Some(told) = told {
            self.meters.filesystem_free.set(sample(told.free));
            self.meters.filesystem_size.set(sample(told.size));
        }
        self.measure_size(now);
        self.keep_ballast();
        let room = self.space.room();
        if room == before {
            return;
        }
        match room {
            Room::Ample => tracing::info!("there is space again and everything is stored"),
            Room::Low => tracing::error!(
                space = %self.space,
                "changes and points of buckets are refused and status events wait until there is space; \
                 removals are still stored"
            ),
            Room::Out => tracing::error!(
                space = %self.space,
                "nothing is stored until there is space"
            ),
        }
        self.tell_health(reports);
    }

    /// Keeps space for a start again, once there is plenty.
    fn keep_ballast(&mut self) {
        let plenty = self.ballast.wanted().saturating_mul(2);
        let has_plenty = self.has_room() && self.space.free().is_some_and(|free| free >= plenty);
        if has_plenty && self.disk.is_some() && !self.ballast.is_whole() {
            self.ballast.keep();
        }
    }

    fn measure_size(&mut self, now: Instant) {
        if now >= self.measure_size_at {
            self.measure_size_at = now + MEASURE_IDLE;
            let size = files::size(&self.layout.store());
            self.meters.size.set(sample(size.unwrap_or(0)));
        }
    }

    /// When the free space is to be looked at again though nothing comes.
    pub(super) fn look(&self) -> Instant {
        let is_short = !self.has_room() || self.disk.is_none();
        let pause = if is_short {
            MEASURE_SHORT
        } else {
            MEASURE_IDLE
        };
        self.measure_at + pause
    }

    pub(super) fn degrade(&mut self, problem: NotStored, reports: &Reports) {
        let problem = self.named(problem);
        self.meters.failed(&problem);
        tracing::error!(%problem, again_in = ?self.reopen_after, "the store does not work; its files will be opened again");
        if let Some(disk) = self.disk.take() {
            self.set_down(disk, &problem);
        }
        if let Some(first) = self.writing.take() {
            self.coverage.take_back(first);
        }
        self.reopen_at = clock::now().instant + self.reopen_after;
        self.reopen_after = (self.reopen_after * 2).min(REOPEN_MAX);
        self.fail_group(&problem, reports);
        self.points.fail(&problem);
        self.problem = problem;
        self.tell_health(reports);
    }

    /// On a full disk sled also fails in words of its own.
    fn named(&mut self, problem: NotStored) -> NotStored {
        let told = files::space(self.layout.directory());
        self.space.measured(told.ok().map(|told| told.free));
        match problem {
            NotStored::Other(text) if !self.space.may_reopen() => NotStored::NoSpace(text),
            problem => problem,
        }
    }

    /// Keeps files that a full disk made unusable for those who read, and closes others.
    fn set_down(&mut self, disk: Disk, problem: &NotStored) {
        match problem {
            NotStored::NoSpace(_) => self.reading = Some(disk),
            NotStored::Other(_) => close(disk),
        }
    }

    pub(super) fn fail_group(&mut self, problem: &NotStored, reports: &Reports) {
        while let Some(grouped) = self.group.pop_front() {
            reports.tell(grouped.pending, Err(problem.clone()));
        }
    }

    /// Opens the files again if that is due. What is found there may be more than was
    /// acknowledged or, of events, less; both are put right before anything else is written.
    pub(super) fn reopen(&mut self, closing: bool, reports: &Reports) -> Result<(), DiskError> {
        let now = clock::now().instant;
        if self.disk.is_some() || !(closing || self.reopen_at <= now) {
            return Ok(());
        }
        if matches!(self.problem, NotStored::NoSpace(_)) && !closing && !self.space.may_reopen() {
            // They would fail again, and could not be read meanwhile.
            self.reopen_at = now + MEASURE_SHORT;
            return Ok(());
        }
        if let Some(disk) = self.reading.take() {
            close(disk);
        }
        let (disk, loaded) = open::open_guarded(&self.layout.store(), Older::Taken)?;
        if let Err(error) = self.put_right(&disk, loaded) {
            let problem = NotStored::from(error.clone());
            self.set_down(disk, &problem);
            return Err(error);
        }
        tracing::info!("the store works again");
        self.disk = Some(disk);
        self.reopen_after = REOPEN_MIN;
        self.tell_health(reports);
        Ok(())
    }

    fn put_right(&mut self, disk: &Disk, loaded: Loaded) -> Result<(), DiskError> {
        let repair = self.desired.repair(&loaded.desired);
        repair
            .changes
            .iter()
            .try_for_each(|change| disk.apply(change))?;
        disk.remove_identities(&repair.stray_identities)?;
        disk.take_back(&self.before)?;
        if loaded.desired.groups < self.desired.groups {
            open::restore_properties(&self.layout, disk, loaded.desired.groups)?;
        }
        disk.count_groups(self.desired.groups)?;
        let mut stray = self.coverage.reconcile(&loaded.batches);
        stray.extend(loaded.damaged_batches);
        disk.drop_batches(&stray, &self.coverage)?;
        disk.sync()?;
        self.before.clear();
        self.points.found(loaded.buckets);
        Ok(())
    }

    fn tell_health(&self, reports: &Reports) {
        let health = match (&self.disk, &self.problem) {
            (None, NotStored::NoSpace(problem)) => Health::NoSpace(problem.clone()),
            (None, NotStored::Other(problem)) => Health::Degraded(problem.clone()),
            (Some(_), _) if self.has_room() => Health::Good,
            (Some(_), _) => Health::NoSpace(self.space.to_string()),
        };
        let is_full = matches!(health, Health::NoSpace(_));
        self.meters.full.set(f64::from(u8::from(is_full)));
        self.meters
            .healthy
            .set(f64::from(u8::from(self.disk.is_some())));
        reports.inbox.set_health(health);
    }
}

/// sled writes while it is dropped, and can panic over what made it fail.
fn close(disk: Disk) {
    if catch_unwind(AssertUnwindSafe(|| drop(disk))).is_err() {
        tracing::error!("the store panicked again while it was closed");
    }
}
