//! Is the gateway alive? The parts without which there is no gateway are asked again and again, and
//! only while each of them answers is the watchdog of the service manager fed. A watchdog that is
//! fed by a timer alone would keep a gateway alive that does nothing any more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::{Instant, Now};

/// How often a part is asked, at most.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// After this long without an answer a part counts as hanging: longer than a slow disk holds up
/// one group of changes.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);

/// What must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The registry's actor.
    Registry,
    /// The store's thread; the disk may refuse.
    Store,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::Registry, Self::Store];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Store => "store",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask this part; [`Pulse::handle_answer`] when it answers.
    Ask(Part),
    /// Tell the service manager that the gateway is alive.
    FeedWatchdog,
}

/// See the module.
#[derive(Debug)]
pub struct Pulse {
    registry: Vital,
    store: Vital,
    ask_every: Duration,
    ask_at: Instant,
    watchdog: Option<Watchdog>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
struct Vital {
    heard: Instant,
    /// It was asked and has not answered yet.
    asked: bool,
    /// It has ended as it should, and need not answer any more.
    retired: bool,
}

#[derive(Clone, Copy, Debug)]
struct Watchdog {
    /// Half of the time within which the service manager wants to hear of us.
    every: Duration,
    feed_at: Instant,
}

impl Pulse {
    /// `watchdog`: within which time the service manager wants to hear that the gateway is alive,
    /// if it does.
    pub fn new(watchdog: Option<Duration>, now: Now) -> Self {
        let vital = Vital {
            heard: now.instant,
            asked: false,
            retired: false,
        };
        let watchdog = watchdog.map(|within| Watchdog {
            every: within / 2,
            feed_at: now.instant,
        });
        Self {
            registry: vital,
            store: vital,
            ask_every: watchdog.map_or(ASK_EVERY, |watchdog| ASK_EVERY.min(watchdog.every / 4)),
            ask_at: now.instant,
            watchdog,
            outputs: VecDeque::new(),
        }
    }

    pub fn handle_answer(&mut self, part: Part, now: Now) {
        let vital = self.vital_mut(part);
        vital.asked = false;
        vital.heard = now.instant;
        self.feed(now.instant);
    }

    /// It could not be asked, or went away before it answered; it is asked again.
    pub fn handle_no_answer(&mut self, part: Part) {
        self.vital_mut(part).asked = false;
    }

    /// A part has ended in order: from now on its silence means nothing.
    pub fn handle_retired(&mut self, part: Part) {
        self.vital_mut(part).retired = true;
    }

