//! The store's thread: takes what waits, writes it, tells what came of it.

mod answers;
mod buckets;
mod outage;

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry::KeyValue;

use crate::clock;
use crate::metrics::Meter;
use crate::registry::NotStored;
use crate::registry::records::AuditEntry;
use crate::store::audit::AuditLog;
use crate::store::ballast::Ballast;
use crate::store::coverage::{self, Coverage, Retention};
use crate::store::debounce::Debounce;
use crate::store::desired::Desired;
use crate::store::disk::properties::Before;
use crate::store::disk::{Disk, DiskError};
use crate::store::files::{self, Layout};
use crate::store::gather::Gathered;
use crate::store::inbox::{Inbox, Pending, PendingProperty, Work};
use crate::store::meters::{self, Meters, Waiting};
use crate::store::open::{self, Found};
use crate::store::points::Points;
use crate::store::property::PropertyError;
use crate::store::space::{Room, Space};
use crate::store::{Keeping, OnCommit, export};
use crate::time::Instant;
use crate::trace::Tracer;

/// So many events become one batch …
const BATCH_MAX: usize = 1000;
/// … or those that came within this time.
const GATHER: Duration = Duration::from_millis(50);
/// So long after a change of a property the export is written: it has all of them, and devices
/// may change some all the time.
const PROPERTIES_APART: Duration = Duration::from_secs(300);

pub struct Worker {
    layout: Layout,
    retention: Retention,
    /// `None` while the store is degraded.
    disk: Option<Disk>,
    /// Files that a full disk made unusable for writing: they can still be read.
    reading: Option<Disk>,
    space: Space,
    ballast: Ballast,
    /// When the free space is to be looked at again.
    measure_at: Instant,
    /// When the size of the store is to be looked at again.
    measure_size_at: Instant,
    meters: Meters,
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
    group: VecDeque<Grouped>,
    /// What was there before the changes of properties that are on their way to the disk.
    before: Vec<Before>,
    points: Points,
    /// When the oldest of the points that wait came.
    points_since: Instant,
    /// The batch of events that is being written.
    writing: Option<u64>,
    /// Why the store is degraded.
    problem: NotStored,
    tracer: Tracer,
    _lock: File,
}

/// A change of a group, and why it is not made, though the disk works.
struct Grouped {
    pending: Pending,
    refused: Option<NotStored>,
}

/// What the worker reports to.
struct Reports {
    inbox: Arc<Inbox>,
    on_commit: OnCommit,
}

