//! Following the events over breaks, so that none is lost: what to ask for, and what to print.

use std::time::Duration;

use super::row::{Field, Row, Value};
use super::rows;
use crate::grpc::proto::gatehouse::v1::watch_response::Item;
use crate::grpc::proto::gatehouse::v1::{Change, Device, Event, Gap, WatchRequest};

/// The first wait after a break; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// One line of `watch`.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    SnapshotBegin { devices: u32 },
    Device(Device),
    SnapshotEnd { number: u64 },
    Event(Event),
    Gap(Gap),
}

impl Line {
    const fn kind(&self) -> &'static str {
        match self {
            Self::SnapshotBegin { .. } => "snapshot_begin",
            Self::Device(_) => "device",
            Self::SnapshotEnd { .. } => "snapshot_end",
            Self::Event(_) => "event",
            Self::Gap(_) => "gap",
        }
    }

    const fn event(&self) -> Option<&Event> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }

    const fn device(&self) -> Option<&Device> {
        match self {
            Self::Device(device) => Some(device),
            _ => None,
        }
    }

    fn of_event(&self, read: fn(&Event) -> Value) -> Value {
        self.event().map_or(Value::Absent, read)
    }

    const fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Gap(gap) => Some(gap),
            _ => None,
        }
    }
}

impl Row for Line {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("kind", 8, |line| line.kind().into()),
        Field::shown("number", 9, |line| match line {
            Self::Event(event) => Value::Number(event.number),
            Self::SnapshotEnd { number } => Value::Number(*number),
            _ => Value::Absent,
        }),
        Field::shown("time", 24, |line| match line {
            Self::Event(event) => Value::Time(event.unix_ms),
            Self::Device(device) => Value::time_or_absent(device.since_unix_ms),
            _ => Value::Absent,
        }),
        Field::shown("id", 10, |line| match line {
            Self::Event(event) => event.device_id.into(),
            Self::Device(device) => device.device_id.into(),
            _ => Value::Absent,
        }),
        Field::shown("change", 15, |line| {
            line.of_event(|event| match Change::try_from(event.change) {
                Ok(change) => change.as_str_name().into(),
                Err(_) => Value::Text(event.change.to_string()),
            })
        }),
        Field::detail("old_status", |line| {
            line.of_event(|event| event.old_status.map(rows::status).into())
        }),
        Field::shown("status", 18, |line| match line {
            Self::Event(event) => rows::status(event.new_status),
            Self::Device(device) => rows::status(device.status),
            _ => Value::Absent,
        }),
        Field::shown("cause", 20, |line| {
            let device = line.device().and_then(|device| device.cause.as_ref());
            rows::cause(line.event().map_or(device, |event| event.cause.as_ref()))
        }),
        Field::detail("cause_detail", |line| {
            let device = line.device().and_then(|device| device.cause.as_ref());
            rows::cause_detail(line.event().map_or(device, |event| event.cause.as_ref()))
        }),
        Field::detail("attempt", |line| match line {
            Self::Event(event) => event.attempt.into(),
            Self::Device(device) => device.attempt.into(),
            _ => Value::Absent,
        }),
        Field::detail("next_try", |line| {
            let device = line.device().and_then(|device| device.next_try_unix_ms);
            let next = line.event().map_or(device, |event| event.next_try_unix_ms);
            next.map_or(Value::Absent, Value::Time)
        }),
        Field::detail("conflated", |line| {
            line.of_event(|event| Value::Number(event.conflated))
        }),
        Field::detail("devices", |line| match line {
            Self::SnapshotBegin { devices } => (*devices).into(),
            _ => Value::Absent,
        }),
        Field::detail("missed_from", |line| {
            line.gap()
                .map_or(Value::Absent, |gap| Value::Number(gap.from))
        }),
        Field::detail("missed_to", |line| {
            line.gap()
                .map_or(Value::Absent, |gap| Value::Number(gap.to))
        }),
    ];
}

