use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1000;

fn seconds(seconds: u32) -> NonZeroU32 {
    NonZeroU32::new(seconds).unwrap()
}

fn every(interval: u32) -> Pace {
    Pace::Every(seconds(interval))
}

/// When a device samples first after it was told an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ticks {
    /// One interval after the start.
    FromStart,
    /// At the next whole second.
    WholeSeconds,
}

#[derive(Debug)]
struct Sampling {
    beat_ms: u64,
    next_ms: u64,
}

/// A device, its planner, and what each sink got. Time is in milliseconds.
#[derive(Debug)]
struct World {
    planner: Planner<u64>,
    ticks: Ticks,
    now_ms: u64,
    sampling: Option<Sampling>,
    plans: Vec<Plan>,
    sinks: BTreeMap<u64, Seen>,
    events: u64,
    next_id: u64,
}

#[derive(Clone, Debug)]
struct Seen {
    pace: Pace,
    last_ms: Option<u64>,
    got: Vec<(u64, Arrival)>,
    /// When its pace or the plan was last changed, if that was since its last sample.
    disturbed_ms: Option<u64>,
}

impl World {
    fn new(ticks: Ticks, interval_min: u32) -> Self {
        let mut planner = Planner::new(seconds(interval_min));
        assert_eq!(planner.attached(), None);
        Self {
            planner,
            ticks,
            now_ms: 0,
            sampling: None,
            plans: Vec::new(),
            sinks: BTreeMap::new(),
            events: 0,
            next_id: 0,
        }
    }

    fn join(&mut self, pace: Pace) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let seen = Seen {
            pace,
            last_ms: None,
            got: Vec::new(),
            disturbed_ms: None,
        };
        self.sinks.insert(id, seen);
        let plan = self.planner.join(id, pace, id, |_, _| ());
        self.told(plan);
        id
    }

    fn leave(&mut self, id: u64) -> Seen {
        let seen = self.sinks.remove(&id).unwrap();
        let plan = self.planner.leave(id);
        self.told(plan);
        seen
    }

    fn set_pace(&mut self, id: u64, pace: Pace) {
        let seen = self.sinks.get_mut(&id).unwrap();
        if seen.pace.is_sampled() != pace.is_sampled() {
            seen.last_ms = None;
        }
        seen.pace = pace;
        seen.disturbed_ms = Some(self.now_ms);
        let plan = self.planner.set_pace(id, pace, |_, _| ());
        self.told(plan);
    }

    /// The device takes a plan at once, and sends its state.
    fn told(&mut self, plan: Option<Plan>) {
        let wanted = self.wanted();
        let last = self.plans.last().copied().unwrap_or_default();
        assert_eq!(plan, (wanted != last).then_some(wanted), "told by need");
        let Some(plan) = plan else {
            return;
        };
        self.plans.push(plan);
        self.sampling = plan.sampled.map(|beat| {
            let beat_ms = u64::from(beat.get()) * MS;
            let next_ms = match self.ticks {
                Ticks::FromStart => self.now_ms + beat_ms,
                Ticks::WholeSeconds => (self.now_ms + 1).next_multiple_of(MS),
            };
            Sampling { beat_ms, next_ms }
        });
        for seen in self.sinks.values_mut() {
            seen.disturbed_ms = Some(self.now_ms);
        }
        if !plan.is_nothing() {
            self.planner.started(plan, |_, _| ());
            self.arrive(Arrival::State);
        }
    }

    /// The plan as the rules say it, counted in another way: the greatest beat that all fit.
    fn wanted(&self) -> Plan {
        let own: Vec<_> = self.intervals().collect();
        let fits = |beat: &u32| own.iter().all(|own| own.is_multiple_of(*beat));
        let beat = own.iter().min().and_then(|min| (1..=*min).rev().find(fits));
        Plan {
            sampled: beat.map(|beat| seconds(beat).max(self.planner.interval_min)),
            events: self.sinks.values().any(|seen| seen.pace == Pace::Events),
        }
    }

    fn intervals(&self) -> impl Iterator<Item = u32> {
        self.sinks.values().filter_map(|seen| match seen.pace {
            Pace::Every(own) => Some(own.get()),
            Pace::Events => None,
        })
    }

    fn run(&mut self, until_ms: u64) {
        while let Some(sampling) = &mut self.sampling
            && sampling.next_ms <= until_ms
        {
            self.now_ms = sampling.next_ms;
            sampling.next_ms += sampling.beat_ms;
            self.arrive(Arrival::Sample);
        }
        self.now_ms = until_ms;
    }

    fn event(&mut self) {
        self.events += 1;
        self.arrive(Arrival::Event);
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = Instant::ZERO + Duration::from_millis(self.now_ms);
        let mut takers = Vec::new();
        self.planner.arrived(arrival, now, |id| takers.push(*id));
        for id in takers {
            let beat_ms = self.sampling.as_ref().map_or(0, |own| own.beat_ms);
            let seen = self.sinks.get_mut(&id).unwrap();
            seen.check(arrival, self.now_ms, beat_ms);
            seen.got.push((self.now_ms, arrival));
        }
    }

    fn times(&self, id: u64) -> Vec<u64> {
        let got = &self.sinks[&id].got;
        got.iter().map(|(at_ms, _)| at_ms / MS).collect()
    }
}

