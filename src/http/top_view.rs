//! The devices with the most trouble as JSON. What did not happen is left out.

use std::time::Duration;

use serde::Serialize;

use crate::http::fleet_view::{DeviceJson, IdentityJson, address, device, identity};
use crate::registry::snapshot::Snapshot;
use crate::registry::trouble::top::{Query, TopDevice, TopPeer};
use crate::registry::trouble::window::Total;
use crate::registry::trouble::{Loss, Measure, Slow};
use crate::time::Instant;

/// The worst of a window.
#[derive(Serialize)]
pub struct TopJson {
    /// How far it looks back, in seconds.
    window_s: u64,
    devices: Vec<TopDeviceJson>,
    /// Those turned away most who are no device that was ever let in, or showed no proof.
    peers: Vec<TopPeerJson>,
}

#[derive(Serialize)]
struct TopDeviceJson {
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<IdentityJson>,
    /// As it is now; left out when it is not in the managed list.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<LossesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<TallyJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<TallyJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    takeovers: Option<TallyJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow: Option<SlowJson>,
}

#[derive(Serialize)]
struct TopPeerJson {
    identity: IdentityJson,
    address: String,
    refused: Option<TallyJson>,
}

#[derive(Serialize)]
struct TallyJson {
    count: u64,
    /// What may have been missed at most; left out when nothing can have been.
    #[serde(skip_serializing_if = "is_zero")]
    missed_at_most: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_unix_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_cause: Option<&'static str>,
}

#[derive(Serialize)]
struct LossesJson {
    #[serde(flatten)]
    tally: TallyJson,
    silent: u64,
    closed: u64,
    broken: u64,
    taken_over: u64,
}

#[derive(Serialize)]
struct SlowJson {
    #[serde(flatten)]
    tally: TallyJson,
    slowest_ms: u64,
    sum_ms: u64,
    /// How often it took long to its Connect; the rest were answers.
    connects: u64,
}

/// The answer.
pub fn top(snapshot: &Snapshot, query: &Query, now: Instant) -> TopJson {
    let devices = query.devices(snapshot, now);
    let peers = query.peers(snapshot, now);
    TopJson {
        window_s: query.window().as_secs(),
        devices: devices.iter().map(top_device).collect(),
        peers: peers.iter().map(top_peer).collect(),
    }
}

fn top_device(top: &TopDevice) -> TopDeviceJson {
    TopDeviceJson {
        id: top.id.get(),
        identity: top.identity().map(identity),
        device: top.view.as_deref().map(device),
        peer: top.peer().map(address),
        losses: losses(top.of(Measure::Losses)),
        failed: tally(top.of(Measure::Failed)),
        refused: tally(top.of(Measure::Refused)),
        takeovers: tally(top.of(Measure::Takeovers)),
        slow: slow(top.of(Measure::Slow)),
    }
}

fn top_peer(peer: &TopPeer) -> TopPeerJson {
    let (address, name) = &peer.key;
    TopPeerJson {
        identity: identity(name),
        address: address.to_string(),
        refused: tally(&peer.refused),
    }
}

fn losses(total: &Total) -> Option<LossesJson> {
    let of = |loss: Loss| total.parts[loss as usize];
    Some(LossesJson {
        tally: tally(total)?,
        silent: of(Loss::Silent),
        closed: of(Loss::Closed),
        broken: of(Loss::Broken),
        taken_over: of(Loss::TakenOver),
    })
}

fn slow(total: &Total) -> Option<SlowJson> {
    Some(SlowJson {
        tally: tally(total)?,
        slowest_ms: millis(total.worst),
        sum_ms: millis(total.sum),
        connects: total.parts[Slow::Connect as usize],
    })
}

fn tally(total: &Total) -> Option<TallyJson> {
    let last = total.last.as_ref();
    let cause = last.and_then(|last| last.cause);
    (total.events > 0 || total.missed > 0).then(|| TallyJson {
        count: total.events,
        missed_at_most: total.missed,
        last_unix_ms: last.map(|last| last.unix_ms),
        last_cause: cause.map(|cause| cause.as_str()),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// The signature is the one that serde wants.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::trouble::testing;
    use crate::registry::trouble::top::WINDOW_MAX;

    #[test]
    fn devices_and_peers_are_told_whole() {
        let (snapshot, now) = testing::snapshot();
        let query = Query::new(Measure::Slow, WINDOW_MAX, 5).expect("a window");
        let told = serde_json::to_value(top(&snapshot, &query, now)).expect("JSON");
        let expected = json!({
            "window_s": 600,
            "devices": [{
                "id": 7,
                "identity": { "owner": "acme", "device": "door-7" },
                "peer": "192.0.2.7:51211",
                "losses": {
                    "count": 2, "last_unix_ms": 2000, "last_cause": "keep_alive_timeout",
                    "silent": 1, "closed": 1, "broken": 0, "taken_over": 0
                },
                "failed": { "count": 1, "last_unix_ms": 3000, "last_cause": "dial_failed" },
                "refused": { "count": 1, "last_unix_ms": 4000, "last_cause": "weaker_proof" },
                "takeovers": { "count": 1, "last_unix_ms": 5000 },
                "slow": {
                    "count": 1, "last_unix_ms": 6000, "slowest_ms": 1500, "sum_ms": 1500,
                    "connects": 1
                },
            }],
            "peers": [{
                "identity": { "owner": "acme", "device": "no-door" },
                "address": "198.51.100.1",
                "refused": { "count": 1, "last_unix_ms": 7000, "last_cause": "not_proven" },
            }],
        });
        assert_eq!(told, expected);
    }
}
