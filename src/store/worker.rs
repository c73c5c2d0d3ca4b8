//! The store's thread: takes what waits, writes it, tells what came of it.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock;
use crate::event::History;
use crate::event::StatusEvent;
use crate::registry::records::AuditEntry;
use crate::store::audit::AuditLog;
use crate::store::coverage::{self, Coverage, Retention};
use crate::store::debounce::Debounce;
use crate::store::desired::Desired;
use crate::store::disk::{Disk, DiskError};
use crate::store::files::{self, Layout};
use crate::store::gather::Gathered;
use crate::store::inbox::{AskedBy, Inbox, Pending, Query, Work};
use crate::store::open::{self, Found};
use crate::store::{HISTORY_MAX, Health, OnCommit, export};
use crate::time::Instant;

/// So many events become one batch …
const BATCH_MAX: usize = 1000;
/// … or those that came within this time.
const GATHER: Duration = Duration::from_millis(50);
/// So long after a failure the files are opened again; doubled each time …
const REOPEN_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const REOPEN_MAX: Duration = Duration::from_secs(10);

pub struct Worker {
    layout: Layout,
    retention: Retention,
    /// `None` while the store is degraded.
    disk: Option<Disk>,
    desired: Desired,
    coverage: Coverage,
    gathered: Gathered,
    /// When the oldest of `gathered` came.
    gathered_since: Instant,
    audit: AuditLog,
    /// When the oldest of the entries that wait came.
    audit_since: Instant,
    export: Debounce,
    reopen_at: Instant,
    reopen_after: Duration,
    /// Changes of the group that is being written.
    group: VecDeque<Pending>,
    /// The batch of events that is being written.
    writing: Option<u64>,
    /// Why the store is degraded.
    problem: String,
    _lock: File,
}

/// What the worker reports to.
struct Reports {
    inbox: Arc<Inbox>,
    on_commit: OnCommit,
}

impl Reports {
    fn tell(&self, asked_by: AskedBy, result: Result<(), String>) {
        match asked_by {
            AskedBy::Registry(id) => (self.on_commit)(id, result),
            AskedBy::Caller(answer) => {
                // Who asked may have gone away meanwhile.
                let _ = answer.send(result);
            }
        }
    }
}

impl Worker {
    pub fn new(found: Found, retention: Retention) -> Self {
        let mut export = Debounce::default();
        // The reservation of numbers that opening made.
        export.changed(clock::now().instant);
        Self {
            layout: found.layout,
            retention,
            disk: Some(found.disk),
            desired: found.desired,
            coverage: found.coverage,
            gathered: Gathered::default(),
            gathered_since: Instant::ZERO,
            audit: AuditLog::new(found.audit.stored, found.audit.base, retention.audit_max),
            audit_since: Instant::ZERO,
            export,
            reopen_at: Instant::ZERO,
            reopen_after: REOPEN_MIN,
            group: VecDeque::new(),
            writing: None,
            problem: String::new(),
            _lock: found.lock,
        }
    }