impl Seen {
    /// What must hold when it is given a value, with the beat of the device as it is.
    fn check(&mut self, arrival: Arrival, now_ms: u64, beat_ms: u64) {
        let Pace::Every(own) = self.pace else {
            assert_eq!(arrival, Arrival::Event);
            return;
        };
        assert_ne!(arrival, Arrival::Event);
        let own_ms = (u64::from(own.get()) * MS).next_multiple_of(beat_ms);
        let last_ms = self.last_ms.replace(now_ms);
        let is_state = arrival == Arrival::State;
        let disturbed_ms = std::mem::replace(&mut self.disturbed_ms, is_state.then_some(now_ms));
        let Some(last_ms) = last_ms else {
            return;
        };
        let gap_ms = now_ms - last_ms;
        let Some(disturbed_ms) = disturbed_ms else {
            assert_eq!(gap_ms, own_ms, "nothing was changed");
            return;
        };
        assert!(gap_ms + beat_ms / 2 >= own_ms, "{gap_ms} for {own_ms}");
        let latest_ms = own_ms.max(disturbed_ms - last_ms) + beat_ms;
        assert!(gap_ms <= latest_ms, "{gap_ms} for {own_ms}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join(Pace),
    Leave(usize),
    SetPace(usize, Pace),
    Event,
    Wait(u64),
}

fn pace() -> impl Strategy<Value = Pace> {
    prop_oneof![4 => (1..=12_u32).prop_map(every), 1 => Just(Pace::Events)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => pace().prop_map(Step::Join),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => (any::<usize>(), pace()).prop_map(|(which, pace)| Step::SetPace(which, pace)),
        1 => Just(Step::Event),
        3 => (0..40_000_u64).prop_map(Step::Wait),
    ]
}

/// Carries out the steps; every rule is checked on the way.
fn play(mut world: World, steps: Vec<Step>) {
    let mut events_of = BTreeMap::new();
    for step in steps {
        let ids: Vec<_> = world.sinks.keys().copied().collect();
        let pick = |which: usize| (!ids.is_empty()).then(|| ids[which % ids.len()]);
        match step {
            Step::Join(pace) => {
                world.join(pace);
            }
            Step::Leave(which) => {
                if let Some(id) = pick(which) {
                    world.leave(id);
                }
            }
            Step::SetPace(which, pace) => {
                if let Some(id) = pick(which) {
                    world.set_pace(id, pace);
                }
            }
            Step::Event => {
                for (id, seen) in &world.sinks {
                    if seen.pace == Pace::Events {
                        *events_of.entry(*id).or_insert(0) += 1;
                    }
                }
                world.event();
            }
            Step::Wait(ms) => world.run(world.now_ms + ms),
        }
    }
    for (id, seen) in &world.sinks {
        let events = |(_, arrival): &&(u64, Arrival)| *arrival == Arrival::Event;
        let got = seen.got.iter().filter(events).count();
        assert_eq!(got, events_of.get(id).copied().unwrap_or(0), "every event");
    }
    let left: Vec<_> = world.sinks.keys().copied().collect();
    let before = world.plans.len();
    let asked = world.plans.last().is_some_and(|plan| !plan.is_nothing());
    let stops = |plan: &&Plan| plan.is_nothing();
    for id in left {
        world.leave(id);
    }
    let stopped = world.plans[before..].iter().filter(stops).count();
    assert_eq!(stopped, usize::from(asked), "one stop");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn sinks_keep_their_beat(
        steps in proptest::collection::vec(step(), 1..60),
        whole in any::<bool>(),
        interval_min in 1..4_u32,
    ) {
        let ticks = if whole { Ticks::WholeSeconds } else { Ticks::FromStart };
        play(World::new(ticks, interval_min), steps);
    }
}

fn plan(sampled: u32, events: bool) -> Plan {
    Plan {
        sampled: NonZeroU32::new(sampled),
        events,
    }
}

#[test]
fn six_and_nine_seconds_are_three_at_the_device() {
    let mut world = World::new(Ticks::FromStart, 1);
    let six = world.join(every(6));
    assert_eq!(world.plans, [plan(6, false)]);
    let nine = world.join(every(9));
    assert_eq!(world.plans[1..], [plan(3, false)]);
    world.run(36_000);
    assert_eq!(world.times(six), [0, 6, 12, 18, 24, 30, 36]);
    assert_eq!(world.times(nine), [0, 9, 18, 27, 36]);
    world.leave(six);
    assert_eq!(world.plans[2..], [plan(9, false)]);
    let watcher = world.join(Pace::Events);
    assert_eq!(world.plans[3..], [plan(9, true)]);
    world.event();
    world.run(54_000);
    world.event();
    assert_eq!(world.times(nine), [0, 9, 18, 27, 36, 45, 54]);
    let events = [(36_000, Arrival::Event), (54_000, Arrival::Event)];
    assert_eq!(world.sinks[&watcher].got, events);
    world.leave(nine);
    world.leave(watcher);
    assert_eq!(world.plans[4..], [plan(0, true), plan(0, false)]);
}

#[test]
fn a_divisor_below_the_shortest_beat_is_not_asked() {
    let mut world = World::new(Ticks::FromStart, 5);
    let six = world.join(every(6));
    let nine = world.join(every(9));
    assert_eq!(world.plans, [plan(6, false), plan(5, false)]);
    world.run(30_000);
    assert_eq!(world.times(six), [0, 10, 20, 30]);
    assert_eq!(world.times(nine), [0, 10, 20, 30]);
}

#[test]
fn a_change_in_the_middle_keeps_the_beat_of_others() {
    let mut world = World::new(Ticks::WholeSeconds, 1);
    let ten = world.join(every(10));
    world.run(14_400);
    let four = world.join(every(4));
    world.run(40_000);
    // The device begins at the next whole second, each time.
    assert_eq!(world.times(ten), [0, 11, 21, 31]);
    assert_eq!(world.times(four), [14, 19, 23, 27, 31, 35, 39]);
}

/// One sink, and a device that has taken its beat.
fn taken(own: u32, beat: u32) -> Planner<u64> {
    let mut planner = Planner::new(seconds(1));
    planner.attached();
    planner.join(1, every(own), 1, |_, _| ());
    if beat != own {
        planner.join(2, every(beat), 2, |_, _| ());
    }
    planner.started(plan(beat, false), |_, _| ());
    planner
}

fn taken_at(planner: &mut Planner<u64>, arrival: Arrival, at_ms: &[u64]) -> Vec<u64> {
    let mut taken = Vec::new();
    for at_ms in at_ms {
        let now = Instant::ZERO + Duration::from_millis(*at_ms);
        planner.arrived(arrival, now, |id| {
            if *id == 1 {
                taken.push(*at_ms);
            }
        });
    }
    taken
}

#[test]
fn a_late_sample_belongs_to_its_beat_and_a_missing_one_is_not_made_up() {
    let mut planner = taken(9, 3);
    taken_at(&mut planner, Arrival::State, &[0]);
    let late = [3_000, 7_400, 9_000, 13_499, 14_000, 18_000];
    let taken_late = taken_at(&mut planner, Arrival::Sample, &late);
    assert_eq!(taken_late, [9_000, 18_000]);
    // Those of 21 s and 27 s are missing: 30 s counts two beats and takes the place of the latter.
    let missing = [24_000, 30_000, 33_000, 36_000];
    let taken_missing = taken_at(&mut planner, Arrival::Sample, &missing);
    assert_eq!(taken_missing, [30_000, 36_000]);
}

#[test]
fn a_state_is_for_newcomers_and_for_those_who_are_a_beat_late() {
    let mut planner = taken(2, 2);
    assert_eq!(taken_at(&mut planner, Arrival::State, &[0]), [0]);
    assert!(taken_at(&mut planner, Arrival::State, &[1_000, 2_000, 3_999]).is_empty());
    assert_eq!(taken_at(&mut planner, Arrival::State, &[4_000]), [4_000]);
    assert_eq!(taken_at(&mut planner, Arrival::Sample, &[6_000]), [6_000]);
}

#[test]
fn the_first_sample_of_a_sink_does_not_wait_for_its_beat() {
    let mut planner = taken(9, 3);
    assert_eq!(taken_at(&mut planner, Arrival::Sample, &[500]), [500]);
}

/// A planner that writes down what its sinks are told.
struct Ear {
    planner: Planner<u64>,
    told: Vec<String>,
}

impl Ear {
    fn new() -> Self {
        Self {
            planner: Planner::new(seconds(1)),
            told: Vec::new(),
        }
    }

    fn act<R>(
        &mut self,
        act: impl FnOnce(&mut Planner<u64>, &mut dyn FnMut(&u64, &Standing)) -> R,
    ) -> R {
        let told = &mut self.told;
        act(&mut self.planner, &mut |id, standing| {
            let word = match standing {
                Standing::Away(cause) => cause.to_string(),
                Standing::Asked => "asked".to_owned(),
                Standing::Streams(plan) => format!("{plan:?}"),
                Standing::Refused(refusal) => refusal.code.to_string(),
            };
            told.push(format!("{id} {word}"));
        })
    }

    fn join(&mut self, id: u64, pace: Pace) -> Option<Plan> {
        self.act(|planner, tell| planner.join(id, pace, id, tell))
    }

    fn started(&mut self, plan: Plan) {
        self.act(|planner, tell| planner.started(plan, tell));
    }

    fn detached(&mut self) {
        let cause = CauseKind::IoError.into();
        self.act(|planner, tell| planner.detached(&cause, tell));
    }

    fn refused(&mut self) {
        let text = "no such resource".into();
        let refusal = Refusal { code: 404, text };
        self.act(|planner, tell| planner.refused(refusal, tell));
    }

    fn check(&mut self, expected: &[&str]) {
        let is_as_expected = self.told.len() == expected.len()
            && self
                .told
                .iter()
                .zip(expected)
                .all(|(told, start)| told.starts_with(start));
        assert!(is_as_expected, "{:?} and not {expected:?}", self.told);
        self.told.clear();
    }
}

#[test]
fn each_session_is_asked_anew_and_each_sink_told_once() {
    let mut ear = Ear::new();
    assert_eq!(ear.join(1, every(6)), None);
    ear.check(&["1 not_connected"]);
    assert_eq!(ear.planner.attached(), Some(plan(6, false)));
    assert_eq!(ear.join(2, every(9)), Some(plan(3, false)));
    ear.check(&[]);
    ear.started(plan(6, false));
    ear.check(&["1 Plan", "2 Plan"]);
    ear.started(plan(3, false));
    assert_eq!(ear.join(3, every(3)), None);
    ear.check(&["3 Plan"]);
    assert_eq!(ear.join(4, Pace::Events), Some(plan(3, true)));
    ear.check(&[]);
    ear.started(plan(3, true));
    ear.check(&["4 Plan"]);
    ear.detached();
    ear.check(&["1 io_error", "2 io_error", "3 io_error", "4 io_error"]);
    assert_eq!(ear.planner.leave(2), None);
    assert_eq!(ear.planner.attached(), Some(plan(3, true)));
    ear.detached();
    ear.check(&[]);
    assert_eq!(ear.planner.attached(), Some(plan(3, true)));
    ear.started(plan(3, true));
    ear.check(&["1 Plan", "3 Plan", "4 Plan"]);
}

#[test]
fn who_waits_for_an_answer_is_told_that_the_session_ended() {
    let mut ear = Ear::new();
    ear.planner.attached();
    assert_eq!(ear.join(1, every(1)), Some(plan(1, false)));
    ear.detached();
    ear.check(&["1 io_error"]);
}

#[test]
fn a_refusal_holds_for_the_session() {
    let mut ear = Ear::new();
    ear.planner.attached();
    assert_eq!(ear.join(1, every(1)), Some(plan(1, false)));
    ear.refused();
    ear.check(&["1 404"]);
    assert_eq!(ear.join(2, Pace::Events), None);
    ear.check(&["2 404"]);
    let late = taken_at(&mut ear.planner, Arrival::Sample, &[1_000]);
    assert!(late.is_empty());
    ear.started(plan(1, false));
    ear.detached();
    ear.check(&[]);
    assert_eq!(ear.planner.attached(), Some(plan(1, true)));
    ear.refused();
    ear.check(&["1 404", "2 404"]);
}

#[test]
fn a_sink_that_goes_over_to_events_is_told_when_the_device_reports_them() {
    let mut ear = Ear::new();
    ear.planner.attached();
    ear.join(1, every(2));
    ear.started(plan(2, false));
    ear.check(&["1 Plan"]);
    let changed = ear.act(|planner, tell| planner.set_pace(1, Pace::Events, tell));
    assert_eq!(changed, Some(plan(0, true)));
    ear.started(plan(0, true));
    ear.check(&["1 Plan"]);
}

#[test]
fn what_was_not_joined_changes_nothing() {
    let mut planner = taken(2, 2);
    assert_eq!(planner.leave(9), None);
    assert_eq!(planner.set_pace(9, Pace::Events, |_, _| ()), None);
    assert_eq!(planner.leave(1), Some(plan(0, false)));
    assert!(planner.is_empty());
}

#[test]
fn after_a_gap_each_sink_begins_anew() {
    let mut planner = Planner::new(seconds(1));
    let at = |secs: u64| Instant::from_micros(secs * 1_000_000);
    let plan = Plan {
        sampled: Some(seconds(5)),
        events: false,
    };
    assert_eq!(planner.attached(), None);
    assert_eq!(planner.join(1, every(5), 1, |_, _| ()), Some(plan));
    planner.started(plan, |_, _| ());
    let given = |planner: &mut Planner<u64>, arrival, secs| {
        let mut given = 0;
        planner.arrived(arrival, at(secs), |_| given += 1);
        given
    };
    assert_eq!(given(&mut planner, Arrival::State, 10), 1);
    planner.detached(&CauseKind::ClosedByDevice.into(), |_, _| ());
    assert_eq!(planner.attached(), Some(plan));
    planner.started(plan, |_, _| ());
    // Within its beat, and its first since the device is back.
    assert_eq!(given(&mut planner, Arrival::State, 12), 1);
    assert_eq!(given(&mut planner, Arrival::State, 13), 0);
    assert_eq!(given(&mut planner, Arrival::Sample, 17), 1);
}
