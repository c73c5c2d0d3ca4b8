//! What the demo prints.

use std::io::{self, Write};
use std::path::Path;

use super::cast::Cast;
use crate::clock;
use crate::gateway::Listening;
use crate::registry::hub::Delivery;
use crate::registry::snapshot::Snapshot;

pub struct Screen {
    start_unix_ms: u64,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            start_unix_ms: clock::now().unix_ms,
        }
    }

    /// Where everything listens.
    pub fn title(&self, listening: &Listening, root: &Path, cast: &Cast) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "A gateway and {} simulated devices, in this process alone.",
            cast.len()
        )?;
        writeln!(out)?;
        writeln!(out, "  gRPC over TLS      {}", listening.grpc)?;
        writeln!(out, "  its root           {}", root.display())?;
        if let Some(address) = listening.http {
            writeln!(out, "  console            http://{address}/")?;
        }
        for (name, address) in [
            ("aes", listening.aes),
            ("tls", listening.tls),
            ("plain", listening.plain),
        ] {
            if let Some(address) = address {
                writeln!(out, "  devices, {name:<5}     {address}")?;
            }
        }
        writeln!(out)?;
        writeln!(
            out,
            "Each line: when, which device, its new status and why; or, with an arrow, what a client asks."
        )?;
        writeln!(out)?;
        out.flush()
    }

    /// One line for one change of one device.
    pub fn change(&self, change: &Delivery, snapshot: &Snapshot) -> io::Result<()> {
        if !change.is_status_change() {
            return Ok(());
        }
        let event = &change.event;
        let view = snapshot.devices.get(&event.device);
        let mut details = Vec::new();
        if let Some(session) = view.and_then(|view| view.session.as_ref())
            && event.new.is_connected()
        {
            let (link, proof) = (session.link.as_str(), session.proof.as_str());
            details.push(format!(
                "{link} link with {}, proven by its {proof}",
                session.peer
            ));
        }
        details.extend(event.cause.as_ref().map(ToString::to_string));
        let line = format!("{:<18}  {}", event.new.as_str(), details.join(", "));
        self.line(event.unix_ms, event.device.get(), &line)
    }

    /// One line for what a client asks of the gateway about one device.
    pub fn asked(&self, device: u32, words: &str) -> io::Result<()> {
        self.line(clock::now().unix_ms, device, &format!("-> {words}"))
    }

    fn line(&self, unix_ms: u64, device: u32, words: &str) -> io::Result<()> {
        let since_ms = unix_ms.saturating_sub(self.start_unix_ms);
        let (seconds, rest) = (since_ms / 1000, since_ms % 1000);
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{seconds:4}.{rest:03}s  {device}  {}",
            words.trim_end()
        )?;
        out.flush()
    }

    pub fn summary(&self, snapshot: &Snapshot) -> io::Result<()> {
        let connected = snapshot
            .devices
            .values()
            .filter(|view| view.status.is_connected());
        let mut out = io::stdout().lock();
        writeln!(out)?;
        writeln!(
            out,
            "{} devices are listed, {} of them connected; {} waits to be let in.",
            snapshot.devices.len(),
            connected.count(),
            snapshot.pending.len()
        )?;
        out.flush()
    }
}
