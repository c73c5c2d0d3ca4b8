//! Promise 4: no storm of dials.

use std::net::SocketAddr;
use std::time::Duration;

use gatehouse::cause::{Cause, CauseKind};
use gatehouse::device::{DeviceId, Generation, Origin};
use gatehouse::registry::machine::Policy;
use gatehouse::registry::snapshot::Snapshot;
use gatehouse::session::DialOrder;
use gatehouse::time::{Instant, Now};

use super::Checks;

const SECOND: Duration = Duration::from_secs(1);

impl Checks {
    /// The registry orders a dial.
    pub fn dial(&mut self, order: &DialOrder, policy: &Policy, now: Instant) {
        self.dialling.insert(order.generation);
        assert!(
            self.dialling.len() <= policy.dial.in_flight_max,
            "promise 4: {} dials are in flight",
            self.dialling.len()
        );
        self.dial_times.push_back(now);
        self.dial_times.retain(|time| now.since(*time) < SECOND);
        let rate = policy.dial.rate_max as usize;
        assert!(
            self.dial_times.len() <= rate + (rate / 10).max(1),
            "promise 4: {} dials within a second",
            self.dial_times.len()
        );
    }

    /// Whether a dial waited for the backoff, as far as it is certain whom it is for; `snapshot`
    /// is that of after the order.
    pub fn dial_waited(
        &mut self,
        order: &DialOrder,
        snapshot: &Snapshot,
        policy: &Policy,
        now: Instant,
    ) {
        let address = order.address;
        let asked = self.connecting.values().any(|asked| *asked == address);
        let (false, Some(id)) = (asked, only_one_at(address, snapshot)) else {
            return;
        };
        self.auto_dials.insert(order.generation, id);
        if let Some(ended) = self.ended.get(&id)
            && !self.at_once.remove(&address)
        {
            assert!(
                now.since(*ended) >= policy.backoff.min(),
                "promise 4: {id} at {address} is dialled {:?} after its last try",
                now.since(*ended)
            );
        }
    }

    pub fn registry_hears_end(
        &mut self,
        generation: Generation,
        cause: &Cause,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        self.dialling.remove(&generation);
        self.waiting.remove(&generation);
        let up = self.up.iter().find(|(_, up)| **up == generation);
        if let Some((id, _)) = up {
            let id = *id;
            self.up.remove(&id);
            if let Some(view) = snapshot.devices.get(&id)
                && view.origin == Origin::Auto
            {
                self.ended.insert(id, now);
            }
        } else if let Some(id) = self.auto_dials.remove(&generation)
            && !self.closing.contains(&generation)
        {
            self.ended.insert(id, now);
            // The next key is tried at once.
            if cause.kind == CauseKind::KeyRefused {
                self.ended.remove(&id);
            }
        }
        self.closing.remove(&generation);
    }

    pub(super) fn check_next_tries(&mut self, snapshot: &Snapshot, policy: &Policy, now: Now) {
        let (min, max) = (policy.backoff.min(), policy.backoff.ceiling(u32::MAX));
        for (id, view) in &snapshot.devices {
            let Some(next) = view.next_try_unix_ms else {
                self.next_tries.remove(id);
                continue;
            };
            if self.next_tries.insert(*id, next) != Some(next) {
                let delay = Duration::from_millis(next.saturating_sub(now.unix_ms));
                assert!(
                    min <= delay && delay <= max,
                    "promise 4: {id} is tried again after {delay:?}"
                );
            }
        }
    }
}

/// The auto device that is dialled there, if it is one alone.
fn only_one_at(address: SocketAddr, snapshot: &Snapshot) -> Option<DeviceId> {
    let views = snapshot.devices.values();
    let mut there = views.filter(|view| view.address == address && view.origin == Origin::Auto);
    let first = there.next()?;
    there.next().is_none().then_some(first.id)
}
