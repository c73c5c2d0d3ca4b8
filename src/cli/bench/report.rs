//! The figures, as a table or as JSON.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::list::List;
use super::quantiles::Quantiles;
use super::ramp::Ramp;
use super::status::Latency;

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) cores: usize,
    pub(super) plain: Link,
    pub(super) aes: Link,
    /// First handshake messages that all cores together answer in memory.
    pub(super) handshakes_per_second: f64,
    pub(super) status: Latency,
    pub(super) list: List,
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
        let links = [("plain", &self.plain), ("aes", &self.aes)];
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
                ("first time", link.first),
                ("again", link.again),
                ("bare loop", link.bare),
            ];
            for (which, ramp) in ramps {
                let share = ramp.sessions_per_second / link.bare.sessions_per_second;
                let figures = [ramp.sessions_per_second, ramp.processor_us];
                row(out, &format!("{name}, {which}"), figures, share)?;
            }
        }
        self.write_handshakes(out)?;
        self.write_status(out)?;
        self.write_list(out)
    }

    fn write_handshakes(&self, out: &mut String) -> fmt::Result {
        let rate = self.handshakes_per_second;
        let name = format!("aes handshake in memory, {} threads", self.cores);
        let processor_us = self.cores as f64 / rate * 1e6;
        row(
            out,
            &name,
            [rate, processor_us],
            rate / self.aes.bare.sessions_per_second,
        )
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
            let Quantiles {
                p50_us,
                p99_us,
                max_us,
            } = times;
            writeln!(
                out,
                "  {name:<42}{p50_us:>10.0}{p99_us:>10.0}{max_us:>10.0}"
            )?;
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
            handshakes_per_second: 2000.0,
            status,
            list,
        };
        let table = report.to_table();
        let ratio = |name: &str| {
            let line = table.lines().find(|line| line.contains(name));
            line.and_then(|line| line.split_whitespace().last())
        };
        assert_eq!(ratio("plain, 10 sessions"), Some("3.00"));
        assert_eq!(ratio("plain, first time"), Some("0.50"));
        assert_eq!(ratio("handshake in memory"), Some("2.00"));
        assert_eq!(ratio("bare tonic stream"), Some("3"));
        assert_eq!(ratio("encoding, decoding"), Some("1.00"));
    }
}
