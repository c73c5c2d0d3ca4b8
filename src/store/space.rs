//! How much room the file system of the store has, and what may be written then.
//!
//! sled does not survive a full disk: after the first write that fails all fail, until its files
//! are opened again, and to open them takes space as well. So the store stops before: below the
//! reserve it refuses what makes it grow and keeps the rest for what must go on.

use std::fmt;

use crate::registry::{NotStored, StoreChange};

/// So much must be free before files that a full disk had made unusable are opened again, in bytes:
/// sled takes its space in pieces of half of it. With less what goes wrong is a full disk.
pub const REOPEN_MIN: u64 = 1 << 20;

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    #[default]
    Ample,
    /// The reserve is begun: only what takes something away or keeps the gateway going is written.
    Low,
    /// Less than a quarter of the reserve is left: nothing is written.
    Out,
}

/// What is kept free, and what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the reserve; 0 for none.
    free_min: u64,
    /// Bytes that were free when last looked; `None` when that could not be told.
    free: Option<u64>,
    room: Room,
}

/// So many bytes, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Space {
    /// `free_min`: bytes of the reserve, 0 for none.
    pub fn new(free_min: u64) -> Self {
        Self {
            free_min,
            ..Self::default()
        }
    }

    /// Another reserve counts once it is measured again.
    pub fn keep_free(&mut self, free_min: u64) {
        self.free_min = free_min;
    }

    /// Takes note of the bytes that are free now. There is ample room again only with an eighth
    /// more than the reserve, so that it is not said to and fro.
    pub fn measured(&mut self, free: Option<u64>) {
        self.free = free;
        let Some(free) = free else {
            self.room = Room::Ample;
            return;
        };
        let enough = match self.room {
            Room::Ample => self.free_min,
            Room::Low | Room::Out => self.free_min.saturating_add(self.free_min / 8),
        };
        self.room = match free {
            _ if free >= enough => Room::Ample,
            _ if free >= self.free_min / 4 => Room::Low,
            _ => Room::Out,
        };
    }

    pub const fn room(&self) -> Room {
        self.room
    }

    /// Bytes that were free when last looked.
    pub const fn free(&self) -> Option<u64> {
        self.free
    }

    /// Whether files that a full disk had made unusable may work when they are opened again.
    pub fn may_reopen(&self) -> bool {
        self.free.is_none_or(|free| free >= REOPEN_MIN)
    }

    /// Whether this may be written now.
    ///
    /// # Errors
    /// [`NotStored::NoSpace`].
    pub fn admits(&self, change: &StoreChange) -> Result<(), NotStored> {
        self.admits_if(is_needed(change))
    }

    /// Whether what grows the store for sure may be written now.
    ///
    /// # Errors
    /// [`NotStored::NoSpace`].
    pub fn admits_growth(&self) -> Result<(), NotStored> {
        self.admits_if(false)
    }

    /// Whether what takes something away may be written now.
    ///
    /// # Errors
    /// [`NotStored::NoSpace`].
    pub fn admits_removal(&self) -> Result<(), NotStored> {
        self.admits_if(true)
    }

    fn admits_if(&self, is_needed: bool) -> Result<(), NotStored> {
        match self.room {
            Room::Ample => Ok(()),
            Room::Low if is_needed => Ok(()),
            Room::Low | Room::Out => Err(NotStored::NoSpace(self.to_string())),
        }
    }
}

/// Whether the gateway needs this written also when space is short: what takes rights or devices
/// away, the numbers of events, and the ID of a device that comes in.
fn is_needed(change: &StoreChange) -> bool {
    match change {
        StoreChange::DeleteDevices(_)
        | StoreChange::DeleteRecords(_)
        | StoreChange::PutIdentity(..)
        | StoreChange::ReserveEvents(_) => true,
        StoreChange::PutDevices(_)
        | StoreChange::PutAcceptFilter(_)
        | StoreChange::PutRecords(_) => false,
        StoreChange::All(changes) => changes.iter().all(is_needed),
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, kept) = (Bytes(self.free.unwrap_or(0)), Bytes(self.free_min));
        write!(
            f,
            "the disk is nearly full: {free} are free, and {kept} are kept free (store.free_min)"
        )
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        let mut unit = None;
        let (mut whole, mut rest) = (self.0, 0);
        for larger in UNITS {
            if whole < 1024 {
                break;
            }
            (whole, rest) = (whole / 1024, whole % 1024);
            unit = Some(larger);
        }
        match unit {
            None => write!(f, "{whole} bytes"),
            Some(unit) => write!(f, "{whole}.{} {unit}", rest * 10 / 1024),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::device::DeviceId;
    use crate::registry::accept_filter::AcceptFilter;

    fn after(free_min: u64, frees: &[u64]) -> Space {
        let mut space = Space::new(free_min);
        frees.iter().for_each(|free| space.measured(Some(*free)));
        space
    }

    #[test]
    fn the_reserve_is_kept_for_what_must_go_on() {
        for (frees, room) in [
            (&[800][..], Room::Ample),
            (&[799], Room::Low),
            (&[200], Room::Low),
            (&[199], Room::Out),
            (&[0], Room::Out),
            (&[799, 899], Room::Low),
            (&[0, 899], Room::Low),
            (&[799, 900], Room::Ample),
        ] {
            assert_eq!(after(800, frees).room(), room, "{frees:?}");
        }
        let remove = StoreChange::DeleteDevices(vec![DeviceId::new(1).expect("not zero")]);
        let put = StoreChange::PutAcceptFilter(AcceptFilter::default());
        let both = StoreChange::All(vec![remove.clone(), put.clone()]);
        for (free, removes, puts) in [(800, true, true), (799, true, false), (199, false, false)] {
            let space = after(800, &[free]);
            assert_eq!(space.admits(&remove).is_ok(), removes);
            assert_eq!(space.admits(&put).is_ok(), puts);
            assert_eq!(space.admits(&both).is_ok(), puts);
            assert_eq!(space.admits_removal().is_ok(), removes);
            assert_eq!(space.admits_growth().is_ok(), puts);
        }
    }

    #[test]
    fn a_refusal_says_how_much_is_missing() {
        let space = after(64 << 20, &[(12 << 20) + (300 << 10)]);
        let text = "the disk is nearly full: 12.2 MiB are free, and 64.0 MiB are kept free \
                    (store.free_min)";
        assert_eq!(
            space.admits_growth(),
            Err(NotStored::NoSpace(text.to_owned()))
        );
        assert_eq!(Bytes(1023).to_string(), "1023 bytes");
        assert_eq!(Bytes(u64::MAX).to_string(), "16777215.9 TiB");
    }

    proptest! {
        #[test]
        fn without_a_reserve_or_a_figure_everything_is_written(frees in vec(any::<u64>(), 0..5)) {
            prop_assert_eq!(after(0, &frees).room(), Room::Ample);
            let mut space = after(1 << 20, &frees);
            space.measured(None);
            prop_assert_eq!(space.room(), Room::Ample);
            prop_assert!(space.may_reopen());
        }

        #[test]
        fn more_room_never_admits_less(free_min in any::<u64>(), a in any::<u64>(), b in any::<u64>()) {
            let (less, more) = (a.min(b), a.max(b));
            let room = |free| after(free_min, &[free]).room() as u8;
            prop_assert!(room(more) <= room(less));
        }
    }
}
