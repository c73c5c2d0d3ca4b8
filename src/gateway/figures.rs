//! What is told of a gateway in metrics beside what it does: its version, its limits, and when its
//! certificates expire.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock;
use crate::config::Config;
use crate::link::expiry::Expiry;
use crate::metrics::{Meter, table};
use crate::store;

/// Version and schema.
pub(super) fn tell_build(meter: &Meter) {
    let version = env!("CARGO_PKG_VERSION");
    let schema = store::SCHEMA.to_string();
    meter
        .gauge(&table::BUILD_INFO, &[version, &schema])
        .set(1.0);
}

/// What the configuration allows at most.
pub(super) fn tell_limits(meter: &Meter, config: &Config) {
    for (of, max) in [
        ("devices", config.registry.devices_max),
        ("sessions", config.session.sessions_max),
        ("pending", config.registry.pending_max),
        ("subscribers", config.grpc.subscribers_max),
        ("sinks", config.stream.sinks_max),
        ("dials", config.dial.in_flight_max),
        ("waiting_room", config.inbound.waiting_max),
        ("http_connections", config.http.connections_max),
    ] {
        meter.gauge(&table::LIMIT, &[of]).set(max as f64);
    }
}

/// Tells when certificates expire.
pub(super) struct ExpiryGauges {
    meter: Meter,
    /// What is in force.
    told: Arc<ArcSwap<Expiry>>,
}

impl ExpiryGauges {
    pub(super) fn new(meter: &Meter) -> Self {
        let told = Arc::new(ArcSwap::<Expiry>::default());
        let soon = meter.gauge(&table::DEVICE_CERTIFICATES_EXPIRING, &[]);
        let read = Arc::clone(&told);
        meter.read_at_scrape(move || soon.set(read.load().devices.soon(clock::now()) as f64));
        let meter = meter.clone();
        Self { meter, told }
    }

    /// This is in force from now on.
    pub(super) fn tell(&self, now: Expiry) {
        let now = Arc::new(now);
        let before = self.told.swap(Arc::clone(&now));
        for (certificate, before, now) in [
            ("server", before.server, now.server),
            ("root", before.root, now.root),
            (
                "revocation_list",
                before.revocation_list,
                now.revocation_list,
            ),
        ] {
            // A series cannot be taken back: what is there no more is told to be no number.
            if before.is_some() || now.is_some() {
                let metric = &table::CERTIFICATE_EXPIRY;
                let gauge = self.meter.gauge(metric, &[certificate]);
                gauge.set(now.map_or(f64::NAN, |now| now as f64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_gone_has_no_date() {
        let meter = Meter::new();
        let gauges = ExpiryGauges::new(&meter);
        let series = "gatehouse_certificate_expiry_timestamp_seconds{certificate=";
        let shows = || {
            let text = meter.render();
            let lines = text.lines().filter_map(|line| line.strip_prefix(series));
            let mut lines: Vec<_> = lines.map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let first = Expiry {
            server: Some(1_900_000_000),
            root: Some(2_000_000_000),
            ..Expiry::default()
        };
        gauges.tell(first.clone());
        let certificates = ["\"root\"} 2000000000", "\"server\"} 1900000000"];
        assert_eq!(shows(), certificates);
        let revocation_list = Some(1_800_000_000);
        gauges.tell(Expiry {
            revocation_list,
            ..first.clone()
        });
        let list = "\"revocation_list\"} 1800000000";
        assert_eq!(shows(), [list, certificates[0], certificates[1]]);
        gauges.tell(first);
        let none = "\"revocation_list\"} NaN";
        assert_eq!(shows(), [none, certificates[0], certificates[1]]);
    }
}
