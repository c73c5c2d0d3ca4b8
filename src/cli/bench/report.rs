//! The figures, as a table or as JSON.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::counting::{Counting, Scrape};
use super::handshake::Handshakes;
use super::list::List;
use super::quantiles::Quantiles;
use super::ramp::Ramp;
use super::samples::Samples;
use super::status::Latency;
use super::storm::{Blow, Storm};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) cores: usize,
    pub(super) plain: Link,
    pub(super) aes: Link,
    pub(super) tls: Link,
    pub(super) handshakes_per_second: Handshakes,
    pub(super) status: Latency,
    pub(super) samples: Samples,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) storm: Option<Storm>,
    pub(super) list: List,
    pub(super) counting: Counting,
    pub(super) scrape: Scrape,
}

/// One link: the gateway beside a bare loop.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Link {
    /// Idle sessions at once.
    pub(super) sessions: u32,
    pub(super) memory: Memory,
    /// Devices that the gateway never saw before: their identities are stored first.
    pub(super) first: Ramp,
    pub(super) again: Ramp,
    pub(super) bare: Ramp,
    /// Where the handshake of a device can build on its last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resumed: Option<Resumed>,
}

/// Devices that come back with the ticket of the session before.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Resumed {
    pub(super) gateway: Ramp,
    pub(super) bare: Ramp,
}

/// Bytes of an idle session and of an idle connection of the bare loop.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    pub(super) session_bytes: f64,
    pub(super) bare_bytes: f64,
}

impl Report {
    pub(super) fn to_table(&self) -> String {
        let mut table = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut table);
        table
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let links = [
            ("plain", &self.plain),
            ("aes", &self.aes),
            ("tls", &self.tls),
        ];
        head(out, "memory of an idle session", ["bytes", "bare", "ratio"])?;
        for (
            name,
            Link {
                sessions, memory, ..
            },
        ) in links
        {
            let Memory {
                session_bytes,
                bare_bytes,
            } = memory;
            let name = format!("{name}, {sessions} sessions");
            row(
                out,
                &name,
                [*session_bytes, *bare_bytes],
                session_bytes / bare_bytes,
            )?;
        }
        head(
            out,
            "connecting, dial to CONNECTED",
            ["a second", "cpu us", "of bare"],
        )?;
        for (name, link) in links {
            let ramps = [
                ("first time", link.first, link.bare),
                ("again", link.again, link.bare),
                ("bare loop", link.bare, link.bare),
            ];
            let resumed = link.resumed.map(|Resumed { gateway, bare }| {
                [
                    ("resumed", gateway, bare),
                    ("bare loop, resumed", bare, bare),
                ]
            });
            for (which, ramp, bare) in ramps.into_iter().chain(resumed.into_iter().flatten()) {
                let share = ramp.sessions_per_second / bare.sessions_per_second;
                let figures = [ramp.sessions_per_second, ramp.processor_us];
                row(out, &format!("{name}, {which}"), figures, share)?;
            }
        }
        self.write_handshakes(out)?;
        self.write_status(out)?;
        self.write_samples(out)?;
        self.write_storm(out)?;
        self.write_list(out)?;
        self.write_counting(out)
    }

    fn write_handshakes(&self, out: &mut String) -> fmt::Result {
        let Handshakes {
            aes,
            tls,
            tls_resumed,
        } = self.handshakes_per_second;
        let bare_resumed = self.tls.resumed.map_or(self.tls.bare, |ramps| ramps.bare);
        for (name, rate, bare) in [
            ("aes handshake", aes, self.aes.bare),
            ("tls handshake", tls, self.tls.bare),
            ("tls resumption", tls_resumed, bare_resumed),
        ] {
            let name = format!("{name} in memory, {} threads", self.cores);
            let processor_us = self.cores as f64 / rate * 1e6;
            let share = rate / bare.sessions_per_second;
            row(out, &name, [rate, processor_us], share)?;
        }
        Ok(())
    }

    fn write_status(&self, out: &mut String) -> fmt::Result {
        let Latency {
            sessions,
            closes,
            subscriber,
            bare_stream,
            bare_socket,
        } = self.status;
        let title = format!("socket close to its reader, {closes} times");
        head(out, &title, ["p50 us", "p99 us", "max us"])?;
        let name = format!("gRPC subscriber, {sessions} idle sessions");
        for (name, times) in [
            (name.as_str(), subscriber),
            ("bare tonic stream", bare_stream),
            ("bare socket, end of file", bare_socket),
        ] {
            quantiles(out, name, times)?;
        }
        Ok(())
    }

    fn write_samples(&self, out: &mut String) -> fmt::Result {
        let Samples {
            devices,
            sockets,
            per_second,
            bare_per_second,
        } = self.samples;
        head(out, "samples read", ["a second", "bare", "of bare"])?;
        let name = format!("{devices} devices, {sockets} WebSockets");
        let share = per_second / bare_per_second;
        row(out, &name, [per_second, bare_per_second], share)
    }

    fn write_storm(&self, out: &mut String) -> fmt::Result {
        let Some(storm) = &self.storm else {
            return Ok(());
        };
        let blows = [("power loss", &storm.anew), ("resumed", &storm.resumed)];
        let title = format!("storm of {} tls devices", storm.devices);
        head(out, &title, ["gone ms", "back ms", "a second"])?;
        for (name, blow) in blows {
            let Blow {
                gone_ms, back_ms, ..
            } = blow;
            let rate = f64::from(storm.devices) / back_ms * 1e3;
            writeln!(
                out,
                "  {name:<42}{gone_ms:>10.0}{back_ms:>10.0}{rate:>10.0}"
            )?;
        }
        let title = "socket close to its reader, a bystander";
        head(out, title, ["p50 us", "p99 us", "max us"])?;
        let name = format!("all connected and idle, {} times", storm.idle_closes);
        quantiles(out, &name, storm.idle)?;
        for (name, blow) in blows {
            let name = format!("{name}, {} times", blow.closes);
            quantiles(out, &name, blow.bystander)?;
        }
        Ok(())
    }

    fn write_list(&self, out: &mut String) -> fmt::Result {
        let List {
            devices,
            call_ms,
            encode_ms,
            decode_ms,
        } = self.list;
        head(
            out,
            &format!("list of {devices} devices"),
            ["ms", "bare ms", "ratio"],
        )?;
        for (name, bare) in [
            ("call over TLS; bare: encoding", encode_ms),
            (
                "call over TLS; bare: encoding, decoding",
                encode_ms + decode_ms,
            ),
        ] {
            let ratio = call_ms / bare;
            writeln!(out, "  {name:<42}{call_ms:>10.2}{bare:>10.2}{ratio:>10.2}")?;
        }
        Ok(())
    }

    fn write_counting(&self, out: &mut String) -> fmt::Result {
        let Counting { on, off } = self.counting;
        let title = "metrics, counting and not (plain links)";
        head(out, title, ["counting", "not", "ratio"])?;
        for (name, on, off) in [
            ("cpu us of a session", on.processor_us, off.processor_us),
            (
                "sessions a second",
                on.sessions_per_second,
                off.sessions_per_second,
            ),
        ] {
            row(out, name, [on, off], on / off)?;
        }
        let Scrape {
            devices,
            bytes,
            series,
            ms,
            empty_ms,
        } = self.scrape;
        let title = format!("a scrape: {series} series, {bytes} bytes");
        head(out, &title, ["ms", "empty ms", "ratio"])?;
        let name = format!("{devices} devices; beside none");
        let ratio = ms / empty_ms;
        writeln!(out, "  {name:<42}{ms:>10.2}{empty_ms:>10.2}{ratio:>10.2}")
    }
}

