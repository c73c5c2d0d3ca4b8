//! What is read when somebody scrapes, of rooms that do not count by handles of their own.

use tokio::runtime::Handle;

use crate::clock;
use crate::handle::Gateway;
use crate::link::listen::Door;
use crate::metrics::{Meter, table};
use crate::registry::meters::SnapshotMeters;
use crate::service::readiness::{Readiness, State};

/// Needs a tokio runtime around it.
pub(super) fn at_scrape(meter: &Meter, gateway: &Gateway) {
    registry(meter, gateway.clone());
    runtime(meter);
}

fn registry(meter: &Meter, gateway: Gateway) {
    let handles = SnapshotMeters::new(meter);
    let flapping = meter.gauge(&table::FLAPPING_DEVICES, &[]);
    meter.read_at_scrape(move || {
        let snapshot = gateway.snapshot();
        handles.show(&snapshot);
        // It falls with the time, though nothing happens any more.
        let now = clock::now().instant;
        flapping.set(snapshot.trouble.flapping(now) as f64);
    });
}

pub(super) fn waiting_room(meter: &Meter, door: Door) {
    let waiting = meter.gauge(&table::WAITING_ROOM, &[]);
    meter.read_at_scrape(move || waiting.set(door.waiting() as f64));
}

pub(super) fn readiness(meter: &Meter, readiness: Readiness) {
    let ready = meter.gauge(&table::READY, &[]);
    let draining = meter.gauge(&table::DRAINING, &[]);
    meter.read_at_scrape(move || {
        let state = readiness.get();
        ready.set(f64::from(u8::from(state == State::Ready)));
        draining.set(f64::from(u8::from(state == State::Draining)));
    });
}

/// The runtime of gRPC and HTTP; the arbiters of the sessions have none that tells.
fn runtime(meter: &Meter) {
    let workers = meter.gauge(&table::RUNTIME_WORKERS, &[]);
    let tasks = meter.gauge(&table::RUNTIME_TASKS, &[]);
    let queue = meter.gauge(&table::RUNTIME_QUEUE_DEPTH, &[]);
    let runtime = Handle::current().metrics();
    meter.read_at_scrape(move || {
        workers.set(runtime.num_workers() as f64);
        tasks.set(runtime.num_alive_tasks() as f64);
        queue.set(runtime.global_queue_depth() as f64);
    });
}
