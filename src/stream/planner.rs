//! The plan for one resource of one device, and the beat of each sink.
//!
//! The device is asked for the greatest common divisor of the sampled intervals, and told again
//! only when that, or whether events are wanted, changes. Each sink then takes every so many-th
//! sample, counted in arrivals: samples drift by up to a tick of the device, and a sink's beat
//! must not drift against the device's.

mod beat;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use self::beat::{Progress, Ticks};
use crate::cause::{Cause, CauseKind};
use crate::stream::{Arrival, Pace, Refusal};
use crate::time::Instant;

/// What is wanted of the device. Without samples and events: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The beat in seconds.
    pub sampled: Option<NonZeroU32>,
    pub events: bool,
}

/// How the resource stands in the present session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none; why the last one ended.
    Away(Cause),
    /// The device has not answered yet, or nothing is wanted of it.
    Asked,
    /// What the device has taken.
    Streams(Plan),
    /// Not asked again in this session.
    Refused(Refusal),
}

/// One resource of one device, with its sinks; `M` is where a sink is reached.
#[derive(Debug)]
pub struct Planner<M> {
    interval_min: NonZeroU32,
    standing: Standing,
    /// What the device was last told in this session.
    asked: Plan,
    ticks: Ticks,
    sinks: BTreeMap<u64, Place<M>>,
}

#[derive(Debug)]
struct Place<M> {
    pace: Pace,
    told: Told,
    progress: Progress,
    mailbox: M,
}

/// What a sink was last told of the standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Away,
    Streams,
    Refused,
}

impl Plan {
    pub const fn is_nothing(self) -> bool {
        self.sampled.is_none() && !self.events
    }

    const fn serves(self, pace: Pace) -> bool {
        match pace {
            Pace::Events => self.events,
            Pace::Every(_) => self.sampled.is_some(),
        }
    }
}

impl<M> Planner<M> {
    /// For a device that is not connected. `interval_min` is the shortest beat in seconds that is
    /// asked of it.
    pub fn new(interval_min: NonZeroU32) -> Self {
        Self {
            interval_min,
            standing: Standing::Away(CauseKind::NotConnected.into()),
            asked: Plan::default(),
            ticks: Ticks::default(),
            sinks: BTreeMap::new(),
        }
    }

    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    pub fn mailboxes(&self) -> impl Iterator<Item = &M> {
        self.sinks.values().map(|place| &place.mailbox)
    }

    /// A new sink; an `id` is used once. It is told at once how the resource stands, unless the
    /// device has yet to answer. Returns what the device is to be told, as all that changes the
    /// plan does.
    pub fn join(
        &mut self,
        id: u64,
        pace: Pace,
        mailbox: M,
        tell: impl FnMut(&M, &Standing),
    ) -> Option<Plan> {
        let place = Place {
            pace,
            told: Told::Nothing,
            progress: Progress::default(),
            mailbox,
        };
        let place = self.sinks.entry(id).insert_entry(place).into_mut();
        place.hear(&self.standing, tell);
        self.replan()
    }

    /// The sink is gone.
    pub fn leave(&mut self, id: u64) -> Option<Plan> {
        self.sinks.remove(&id)?;
        self.replan()
    }

    /// The sink wants another pace. What it had counts on: a shorter interval may be over already.
    pub fn set_pace(
        &mut self,
        id: u64,
        pace: Pace,
        tell: impl FnMut(&M, &Standing),
    ) -> Option<Plan> {
        let place = self.sinks.get_mut(&id)?;
        let is_same_kind = place.pace.is_sampled() == pace.is_sampled();
        place.pace = pace;
        if !is_same_kind {
            place.progress = Progress::default();
            if place.told == Told::Streams {
                place.told = Told::Nothing;
                place.hear(&self.standing, tell);
            }
        }
        self.replan()
    }

    /// A session is up: all that is wanted is asked anew.
    pub fn attached(&mut self) -> Option<Plan> {
        self.standing = Standing::Asked;
        self.asked = Plan::default();
        self.replan()
    }

    /// The session ended. Who knows already that there is none is not told again. After the gap each
    /// sink begins anew: the first value that comes is its first.
    pub fn detached(&mut self, cause: &Cause, mut tell: impl FnMut(&M, &Standing)) {
        self.standing = Standing::Away(cause.clone());
        self.asked = Plan::default();
        for place in self.sinks.values_mut() {
            place.progress = Progress::default();
            if matches!(place.told, Told::Nothing | Told::Streams) {
                place.hear(&self.standing, &mut tell);
            }
        }
    }

