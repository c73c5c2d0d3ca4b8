//! What of the registry is shown to whoever scrapes: read from the published snapshot, so that the
//! registry is never asked.

use std::array;

use metrics::{Counter, Gauge, Histogram};

use crate::cause::CauseKind;
use crate::device::{ConnectionMode, LinkKind, Origin, Status};
use crate::identity::Proof;
use crate::metrics::{Meter, table};
use crate::registry::counts::{Counts, Observed};
use crate::registry::snapshot::Snapshot;

const STATUSES: usize = Status::ALL.len();
const MODES: usize = ConnectionMode::ALL.len();
const ORIGINS: usize = Origin::ALL.len();
const LINKS: usize = LinkKind::ALL.len();
const PROOFS: usize = Proof::ALL.len();

/// The handles of what a snapshot holds.
pub struct SnapshotMeters {
    devices: [[[Gauge; ORIGINS]; MODES]; STATUSES],
    sessions: [[[Gauge; PROOFS]; MODES]; LINKS],
    pending: Gauge,
    unproven: Gauge,
    refusals: Gauge,
    opened: [[Counter; MODES]; LINKS],
    closed: Vec<(CauseKind, Counter)>,
    connected: [Counter; MODES],
    failed: [Vec<(CauseKind, Counter)>; MODES],
    short: Counter,
    takeovers: Counter,
    dials_in_flight: Gauge,
    dials_queued: Gauge,
    backing_off: Gauge,
}

impl SnapshotMeters {
    pub fn new(meter: &Meter) -> Self {
        let mode = |index: usize| ConnectionMode::ALL[index].as_str();
        let devices = |status: usize, by: usize, origin: usize| {
            let (status, origin) = (Status::ALL[status], Origin::ALL[origin]);
            let labels = [status.as_str(), mode(by), origin.as_str()];
            meter.gauge(&table::DEVICES, &labels)
        };
        let sessions = |link: usize, by: usize, proof: usize| {
            let (link, proof) = (LinkKind::ALL[link], Proof::ALL[proof]);
            let proof = proof.as_str().replace(' ', "_");
            meter.gauge(&table::SESSIONS, &[link.as_str(), mode(by), &proof])
        };
        let opened = |link: usize, by: usize| {
            let labels = [LinkKind::ALL[link].as_str(), mode(by)];
            meter.counter(&table::SESSIONS_OPENED, &labels)
        };
        let attempts =
            |by: usize, outcome: &str| meter.counter(&table::ATTEMPTS, &[mode(by), outcome]);
        let failed = |by: usize| {
            let kinds = CauseKind::ALL.into_iter();
            kinds
                .map(|kind| (kind, attempts(by, kind.as_str())))
                .collect()
        };
        let closed = CauseKind::ALL.into_iter().map(|kind| {
            let counter = meter.counter(&table::SESSIONS_CLOSED, &[kind.as_str()]);
            (kind, counter)
        });
        Self {
            devices: array::from_fn(|status| {
                array::from_fn(|by| array::from_fn(|origin| devices(status, by, origin)))
            }),
            sessions: array::from_fn(|link| {
                array::from_fn(|by| array::from_fn(|proof| sessions(link, by, proof)))
            }),
            pending: meter.gauge(&table::PENDING_DEVICES, &[]),
            unproven: meter.gauge(&table::UNPROVEN_PEERS, &[]),
            refusals: meter.gauge(&table::REFUSALS, &[]),
            opened: array::from_fn(|link| array::from_fn(|by| opened(link, by))),
            closed: closed.collect(),
            connected: array::from_fn(|by| attempts(by, "connected")),
            failed: array::from_fn(failed),
            short: meter.counter(&table::SESSIONS_SHORT, &[]),
            takeovers: meter.counter(&table::TAKEOVERS, &[]),
            dials_in_flight: meter.gauge(&table::DIALS_IN_FLIGHT, &[]),
            dials_queued: meter.gauge(&table::DIALS_QUEUED, &[]),
            backing_off: meter.gauge(&table::BACKOFF_DEVICES, &[]),
        }
    }

    /// Walks over the whole list once.
    pub fn show(&self, snapshot: &Snapshot) {
        let mut devices = [[[0_u32; ORIGINS]; MODES]; STATUSES];
        let mut sessions = [[[0_u32; PROOFS]; MODES]; LINKS];
        for view in snapshot.devices.values() {
            let status = Status::ALL.iter().position(|one| *one == view.status);
            let status = &mut devices[status.unwrap_or_default()];
            status[view.mode as usize][view.origin as usize] += 1;
            if let Some(session) = &view.session {
                let link = &mut sessions[session.link as usize];
                link[session.mode as usize][session.proof as usize] += 1;
            }
        }
        set_all(&self.devices, &devices);
        set_all(&self.sessions, &sessions);
        self.pending.set(snapshot.pending.len() as f64);
        self.unproven.set(snapshot.unproven.len() as f64);
        self.refusals.set(snapshot.refusals.len() as f64);
        self.show_counts(&snapshot.counts);
    }

    fn show_counts(&self, counts: &Counts) {
        for (handles, links) in self.opened.iter().zip(&counts.opened) {
            for (handle, count) in handles.iter().zip(links) {
                handle.absolute(*count);
            }
        }
        for (kind, handle) in &self.closed {
            handle.absolute(counts.closed.get(*kind));
        }
        for (index, mode) in ConnectionMode::ALL.into_iter().enumerate() {
            self.connected[index].absolute(counts.connected(mode));
            for (kind, handle) in &self.failed[index] {
                handle.absolute(counts.failed[index].get(*kind));
            }
        }
        self.short.absolute(counts.short);
        self.takeovers.absolute(counts.takeovers);
        self.dials_in_flight.set(counts.dials_in_flight as f64);
        self.dials_queued.set(counts.dials_queued as f64);
        self.backing_off.set(counts.backing_off as f64);
    }
}

fn set_all<const A: usize, const B: usize, const C: usize>(
    handles: &[[[Gauge; A]; B]; C],
    counts: &[[[u32; A]; B]; C],
) {
    let handles = handles.as_flattened().as_flattened();
    let counts = counts.as_flattened().as_flattened();
    for (handle, count) in handles.iter().zip(counts) {
        handle.set(f64::from(*count));
    }
}

/// The handles of what the registry observes as it happens.
pub struct Observing {
    session_lasted: Histogram,
    backed_off: Histogram,
}

impl Observing {
    pub fn new(meter: &Meter) -> Self {
        Self {
            session_lasted: meter.histogram(&table::SESSION_SECONDS, &[]),
            backed_off: meter.histogram(&table::BACKOFF_SECONDS, &[]),
        }
    }

    pub fn record(&self, observed: Observed) {
        match observed {
            Observed::SessionLasted(lasted) => self.session_lasted.record(lasted.as_secs_f64()),
            Observed::BackedOff(wait) => self.backed_off.record(wait.as_secs_f64()),
        }
    }
}
