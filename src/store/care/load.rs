//! `store import`: a store built from an export, which then takes the place of the old one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use super::{Care, CareError, cannot, caught, dump};
use crate::clock;
use crate::device::{DeviceId, Status};
use crate::event::StatusEvent;
use crate::registry::StoreChange;
use crate::registry::records::AuditEntry;
use crate::store::bucket::{BucketName, Point};
use crate::store::bucket_index::Index;
use crate::store::coverage::Run;
use crate::store::desired::Desired;
use crate::store::disk::survey::{Kind, Meta};
use crate::store::disk::{Disk, DiskError, Older, SCHEMA};
use crate::store::export_line::{self, Head, Line};
use crate::store::limits::Limits;
use crate::store::points::Points;
use crate::store::property::Property;
use crate::store::{export, files, swap};

/// So many lines are written in one batch.
const AT_ONCE: usize = 1000;
/// No line is longer, in bytes: a property and a point have far less.
const LINE_MAX: u64 = 16 << 20;

/// What was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many lines there were, by kind.
    pub lines: BTreeMap<&'static str, u64>,
    /// Where the store lies now that was there before.
    pub replaced: Option<PathBuf>,
}

/// What the store that is there already has.
#[derive(Default)]
struct Old {
    meta: Meta,
    /// In words; `None` when nothing is in it that could be missed.
    contents: Option<String>,
}

