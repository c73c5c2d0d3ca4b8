//! What a sink is told, and what of it waits while the sink is slow: the oldest values go first,
//! and how the resource stands is never lost.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cause::Cause;
use crate::stream::reading::Reading;
use crate::stream::{Arrival, Refusal};

/// What a sink is told.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The device streams: `sampled` is its beat in seconds. Once in each session of the device.
    Started {
        sampled: Option<u32>,
        events: bool,
    },
    Data(Sample),
    /// The device is not connected, and nothing comes until [`Self::Started`]: its session ended,
    /// or there was none when the sink was opened
    /// ([`crate::cause::CauseKind::NotConnected`]).
    Lost(Cause),
    /// The device does not stream it. It is asked again when it next connects.
    Refused(Refusal),
}

/// One value on its way to a sink.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Shared by all sinks of the resource, so that each form of it is made once.
    pub value: Arc<Reading>,
    pub arrival: Arrival,
    /// Ascending for one resource while the process lives; gaps are what went to other sinks.
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// How many older ones this sink lost just before this one, because it was slow.
    pub lost: u64,
}

/// What waits in one sink. Beside the values at most two deliveries wait before each of them: that
/// the device was lost, and how the resource stands since.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Delivery>,
    samples: usize,
    samples_max: usize,
}

impl Queue {
    /// For up to `samples_max` values; for one, if that is none.
    pub fn new(samples_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            samples: 0,
            samples_max: samples_max.max(1),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the oldest value had to go for it.
    pub fn push(&mut self, delivery: Delivery) -> bool {
        let is_full = self.samples == self.samples_max;
        let Delivery::Data(mut sample) = delivery else {
            push_standing(&mut self.waiting, delivery);
            return false;
        };
        if is_full {
            self.drop_oldest(&mut sample);
        }
        self.samples += 1;
        self.waiting.push_back(Delivery::Data(sample));
        is_full
    }

    pub fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.waiting.pop_front()?;
        self.samples -= usize::from(matches!(delivery, Delivery::Data(_)));
        Some(delivery)
    }

    /// The value after the oldest, or else the `newest`, tells of it.
    fn drop_oldest(&mut self, newest: &mut Sample) {
        let mut standing = VecDeque::new();
        let mut lost = 0;
        while let Some(delivery) = self.waiting.pop_front() {
            match delivery {
                Delivery::Data(sample) if lost == 0 => lost = sample.lost + 1,
                Delivery::Data(mut sample) => {
                    sample.lost += lost;
                    lost = 0;
                    self.waiting.push_front(Delivery::Data(sample));
                    break;
                }
                delivery => push_standing(&mut standing, delivery),
            }
        }
        newest.lost += lost;
        self.samples -= 1;
        for delivery in standing.into_iter().rev() {
            self.waiting.push_front(delivery);
        }
    }
}

/// What stands takes the place of what stood, but a loss stays before what came after it: whoever
/// reads it must know of the gap.
fn push_standing(waiting: &mut VecDeque<Delivery>, delivery: Delivery) {
    while let Some(last) = waiting.back() {
        let stays = match last {
            Delivery::Data(_) => true,
            Delivery::Lost(_) => !matches!(delivery, Delivery::Lost(_)),
            Delivery::Started { .. } | Delivery::Refused(_) => false,
        };
        if stays {
            break;
        }
        waiting.pop_back();
    }
    waiting.push_back(delivery);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cause::CauseKind;
    use crate::codec::pson::Value;

    fn data(number: u64) -> Delivery {
        Delivery::Data(Sample {
            value: Arc::new(Reading::new(Value::Null)),
            arrival: Arrival::Sample,
            number,
            unix_ms: 0,
            lost: 0,
        })
    }

    fn started(beat: u32) -> Delivery {
        Delivery::Started {
            sampled: Some(beat),
            events: false,
        }
    }

    fn lost() -> Delivery {
        Delivery::Lost(CauseKind::ClosedByDevice.into())
    }

    fn refused() -> Delivery {
        Delivery::Refused(Refusal {
            code: 404,
            text: "no such resource".into(),
        })
    }

    fn word(delivery: Delivery) -> String {
        match delivery {
            Delivery::Started { sampled, .. } => format!("started {}", sampled.unwrap_or(0)),
            Delivery::Data(sample) => format!("{}-{}", sample.number, sample.lost),
            Delivery::Lost(cause) => cause.to_string(),
            Delivery::Refused(refusal) => refusal.code.to_string(),
        }
    }

    fn check(samples_max: usize, pushed: impl IntoIterator<Item = Delivery>, expected: &[&str]) {
        let mut queue = Queue::new(samples_max);
        for delivery in pushed {
            queue.push(delivery);
        }
        let told: Vec<_> = std::iter::from_fn(|| queue.pop()).map(word).collect();
        assert_eq!(told, expected);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_oldest_values_go_and_the_next_one_tells_how_many() {
        check(3, (1..=3).map(data), &["1-0", "2-0", "3-0"]);
        check(3, (1..=8).map(data), &["6-5", "7-0", "8-0"]);
        check(1, (1..=3).map(data), &["3-2"]);
        check(0, (1..=3).map(data), &["3-2"]);
    }

    #[test]
    fn what_stands_outlives_the_values_around_it() {
        let pushed = [started(3), data(1), data(2), data(3)];
        check(2, pushed, &["started 3", "2-1", "3-0"]);
        let pushed = [started(3), data(1), lost(), started(5), data(2), data(3)];
        check(2, pushed, &["closed_by_device", "started 5", "2-1", "3-0"]);
        let pushed = [started(3), data(1), lost(), data(2)];
        check(1, pushed, &["closed_by_device", "2-1"]);
    }

    #[test]
    fn what_stands_takes_the_place_of_what_stood() {
        check(2, [started(3), lost()], &["closed_by_device"]);
        let flapping = [lost(), started(1), lost(), started(2), lost(), refused()];
        check(2, flapping, &["closed_by_device", "404"]);
        let apart = [lost(), data(1), lost(), started(2)];
        let told = ["closed_by_device", "1-0", "closed_by_device", "started 2"];
        check(2, apart, &told);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_untold_and_the_queue_is_bounded(
            steps in proptest::collection::vec(0..6_u8, 0..200),
            samples_max in 1..5_usize,
        ) {
            let mut queue = Queue::new(samples_max);
            let (mut number, mut accounted, mut dropped, mut told) = (0, 0, 0, 0);
            let mut standing = None;
            let mut account = |delivery: Delivery, standing: &mut Option<String>| match delivery {
                Delivery::Data(sample) => {
                    accounted += 1 + sample.lost;
                    told += sample.lost;
                    assert_eq!(accounted, sample.number);
                }
                other => *standing = Some(word(other)),
            };
            let mut heard = None;
            for step in steps {
                let delivery = match step {
                    0 => started(1),
                    1 => lost(),
                    2 => refused(),
                    3 => {
                        if let Some(delivery) = queue.pop() {
                            account(delivery, &mut heard);
                        }
                        continue;
                    }
                    _ => {
                        number += 1;
                        data(number)
                    }
                };
                if !matches!(delivery, Delivery::Data(_)) {
                    standing = Some(word(delivery.clone()));
                }
                dropped += u64::from(queue.push(delivery));
                prop_assert!(queue.waiting.len() <= 3 * samples_max + 2);
            }
            while let Some(delivery) = queue.pop() {
                account(delivery, &mut heard);
            }
            prop_assert_eq!((accounted, told, heard), (number, dropped, standing));
        }
    }
}