fn head(out: &mut String, title: &str, columns: [&str; 3]) -> fmt::Result {
    let between = if out.is_empty() { "" } else { "\n" };
    let [first, second, third] = columns;
    writeln!(
        out,
        "{between}{title:<44}{first:>10}{second:>10}{third:>10}"
    )
}

fn row(out: &mut String, name: &str, [first, second]: [f64; 2], ratio: f64) -> fmt::Result {
    writeln!(out, "  {name:<42}{first:>10.0}{second:>10.0}{ratio:>10.2}")
}

fn quantiles(out: &mut String, name: &str, times: Quantiles) -> fmt::Result {
    let Quantiles {
        p50_us,
        p99_us,
        max_us,
    } = times;
    writeln!(
        out,
        "  {name:<42}{p50_us:>10.0}{p99_us:>10.0}{max_us:>10.0}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_sets_each_figure_beside_its_bare_one() {
        let ramp = |sessions_per_second| Ramp {
            sessions: 10,
            sessions_per_second,
            processor_us: 50.0,
        };
        let link = Link {
            sessions: 10,
            memory: Memory {
                session_bytes: 3000.0,
                bare_bytes: 1000.0,
            },
            first: ramp(500.0),
            again: ramp(900.0),
            bare: ramp(1000.0),
            resumed: Some(Resumed {
                gateway: ramp(1000.0),
                bare: ramp(4000.0),
            }),
        };
        let times = Quantiles {
            p50_us: 1.0,
            p99_us: 2.0,
            max_us: 3.0,
        };
        let status = Latency {
            sessions: 20,
            closes: 5,
            subscriber: times,
            bare_stream: times,
            bare_socket: times,
        };
        let blow = Blow {
            gone_ms: 10.0,
            back_ms: 500.0,
            closes: 7,
            bystander: times,
        };
        let list = List {
            devices: 20,
            call_ms: 3.0,
            encode_ms: 2.0,
            decode_ms: 1.0,
        };
        let report = Report {
            cores: 2,
            plain: link,
            aes: link,
            tls: link,
            handshakes_per_second: Handshakes {
                aes: 2000.0,
                tls: 3000.0,
                tls_resumed: 8000.0,
            },
            status,
            samples: Samples {
                devices: 10,
                sockets: 200,
                per_second: 90_000.0,
                bare_per_second: 120_000.0,
            },
            storm: Some(Storm {
                devices: 50,
                idle: times,
                idle_closes: 5,
                anew: blow.clone(),
                resumed: blow,
            }),
            list,
            counting: Counting {
                on: ramp(1000.0),
                off: ramp(2000.0),
            },
            scrape: Scrape {
                devices: 20,
                bytes: 3000,
                series: 40,
                ms: 6.0,
                empty_ms: 2.0,
            },
        };
        let table = report.to_table();
        let ratio = |name: &str| {
            let line = table.lines().find(|line| line.contains(name));
            line.and_then(|line| line.split_whitespace().last())
        };
        assert_eq!(ratio("plain, 10 sessions"), Some("3.00"));
        assert_eq!(ratio("plain, first time"), Some("0.50"));
        assert_eq!(ratio("aes handshake in memory"), Some("2.00"));
        assert_eq!(ratio("tls, resumed"), Some("0.25"));
        assert_eq!(ratio("tls resumption in memory"), Some("2.00"));
        assert_eq!(ratio("power loss"), Some("100"));
        assert_eq!(ratio("power loss, 7 times"), Some("3"));
        assert_eq!(ratio("bare tonic stream"), Some("3"));
        assert_eq!(ratio("encoding, decoding"), Some("1.00"));
        assert_eq!(ratio("sessions a second"), Some("0.50"));
        assert_eq!(ratio("20 devices; beside none"), Some("3.00"));
    }
}
