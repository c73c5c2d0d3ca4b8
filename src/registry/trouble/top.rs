//! The worst devices of a snapshot, worst first.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::pending::UnprovenKey;
use crate::registry::snapshot::{DeviceView, Snapshot};
use crate::registry::trouble::Measure;
use crate::registry::trouble::window::{Last, SLOT, SLOTS, Total};
use crate::time::Instant;

/// How many are told when nobody says how many.
pub const LIMIT_DEFAULT: usize = 20;
/// The most that are told at once.
pub const LIMIT_MAX: usize = 1000;
/// The longest window, and the one that is meant when nobody says which.
pub const WINDOW_MAX: Duration = Duration::from_secs(SLOT.as_secs() * SLOTS as u64);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    by: Measure,
    slots: usize,
    limit: usize,
}

/// A time that is no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the window must be 1 to 10 whole minutes")]
pub struct WindowError;

/// A device with trouble.
#[derive(Clone, Debug, PartialEq)]
pub struct TopDevice {
    pub id: DeviceId,
    /// `None` when it is not in the managed list now.
    pub view: Option<Arc<DeviceView>>,
    totals: [Total; Measure::ALL.len()],
}

/// A peer that was turned away and is no device that was ever let in.
#[derive(Clone, Debug, PartialEq)]
pub struct TopPeer {
    pub key: UnprovenKey,
    pub refused: Total,
}

impl Query {
    /// `window` in whole minutes; `limit` is brought to 1 to [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`WindowError`].
    pub fn new(by: Measure, window: Duration, limit: usize) -> Result<Self, WindowError> {
        let seconds = window.as_secs();
        let is_whole = window.subsec_nanos() == 0 && seconds.is_multiple_of(SLOT.as_secs());
        let slots = usize::try_from(seconds / SLOT.as_secs()).map_err(|_| WindowError)?;
        if !is_whole || !(1..=SLOTS).contains(&slots) {
            return Err(WindowError);
        }
        let limit = limit.clamp(1, LIMIT_MAX);
        Ok(Self { by, slots, limit })
    }

    /// How far it looks back, with the minute that runs as one.
    pub fn window(&self) -> Duration {
        SLOT * u32::try_from(self.slots).unwrap_or(u32::MAX)
    }

    /// The devices with the most of the asked measure; those that have none are left out.
    pub fn devices(&self, snapshot: &Snapshot, now: Instant) -> Vec<TopDevice> {
        let trouble = &snapshot.trouble;
        let keys = trouble.devices[self.by as usize].keys(self.slots, now);
        let worst = worst(keys.into_iter().collect(), self.limit);
        let device = |(id, _): (DeviceId, Total)| TopDevice {
            id,
            view: snapshot.devices.get(&id).cloned(),
            totals: std::array::from_fn(|measure| {
                trouble.devices[measure].of(&id, self.slots, now)
            }),
        };
        worst.into_iter().map(device).collect()
    }

    /// The peers without proof that were turned away most.
    pub fn peers(&self, snapshot: &Snapshot, now: Instant) -> Vec<TopPeer> {
        let keys = snapshot.trouble.peers.keys(self.slots, now);
        let worst = worst(keys.into_iter().collect(), self.limit);
        let peer = |(key, refused)| TopPeer { key, refused };
        worst.into_iter().map(peer).collect()
    }
}

/// Those first that took longest, where that is the trouble, then the heaviest, and among equals
/// who was seen last.
fn worst<K: Ord>(mut keys: Vec<(K, Total)>, limit: usize) -> Vec<(K, Total)> {
    let newest = |total: &Total| total.last.as_ref().map_or(0, |last| last.unix_ms);
    keys.sort_by_key(|(_, total)| Reverse((total.worst, total.weight, newest(total))));
    keys.truncate(limit);
    keys
}

impl TopDevice {
    pub const fn of(&self, measure: Measure) -> &Total {
        &self.totals[measure as usize]
    }