/// Where a follower stands.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The number of the last event that was seen, or that a whole snapshot contained.
    after: u64,
    /// A snapshot is wanted and was not yet read to its end.
    wants_snapshot: bool,
    /// Nothing of the snapshot is printed: it was asked for its number alone.
    is_silent: bool,
    /// Events to print yet; `None`: without end.
    left: Option<u64>,
}

impl Follow {
    /// Goes on after the event of this number; 0 begins now.
    pub const fn after(number: u64, count: Option<u64>) -> Self {
        Self {
            after: number,
            // Without a number there is nothing to resume by: the end of a snapshot has one.
            wants_snapshot: number == 0,
            is_silent: number == 0,
            left: count,
        }
    }

    /// Begins with every device of the managed list.
    pub const fn with_snapshot(count: Option<u64>) -> Self {
        Self {
            after: 0,
            wants_snapshot: true,
            is_silent: false,
            left: count,
        }
    }

    /// What to ask for, at first and after each break.
    pub const fn request(&self) -> WatchRequest {
        WatchRequest {
            after: self.after,
            snapshot: self.wants_snapshot,
            queue_size: 0,
        }
    }

    /// Takes what the gateway tells; what is to be printed of it.
    pub fn take(&mut self, item: Item) -> Option<Line> {
        let is_silent = self.is_silent;
        let line = match item {
            Item::SnapshotBegin(begin) => Line::SnapshotBegin {
                devices: begin.devices,
            },
            Item::Device(device) => Line::Device(device),
            Item::SnapshotEnd(end) => {
                // After 0 would mean: only what happens from then on.
                self.wants_snapshot = end.event_number == 0;
                self.is_silent = false;
                self.after = end.event_number;
                Line::SnapshotEnd {
                    number: end.event_number,
                }
            }
            Item::Event(event) => {
                self.after = event.number;
                // There is a number to resume by now, also where the snapshot had none.
                self.wants_snapshot = false;
                self.left = self.left.map(|left| left.saturating_sub(1));
                return Some(Line::Event(event));
            }
            Item::Gap(gap) => Line::Gap(gap),
        };
        (!is_silent).then_some(line)
    }

    /// Whether as many events were seen as were asked for.
    pub fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// The number after which it goes on.
    pub const fn number(&self) -> u64 {
        self.after
    }
}

