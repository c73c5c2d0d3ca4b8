//! Which device came or went, by its owner and name, out of the registry's events.

use std::sync::Arc;

use crate::device::{DeviceId, Status};
use crate::event::Change;
use crate::identity::Identity;
use crate::registry::hub::Delivery;
use crate::registry::snapshot::Snapshot;

/// A device that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub who: Identity,
    pub is_connected: bool,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// Follows the events. Those of a device that left the list come when no snapshot knows its name any
/// more, so the last one is kept in which nothing was that has not been told: it shares all but the
/// changes with the newest. While this lags behind, a device that came and went in the meantime
/// may be left out.
pub struct States {
    told: Arc<Snapshot>,
}

impl States {
    /// `snapshot` was taken before the events were followed.
    pub const fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { told: snapshot }
    }

    /// The next event; `newest` is a snapshot that was taken after it came.
    pub fn handle(&mut self, delivery: &Delivery, newest: &Arc<Snapshot>) -> Option<Moved> {
        let moved = self.moved(delivery, newest);
        if newest.event_number <= delivery.event.number {
            self.told = newest.clone();
        }
        moved
    }

    fn moved(&self, delivery: &Delivery, newest: &Snapshot) -> Option<Moved> {
        let event = &delivery.event;
        let was_connected = event.old.is_some_and(Status::is_connected);
        let is_connected = event.change != Change::Removed && event.new.is_connected();
        if was_connected == is_connected {
            return None;
        }
        Some(Moved {
            who: identity(newest, event.device).or_else(|| identity(&self.told, event.device))?,
            is_connected,
            unix_ms: event.unix_ms,
        })
    }
}

fn identity(snapshot: &Snapshot, device: DeviceId) -> Option<Identity> {
    snapshot.devices.get(&device)?.identity.clone()
}

#[cfg(test)]
mod tests {
    use crate::device::{ConnectionMode, Origin};
    use crate::event::StatusEvent;
    use crate::registry::snapshot::DeviceView;

    use super::*;

    const UP: Status = Status::TcpConnected;
    const DOWN: Status = Status::Disconnected;

    fn id(number: u32) -> DeviceId {
        DeviceId::new(number).unwrap()
    }

    fn who(number: u32) -> Identity {
        Identity::new("alice", &number.to_string()).unwrap()
    }

    fn snapshot(event_number: u64, devices: &[u32]) -> Arc<Snapshot> {
        let view = |&number: &u32| {
            let view = DeviceView {
                id: id(number),
                identity: Some(who(number)),
                origin: Origin::Inbound,
                mode: ConnectionMode::DeviceToServer,
                address: ([127, 0, 0, 1], 1).into(),
                use_ssl: false,
                status: UP,
                since_unix_ms: 0,
                device_type: 0,
                session: None,
                attempt: 0,
                next_try_unix_ms: None,
                cause: None,
            };
            (id(number), Arc::new(view))
        };
        Arc::new(Snapshot {
            devices: devices.iter().map(view).collect(),
            event_number,
            ..Snapshot::default()
        })
    }

    fn delivery(
        number: u64,
        device: u32,
        change: Change,
        old: Option<Status>,
        new: Status,
    ) -> Delivery {
        Delivery {
            event: StatusEvent {
                number,
                device: id(device),
                change,
                old,
                new,
                unix_ms: number * 10,
                cause: None,
                attempt: 0,
                next_try_unix_ms: None,
            },
            conflated: 0,
        }
    }

    fn told(moved: Option<Moved>) -> Option<(Identity, bool)> {
        moved.map(|moved| (moved.who, moved.is_connected))
    }

    #[test]
    fn only_comings_and_goings_are_told() {
        let mut states = States::new(snapshot(0, &[1]));
        let all = snapshot(9, &[1]);
        let up = Some((who(1), true));
        let down = Some((who(1), false));
        for (change, old, new, expected) in [
            (Change::Added, None, Status::TryToConnect, None),
            (Change::Changed, Some(Status::TryToConnect), UP, up.clone()),
            (Change::Changed, Some(UP), Status::TlsConnected, None),
            (Change::Changed, Some(UP), DOWN, down.clone()),
            (Change::Added, None, UP, up),
            (Change::Removed, Some(UP), UP, down),
            (Change::Removed, Some(DOWN), DOWN, None),
            (Change::Refused, None, Status::TcpNotAllowed, None),
        ] {
            let event = delivery(1, 1, change, old, new);
            assert_eq!(told(states.handle(&event, &all)), expected, "{change:?}");
        }
    }

    #[test]
    fn all_that_left_the_list_together_are_named() {
        let mut states = States::new(snapshot(0, &[]));
        let both = snapshot(2, &[1, 2]);
        for number in [1, 2] {
            let event = delivery(number.into(), number, Change::Added, None, UP);
            assert_eq!(
                told(states.handle(&event, &both)),
                Some((who(number), true))
            );
        }
        // Both are gone from the snapshot before the first of them is told.
        let none = snapshot(4, &[]);
        for number in [1, 2] {
            let event = delivery(
                2 + u64::from(number),
                number,
                Change::Removed,
                Some(UP),
                DOWN,
            );
            assert_eq!(
                told(states.handle(&event, &none)),
                Some((who(number), false))
            );
        }
        // And then nothing is kept of them.
        let late = delivery(5, 1, Change::Removed, Some(UP), DOWN);
        assert_eq!(states.handle(&late, &none), None);
    }
}
