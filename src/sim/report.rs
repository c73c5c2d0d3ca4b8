//! What simulated devices tell of themselves: events as they happen, and counts.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::net::SocketAddr;
use std::ops::Add;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::ask::AskId;
use super::resources::Resource;
use crate::codec::message::StreamId;
use crate::codec::pson::Value;

/// The texts that are counted apart; whatever comes after so many different ones is counted as
/// [`OTHER`], since some of them come from the gateway.
const REASONS_MAX: usize = 64;
const OTHER: &str = "other reasons";

/// What happened to a device. Each `Opened` is followed by exactly one `Ended` before the next,
/// unless the device is stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It waits here for the gateway: told by a [fleet](super::fleet::Fleet) when the device
    /// starts, and whenever it was told to listen again.
    Listens(SocketAddr),
    /// A TCP connection is open.
    Opened,
    /// The connection is secured, or plain; how, in a few words: `tls 1.3, resumed`.
    Linked(&'static str),
    /// It dialled in vain, or could not listen where it was told to; why.
    Unreachable(String),
    /// The gateway answered the Connect with Ok.
    Admitted,
    /// The gateway has asked for `device/info` and got it.
    Described,
    /// The gateway has written to this resource, and changed something.
    Written(&'static str),
    /// The gateway has sent a Start Stream and got an Ok; an interval of `None` is a stream of
    /// events.
    StreamStarted {
        id: StreamId,
        resource: Resource,
        interval: Option<Duration>,
    },
    /// The gateway has sent a Start Stream and got an Error.
    StreamRefused(StreamId),
    /// The gateway has sent a Stop Stream, whether or not it was open.
    StreamStopped(StreamId),
    /// What came of something that the device asked: the payload of the Ok, or why not.
    Answered {
        ask: AskId,
        answer: Result<Option<Value>, String>,
    },
    /// A value came on a stream that the device opened.
    Pushed { ask: AskId, value: Value },
    /// The gateway answered the Connect otherwise, or not at all; why, as far as it said so.
    Refused(String),
    /// The TCP connection is closed; why.
    Ended(String),
}

impl Event {
    pub const fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted)
    }

    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// One word for it, as `gatehouse simulate` prints it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Listens(_) => "listens",
            Self::Opened => "opened",
            Self::Linked(_) => "linked",
            Self::Unreachable(_) => "unreachable",
            Self::Admitted => "admitted",
            Self::Described => "described",
            Self::Written(_) => "written",
            Self::StreamStarted { .. } => "stream-started",
            Self::StreamRefused(_) => "stream-refused",
            Self::StreamStopped(_) => "stream-stopped",
            Self::Answered { .. } => "answered",
            Self::Pushed { .. } => "pushed",
            Self::Refused(_) => "refused",
            Self::Ended(_) => "ended",
        }
    }

    /// What else there is to say, and what that is: a `reason`, a `link` or a `resource`.
    pub fn detail(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Unreachable(why) | Self::Refused(why) | Self::Ended(why) => Some(("reason", why)),
            Self::Linked(kind) => Some(("link", kind)),
            Self::Written(resource) => Some(("resource", resource)),
            Self::StreamStarted { resource, .. } => Some(("resource", resource.name())),
            Self::Answered { answer, .. } => Some(("reason", answer.as_ref().err()?)),
            Self::Listens(_)
            | Self::Opened
            | Self::Admitted
            | Self::Described
            | Self::StreamRefused(_)
            | Self::StreamStopped(_)
            | Self::Pushed { .. } => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.detail()) {
            (Self::Listens(address), _) => write!(f, "listens at {address}"),
            (_, Some((_, detail))) => write!(f, "{}: {detail}", self.as_str()),
            (_, None) => f.write_str(self.as_str()),
        }
    }
}

/// An event with the number of its device.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub device: u32,
    pub event: Event,
}

/// How often things happened to one device, or to many together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// TCP connections in all, dialled or accepted.
    pub links: u64,
    /// TCP connections open now.
    pub open: u64,
    /// TCP connections in all that became links.
    pub linked: u64,
    /// Dials in vain.
    pub unreachable: u64,
    pub admitted: u64,
    /// Sessions now: admitted and not ended.
    pub up: u64,
    /// Sessions that ended.
    pub lost: u64,
    pub described: u64,
    /// Writes that changed something.
    pub written: u64,
    /// Start Streams of the gateway that were answered with Ok.
    pub streams_started: u64,
    /// Stop Streams of the gateway.
    pub streams_stopped: u64,
    /// Asks of the device that came to something, good or bad.
    pub answered: u64,
    /// Values that came on streams of the device.
    pub pushed: u64,
    pub refused: u64,
}

