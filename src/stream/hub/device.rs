//! The streams of one device: its session, if there is one, and the planners of what is wanted.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::mailbox::Mailbox;
use crate::cause::{Cause, CauseKind};
use crate::codec::pson::Value;
use crate::device::Generation;
use crate::stream::delivery::{Delivery, Sample};
use crate::stream::planner::{Plan, Planner, Standing};
use crate::stream::reading::Reading;
use crate::stream::{Arrival, Pace, Refusal, Wish};
use crate::time::Instant;

pub(super) type Order = Box<dyn Fn(Wish) + Send + Sync>;

/// Without sinks it has no resources, and costs only its place in the map of the hub.
#[derive(Default)]
pub(super) struct Device {
    session: Option<Session>,
    resources: BTreeMap<Arc<str>, Resource>,
}

struct Session {
    generation: Generation,
    order: Order,
}

struct Resource {
    planner: Planner<Arc<Mailbox>>,
    number: u64,
}

/// One value for whoever takes it.
pub(super) struct Arrived {
    pub arrival: Arrival,
    pub value: Value,
    pub now: Instant,
    pub unix_ms: u64,
}

/// How many sinks took a value, and how many dropped an older one for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub samples: u64,
    pub dropped: u64,
}

impl Device {
    pub(super) fn is_idle(&self) -> bool {
        self.session.is_none() && self.resources.is_empty()
    }

    pub(super) fn is_in(&self, generation: Generation) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.generation == generation)
    }

    /// Whether one more resource fits. What was refused is remembered only as long as it does.
    pub(super) fn has_room(&mut self, resource: &str, resources_max: usize) -> bool {
        if self.resources.contains_key(resource) || self.resources.len() < resources_max {
            return true;
        }
        self.resources.retain(|_, other| !other.planner.is_empty());
        self.resources.len() < resources_max
    }

    /// The name of the resource, as all its sinks share it.
    pub(super) fn join(
        &mut self,
        resource: &str,
        interval_min: NonZeroU32,
        (id, pace, mailbox): (u64, Pace, Arc<Mailbox>),
    ) -> Arc<str> {
        let known = self.resources.get_key_value(resource);
        let name = known.map_or_else(|| Arc::from(resource), |(name, _)| name.clone());
        let has_session = self.session.is_some();
        let entry = self.resources.entry(name.clone());
        let resource = entry.or_insert_with(|| Resource::new(interval_min, has_session));
        let plan = resource.planner.join(id, pace, mailbox, tell);
        self.order(&name, plan);
        name
    }

    pub(super) fn leave(&mut self, name: &Arc<str>, id: u64) {
        let Some(resource) = self.resources.get_mut(name) else {
            return;
        };
        let plan = resource.planner.leave(id);
        if resource.is_over() {
            self.resources.remove(name);
        }
        self.order(name, plan);
    }

    pub(super) fn set_pace(&mut self, name: &Arc<str>, id: u64, pace: Pace) {
        let Some(resource) = self.resources.get_mut(name) else {
            return;
        };
        let plan = resource.planner.set_pace(id, pace, tell);
        self.order(name, plan);
    }

    /// The session takes the place of one whose end was not told.
    pub(super) fn attach(&mut self, generation: Generation, order: Order) {
        if self.session.is_some() {
            self.detach(&CauseKind::Superseded.into());
        }
        for (name, resource) in &mut self.resources {
            if let Some(plan) = resource.planner.attached() {
                order(wish(name, plan));
            }
        }
        self.session = Some(Session { generation, order });
    }

    pub(super) fn detach(&mut self, cause: &Cause) {
        self.session = None;
        for resource in self.resources.values_mut() {
            resource.planner.detached(cause, tell);
        }
        self.resources.retain(|_, resource| !resource.is_over());
    }

    pub(super) fn started(&mut self, name: &str, plan: Plan) {
        if let Some(resource) = self.resources.get_mut(name) {
            resource.planner.started(plan, tell);
        }
    }

    pub(super) fn refused(&mut self, name: &str, refusal: Refusal) {
        if let Some(resource) = self.resources.get_mut(name) {
            resource.planner.refused(refusal, tell);
        }
    }

    pub(super) fn arrived(&mut self, name: &str, arrived: Arrived) -> Given {
        let resource = self.resources.get_mut(name);
        resource.map_or_else(Given::default, |resource| resource.arrived(arrived))
    }

    /// How many of its resources the device streams.
    pub(super) fn streams(&self) -> usize {
        let resources = self.resources.values();
        resources.filter(|resource| resource.streams()).count()
    }

    pub(super) fn close(&self) {
        let resources = self.resources.values();
        let mailboxes = resources.flat_map(|resource| resource.planner.mailboxes());
        mailboxes.for_each(|mailbox| mailbox.close());
    }

    fn order(&self, name: &Arc<str>, plan: Option<Plan>) {
        if let (Some(session), Some(plan)) = (&self.session, plan) {
            (session.order)(wish(name, plan));
        }
    }
}

impl Resource {
    fn new(interval_min: NonZeroU32, has_session: bool) -> Self {
        let mut planner = Planner::new(interval_min);
        if has_session {
            let plan = planner.attached();
            debug_assert_eq!(plan, None, "nobody wants anything yet");
        }
        Self { planner, number: 0 }
    }

    /// Nobody wants it, and there is nothing to remember of it in this session.
    fn is_over(&self) -> bool {
        let is_refused = matches!(self.planner.standing(), Standing::Refused(_));
        self.planner.is_empty() && !is_refused
    }

    /// The device has taken what is wanted of it.
    fn streams(&self) -> bool {
        let standing = self.planner.standing();
        matches!(standing, Standing::Streams(_)) && !self.planner.is_empty()
    }

    fn arrived(&mut self, arrived: Arrived) -> Given {
        // From the clock the first time, so that numbers ascend also after all sinks had left and
        // the resource was forgotten meanwhile.
        self.number = match self.number {
            0 => arrived.now.as_micros().max(1),
            number => number + 1,
        };
        let sample = Sample {
            value: Arc::new(Reading::new(arrived.value)),
            arrival: arrived.arrival,
            number: self.number,
            unix_ms: arrived.unix_ms,
            lost: 0,
        };
        let mut given = Given::default();
        self.planner
            .arrived(arrived.arrival, arrived.now, |mailbox| {
                given.samples += 1;
                given.dropped += u64::from(mailbox.put(Delivery::Data(sample.clone())));
            });
        given
    }
}

fn wish(name: &Arc<str>, plan: Plan) -> Wish {
    Wish {
        resource: name.clone(),
        sampled: plan.sampled,
        events: plan.events,
    }
}

fn tell(mailbox: &Arc<Mailbox>, standing: &Standing) {
    let delivery = match standing {
        Standing::Asked => return,
        Standing::Away(cause) => Delivery::Lost(cause.clone()),
        Standing::Streams(plan) => Delivery::Started {
            sampled: plan.sampled.map(NonZeroU32::get),
            events: plan.events,
        },
        Standing::Refused(refusal) => Delivery::Refused(refusal.clone()),
    };
    mailbox.put(delivery);
}
