//! The streams of a device's resources that the gateway has opened: when a sample is due, and who
//! is told of a change.

use std::time::Duration;

use crate::codec::message::StreamId;
use crate::codec::pson::Value;
use crate::sim::quirks::{Events, Quirks};
use crate::sim::resources::Resource;
use crate::time::Instant;

/// Streams that are open at once; another one is refused.
pub const STREAMS_MAX: usize = 256;

/// The shortest beat.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// A stream as the gateway wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub id: StreamId,
    pub resource: Resource,
    /// `None`: events only.
    pub interval: Option<Duration>,
}

/// What the gateway wanted of the device since it was switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Start Streams received, those that were refused among them.
    pub starts: u64,
    /// Stop Streams received.
    pub stops: u64,
    /// Those that are open, the last started one last.
    pub open: Vec<Open>,
}

/// The streams on one link.
#[derive(Clone, Debug)]
pub struct Streams {
    events: Events,
    tick: Option<Duration>,
    /// What the ticks are counted from.
    epoch: Instant,
    open: Vec<Stream>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    open: Open,
    /// `None` without an interval.
    due: Option<Instant>,
    /// The last one that was started on its resource, and none was stopped since.
    is_last: bool,
}

/// There are [`STREAMS_MAX`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Streams {
    pub const fn new(quirks: &Quirks) -> Self {
        Self {
            events: quirks.events,
            tick: quirks.tick,
            epoch: Instant::ZERO,
            open: Vec::new(),
        }
    }

    /// The link is up: ticks are counted from here, and these go on from the one before.
    pub fn begin(&mut self, kept: &[Open], now: Instant) {
        self.epoch = now;
        for open in kept {
            // There were no more of them on the link before.
            let _ = self.start(*open, now);
        }
    }

    /// Opens a stream, or changes the one with this ID. Its first sample is an interval off, or a
    /// tick.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed.
    pub fn start(&mut self, open: Open, now: Instant) -> Result<(), Full> {
        let is_new = self.find(open.id).is_none();
        if is_new && self.open.len() >= STREAMS_MAX {
            return Err(Full);
        }
        self.open.retain(|stream| stream.open.id != open.id);
        for other in self.on(open.resource) {
            other.is_last = false;
        }
        let interval = open.interval.map(|interval| interval.max(INTERVAL_MIN));
        self.open.push(Stream {
            open: Open { interval, ..open },
            due: interval.map(|interval| match self.tick {
                Some(_) => self.tick_at(now + Duration::from_micros(1)),
                None => now + interval,
            }),
            is_last: true,
        });
        Ok(())
    }

    /// Closes a stream; `None` when there is no such.
    pub fn stop(&mut self, id: StreamId) -> Option<Open> {
        let at = self.open.iter().position(|stream| stream.open.id == id)?;
        let stopped = self.open.remove(at).open;
        for other in self.on(stopped.resource) {
            other.is_last = false;
        }
        Some(stopped)
    }

    pub fn find(&self, id: StreamId) -> Option<Open> {
        let mut open = self.open.iter().map(|stream| stream.open);
        open.find(|open| open.id == id)
    }

    pub fn open(&self) -> Vec<Open> {
        self.open.iter().map(|stream| stream.open).collect()
    }

    /// Who is told of a change of this resource.
    pub fn told_of(&self, resource: Resource) -> Vec<Open> {
        let is_told = |stream: &&Stream| match self.events {
            Events::Unsampled => stream.open.interval.is_none(),
            Events::LastStarted => stream.is_last,
            Events::All => true,
        };
        let on = self
            .open
            .iter()
            .filter(|stream| stream.open.resource == resource);
        on.filter(is_told).map(|stream| stream.open).collect()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open.iter().filter_map(|stream| stream.due).min()
    }

    /// The streams whose samples are due, each once; those that were missed are not made up.
    pub fn due(&mut self, now: Instant) -> Vec<Open> {
        let mut found = Vec::new();
        for at in 0..self.open.len() {
            let Stream { open, due, .. } = self.open[at];
            if let (Some(due), Some(interval)) = (due, open.interval)
                && due <= now
            {
                self.open[at].due = Some(self.next(due, interval, now));
                found.push(open);
            }
        }
        found
    }

    fn next(&self, due: Instant, interval: Duration, now: Instant) -> Instant {
        let next = self.tick_at(due + interval);
        if next > now {
            next
        } else {
            self.tick_at(now + interval)
        }
    }

    /// The first tick from `time` on, or that time where there are no ticks.
    fn tick_at(&self, time: Instant) -> Instant {
        let Some(tick) = self.tick else { return time };
        let (tick, epoch) = (tick.as_micros() as u64, self.epoch.as_micros());
        let ticks = time.as_micros().saturating_sub(epoch).div_ceil(tick.max(1));
        Instant::from_micros(epoch.saturating_add(ticks.saturating_mul(tick)))
    }

    fn on(&mut self, resource: Resource) -> impl Iterator<Item = &mut Stream> {
        let streams = self.open.iter_mut();
        streams.filter(move |stream| stream.open.resource == resource)
    }
}

/// What the parameters of a Start Stream say of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Interval(Duration),
    /// 0.
    Events,
    /// Nothing, or nothing that this device sees.
    Nothing,
}

impl Asked {
    /// Seconds in 2020, milliseconds elsewhere.
    pub fn read(parameters: Option<&Value>, is_2020: bool, quirks: &Quirks) -> Self {
        let in_map = parameters.and_then(|map| map.get("interval"));
        let bare = parameters.filter(|_| !quirks.ignores_bare_interval);
        let found = in_map.or(bare).and_then(Value::as_unsigned);
        match found {
            None => Self::Nothing,
            Some(0) => Self::Events,
            Some(seconds) if is_2020 => Self::Interval(Duration::from_secs(seconds)),
            Some(ms) => Self::Interval(Duration::from_millis(ms)),
        }
    }
}

#[cfg(test)]
mod tests;
