//! `store check`: what is in the store, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Care, CareError, cannot, caught};
use crate::store::disk::survey::{Item, Kind, Meta, Undecodable};
use crate::store::disk::{DB_FILE, Disk, DiskError, Older, SCHEMA};
use crate::store::space::Bytes;
use crate::store::{export, files};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is damaged and nothing was set aside.
    pub sound: bool,
    /// Why the store cannot be opened, or that it has lost its newest changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Bytes of its files.
    pub bytes: u64,
    /// The schema that it is of …
    pub schema: Option<u32>,
    /// … and the one that this gateway writes.
    pub schema_written: u32,
    /// Groups of changes that were acknowledged.
    pub groups: Option<u64>,
    /// Those of which its export knows.
    pub groups_exported: u64,
    /// How many records there are, by tree.
    pub records: BTreeMap<&'static str, u64>,
    pub events: Events,
    pub points: u64,
    /// Records that do not decode.
    pub undecodable: Vec<Undecodable>,
    /// Records that a gateway found so and moved to the tree `quarantine`.
    pub set_aside: Vec<String>,
    /// Whole stores that a gateway set aside, in the data directory.
    pub stores_set_aside: Vec<String>,
}

/// The event log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    pub count: u64,
    /// Numbers of the oldest and the newest.
    pub first: Option<u64>,
    pub last: Option<u64>,
    /// Nobody can follow the log from a number below.
    pub followed_from: Option<u64>,
    /// Starts of the gateway that the log covers.
    pub runs: usize,
}

impl Care {
    /// Reads every record of a copy of the store, which is left as it is.
    ///
    /// # Errors
    /// [`CareError`] when it cannot be looked at: there is no space for the copy, a newer gateway
    /// wrote it, or the operating system refuses. Damage is no error.
    pub fn check(&self) -> Result<Report, CareError> {
        let store = self.layout.store();
        let bytes = files::size(&store).map_err(cannot("read", &store))?;
        let mut report = Report {
            bytes,
            schema_written: SCHEMA,
            ..Report::default()
        };
        let exported = files::first_line(&self.layout.export());
        let exported = exported.map_err(cannot("read", &self.layout.export()))?;
        report.groups_exported = export::groups(&exported);
        let aside = self.layout.quarantines();
        report.stores_set_aside = aside.map_err(cannot("read", self.layout.directory()))?;
        if store.join(DB_FILE).exists() {
            self.check_copy(&mut report)?;
        } else {
            report.damage = Some("its file db is missing".to_owned());
        }
        report.sound = report.damage.is_none()
            && report.undecodable.is_empty()
            && report.set_aside.is_empty()
            && report.stores_set_aside.is_empty();
        Ok(report)
    }

    /// sled mends on opening what a crash left; what is looked at must not be changed by that.
    fn check_copy(&self, report: &mut Report) -> Result<(), CareError> {
        let copy = self.layout.checking();
        let space = files::space(self.layout.directory());
        let free = space.map_err(cannot("read", self.layout.directory()))?.free;
        if free < report.bytes {
            let (needed, free) = (Bytes(report.bytes), Bytes(free));
            let problem =
                format!("a copy of it is looked at, which needs {needed}, and {free} are free");
            return Err(self.not_opened(DiskError::NoSpace(problem)));
        }
        let copied = files::copy_directory(&self.layout.store(), &copy);
        let looked = copied.map_err(DiskError::from).and_then(|()| {
            caught(|| {
                let disk = Disk::attach(&copy, Older::Taken)?;
                look(&disk, report)
            })
        });
        files::remove_directory(&copy).map_err(cannot("removed", &copy))?;
        match looked {
            Ok(()) => {}
            Err(DiskError::Damaged(problem)) => report.damage = Some(problem),
            Err(error) => return Err(self.not_opened(error)),
        }
        let found = report.groups.unwrap_or(0);
        if report.damage.is_none() && found < report.groups_exported {
            report.damage = Some(format!(
                "it has {found} groups of changes, and its export has {}: the newest are lost",
                report.groups_exported
            ));
        }
        Ok(())
    }
}

fn look(disk: &Disk, report: &mut Report) -> Result<(), DiskError> {
    let (meta, bad) = disk.meta()?;
    let Meta {
        schema,
        groups,
        coverage,
        ..
    } = meta;
    (report.schema, report.groups) = (schema, groups);
    report.undecodable = bad;
    if let Some((floor, runs)) = coverage {
        report.events.followed_from = runs.first().map(|run| run.base.max(floor));
        report.events.runs = runs.len();
    }
    let all = Kind::DESIRED.into_iter().chain(Kind::EVENTS);
    for kind in all.chain([Kind::Points, Kind::Audit]) {
        let (mut count, events, points) = (0, &mut report.events, &mut report.points);
        let bad = disk.each_item(kind, &mut |item| {
            count += 1;
            match item {
                Item::Events(batch) => {
                    events.count += batch.len() as u64;
                    events.first = events.first.or(batch.first().map(|event| event.number));
                    events.last = batch.last().map(|event| event.number);
                }
                Item::Points(_, batch) => *points += batch.len() as u64,
                _ => {}
            }
            Ok(())
        })?;
        report.records.insert(kind.as_str(), count);
        report.undecodable.extend(bad);
    }
    report.undecodable.extend(disk.unpaired_batches()?);
    report.set_aside = disk.set_aside()?;
    Ok(())
}
