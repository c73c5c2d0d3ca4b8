//! For tests, also those of how trouble is told.

use std::net::SocketAddr;
use std::time::Duration;

use super::heavy::Note;
use super::{Of, Slow, Trouble, bare};
use crate::cause::CauseKind;
use crate::device::{ConnectionMode, DeviceId, LinkKind};
use crate::identity::{Claim, Evidence, Identity};
use crate::registry::snapshot::Snapshot;
use crate::time::{Instant, Now};

pub fn at(seconds: u64) -> Now {
    Now {
        instant: Instant::from_micros(seconds * 1_000_000),
        unix_ms: seconds * 1_000,
    }
}

/// An event of this weight.
pub fn note(weight: u64) -> Note<'static> {
    let peer = SocketAddr::from(([192, 0, 2, 7], 51211));
    Note {
        weight,
        ..bare(peer, Now::default())
    }
}

pub fn claim(device: &str) -> Claim {
    Claim {
        identity: Identity::new("acme", device).expect("a name"),
        evidence: Evidence::default(),
        link: LinkKind::Aes,
        mode: ConnectionMode::DeviceToServer,
        peer: ([198, 51, 100, 1], 4000).into(),
        keep_alive: Duration::from_secs(60),
    }
}

/// A device that is not listed and had everything happen to it, a peer without proof, and the time
/// after that.
pub fn snapshot() -> (Snapshot, Instant) {
    let identity = Identity::new("acme", "door-7").expect("a name");
    let of = Of {
        id: DeviceId::new(7).expect("not zero"),
        identity: Some(&identity),
        peer: ([192, 0, 2, 7], 51211).into(),
    };
    let mut trouble = Trouble::new(5);
    trouble.ended(of, &CauseKind::ClosedByDevice.into(), at(1));
    trouble.ended(of, &CauseKind::KeepAliveTimeout.into(), at(2));
    trouble.failed(of, &CauseKind::DialFailed.into(), at(3));
    trouble.refused(of, &CauseKind::WeakerProof.into(), at(4));
    trouble.taken_over(of, at(5));
    trouble.slow(of, Slow::Connect, Duration::from_millis(1_500), at(6));
    let stranger = claim("no-door");
    trouble.turned_away(&stranger, &CauseKind::NotProven.into(), at(7));
    let snapshot = Snapshot {
        trouble: trouble.news().expect("something new"),
        ..Snapshot::default()
    };
    (snapshot, at(8).instant)
}