    /// The device took a plan. A sink is told once in a session, when the plan serves it.
    pub fn started(&mut self, plan: Plan, mut tell: impl FnMut(&M, &Standing)) {
        if !self.is_asked() {
            return;
        }
        self.standing = Standing::Streams(plan);
        self.ticks.begin();
        for place in self.sinks.values_mut() {
            if place.told != Told::Streams {
                place.hear(&self.standing, &mut tell);
            }
        }
    }

    /// The device does not stream it: everybody is told, and nothing is asked in this session any
    /// more. What still comes is passed over.
    pub fn refused(&mut self, refusal: Refusal, mut tell: impl FnMut(&M, &Standing)) {
        if !self.is_asked() {
            return;
        }
        self.standing = Standing::Refused(refusal);
        self.asked = Plan::default();
        for place in self.sinks.values_mut() {
            place.hear(&self.standing, &mut tell);
        }
    }

    /// A value came; `give` is called for each sink that takes it.
    pub fn arrived(&mut self, arrival: Arrival, now: Instant, mut give: impl FnMut(&M)) {
        if !self.is_asked() {
            return;
        }
        let step = match arrival {
            Arrival::Event => None,
            Arrival::State => Some(self.ticks.state(self.beat(), now)),
            Arrival::Sample => Some(self.ticks.sample(self.beat(), now)),
        };
        let granule = self.asked.sampled.unwrap_or(self.interval_min);
        for place in self.sinks.values_mut() {
            let takes = match (place.pace, step) {
                (Pace::Events, step) => step.is_none(),
                (Pace::Every(own), Some(step)) => {
                    place.progress.advance(step, millis(ceil(own, granule)))
                }
                (Pace::Every(_), None) => false,
            };
            if takes {
                give(&place.mailbox);
            }
        }
    }

    /// The beat of the device as it is, in milliseconds; 0 when it has none.
    fn beat(&self) -> u64 {
        match &self.standing {
            Standing::Streams(plan) => plan.sampled.map_or(0, millis),
            _ => 0,
        }
    }

    const fn is_asked(&self) -> bool {
        matches!(self.standing, Standing::Asked | Standing::Streams(_))
    }

    fn replan(&mut self) -> Option<Plan> {
        let wanted = self.wanted();
        if !self.is_asked() || wanted == self.asked {
            return None;
        }
        self.asked = wanted;
        Some(wanted)
    }

    /// Where the divisor would be too short the shortest beat serves, and each sink gets the next
    /// longer multiple of it.
    fn wanted(&self) -> Plan {
        let paces = || self.sinks.values().map(|place| place.pace);
        let intervals = paces().filter_map(|pace| match pace {
            Pace::Every(interval) => Some(interval),
            Pace::Events => None,
        });
        Plan {
            sampled: intervals.reduce(gcd).map(|gcd| gcd.max(self.interval_min)),
            events: paces().any(|pace| pace == Pace::Events),
        }
    }
}

impl<M> Place<M> {
    fn hear(&mut self, standing: &Standing, mut tell: impl FnMut(&M, &Standing)) {
        let told = match standing {
            Standing::Asked => return,
            Standing::Streams(plan) if !plan.serves(self.pace) => return,
            Standing::Streams(_) => Told::Streams,
            Standing::Away(_) => Told::Away,
            Standing::Refused(_) => Told::Refused,
        };
        self.told = told;
        tell(&self.mailbox, standing);
    }
}

fn millis(seconds: NonZeroU32) -> u64 {
    u64::from(seconds.get()) * 1000
}

fn ceil(interval: NonZeroU32, granule: NonZeroU32) -> NonZeroU32 {
    interval
        .get()
        .checked_next_multiple_of(granule.get())
        .and_then(NonZeroU32::new)
        .unwrap_or(interval)
}

fn gcd(a: NonZeroU32, b: NonZeroU32) -> NonZeroU32 {
    let mut a = a;
    let mut b = b;
    while let Some(rest) = NonZeroU32::new(a.get() % b.get()) {
        (a, b) = (b, rest);
    }
    b
}

#[cfg(test)]
mod tests;
