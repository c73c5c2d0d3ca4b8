//! How much is measured, as far as the machine allows.

use std::time::Duration;

use super::samples::{Load, WINDOW};

/// Connections of each bare loop that are there before it is measured: what a thread needs once is
/// not counted for a connection then.
pub(super) const WARM: u32 = 64;
/// Files of this process beside its connections and those that are opened for a moment.
const FILES_BESIDE: u64 = 256;
/// Plain, aes and tls.
const LINKS: u64 = 3;

/// Counts and times of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Idle sessions on plain links.
    pub(super) plain: u32,
    /// Idle sessions on aes links, at the same time.
    pub(super) aes: u32,
    /// Idle sessions on tls links, at the same time.
    pub(super) tls: u32,
    /// Devices on tls links that are cut off and come back at once; 0: not tried.
    pub(super) storm: u32,
    /// Idle connections of each bare loop, at the same time.
    pub(super) bare: u32,
    /// Sockets that are closed to see how soon that is told.
    pub(super) closes: usize,
    /// Who sends samples, and who reads them.
    pub(super) load: Load,
    /// How long each core answers handshakes.
    pub(super) handshakes: Duration,
    /// Devices that connect to a gateway that counts, and to one that does not.
    pub(super) counted: u32,
}

impl Sizes {
    /// The whole measurement with `sessions` of each link and a storm of `storm` devices, or as many
    /// as `files` allow.
    pub(super) fn whole(sessions: u32, storm: u32, files: u64) -> Self {
        // A twentieth of the files for each of the loops at the most.
        let bare_max = u32::try_from(files / 20).unwrap_or(u32::MAX).clamp(1, 1000);
        let bare = (sessions / 10).clamp(1, bare_max);
        let beside = FILES_BESIDE + LINKS * (u64::from(bare) + u64::from(WARM));
        let room = u32::try_from(files.saturating_sub(beside)).unwrap_or(u32::MAX);
        let plain = sessions.min(room / 5 * 2).max(1);
        let half = sessions.min(room.saturating_sub(plain) / 2).max(1);
        Self {
            plain,
            aes: half,
            tls: half,
            // While one end is being closed, the device may be back on another.
            storm: storm.min(room / 2),
            bare,
            closes: 1000,
            load: Load {
                devices: 10,
                readers: 20,
                samples: 50 * WINDOW,
            },
            handshakes: Duration::from_secs(1),
            counted: plain.min(4000),
        }
    }

    /// The same with fewer closes and less time.
    pub(super) fn quick(self) -> Self {
        Self {
            closes: 100,
            load: Load {
                devices: 2,
                readers: 5,
                samples: 2 * WINDOW,
            },
            handshakes: Duration::from_millis(50),
            counted: self.counted.min(200),
            ..self
        }
    }

    /// What to say where fewer sessions fit than were asked for.
    pub(super) fn shortfall(&self, sessions: u32, files: u64) -> Option<String> {
        (self.aes < sessions).then(|| {
            format!(
                "this process may open {files} files, which is enough for {} plain, {} aes and {} \
                 tls sessions at once",
                self.plain, self.aes, self.tls
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_is_measured_as_asked_for() {
        let sizes = Sizes::whole(500, 400, 20_000);
        assert_eq!((sizes.plain, sizes.aes, sizes.tls), (500, 500, 500));
        assert_eq!(sizes.storm, 400);
        assert_eq!(sizes.shortfall(500, 20_000), None);
    }

    #[test]
    fn twenty_thousand_files_are_shared_out() {
        let sizes = Sizes::whole(10_000, 5000, 20_000);
        assert_eq!((sizes.plain, sizes.aes, sizes.tls), (6620, 4966, 4966));
        assert_eq!(sizes.storm, 5000);
        assert!(sizes.shortfall(10_000, 20_000).is_some());
    }

    #[test]
    fn few_files_leave_room_beside_the_bare_loops() {
        let sizes = Sizes::whole(9150, 9150, 3000);
        assert_eq!((sizes.bare, sizes.plain, sizes.aes), (150, 840, 631));
    }

    proptest! {
        #[test]
        fn the_files_are_enough(sessions in 1..200_000u32, files in 3000..2_000_000u64) {
            let Sizes { plain, aes, tls, storm, bare, .. } = Sizes::whole(sessions, sessions, files);
            let used = plain + aes + tls + 3 * bare + 3 * WARM;
            prop_assert!(u64::from(used) + FILES_BESIDE <= files);
            prop_assert!(aes >= 1 && aes == tls && aes <= plain && plain <= sessions);
            prop_assert!(2 * u64::from(storm) + FILES_BESIDE <= files);
        }
    }
}