    /// The name under which it connects, also when it is not listed any more.
    pub fn identity(&self) -> Option<&Identity> {
        let listed = self.view.as_ref().and_then(|view| view.identity.as_ref());
        let seen = || self.lasts().find_map(|last| last.identity.as_deref());
        listed.or_else(seen)
    }

    /// The other end of its session, else where trouble was with it last.
    pub fn peer(&self) -> Option<SocketAddr> {
        let session = self.view.as_ref().and_then(|view| view.session.as_ref());
        let newest = || self.lasts().max_by_key(|last| last.unix_ms);
        let session = session.map(|session| session.peer);
        session.or_else(|| newest().map(|last| last.peer))
    }

    fn lasts(&self) -> impl Iterator<Item = &Last> {
        self.totals.iter().filter_map(|total| total.last.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{Cause, CauseKind};
    use crate::registry::trouble::testing::at as now;
    use crate::registry::trouble::{Of, Slow, Trouble};

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn a_window_is_one_to_ten_whole_minutes() {
        let query = |window| Query::new(Measure::Losses, window, 5).map(|query| query.window());
        for right in [minutes(1), minutes(9), WINDOW_MAX] {
            assert_eq!(query(right), Ok(right));
        }
        for wrong in [
            Duration::ZERO,
            Duration::from_secs(90),
            Duration::from_millis(60_001),
            minutes(11),
            Duration::MAX,
        ] {
            assert_eq!(query(wrong), Err(WindowError), "{wrong:?}");
        }
    }

    #[test]
    fn the_worst_come_first_with_everything_that_is_known_of_them() {
        let mut trouble = Trouble::new(10);
        let identity = Identity::new("acme", "door-7").unwrap();
        let of = |id, port| Of {
            id: DeviceId::new(id).unwrap(),
            identity: Some(&identity),
            peer: ([192, 0, 2, 7], port).into(),
        };
        let lost = Cause::from(CauseKind::KeepAliveTimeout);
        for (id, seconds) in [(1, 1), (2, 2), (2, 3), (3, 4)] {
            trouble.ended(of(id, 1000), &lost, now(seconds));
        }
        trouble.failed(of(2, 2000), &CauseKind::DialFailed.into(), now(9));
        // One long wait is worse than many short ones.
        trouble.slow(of(1, 1000), Slow::Answer, Duration::from_secs(2), now(5));
        trouble.slow(of(1, 1000), Slow::Answer, Duration::from_secs(2), now(6));
        trouble.slow(of(3, 1000), Slow::Answer, Duration::from_secs(3), now(5));
        let snapshot = Snapshot {
            trouble: trouble.news().unwrap(),
            ..Snapshot::default()
        };
        let top = |by, limit| {
            let query = Query::new(by, WINDOW_MAX, limit).unwrap();
            query.devices(&snapshot, now(10).instant)
        };
        let ids = |devices: &[TopDevice]| -> Vec<u32> {
            devices.iter().map(|device| device.id.get()).collect()
        };
        let losses = top(Measure::Losses, 9);
        assert_eq!(ids(&losses), [2, 3, 1]);
        assert_eq!(ids(&top(Measure::Losses, 0)), [2]);
        assert_eq!(ids(&top(Measure::Failed, 9)), [2]);
        assert_eq!(ids(&top(Measure::Slow, 9)), [3, 1]);
        assert!(top(Measure::Takeovers, 9).is_empty());
        let worst = &losses[0];
        assert_eq!(worst.of(Measure::Losses).parts, [2, 0, 0, 0]);
        let failed = worst.of(Measure::Failed).last.as_ref().unwrap();
        assert_eq!(failed.cause, Some(CauseKind::DialFailed));
        assert_eq!(worst.identity(), Some(&identity));
        assert_eq!(worst.peer(), Some(([192, 0, 2, 7], 2000).into()));
    }
}