    pub fn spawn(
        self,
        inbox: Arc<Inbox>,
        on_commit: OnCommit,
    ) -> std::io::Result<JoinHandle<Result<(), String>>> {
        let reports = Reports { inbox, on_commit };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || self.run(&reports))
    }

    fn run(mut self, reports: &Reports) -> Result<(), String> {
        let _ended = Ended(reports);
        self.guarded(reports, Self::trim);
        loop {
            let work = reports.inbox.wait(self.pause());
            let closing = work.closing;
            self.round(work, reports);
            if closing {
                return self.outcome();
            }
        }
    }

    /// Commits come first, because somebody waits for them.
    fn round(&mut self, work: Work, reports: &Reports) {
        let closing = work.closing;
        self.take_events(work.events);
        self.take_audit(work.audit);
        self.group.extend(work.changes);
        self.guarded(reports, |worker| worker.reopen(closing, reports));
        self.guarded(reports, |worker| worker.commit(reports));
        self.guarded(reports, |worker| worker.write_audit(closing));
        self.guarded(reports, |worker| worker.write_events(closing));
        for query in work.queries {
            self.guarded(reports, |worker| worker.answer(query));
        }
        self.write_export(closing);
    }

    /// Takes one step; an error or a panic makes the store degraded and costs nothing else.
    fn guarded(
        &mut self,
        reports: &Reports,
        step: impl FnOnce(&mut Self) -> Result<(), DiskError>,
    ) {
        let problem = match catch_unwind(AssertUnwindSafe(|| step(self))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => open::panic_text(&*panic),
        };
        self.degrade(problem, reports);
    }

    fn degrade(&mut self, problem: String, reports: &Reports) {
        tracing::error!(%problem, again_in = ?self.reopen_after, "the store does not work; its files will be opened again");
        // sled writes while it is dropped, and can panic over what made it fail.
        let disk = self.disk.take();
        if catch_unwind(AssertUnwindSafe(|| drop(disk))).is_err() {
            tracing::error!("the store panicked again while it was closed");
        }
        if let Some(first) = self.writing.take() {
            self.coverage.take_back(first);
        }
        self.reopen_at = clock::now().instant + self.reopen_after;
        self.reopen_after = (self.reopen_after * 2).min(REOPEN_MAX);
        self.fail_group(&problem, reports);
        self.problem.clone_from(&problem);
        reports.inbox.set_health(Health::Degraded(problem));
    }

    fn fail_group(&mut self, problem: &str, reports: &Reports) {
        while let Some(pending) = self.group.pop_front() {
            reports.tell(pending.asked_by, Err(problem.to_owned()));
        }
    }

    /// Opens the files again if that is due. What is found there may be more than was
    /// acknowledged or, of events, less; both are put right before anything else is written.
    fn reopen(&mut self, closing: bool, reports: &Reports) -> Result<(), DiskError> {
        let due = closing || self.reopen_at <= clock::now().instant;
        if self.disk.is_some() || !due {
            return Ok(());
        }
        let (disk, loaded) = open::open_guarded(&self.layout.store())?;
        let repair = self.desired.repair(&loaded.desired);
        repair
            .changes
            .iter()
            .try_for_each(|change| disk.apply(change))?;
        disk.remove_identities(&repair.stray_identities)?;
        disk.count_groups(self.desired.groups)?;
        let mut stray = self.coverage.reconcile(&loaded.batches);
        stray.extend(loaded.damaged_batches);
        disk.drop_batches(&stray, &self.coverage)?;
        disk.sync()?;
        tracing::info!("the store works again");
        self.disk = Some(disk);
        self.reopen_after = REOPEN_MIN;
        reports.inbox.set_health(Health::Good);
        Ok(())
    }

    /// Writes the whole group, has it on the platter, and only then acknowledges any of it.
    fn commit(&mut self, reports: &Reports) -> Result<(), DiskError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let Some(disk) = &self.disk else {
            let problem = std::mem::take(&mut self.problem);
            self.fail_group(&problem, reports);
            self.problem = problem;
            return Ok(());
        };
        for pending in &self.group {
            disk.apply(&pending.change)?;
        }
        disk.count_groups(self.desired.groups + 1)?;
        disk.sync()?;
        self.desired.groups += 1;
        self.export.changed(clock::now().instant);
        for pending in &self.group {
            self.desired.apply(&pending.change);
        }
        while let Some(pending) = self.group.pop_front() {
            reports.tell(pending.asked_by, Ok(()));
        }
        Ok(())
    }

    fn take_events(&mut self, events: Gathered) {
        if events.is_empty() {
            return;
        }
        if self.gathered.is_empty() {
            self.gathered_since = clock::now().instant;
        }
        self.gathered.absorb(events);
        if let Some(lost) = self.gathered.lost() {
            self.coverage.lose(lost.through);
        }
    }

    fn write_events(&mut self, closing: bool) -> Result<(), DiskError> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let now = clock::now();
        let due = closing || self.gathered_since + GATHER <= now.instant;
        let mut wrote = false;
        while !self.gathered.is_empty() && (due || self.gathered.len() >= BATCH_MAX) {
            let count = self.gathered.len().min(BATCH_MAX);
            if let Some(batch) = coverage::batch(self.gathered.iter().take(count)) {
                self.writing = Some(batch.first);
                self.coverage.add(batch);
            }
            let trimmed = self.coverage.trim(self.retention, now.unix_ms);
            disk.write_events(&self.gathered, count, &self.coverage, &trimmed)?;
            self.writing = None;
            self.gathered.written(count);
            self.gathered_since = now.instant;
            wrote = true;
        }
        match (closing, wrote) {
            (true, _) => disk.sync(),
            (false, true) => disk.flush(),
            (false, false) => Ok(()),
        }
    }

    fn take_audit(&mut self, entries: Vec<AuditEntry>) {
        if self.audit.is_empty() {
            self.audit_since = clock::now().instant;
        }
        let offered = entries.len();
        let taken = entries
            .into_iter()
            .filter_map(|entry| self.audit.push(entry).then_some(()));
        let dropped = offered - taken.count();
        if dropped > 0 {
            tracing::error!(
                dropped,
                "entries of the audit log were dropped: too many wait for the disk"
            );
        }
    }

    fn write_audit(&mut self, now: bool) -> Result<(), DiskError> {
        let due = now || self.audit_since + GATHER <= clock::now().instant;
        let Some(disk) = self.disk.as_ref().filter(|_| due && !self.audit.is_empty()) else {
            return Ok(());
        };
        disk.write_audit(self.audit.waiting(), self.audit.trimmed())?;
        disk.flush()?;
        self.audit.written();
        Ok(())
    }

    fn trim(&mut self) -> Result<(), DiskError> {
        let trimmed = self.coverage.trim(self.retention, clock::now().unix_ms);
        match &self.disk {
            Some(disk) if !trimmed.is_empty() => disk.drop_batches(&trimmed, &self.coverage),
            _ => Ok(()),
        }
    }

    fn answer(&mut self, query: Query) -> Result<(), DiskError> {
        match query {
            Query::Events {
                after,
                until,
                answer,
            } if !answer.is_closed() => {
                let history = self.history(after, until);
                self.tell(answer, history)
            }
            Query::Audit { after, max, answer } if !answer.is_closed() => {
                let entries = self.entries(after, max);
                self.tell(answer, entries)
            }
            Query::Events { .. } | Query::Audit { .. } => Ok(()),
        }
    }

    /// Answers who asked; an error of a disk that is thought to work is ours as well.
    fn tell<T>(
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
        let disk = self.disk.as_ref();
        let disk = disk.ok_or_else(|| DiskError::Refused(self.problem.clone()))?;
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
            let disk = self.disk.as_ref();
            let disk = disk.ok_or_else(|| DiskError::Refused(self.problem.clone()))?;
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

    fn write_export(&mut self, closing: bool) {
        let now = clock::now().instant;
        let due = self.export.due().is_some_and(|due| closing || due <= now);
        if !due {
            return;
        }
        let text = export::write(&self.desired);
        match files::replace(&self.layout.export(), &text) {
            Ok(()) => self.export.done(now),
            Err(error) => {
                tracing::error!(%error, "the export of the store was not written");
                self.export.failed(now);
            }
        }
    }

    /// How long there is nothing to do unless something comes.
    fn pause(&self) -> Option<Duration> {
        let events = (!self.gathered.is_empty()).then(|| self.gathered_since + GATHER);
        let audit = (!self.audit.is_empty()).then(|| self.audit_since + GATHER);
        let write = match &self.disk {
            Some(_) => events.into_iter().chain(audit).min(),
            None => Some(self.reopen_at),
        };
        let next = write.into_iter().chain(self.export.due()).min()?;
        Some(next.since(clock::now().instant))
    }

    fn outcome(&self) -> Result<(), String> {
        if self.disk.is_none() {
            return Err(self.problem.clone());
        }
        if self.export.is_pending() {
            return Err("the export was not written".to_owned());
        }
        Ok(())
    }
}

/// However the thread ends, nobody waits for it in vain.
struct Ended<'a>(&'a Reports);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        for pending in self.0.inbox.end().changes {
            self.0
                .tell(pending.asked_by, Err("the store has ended".to_owned()));
        }
    }
}
