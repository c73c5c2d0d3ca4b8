//! What went wrong lately, device by device: the counts behind `top`.
//!
//! Bounded, whatever the fleet does: each measure remembers the heaviest keys of each minute. Those
//! who showed no proof are counted apart, by where they came from and the name they gave, so that
//! no number of made-up names pushes a device out. The registry counts what it decides; readers
//! find it with the snapshot and never ask.

pub mod heavy;
pub mod top;
pub mod window;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::heavy::Note;
use self::window::{SLOTS, Slots, Window};
use crate::cause::{Cause, CauseKind};
use crate::device::DeviceId;
use crate::identity::{Claim, Identity};
use crate::registry::pending::UnprovenKey;
use crate::time::{Instant, Now};

/// Into how many parts a measure can be told apart.
pub const PARTS: usize = 4;
/// A device is flapping that lost so many sessions in the longest window.
pub const FLAPPING_LOSSES: u64 = 3;
/// For what has no parts.
const NO_PART: usize = PARTS;

/// What devices are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Sessions that ended though nobody here wanted it.
    #[default]
    Losses,
    /// Dials that came to no session.
    Failed,
    /// Connects that were turned away.
    Refused,
    /// Sessions that gave way to a newer one.
    Takeovers,
    /// Answers and connections that took long, by the longest of them.
    Slow,
}

impl Measure {
    pub const ALL: [Self; 5] = [
        Self::Losses,
        Self::Failed,
        Self::Refused,
        Self::Takeovers,
        Self::Slow,
    ];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Losses => "losses",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Takeovers => "takeovers",
            Self::Slow => "slow",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == name)
    }
}

/// How a session was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The device fell silent.
    Silent,
    /// The device closed it.
    Closed,
    /// The connection or the protocol broke.
    Broken,
    /// The device, or another of its name, came again while it was up.
    TakenOver,
}

impl Loss {
    /// `None` for ends that an operator or the gateway brought about.
    pub const fn of(cause: CauseKind) -> Option<Self> {
        match cause {
            CauseKind::KeepAliveTimeout => Some(Self::Silent),
            CauseKind::DisconnectedByDevice | CauseKind::ClosedByDevice => Some(Self::Closed),
            CauseKind::Superseded => Some(Self::TakenOver),
            CauseKind::Disconnected
            | CauseKind::Deleted
            | CauseKind::Replaced
            | CauseKind::Revoked
            | CauseKind::Approved
            | CauseKind::Denied
            | CauseKind::Cancelled
            | CauseKind::Drain
            | CauseKind::GatewayRestarted
            | CauseKind::NotConnected => None,
            _ => Some(Self::Broken),
        }
    }
}

/// What took a device long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// To answer a request.
    Answer,
    /// From the dial, or from its opening a connection, to its Connect.
    Connect,
}

/// A device, as far as it is known where something goes wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    pub id: DeviceId,
    pub identity: Option<&'a Identity>,
    pub peer: SocketAddr,
}

/// Where the registry counts.
#[derive(Debug)]
pub struct Trouble {
    devices: [Window<DeviceId>; Measure::ALL.len()],
    peers: Window<UnprovenKey>,
    is_changed: bool,
}

/// What readers see. Cheap to make: the counts are shared.
#[derive(Clone, Debug, Default)]
pub struct TroubleView {
    devices: [Slots<DeviceId>; Measure::ALL.len()],
    peers: Slots<UnprovenKey>,
}

impl Trouble {
    /// Room for `max` devices in each minute of each measure, and for as many peers without proof.
    pub fn new(max: usize) -> Self {
        Self {
            devices: std::array::from_fn(|_| Window::new(max)),
            peers: Window::new(max),
            is_changed: false,
        }
    }

    /// A session ended.
    pub fn ended(&mut self, of: Of<'_>, cause: &Cause, now: Now) {
        if let Some(loss) = Loss::of(cause.kind) {
            let note = Note {
                part: loss as usize,
                ..because(of, cause, now)
            };
            self.count(Measure::Losses, of, &note, now);
        }
    }

    /// A dial came to nothing.
    pub fn failed(&mut self, of: Of<'_>, cause: &Cause, now: Now) {
        self.count(Measure::Failed, of, &because(of, cause, now), now);
    }

    /// A device that proved itself was turned away.
    pub fn refused(&mut self, of: Of<'_>, cause: &Cause, now: Now) {
        self.count(Measure::Refused, of, &because(of, cause, now), now);
    }

    /// A session gave way to a newer one, which comes from there.
    pub fn taken_over(&mut self, of: Of<'_>, now: Now) {
        self.count(Measure::Takeovers, of, &note(of, now), now);
    }

    /// A device took long. What counts is the time, in milliseconds.
    pub fn slow(&mut self, of: Of<'_>, what: Slow, took: Duration, now: Now) {
        let note = Note {
            weight: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            part: what as usize,
            took,
            ..note(of, now)
        };
        self.count(Measure::Slow, of, &note, now);
    }

