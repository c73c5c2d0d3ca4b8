//! The devices with the most trouble as they travel, from the words of the house.

use std::time::Duration;

use crate::grpc::convert::RequestError;
use crate::grpc::fleet_view::{address, device, identity};
use crate::grpc::proto::gatehouse::v1 as wire;
use crate::registry::snapshot::Snapshot;
use crate::registry::trouble::top::{LIMIT_DEFAULT, Query, TopDevice, TopPeer, WINDOW_MAX};
use crate::registry::trouble::window::Total;
use crate::registry::trouble::{Loss, Measure, Slow};
use crate::time::Instant;

/// What is asked.
///
/// # Errors
/// [`RequestError`] naming the field.
pub fn query(request: wire::TopRequest) -> Result<Query, RequestError> {
    let by = wire::TopBy::try_from(request.by);
    let by = by.map_err(|_| RequestError::TopBy { value: request.by })?;
    let window = match request.window_s {
        0 => WINDOW_MAX,
        seconds => Duration::from_secs(seconds.into()),
    };
    let limit = match usize::try_from(request.limit) {
        Ok(0) => LIMIT_DEFAULT,
        Ok(limit) => limit,
        Err(_) => usize::MAX,
    };
    Query::new(measure(by), window, limit).map_err(|_| RequestError::Window {
        value: request.window_s,
    })
}

/// The answer.
pub fn top(snapshot: &Snapshot, query: &Query, now: Instant) -> wire::TopResponse {
    let devices = query.devices(snapshot, now);
    let peers = query.peers(snapshot, now);
    wire::TopResponse {
        devices: devices.iter().map(top_device).collect(),
        peers: peers.iter().map(top_peer).collect(),
        window_s: u32::try_from(query.window().as_secs()).unwrap_or(u32::MAX),
    }
}

const fn measure(by: wire::TopBy) -> Measure {
    match by {
        wire::TopBy::Unspecified | wire::TopBy::Losses => Measure::Losses,
        wire::TopBy::Failed => Measure::Failed,
        wire::TopBy::Refused => Measure::Refused,
        wire::TopBy::Takeovers => Measure::Takeovers,
        wire::TopBy::Slow => Measure::Slow,
    }
}

fn top_device(top: &TopDevice) -> wire::TopDevice {
    let losses = top.of(Measure::Losses);
    let slow = top.of(Measure::Slow);
    let lost = |loss: Loss| losses.parts[loss as usize];
    wire::TopDevice {
        device_id: top.id.get(),
        identity: top.identity().map(identity),
        device: top.view.as_deref().map(device),
        peer: top.peer().map(address).unwrap_or_default(),
        losses: tally(losses),
        losses_by_kind: (losses.events > 0).then(|| wire::Losses {
            silent: lost(Loss::Silent),
            closed: lost(Loss::Closed),
            broken: lost(Loss::Broken),
            taken_over: lost(Loss::TakenOver),
        }),
        failed: tally(top.of(Measure::Failed)),
        refused: tally(top.of(Measure::Refused)),
        takeovers: tally(top.of(Measure::Takeovers)),
        slow: tally(slow),
        slowest_ms: millis(slow.worst),
        slow_sum_ms: millis(slow.sum),
        slow_connects: slow.parts[Slow::Connect as usize],
    }
}

fn top_peer(peer: &TopPeer) -> wire::TopPeer {
    let (address, name) = &peer.key;
    wire::TopPeer {
        identity: Some(identity(name)),
        address: address.to_string(),
        refused: tally(&peer.refused),
    }
}

fn tally(total: &Total) -> Option<wire::Tally> {
    if total.events == 0 && total.missed == 0 {
        return None;
    }
    let last = total.last.as_ref();
    let cause = last.and_then(|last| last.cause);
    Some(wire::Tally {
        count: total.events,
        missed_at_most: total.missed,
        last_unix_ms: last.map_or(0, |last| last.unix_ms),
        last_cause: cause.map_or_else(String::new, |cause| cause.as_str().to_owned()),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::trouble::testing;

    #[test]
    fn a_request_that_says_nothing_means_the_losses_of_ten_minutes() {
        let query = |by, limit, window_s| {
            let request = wire::TopRequest {
                by,
                limit,
                window_s,
            };
            query(request).map_err(|error| error.to_string())
        };
        let whole = Query::new(Measure::Losses, WINDOW_MAX, LIMIT_DEFAULT);
        assert_eq!(query(0, 0, 0).ok(), whole.ok());
        let slow = Query::new(Measure::Slow, Duration::from_secs(120), 7);
        assert_eq!(query(5, 7, 120).ok(), slow.ok());
        assert_eq!(
            query(0, 0, 90).unwrap_err(),
            "window_s is 90; it must be whole minutes, 60 to 600, or 0, which means 600"
        );
        assert_eq!(
            query(6, 0, 0).unwrap_err(),
            "by is 6, which is nothing that devices are ranked by; it must be 0 to 5"
        );
    }

    #[test]
    fn devices_and_peers_are_told_whole() {
        let (snapshot, now) = testing::snapshot();
        let query = Query::new(Measure::Losses, WINDOW_MAX, 5).unwrap();
        let tally = |count, unix_ms, cause: &str| {
            Some(wire::Tally {
                count,
                missed_at_most: 0,
                last_unix_ms: unix_ms,
                last_cause: cause.to_owned(),
            })
        };
        let name = |device: &str| {
            Some(wire::Identity {
                owner: "acme".to_owned(),
                device: device.to_owned(),
            })
        };
        let expected = wire::TopResponse {
            devices: vec![wire::TopDevice {
                device_id: 7,
                identity: name("door-7"),
                device: None,
                peer: "192.0.2.7:51211".to_owned(),
                losses: tally(2, 2_000, "keep_alive_timeout"),
                losses_by_kind: Some(wire::Losses {
                    silent: 1,
                    closed: 1,
                    broken: 0,
                    taken_over: 0,
                }),
                failed: tally(1, 3_000, "dial_failed"),
                refused: tally(1, 4_000, "weaker_proof"),
                takeovers: tally(1, 5_000, ""),
                slow: tally(1, 6_000, ""),
                slowest_ms: 1_500,
                slow_sum_ms: 1_500,
                slow_connects: 1,
            }],
            peers: vec![wire::TopPeer {
                identity: name("no-door"),
                address: "198.51.100.1".to_owned(),
                refused: tally(1, 7_000, "not_proven"),
            }],
            window_s: 600,
        };
        assert_eq!(top(&snapshot, &query, now), expected);
    }
}