impl Counts {
    fn count(&mut self, event: &Event) {
        match event {
            Event::Listens(_) | Event::StreamRefused(_) => {}
            Event::StreamStarted { .. } => self.streams_started += 1,
            Event::StreamStopped(_) => self.streams_stopped += 1,
            Event::Answered { .. } => self.answered += 1,
            Event::Pushed { .. } => self.pushed += 1,
            Event::Opened => {
                self.links += 1;
                self.open = 1;
            }
            Event::Linked(_) => self.linked += 1,
            Event::Unreachable(_) => self.unreachable += 1,
            Event::Admitted => {
                self.admitted += 1;
                self.up = 1;
            }
            Event::Described => self.described += 1,
            Event::Written(_) => self.written += 1,
            Event::Refused(_) => self.refused += 1,
            Event::Ended(_) => {
                self.lost += self.up;
                self.up = 0;
                self.open = 0;
            }
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            links: self.links + other.links,
            open: self.open + other.open,
            linked: self.linked + other.linked,
            unreachable: self.unreachable + other.unreachable,
            admitted: self.admitted + other.admitted,
            up: self.up + other.up,
            lost: self.lost + other.lost,
            described: self.described + other.described,
            written: self.written + other.written,
            streams_started: self.streams_started + other.streams_started,
            streams_stopped: self.streams_stopped + other.streams_stopped,
            answered: self.answered + other.answered,
            pushed: self.pushed + other.pushed,
            refused: self.refused + other.refused,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// Where the devices of one fleet tell what happens to them. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    channel: Option<mpsc::Sender<Report>>,
    tally: Arc<Mutex<Tally>>,
}

/// How often each reason was given, and each kind of link made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By what secures the link.
    pub linked: BTreeMap<String, u64>,
    /// By resource.
    pub written: BTreeMap<String, u64>,
    pub refused: BTreeMap<String, u64>,
    pub ended: BTreeMap<String, u64>,
    pub unreachable: BTreeMap<String, u64>,
    /// Reports that found the channel full and are missing there; they are counted all the same.
    pub dropped: u64,
}

impl Reports {
    /// Sends every event into `channel` while it has room: a slow reader holds up no device.
    pub fn to(channel: mpsc::Sender<Report>) -> Self {
        Self {
            channel: Some(channel),
            tally: Arc::default(),
        }
    }

    pub fn tally(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for room in the channel: a reader that misses where a device listens cannot ask again.
    pub(super) async fn tell_address(&self, device: u32, address: SocketAddr) {
        if let Some(channel) = &self.channel {
            let event = Event::Listens(address);
            // Without a reader there is nobody to miss it.
            let _ = channel.send(Report { device, event }).await;
        }
    }

    fn tell(&self, device: u32, event: Event) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.count(&event);
        if let Some(channel) = &self.channel
            && let Err(mpsc::error::TrySendError::Full(_)) =
                channel.try_send(Report { device, event })
        {
            tally.dropped += 1;
        }
    }
}

impl Tally {
    fn count(&mut self, event: &Event) {
        let reasons = match event {
            Event::Linked(_) => &mut self.linked,
            Event::Written(_) => &mut self.written,
            Event::Refused(_) => &mut self.refused,
            Event::Ended(_) => &mut self.ended,
            Event::Unreachable(_) => &mut self.unreachable,
            Event::Listens(_)
            | Event::Opened
            | Event::Admitted
            | Event::Described
            | Event::StreamStarted { .. }
            | Event::StreamRefused(_)
            | Event::StreamStopped(_)
            | Event::Answered { .. }
            | Event::Pushed { .. } => return,
        };
        let Some((_, why)) = event.detail() else {
            return;
        };
        if let Some(count) = reasons.get_mut(why) {
            *count += 1;
        } else {
            let is_full = reasons.len() >= REASONS_MAX;
            let reason = if is_full { OTHER } else { why };
            *reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }
}

/// The voice of one device.
#[derive(Debug)]
pub(super) struct Reporter {
    device: u32,
    counts: watch::Sender<Counts>,
    reports: Reports,
}

impl Reporter {
    pub(super) fn new(device: u32, reports: Reports) -> (Self, watch::Receiver<Counts>) {
        let (counts, seen) = watch::channel(Counts::default());
        let reporter = Self {
            device,
            counts,
            reports,
        };
        (reporter, seen)
    }

    pub(super) fn tell(&self, event: Event) {
        // Counted first: who has seen the event finds it in the counts.
        self.counts.send_modify(|counts| counts.count(&event));
        self.reports.tell(self.device, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(why: &str) -> Event {
        Event::Ended(why.to_owned())
    }

    #[test]
    fn a_session_is_lost_only_after_it_was_admitted() {
        let mut counts = Counts::default();
        for event in [Event::Opened, Event::Refused("no".into()), ended("refused")] {
            counts.count(&event);
        }
        assert_eq!((counts.refused, counts.lost, counts.open), (1, 0, 0));
        for event in [Event::Opened, Event::Admitted, Event::Described] {
            counts.count(&event);
        }
        assert_eq!((counts.links, counts.open, counts.up), (2, 1, 1));
        counts.count(&ended("cut"));
        assert_eq!((counts.admitted, counts.up, counts.lost), (1, 0, 1));
        assert_eq!([counts, counts].into_iter().sum::<Counts>().links, 4);
    }

    #[test]
    fn a_full_channel_drops_reports_and_nothing_else() {
        let (channel, mut seen) = mpsc::channel(1);
        let reports = Reports::to(channel);
        let (reporter, counts) = Reporter::new(7, reports.clone());
        reporter.tell(Event::Opened);
        reporter.tell(ended("cut"));
        let report = seen.try_recv().unwrap();
        assert_eq!((report.device, report.event), (7, Event::Opened));
        assert!(seen.try_recv().is_err());
        assert_eq!(counts.borrow().links, 1);
        let tally = reports.tally();
        assert_eq!((tally.dropped, tally.ended["cut"]), (1, 1));
    }

    #[test]
    fn the_reasons_are_bounded() {
        let reports = Reports::default();
        for n in 0..2 * REASONS_MAX {
            reports.tell(1, ended(&n.to_string()));
        }
        reports.tell(1, ended("0"));
        let ended = reports.tally().ended;
        assert_eq!(ended.len(), REASONS_MAX + 1);
        assert_eq!((ended["0"], ended[OTHER]), (2, REASONS_MAX as u64));
    }
}