impl Care {
    /// Builds a store from an export and puts it into the place of the one that is there. That must
    /// be empty, unless `replace`: then it is kept beside. `progress` is told how many bytes were
    /// read.
    ///
    /// # Errors
    /// [`CareError`]; the old store is in its place then.
    pub fn import(
        &self,
        from: &mut dyn BufRead,
        replace: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Imported, CareError> {
        let old = self.old();
        if let (false, Some(contents)) = (replace, old.contents.clone()) {
            return Err(CareError::NotEmpty {
                directory: self.layout.directory().to_owned(),
                contents,
            });
        }
        let exported = files::first_line(&self.layout.export());
        let exported = exported.map_err(cannot("read", &self.layout.export()))?;
        let groups = export::groups(&exported).max(old.meta.groups.unwrap_or(0));
        let built = self.layout.building();
        let new_export = self.layout.building_export();
        let reserved = old.meta.events_reserved.unwrap_or(0);
        let loaded = build(&built, from, progress)
            .and_then(|loader| loader.seal(reserved, groups, &new_export));
        if loaded.is_err() {
            swap::settle(&self.layout).map_err(cannot("tidied up", self.layout.directory()))?;
        }
        let lines = loaded?;
        let replaced = self.take_place(&built, old.contents.is_some())?;
        // The store stands without it; a gateway writes it again soon after its start.
        let export = self.layout.export();
        fs::rename(&new_export, &export).map_err(cannot("written", &export))?;
        Ok(Imported { lines, replaced })
    }

    /// The old store lies under a name of its own at every instant, also after a kill.
    fn take_place(&self, built: &Path, keep_old: bool) -> Result<Option<PathBuf>, CareError> {
        if !keep_old {
            swap::put_in_place(&self.layout, built).map_err(cannot("put in place", built))?;
            files::remove_directory(built).map_err(cannot("removed", built))?;
            return Ok(None);
        }
        let aside = self.layout.replaced(clock::now().unix_ms / 1000);
        fs::rename(built, &aside).map_err(cannot("renamed", built))?;
        swap::put_in_place(&self.layout, &aside).map_err(cannot("put in place", &aside))?;
        Ok(Some(aside))
    }

    /// A damaged store is one more reason to replace it.
    fn old(&self) -> Old {
        let store = self.layout.store();
        if !store.exists() {
            return Old::default();
        }
        caught(|| look(&Disk::attach(&store, Older::Taken)?)).unwrap_or_else(|error| Old {
            contents: Some(format!("what cannot be read: {error}")),
            ..Old::default()
        })
    }
}

fn look(disk: &Disk) -> Result<Old, DiskError> {
    let (meta, mut bad) = disk.meta()?;
    let mut counts = Vec::new();
    for kind in Kind::DESIRED.into_iter().chain([Kind::Points]) {
        let mut count = 0u64;
        bad.extend(disk.each_item(kind, &mut |_| {
            count += 1;
            Ok(())
        })?);
        // A gateway stores a filter that lets nobody in; whoever set none misses nothing.
        if count > 0 && kind != Kind::AcceptFilter {
            counts.push(format!("{count} in {}", kind.as_str()));
        }
    }
    if !bad.is_empty() {
        counts.push(format!("{} that do not decode", bad.len()));
    }
    let contents = (!counts.is_empty()).then(|| counts.join(", "));
    Ok(Old { meta, contents })
}

/// A store that is being built.
struct Loader {
    disk: Disk,
    head: Head,
    desired: Desired,
    properties: Vec<Property>,
    coverage: Option<(u64, Vec<Run>)>,
    last_statuses: Vec<(DeviceId, Status)>,
    events: Vec<StatusEvent>,
    newest_event: u64,
    points: Vec<(BucketName, Point)>,
    buckets: Points,
    audit: Vec<AuditEntry>,
    newest_entry: u64,
    lines: BTreeMap<&'static str, u64>,
    is_whole: bool,
}

fn build(
    built: &Path,
    from: &mut dyn BufRead,
    progress: &mut dyn FnMut(u64),
) -> Result<Loader, CareError> {
    let (mut number, mut bytes, mut line) = (0, 0, Vec::new());
    let mut loader: Option<Loader> = None;
    loop {
        line.clear();
        let read = from.take(LINE_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(CareError::Export)? as u64;
        if read == 0 {
            break;
        }
        number += 1;
        bytes += read;
        let bad = |problem: String| CareError::Line {
            line: number,
            problem,
        };
        if read == LINE_MAX {
            return Err(bad(format!("it has more than {LINE_MAX} bytes")));
        }
        match &mut loader {
            None => {
                let head = head(&line).map_err(bad)?;
                let disk = caught(|| Disk::attach(built, Older::Refused));
                loader = Some(Loader::new(disk.map_err(CareError::Build)?, head));
            }
            Some(loader) => {
                loader.take(&line, number).map_err(bad)?;
                caught(|| loader.write(AT_ONCE)).map_err(CareError::Build)?;
            }
        }
        progress(bytes);
    }
    let problem = match loader {
        Some(loader) if loader.is_whole() => return Ok(loader),
        Some(_) => {
            "the export ends here, and its last line, which says so, is missing: it was cut off"
        }
        None => "the export is empty",
    };
    Err(CareError::Line {
        line: number + 1,
        problem: problem.to_owned(),
    })
}

fn head(line: &[u8]) -> Result<Head, String> {
    let head = export_line::head(line)
        .map_err(|problem| format!("it does not begin an export: {problem}"))?;
    if !(1..=dump::FORMAT).contains(&head.gatehouse_export) {
        return Err(format!(
            "gatehouse_export: the format is {} and this gateway knows 1 to {}",
            head.gatehouse_export,
            dump::FORMAT
        ));
    }
    if head.schema.is_some_and(|schema| schema > SCHEMA) {
        return Err(format!(
            "schema: a newer gateway wrote it (schema {}, and this one knows up to {SCHEMA})",
            head.schema.unwrap_or_default()
        ));
    }
    Ok(head)
}

/// Whatever the export holds is kept; the gateway applies its limits.
fn no_limits() -> Limits {
    Limits {
        properties_max: usize::MAX,
        property_max_bytes: usize::MAX,
        buckets_max: usize::MAX,
        bucket_keep_max: u64::MAX,
        bucket_keep_for: std::time::Duration::MAX,
    }
}

impl Loader {
    fn new(disk: Disk, head: Head) -> Self {
        Self {
            disk,
            head,
            desired: Desired::default(),
            properties: Vec::new(),
            coverage: None,
            last_statuses: Vec::new(),
            events: Vec::new(),
            newest_event: 0,
            points: Vec::new(),
            buckets: Points::new(no_limits(), Index::default()),
            audit: Vec::new(),
            newest_entry: 0,
            lines: BTreeMap::new(),
            is_whole: false,
        }
    }

    /// Format 1 has no last line.
    fn is_whole(&self) -> bool {
        self.is_whole || self.head.gatehouse_export == 1
    }

    fn take(&mut self, line: &[u8], number: u64) -> Result<(), String> {
        if self.is_whole {
            return Err("it stands behind the last line of the export".to_owned());
        }
        let line = export_line::parse(line)?;
        let kind = line.kind();
        let is_record = !matches!(line, Line::Coverage(_) | Line::End(_));
        match line {
            Line::Property(property) => self.properties.push(property.property()?),
            Line::Coverage(coverage) => self.coverage = Some(coverage.coverage()?),
            Line::LastStatus(status) => self.last_statuses.push(status.last_status()?),
            Line::Event(event) => {
                let event = event.event()?;
                ascending("event.number", &mut self.newest_event, event.number)?;
                self.events.push(event);
            }
            Line::Point(point) => self.points.push(point.point()?),
            Line::Audit(entry) => {
                let entry = entry.entry();
                ascending("audit.number", &mut self.newest_entry, entry.number)?;
                self.audit.push(entry);
            }
            Line::End(end) => {
                let before = number - 1;
                if end.lines != before {
                    let told = end.lines;
                    return Err(format!(
                        "end.lines: {told} lines should come before, {before} do"
                    ));
                }
                self.is_whole = true;
            }
            line => export::take(line, &mut self.desired)?,
        }
        if is_record {
            *self.lines.entry(kind).or_default() += 1;
        }
        Ok(())
    }

    /// Writes what has come, of each kind of which there are so many.
    fn write(&mut self, at_once: usize) -> Result<(), DiskError> {
        if self.properties.len() >= at_once {
            self.disk
                .put_properties(&std::mem::take(&mut self.properties))?;
        }
        if self.last_statuses.len() >= at_once {
            self.disk
                .put_last_statuses(&std::mem::take(&mut self.last_statuses))?;
        }
        if self.events.len() >= at_once {
            self.disk.put_events(&std::mem::take(&mut self.events))?;
        }
        if self.points.len() >= at_once {
            self.buckets
                .load(&self.disk, std::mem::take(&mut self.points))?;
        }
        if self.audit.len() >= at_once {
            let entries = std::mem::take(&mut self.audit);
            self.disk.write_audit(entries.iter(), 0..0)?;
        }
        Ok(())
    }

    /// Writes the rest. `reserved`: event numbers below were given out by the old store; `groups`:
    /// so many groups of changes an older export may know of. Writes the export of it as well, and
    /// tells how many lines there were of each kind.
    ///
    /// Neither number is moved on here, so that an export of it has the bytes that were imported.
    /// Both stores may have gone on since then: the next start passes over what they gave out.
    fn seal(
        mut self,
        reserved: u64,
        groups: u64,
        export: &Path,
    ) -> Result<BTreeMap<&'static str, u64>, CareError> {
        self.desired.events_reserved = self.head.events_reserved.max(reserved);
        self.desired.groups = self.head.groups.max(groups);
        caught(|| self.write_rest(export)).map_err(CareError::Build)?;
        Ok(self.lines)
    }

    fn write_rest(&mut self, export: &Path) -> Result<(), DiskError> {
        self.write(0)?;
        for change in self.desired.repair(&Desired::default()).changes {
            for part in parts(change) {
                self.disk.apply(&part)?;
            }
        }
        self.disk
            .begin_imported(&self.desired, self.coverage.as_ref())?;
        self.disk.sync()?;
        files::replace_with(export, |file| {
            file.write_all(&export::write(&self.desired))?;
            let line = |property| file.write_all(&export::property_line(&property));
            self.disk.each_property(line)
        })
    }
}

fn ascending(field: &str, newest: &mut u64, number: u64) -> Result<(), String> {
    if number <= *newest {
        return Err(format!("{field}: {number} does not come after {newest}"));
    }
    *newest = number;
    Ok(())
}

/// One change as several: a batch takes memory while it is written.
fn parts(change: StoreChange) -> Vec<StoreChange> {
    match change {
        StoreChange::PutDevices(devices) => {
            let parts = devices.chunks(AT_ONCE);
            parts
                .map(|part| StoreChange::PutDevices(part.to_vec()))
                .collect()
        }
        StoreChange::PutRecords(records) => {
            let parts = records.chunks(AT_ONCE);
            parts
                .map(|part| StoreChange::PutRecords(part.to_vec()))
                .collect()
        }
        change => vec![change],
    }
}
