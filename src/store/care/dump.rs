//! `store export`: the store as lines of JSON, in the order of its keys.
//!
//! The format is that of [`export`](crate::store::export), version 2: the head says more, there may
//! be the logs and the buckets as well, and the last line says how many come before it.

use std::io::{self, BufRead, Write};

use super::{Care, CareError, cannot, caught};
use crate::store::disk::survey::{Item, Kind, Undecodable};
use crate::store::disk::{Disk, DiskError, Older, SCHEMA};
use crate::store::export_line::{self, EndLine, Head, Line};
use crate::store::export_log::{AuditLine, CoverageLine, EventLine, LastStatusLine, PointLine};
use crate::store::{export, files};

/// The version of the format.
pub(super) const FORMAT: u32 = 2;

/// What is exported beside the desired state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The event log.
    pub events: bool,
    /// The points of buckets.
    pub buckets: bool,
    /// The audit log.
    pub audit: bool,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines, the first and the last one counted.
    pub lines: u64,
    /// Records that do not decode and are not in it.
    pub undecodable: Vec<Undecodable>,
}

/// Lines on their way out.
struct Lines<'a> {
    out: &'a mut dyn Write,
    count: u64,
    /// Why `out` took no more: what is read from the store fails in the same words.
    failed: Option<io::Error>,
}

impl<'a> Lines<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            count: 0,
            failed: None,
        }
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        self.count += 1;
        self.out.write_all(line).map_err(|error| {
            let again = error.raw_os_error().map(io::Error::from_raw_os_error);
            let again = again.unwrap_or_else(|| error.kind().into());
            self.failed = Some(error);
            again
        })
    }
}

impl Care {
    /// Writes the store to `out`.
    ///
    /// # Errors
    /// [`CareError::Disk`], [`CareError::Out`].
    pub fn export(&self, parts: Parts, out: &mut dyn Write) -> Result<Exported, CareError> {
        let mut lines = Lines::new(out);
        let done = caught(|| {
            let disk = Disk::attach(&self.layout.store(), Older::Taken)?;
            write(&disk, parts, &mut lines)
        });
        match lines.failed {
            Some(error) => Err(CareError::Out(error)),
            None => done.map_err(|error| self.not_opened(error)),
        }
    }
}

/// Writes what a running gateway exported last to `out`.
///
/// # Errors
/// [`CareError`].
pub fn export_running(
    directory: &std::path::Path,
    out: &mut dyn Write,
) -> Result<Exported, CareError> {
    let path = files::Layout::new(directory).export();
    let file = std::fs::File::open(&path).map_err(cannot("read", &path))?;
    let mut lines = Lines::new(out);
    let mut text = io::BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if text
            .read_until(b'\n', &mut line)
            .map_err(cannot("read", &path))?
            == 0
        {
            break;
        }
        let newer = match lines.count {
            0 => version_2(&line).map_err(|problem| CareError::Line { line: 1, problem })?,
            _ => std::mem::take(&mut line),
        };
        lines.put(&newer).map_err(CareError::Out)?;
    }
    end(&mut lines).map_err(CareError::Out)?;
    Ok(Exported {
        lines: lines.count,
        undecodable: Vec::new(),
    })
}

fn version_2(first_line: &[u8]) -> Result<Vec<u8>, String> {
    let head = export_line::head(first_line)?;
    Ok(export_line::text(&Head {
        gatehouse_export: FORMAT,
        schema: Some(SCHEMA),
        ..head
    }))
}

fn write(disk: &Disk, parts: Parts, lines: &mut Lines<'_>) -> Result<Exported, DiskError> {
    let (meta, mut undecodable) = disk.meta()?;
    lines.put(&export_line::text(&Head {
        gatehouse_export: FORMAT,
        groups: meta.groups.unwrap_or(0),
        events_reserved: meta.events_reserved.unwrap_or(0),
        schema: meta.schema,
        newest_unix_ms: disk.newest_unix_ms(parts.events, parts.audit)?,
    }))?;
    let mut kinds = Kind::DESIRED.to_vec();
    if parts.events {
        kinds.extend(Kind::EVENTS);
    }
    kinds.extend(parts.buckets.then_some(Kind::Points));
    kinds.extend(parts.audit.then_some(Kind::Audit));
    for kind in kinds {
        if let (Kind::Events, Some((floor, runs))) = (kind, &meta.coverage) {
            let coverage = CoverageLine::of(*floor, runs);
            lines.put(&export_line::text(&Line::Coverage(coverage)))?;
        }
        let bad = disk.each_item(kind, &mut |item| put(&item, lines))?;
        undecodable.extend(bad);
    }
    end(lines)?;
    Ok(Exported {
        lines: lines.count,
        undecodable,
    })
}

fn end(lines: &mut Lines<'_>) -> io::Result<()> {
    let end = EndLine { lines: lines.count };
    lines.put(&export_line::text(&Line::End(end)))
}

fn put(item: &Item, lines: &mut Lines<'_>) -> io::Result<()> {
    match item {
        Item::Device(device) => lines.put(&export::device_line(device)),
        Item::AcceptFilter(filter) => lines.put(&export::filter_line(filter)),
        Item::Identity(id, identity) => lines.put(&export::identity_line(*id, identity)),
        Item::Record(record) => lines.put(&export::record_line(record)),
        Item::Property(property) => lines.put(&export::property_line(property)),
        Item::LastStatus(device, status) => {
            let line = Line::LastStatus(LastStatusLine::of(*device, *status));
            lines.put(&export_line::text(&line))
        }
        Item::Events(events) => events.iter().try_for_each(|event| {
            lines.put(&export_line::text(&Line::Event(EventLine::of(event))))
        }),
        Item::Points(bucket, points) => points.iter().try_for_each(|point| {
            let line = Line::Point(PointLine::of(bucket, point));
            lines.put(&export_line::text(&line))
        }),
        Item::Audit(entry) => {
            let line = Line::Audit(AuditLine::of(entry));
            lines.put(&export_line::text(&line))
        }
    }
}