    /// Somebody was turned away who is no device that was ever let in.
    pub fn turned_away(&mut self, claim: &Claim, cause: &Cause, now: Now) {
        let key = (claim.peer.ip().to_canonical(), claim.identity.clone());
        let note = Note {
            cause: Some(cause.kind),
            ..bare(claim.peer, now)
        };
        self.peers.record(&key, &note, now.instant);
        self.is_changed = true;
    }

    /// What is there now; `None` when it is as it was told last.
    pub fn news(&mut self) -> Option<Arc<TroubleView>> {
        std::mem::take(&mut self.is_changed).then(|| {
            Arc::new(TroubleView {
                devices: std::array::from_fn(|measure| self.devices[measure].slots()),
                peers: self.peers.slots(),
            })
        })
    }

    pub const fn is_changed(&self) -> bool {
        self.is_changed
    }

    fn count(&mut self, measure: Measure, of: Of<'_>, note: &Note<'_>, now: Now) {
        self.devices[measure as usize].record(&of.id, note, now.instant);
        self.is_changed = true;
    }
}

impl TroubleView {
    /// How many devices are flapping. It falls with the time, though nothing happens any more.
    pub fn flapping(&self, now: Instant) -> usize {
        let losses = self.devices[Measure::Losses as usize].keys(SLOTS, now);
        let is_flapping = |total: &&window::Total| total.events >= FLAPPING_LOSSES;
        losses.values().filter(is_flapping).count()
    }
}

/// One event of a device, with nothing particular to it.
fn note(of: Of<'_>, now: Now) -> Note<'_> {
    Note {
        identity: of.identity,
        ..bare(of.peer, now)
    }
}

/// The same, and why.
fn because<'a>(of: Of<'a>, cause: &Cause, now: Now) -> Note<'a> {
    Note {
        cause: Some(cause.kind),
        ..note(of, now)
    }
}

const fn bare<'a>(peer: SocketAddr, now: Now) -> Note<'a> {
    Note {
        weight: 1,
        part: NO_PART,
        took: Duration::ZERO,
        cause: None,
        peer,
        identity: None,
        unix_ms: now.unix_ms,
    }
}

#[cfg(test)]
pub mod testing;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::testing::{at, claim};
    use super::*;

    fn device(id: u32) -> Of<'static> {
        Of {
            id: DeviceId::new(id).unwrap(),
            identity: None,
            peer: ([192, 0, 2, 7], 51211).into(),
        }
    }

    #[test]
    fn three_losses_in_ten_minutes_are_flapping_until_they_are_over() {
        let mut trouble = Trouble::new(10);
        let lost = Cause::from(CauseKind::ClosedByDevice);
        for seconds in [0, 60, 120] {
            trouble.ended(device(7), &lost, at(seconds));
            trouble.ended(device(8), &lost, at(120));
        }
        trouble.ended(device(9), &lost, at(120));
        let view = trouble.news().unwrap();
        assert!(trouble.news().is_none(), "told already");
        let flapping = |seconds| view.flapping(at(seconds).instant);
        assert_eq!((flapping(120), flapping(599), flapping(600)), (2, 2, 1));
        assert_eq!((flapping(719), flapping(720)), (1, 0));
    }

    #[test]
    fn what_was_ordered_is_no_loss() {
        let mut trouble = Trouble::new(10);
        for kind in [
            CauseKind::Disconnected,
            CauseKind::Replaced,
            CauseKind::Drain,
        ] {
            trouble.ended(device(7), &kind.into(), at(0));
        }
        assert!(trouble.news().is_none());
    }

    #[test]
    fn every_measure_has_its_place_and_its_name() {
        for (place, by) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(by as usize, place);
            assert_eq!(Measure::from_name(by.as_str()), Some(by));
        }
    }

    proptest! {
        #[test]
        fn made_up_names_push_no_device_out(max in 1..8u32, names in 0..200u32) {
            let mut trouble = Trouble::new(max as usize);
            let cause = Cause::from(CauseKind::NotAccepted);
            (1..=max).for_each(|id| trouble.refused(device(id), &cause, at(0)));
            (0..names).for_each(|name| trouble.turned_away(&claim(&name.to_string()), &cause, at(1)));
            let view = trouble.news().unwrap();
            let refused = view.devices[Measure::Refused as usize].keys(SLOTS, at(1).instant);
            prop_assert_eq!(refused.len(), max as usize);
            prop_assert!(view.peers.keys(SLOTS, at(1).instant).len() <= max as usize);
        }

        #[test]
        fn no_order_of_times_is_a_panic(steps in vec((0..9u32, any::<u64>(), any::<u64>()), 0..80)) {
            let mut trouble = Trouble::new(3);
            for (id, instant, unix_ms) in steps {
                let now = Now { instant: Instant::from_micros(instant), unix_ms };
                trouble.ended(device(id + 1), &CauseKind::IoError.into(), now);
                let view = trouble.news().unwrap();
                prop_assert!(view.flapping(Instant::from_micros(unix_ms)) <= 9);
            }
        }
    }
}