    /// Harmless when called early or twice.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.ask_at <= now.instant {
            self.ask_at = now.instant + self.ask_every;
            for part in Part::ALL {
                let vital = self.vital_mut(part);
                if !vital.retired && !std::mem::replace(&mut vital.asked, true) {
                    self.outputs.push_back(Output::Ask(part));
                }
            }
        }
        self.feed(now.instant);
    }

    /// When [`Self::handle_timeout`] is wanted next.
    pub const fn poll_timeout(&self) -> Instant {
        self.ask_at
    }

    /// To be drained until `None` after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The parts that have not answered for so long that they must be taken to hang.
    pub fn silent(&self, now: Now) -> Vec<Part> {
        let is_silent = |part: &Part| !self.is_heard(*part, SILENT_AFTER, now.instant);
        Part::ALL.into_iter().filter(is_silent).collect()
    }

    fn feed(&mut self, now: Instant) {
        let Some(watchdog) = self.watchdog.filter(|watchdog| watchdog.feed_at <= now) else {
            return;
        };
        let every = watchdog.every;
        if Part::ALL
            .into_iter()
            .all(|part| self.is_heard(part, every, now))
        {
            self.outputs.push_back(Output::FeedWatchdog);
            let feed_at = now + every;
            self.watchdog = Some(Watchdog { every, feed_at });
        }
    }

    fn is_heard(&self, part: Part, within: Duration, now: Instant) -> bool {
        let vital = match part {
            Part::Registry => &self.registry,
            Part::Store => &self.store,
        };
        vital.retired || now.since(vital.heard) <= within
    }

    const fn vital_mut(&mut self, part: Part) -> &mut Vital {
        match part {
            Part::Registry => &mut self.registry,
            Part::Store => &mut self.store,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    fn at(ms: u64) -> Now {
        Now {
            instant: Instant::from_micros(1_000_000 + ms * 1000),
            unix_ms: ms,
        }
    }

    /// Lets the pulse run until `until`, with parts that answer at once while `answers` says so.
    /// When the watchdog was fed, in milliseconds.
    fn run(
        pulse: &mut Pulse,
        from: u64,
        until: u64,
        answers: impl Fn(Part, u64) -> bool,
    ) -> Vec<u64> {
        let mut fed = Vec::new();
        let mut now = from;
        loop {
            pulse.handle_timeout(at(now));
            while let Some(output) = pulse.poll_output() {
                match output {
                    Output::Ask(part) if answers(part, now) => pulse.handle_answer(part, at(now)),
                    Output::Ask(_) => {}
                    Output::FeedWatchdog => fed.push(now),
                }
            }
            let due = pulse.poll_timeout().since(at(0).instant);
            now = u64::try_from(due.as_millis()).unwrap().max(now + 1);
            if now > until {
                return fed;
            }
        }
    }

    #[test]
    fn it_is_fed_at_half_the_time_while_both_answer() {
        let mut pulse = Pulse::new(Some(WITHIN), at(0));
        let fed = run(&mut pulse, 0, 61_000, |_, _| true);
        assert_eq!(fed, [0, 15_000, 30_000, 45_000, 60_000]);
        assert!(pulse.silent(at(61_000)).is_empty());
    }

    #[test]
    fn one_part_that_hangs_is_enough_to_starve_it() {
        for hangs in Part::ALL {
            let mut pulse = Pulse::new(Some(WITHIN), at(0));
            let fed = run(&mut pulse, 0, 200_000, |part, ms| {
                part != hangs || ms < 20_000
            });
            assert_eq!(fed, [0, 15_000, 30_000], "{hangs:?}");
            assert_eq!(pulse.silent(at(200_000)), [hangs]);
        }
    }

    #[test]
    fn a_late_answer_feeds_it_at_once() {
        let mut pulse = Pulse::new(Some(WITHIN), at(0));
        let fed = run(&mut pulse, 0, 100_000, |part, ms| {
            part != Part::Store || ms < 1_000
        });
        assert_eq!(fed, [0, 15_000]);
        pulse.handle_answer(Part::Store, at(100_500));
        assert_eq!(pulse.poll_output(), Some(Output::FeedWatchdog));
        assert_eq!(pulse.poll_output(), None);
        assert!(pulse.silent(at(100_500)).is_empty());
    }

    #[test]
    fn nobody_is_asked_twice_before_it_answered() {
        let mut pulse = Pulse::new(None, at(0));
        let mut asked = 0;
        for second in 0..100 {
            pulse.handle_timeout(at(second * 1000));
            while let Some(Output::Ask(_)) = pulse.poll_output() {
                asked += 1;
            }
        }
        assert_eq!(asked, 2);
        pulse.handle_no_answer(Part::Store);
        pulse.handle_timeout(at(100_000));
        assert_eq!(pulse.poll_output(), Some(Output::Ask(Part::Store)));
    }

    #[test]
    fn who_has_ended_in_order_is_not_missed() {
        let mut pulse = Pulse::new(Some(WITHIN), at(0));
        pulse.handle_retired(Part::Registry);
        let fed = run(&mut pulse, 0, 61_000, |part, _| part == Part::Store);
        assert_eq!(fed.len(), 5);
        assert!(pulse.silent(at(61_000)).is_empty());
    }

    proptest! {
        /// Whatever answers when: whenever it is fed, both parts have answered within half the time.
        #[test]
        fn it_is_never_fed_for_a_part_that_hangs(
            within_ms in 40_u64..60_000,
            steps in proptest::collection::vec((0_u64..20_000, 0_u8..4), 1..200)
        ) {
            let mut pulse = Pulse::new(Some(Duration::from_millis(within_ms)), at(0));
            let (mut now, mut heard) = (0, [0; 2]);
            for (wait, what) in steps {
                now += wait;
                match what {
                    0 => pulse.handle_timeout(at(now)),
                    1 => pulse.handle_no_answer(Part::Store),
                    part => {
                        let part = usize::from(part - 2);
                        heard[part] = now;
                        pulse.handle_answer(Part::ALL[part], at(now));
                    }
                }
                while let Some(output) = pulse.poll_output() {
                    if output == Output::FeedWatchdog {
                        let oldest = heard.into_iter().min().unwrap_or_default();
                        prop_assert!(now - oldest <= within_ms / 2, "{heard:?} at {now}");
                    }
                }
            }
        }
    }
}
