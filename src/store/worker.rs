//! The store's thread: takes what waits, writes it, tells what came of it.

mod answers;
mod buckets;

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry::KeyValue;

use crate::clock;
use crate::registry::records::AuditEntry;
use crate::store::audit::AuditLog;
use crate::store::coverage::{self, Coverage, Retention};
use crate::store::debounce::Debounce;
use crate::store::desired::Desired;
use crate::store::disk::properties::Before;
use crate::store::disk::{Disk, DiskError};
use crate::store::files::{self, Layout};
use crate::store::gather::Gathered;
use crate::store::inbox::{Inbox, Pending, PendingProperty, Work};
use crate::store::open::{self, Found};
use crate::store::points::Points;
use crate::store::property::PropertyError;
use crate::store::{Health, OnCommit, export};
use crate::time::Instant;
use crate::trace::Tracer;

/// So many events become one batch …
const BATCH_MAX: usize = 1000;
/// … or those that came within this time.
const GATHER: Duration = Duration::from_millis(50);
/// So long after a change of a property the export is written: it has all of them, and devices
/// may change some all the time.
const PROPERTIES_APART: Duration = Duration::from_secs(300);
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
    /// When the oldest change of a property came that `export` was not told of.
    properties_since: Option<Instant>,
    reopen_at: Instant,
    reopen_after: Duration,
    /// Changes of the group that is being written.
    group: VecDeque<Pending>,
    /// What was there before the changes of properties that are on their way to the disk.
    before: Vec<Before>,
    points: Points,
    /// When the oldest of the points that wait came.
    points_since: Instant,
    /// The batch of events that is being written.
    writing: Option<u64>,
    /// Why the store is degraded.
    problem: String,
    tracer: Tracer,
    _lock: File,
}

/// What the worker reports to.
struct Reports {
    inbox: Arc<Inbox>,
    on_commit: OnCommit,
}