/// How long to wait before the next try to find the gateway again; `random` is spread evenly over
/// `u64` and takes up to half of the wait away, so that many followers do not come back at once.
pub fn pause(tries: u32, random: u64) -> Duration {
    let whole = PAUSE_MIN
        .saturating_mul(2_u32.saturating_pow(tries))
        .min(PAUSE_MAX);
    let half = whole / 2;
    let share = (half.as_micros() * u128::from(random)) >> 64;
    whole - Duration::from_micros(u64::try_from(share).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::output::{Flow, Output};
    use super::*;
    use crate::grpc::proto::gatehouse::v1::{Cause, SnapshotBegin, SnapshotEnd};
    use crate::grpc::proto::gsdk::connect::Status;

    fn event(number: u64) -> Item {
        Item::Event(Event {
            number,
            unix_ms: 1_700_000_000_000,
            device_id: 7,
            change: Change::Changed.into(),
            old_status: Some(Status::TcpConnected.into()),
            new_status: Status::Disconnected.into(),
            cause: Some(Cause {
                kind: "keep_alive_timeout".to_owned(),
                detail: String::new(),
            }),
            ..Event::default()
        })
    }

    fn begin() -> Item {
        Item::SnapshotBegin(SnapshotBegin { devices: 1 })
    }

    fn end(event_number: u64) -> Item {
        Item::SnapshotEnd(SnapshotEnd { event_number })
    }

    fn asked(follow: &Follow) -> (u64, bool) {
        let request = follow.request();
        (request.after, request.snapshot)
    }

    #[test]
    fn a_break_is_resumed_after_the_last_event() {
        let mut follow = Follow::after(40, None);
        assert_eq!(asked(&follow), (40, false));
        assert!(follow.take(event(41)).is_some());
        assert!(follow.take(event(43)).is_some());
        assert_eq!(asked(&follow), (43, false));
        assert!(!follow.is_done());
    }

    #[test]
    fn from_now_on_has_a_number_before_the_first_event() {
        let mut follow = Follow::after(0, None);
        assert_eq!(asked(&follow), (0, true));
        for item in [begin(), Item::Device(Device::default())] {
            assert_eq!(follow.take(item), None);
        }
        // A break before the end asks for the number again.
        assert_eq!(asked(&follow), (0, true));
        assert_eq!(follow.take(end(9)), None);
        assert_eq!(asked(&follow), (9, false));
        assert!(follow.take(event(10)).is_some());
    }

    #[test]
    fn a_snapshot_that_breaks_off_is_asked_for_again() {
        let mut follow = Follow::with_snapshot(Some(1));
        assert!(follow.take(begin()).is_some());
        assert!(follow.take(Item::Device(Device::default())).is_some());
        assert_eq!(asked(&follow), (0, true));
        assert!(follow.take(end(5)).is_some());
        assert_eq!((asked(&follow), follow.is_done()), ((5, false), false));
        follow.take(event(6));
        assert!(follow.is_done());
    }

    #[test]
    fn before_the_first_event_of_all_a_break_is_resumed_by_a_snapshot() {
        let mut follow = Follow::after(0, None);
        assert_eq!(follow.take(end(0)), None);
        assert_eq!(asked(&follow), (0, true));
        let mut missed = follow.clone();
        assert!(missed.take(begin()).is_some(), "what was missed is told");
        assert!(follow.take(event(1)).is_some());
        assert_eq!(asked(&follow), (1, false));
    }

    #[test]
    fn a_gap_is_told_and_its_snapshot_goes_on() {
        let mut follow = Follow::after(40, Some(3));
        let gap = Gap { from: 41, to: 90 };
        assert_eq!(follow.take(Item::Gap(gap)), Some(Line::Gap(gap)));
        assert!(follow.take(begin()).is_some());
        // Broken off in between, the same gap is told once more rather than not at all.
        assert_eq!(asked(&follow), (40, false));
        assert!(follow.take(end(90)).is_some());
        assert_eq!(asked(&follow), (90, false));
    }

    #[test]
    fn lines_are_told_as_the_help_says() {
        let mut follow = Follow::after(1, None);
        let mut flow = Flow::new(Output::Jsonl);
        let line = follow.take(event(2)).unwrap();
        assert_eq!(
            flow.row(&line),
            "{\"kind\":\"event\",\"number\":2,\"time\":\"2023-11-14T22:13:20.000Z\",\"id\":7,\
             \"change\":\"CHANGE_CHANGED\",\"old_status\":\"TCP_CONNECTED\",\"status\":\"DISCONNECTED\",\
             \"cause\":\"keep_alive_timeout\",\"cause_detail\":null,\"attempt\":0,\"next_try\":null,\
             \"conflated\":0,\"devices\":null,\"missed_from\":null,\"missed_to\":null}\n"
        );
        let mut flow = Flow::new(Output::Table);
        assert_eq!(flow.row(&Line::Gap(Gap { from: 3, to: 4 })), "gap\n");
    }

    #[test]
    fn pauses_grow_to_their_most_and_are_spread() {
        assert_eq!(pause(0, 0), PAUSE_MIN);
        assert_eq!(pause(1, 0), PAUSE_MIN * 2);
        assert_eq!(pause(u32::MAX, 0), PAUSE_MAX);
        assert!(pause(u32::MAX, u64::MAX) >= PAUSE_MAX / 2);
        assert!(pause(0, u64::MAX) < PAUSE_MIN);
    }
}