impl Reports {
    fn tell(&self, pending: Pending, result: Result<(), NotStored>) {
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
            reading: None,
            space: Space::default(),
            ballast: found.ballast,
            measure_at: Instant::ZERO,
            measure_size_at: Instant::ZERO,
            meters: Meters::new(&Meter::off()),
            desired: found.desired,
            coverage: found.coverage,
            gathered: Gathered::default(),
            gathered_since: Instant::ZERO,
            audit: AuditLog::new(found.audit.stored, found.audit.base, retention.audit_max),
            audit_since: Instant::ZERO,
            export,
            properties_since: None,
            reopen_at: Instant::ZERO,
            reopen_after: outage::REOPEN_MIN,
            group: VecDeque::new(),
            before: Vec::new(),
            points: Points::new(retention.limits, found.buckets),
            points_since: Instant::ZERO,
            writing: None,
            problem: NotStored::Other(String::new()),
            tracer: Tracer::off(),
            _lock: found.lock,
        }
    }

    pub fn trace_with(&mut self, tracer: Tracer) {
        self.tracer = tracer;
    }

    /// Below so many free bytes what makes the store grow is refused.
    pub fn keep_free(&mut self, free_min: u64) {
        self.space = Space::new(free_min);
    }

    /// Other bounds count from now on.
    fn keep(&mut self, keeping: Keeping) {
        let Keeping {
            retention,
            free_min,
        } = keeping;
        self.retention = retention;
        self.audit.keep(retention.audit_max);
        self.points.keep(retention.limits);
        self.space.keep_free(free_min);
        self.measure_at = Instant::ZERO;
    }

    pub fn count(&mut self, meter: &Meter) {
        self.meters = Meters::new(meter);
        let exported = files::modified_unix_seconds(&self.layout.export());
        self.meters.exported.set(meters::sample(exported));
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
            reports.inbox.keep(self.kept());
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
        let group = work.changes.into_iter().map(|pending| Grouped {
            pending,
            refused: None,
        });
        self.group.extend(group);
        if let Some(keeping) = work.keeping {
            self.keep(keeping);
        }
        self.measure(reports);
        self.guarded(reports, |worker| worker.reopen(closing, reports));
        self.guarded(reports, |worker| worker.commit(reports));
        self.guarded(reports, |worker| worker.write_audit(closing));
        self.take_buckets(work.buckets, closing, reports);
        self.guarded(reports, |worker| worker.write_events(closing));
        if work.keeping.is_some() && self.space.room() != Room::Out {
            self.guarded(reports, Self::trim);
        }
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
            Ok(Err(error)) => error.into(),
            Err(panic) => open::panic_text(&*panic).into(),
        };
        self.degrade(problem, reports);
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
        if self.disk.is_none() {
            let problem = self.problem.clone();
            self.fail_group(&problem, reports);
            return Ok(());
        }
        for grouped in &mut self.group {
            grouped.refused = admitted(&self.space, &grouped.pending).err();
        }
        if self.group.iter().any(|grouped| grouped.refused.is_none()) {
            self.write_group()?;
        }
        while let Some(Grouped { pending, refused }) = self.group.pop_front() {
            reports.tell(pending, refused.map_or(Ok(()), Err));
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), DiskError> {
        let disk = answers::working(&self.disk, &self.problem)?;
        let (began, mut count) = (clock::now().instant, 0);
        let admitted = |grouped: &&mut Grouped| grouped.refused.is_none();
        for grouped in self.group.iter_mut().filter(admitted) {
            count += 1;
            match &mut grouped.pending {
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
        let now = clock::now().instant;
        self.meters.commit_seconds.record(now.since(began));
        self.meters.changes.record(meters::sample(count));
        self.desired.groups += 1;
        self.before.clear();
        let admitted = |grouped: &&Grouped| grouped.refused.is_none();
        for grouped in self.group.iter().filter(admitted) {
            match &grouped.pending {
                Pending::Registry(_, change) | Pending::Caller(change, _) => {
                    self.desired.apply(change);
                    self.export.changed(now);
                }
                Pending::Property(_) => {
                    self.properties_since.get_or_insert(now);
                }
            }
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
        let lost = |gathered: &Gathered| gathered.lost().map_or(0, |lost| lost.events);
        let lost_before = lost(&self.gathered);
        self.gathered.absorb(events);
        let newly_lost = lost(&self.gathered) - lost_before;
        self.meters.events_lost.increment(newly_lost);
        if let Some(lost) = self.gathered.lost() {
            self.coverage.lose(lost.through);
        }
    }

    fn write_events(&mut self, closing: bool) -> Result<(), DiskError> {
        let Some(disk) = self.disk.as_ref().filter(|_| closing || self.has_room()) else {
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
            self.meters.events.record(meters::sample(count as u64));
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
        let due = due && !self.audit.is_empty() && self.space.room() != Room::Out;
        let Some(disk) = self.disk.as_ref().filter(|_| due) else {
            return Ok(());
        };
        disk.write_audit(self.audit.waiting(), self.audit.trimmed())?;
        disk.flush()?;
        self.meters
            .audit
            .record(meters::sample(self.audit.len() as u64));
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
        if !due || !(closing || self.has_room()) {
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
                let unix_seconds = clock::now().unix_ms / 1000;
                self.meters.exported.set(meters::sample(unix_seconds));
            }
            Err(error) => {
                tracing::error!(%error, "the export of the store was not written");
                self.export.failed(now);
            }
        }
    }

    /// How long there is nothing to do unless something comes.
    fn pause(&self) -> Option<Duration> {
        let has_room = self.has_room();
        let events = (has_room && !self.gathered.is_empty()).then(|| self.gathered_since + GATHER);
        let audit = !self.audit.is_empty() && self.space.room() != Room::Out;
        let audit = audit.then(|| self.audit_since + GATHER);
        let points = (!self.points.is_empty()).then(|| self.points_since + GATHER);
        let write = match &self.disk {
            Some(_) => events.into_iter().chain(audit).chain(points).min(),
            None => Some(self.reopen_at),
        };
        let properties = self.properties_since.filter(|_| self.disk.is_some());
        let properties = properties.map(|since| since + PROPERTIES_APART);
        let exports = self.export.due().into_iter().chain(properties);
        let exports = exports.filter(|_| has_room);
        let next = write
            .into_iter()
            .chain(exports)
            .fold(self.look(), Instant::min);
        Some(next.since(clock::now().instant))
    }

    fn kept(&self) -> Waiting {
        Waiting {
            changes: self.group.len(),
            events: self.gathered.len(),
            audit: self.audit.len(),
        }
    }

    /// Whether what makes the store grow is written; it waits otherwise.
    fn has_room(&self) -> bool {
        self.space.room() == Room::Ample
    }

    fn outcome(&self) -> Result<(), String> {
        if self.disk.is_none() {
            return Err(self.problem.to_string());
        }
        if self.export.is_pending() {
            return Err("the export was not written".to_owned());
        }
        Ok(())
    }
}

/// Whether there is space for this change.
fn admitted(space: &Space, pending: &Pending) -> Result<(), NotStored> {
    match pending {
        Pending::Registry(_, change) | Pending::Caller(change, _) => space.admits(change),
        Pending::Property(property) => match property.change.pson {
            Some(_) => space.admits_growth(),
            None => space.admits_removal(),
        },
    }
}

/// However the thread ends, nobody waits for it in vain.
struct Ended<'a>(&'a Reports);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        for pending in self.0.inbox.end().changes {
            self.0.tell(pending, Err("the store has ended".into()));
        }
    }
}