impl Reports {
    fn tell(&self, pending: Pending, result: Result<(), String>) {
        // Who asked may have gone away meanwhile.
        match pending {
            Pending::Registry(id, _) => (self.on_commit)(id, result),
            Pending::Caller(_, answer) => drop(answer.send(result)),
            Pending::Property(PendingProperty {
                refused, answer, ..
            }) => {
                let result = result.map_err(PropertyError::NotStored);
                let _ = answer.send(result.and(refused.map_or(Ok(()), Err)));
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
            properties_since: None,
            reopen_at: Instant::ZERO,
            reopen_after: REOPEN_MIN,
            group: VecDeque::new(),
            before: Vec::new(),
            points: Points::new(retention.limits, found.buckets),
            points_since: Instant::ZERO,
            writing: None,
            problem: String::new(),
            tracer: Tracer::off(),
            _lock: found.lock,
        }
    }

    pub fn trace_with(&mut self, tracer: Tracer) {
        self.tracer = tracer;
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
        self.take_buckets(work.buckets, closing, reports);
        self.guarded(reports, |worker| worker.write_events(closing));
        for read in work.reads {
            self.guarded(reports, |worker| worker.read(read));
        }
        for query in work.queries {
            self.guarded(reports, |worker| worker.answer(query));
        }
        self.guarded(reports, |worker| {
            worker.write_export(closing);
            Ok(())
        });
        // Told at the end of the round: all that could have held the thread up is behind it.
        for probe in work.probes {
            let _ = probe.send(());
        }
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
        self.points.fail(&problem);
        self.problem.clone_from(&problem);
        reports.inbox.set_health(Health::Degraded(problem));
    }

    fn fail_group(&mut self, problem: &str, reports: &Reports) {
        while let Some(pending) = self.group.pop_front() {
            reports.tell(pending, Err(problem.to_owned()));
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
        disk.take_back(&self.before)?;
        if loaded.desired.groups < self.desired.groups {
            open::restore_properties(&self.layout, &disk, loaded.desired.groups)?;
        }
        disk.count_groups(self.desired.groups)?;
        let mut stray = self.coverage.reconcile(&loaded.batches);
        stray.extend(loaded.damaged_batches);
        disk.drop_batches(&stray, &self.coverage)?;
        disk.sync()?;
        self.before.clear();
        self.points.found(loaded.buckets);
        tracing::info!("the store works again");
        self.disk = Some(disk);
        self.reopen_after = REOPEN_MIN;
        reports.inbox.set_health(Health::Good);
        Ok(())
    }

    /// A group of changes, if one waits.
    fn commit(&mut self, reports: &Reports) -> Result<(), DiskError> {
        if self.group.is_empty() {
            return Ok(());
        }
        let changes = i64::try_from(self.group.len()).unwrap_or(i64::MAX);
        let attributes = || vec![KeyValue::new("changes", changes)];
        let span = self.tracer.root("store commit", Duration::ZERO, attributes);
        let done = self.commit_group(reports);
        if let (Some(span), Err(error)) = (span, &done) {
            span.failed(&error.to_string());
        }
        done
    }

    /// Writes the whole group, has it on the platter, and only then acknowledges any of it.
    fn commit_group(&mut self, reports: &Reports) -> Result<(), DiskError> {
        let Some(disk) = &self.disk else {
            let problem = std::mem::take(&mut self.problem);
            self.fail_group(&problem, reports);
            self.problem = problem;
            return Ok(());
        };
        for pending in &mut self.group {
            match pending {
                Pending::Registry(_, change) | Pending::Caller(change, _) => disk.apply(change)?,
                Pending::Property(property) => {
                    let max = self.retention.limits.properties_max;
                    match disk.change_property(&property.change, max)? {
                        Ok(before) => self.before.push(before),
                        Err(refused) => property.refused = Some(refused),
                    }
                }
            }
        }
        disk.count_groups(self.desired.groups + 1)?;
        disk.sync()?;
        self.desired.groups += 1;
        self.before.clear();
        let now = clock::now().instant;
        for pending in &self.group {
            match pending {
                Pending::Registry(_, change) | Pending::Caller(change, _) => {
                    self.desired.apply(change);
                    self.export.changed(now);
                }
                Pending::Property(_) => {
                    self.properties_since.get_or_insert(now);
                }
            }
        }
        while let Some(pending) = self.group.pop_front() {
            reports.tell(pending, Ok(()));
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
        let now_unix_ms = clock::now().unix_ms;
        let trimmed = self.coverage.trim(self.retention, now_unix_ms);
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        if !trimmed.is_empty() {
            disk.drop_batches(&trimmed, &self.coverage)?;
        }
        self.points.trim_all(disk, now_unix_ms)
    }

    fn write_export(&mut self, closing: bool) {
        let now = clock::now().instant;
        // Without the disk they cannot be read.
        let waited = self.properties_since.filter(|_| self.disk.is_some());
        if waited.is_some_and(|since| closing || since + PROPERTIES_APART <= now) {
            self.properties_since = None;
            self.export.changed(now);
        }
        let due = self.export.due().is_some_and(|due| closing || due <= now);
        if !due {
            return;
        }
        let path = self.layout.export();
        let wrote = files::replace_with(&path, |file| {
            file.write_all(&export::write(&self.desired))?;
            match &self.disk {
                Some(disk) => {
                    disk.each_property(|property| file.write_all(&export::property_line(&property)))
                }
                None => Ok(files::copy_lines(&path, file, export::is_property_line)?),
            }
        });
        match wrote {
            Ok(()) => {
                self.properties_since = self.properties_since.filter(|_| self.disk.is_none());
                self.export.done(now);
            }
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
        let points = (!self.points.is_empty()).then(|| self.points_since + GATHER);
        let write = match &self.disk {
            Some(_) => events.into_iter().chain(audit).chain(points).min(),
            None => Some(self.reopen_at),
        };
        let properties = self.properties_since.filter(|_| self.disk.is_some());
        let properties = properties.map(|since| since + PROPERTIES_APART);
        let exports = self.export.due().into_iter().chain(properties);
        let next = write.into_iter().chain(exports).min()?;
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
            self.0.tell(pending, Err("the store has ended".to_owned()));
        }
    }
}
