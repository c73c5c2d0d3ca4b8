//! Fans events out to subscribers; a slow one is conflated and slows nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::{Change, StatusEvent};
use crate::metrics::{Meter, table};
use crate::registry::conflate::Queue;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{max} subscribers are connected already, which is the limit")]
pub struct TooManySubscribers {
    pub max: usize,
}

/// Where the registry publishes and others subscribe. Cheap to clone; every clone is the same hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// One subscriber's end. Dropping it ends the subscription.
pub struct Subscription {
    hub: Hub,
    id: u64,
    position: u64,
    mailbox: Arc<Mailbox>,
}

/// One event as a subscriber receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Over several that were conflated: `old` is that of the oldest, `change` what they mean for
    /// the list together, all else that of the newest.
    pub event: StatusEvent,
    /// How many older events of this device were left out because the queue was full.
    pub conflated: u64,
}

/// What the hub has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were published, in the order of [`Change::ALL`].
    pub events: [u64; Change::ALL.len()],
    /// Subscribed now, without parts of the gateway itself.
    pub subscribers: usize,
    /// Who found no room.
    pub refused: u64,
    /// Events that took the place of an older one; the same event counts in each subscription.
    pub conflated: u64,
    /// Events that wait for the slowest subscriber now.
    pub deepest: usize,
}

struct Shared {
    subscribers_max: usize,
    state: Mutex<State>,
}

struct State {
    mailboxes: HashMap<u64, Arc<Mailbox>>,
    next_id: u64,
    position: u64,
    closed: bool,
    events: [u64; Change::ALL.len()],
    refused: u64,
    conflated: u64,
}

struct Mailbox {
    /// A part of the gateway itself reads it.
    is_ours: bool,
    inside: Mutex<Inside>,
    arrived: Notify,
}

struct Inside {
    queue: Queue,
    closed: bool,
}

impl Hub {
    /// For up to `subscribers_max` at once. `position` is the number before the first event that
    /// can be published: one less than `Stored::event_next`.
    pub fn new(subscribers_max: usize, position: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                subscribers_max,
                state: Mutex::new(State {
                    mailboxes: HashMap::new(),
                    next_id: 0,
                    position,
                    closed: false,
                    events: [0; _],
                    refused: 0,
                    conflated: 0,
                }),
            }),
        }
    }

    /// Hands events to every subscriber, ascending by number. Waits for none of them.
    pub fn publish(&self, events: &[StatusEvent]) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(newest) = events.last() else {
            return;
        };
        state.position = newest.number;
        for event in events {
            state.events[event.change as usize] += 1;
        }
        if state.mailboxes.is_empty() {
            return;
        }
        let events: Vec<_> = events.iter().cloned().map(Arc::new).collect();
        for mailbox in state.mailboxes.values() {
            let mut inside = mailbox.lock();
            let slept = inside.queue.is_empty();
            for event in &events {
                state.conflated += u64::from(inside.queue.push(event));
            }
            drop(inside);
            if slept {
                mailbox.arrived.notify_one();
            }
        }
    }

    /// Follows the events from now on; at most `queue_max` wait before they are conflated, and
    /// beyond them at most three for each device, see [`crate::registry::conflate`]. After [`Self::close`]
    /// the subscription is at its end.
    ///
    /// # Errors
    /// [`TooManySubscribers`].
    pub fn subscribe(&self, queue_max: usize) -> Result<Subscription, TooManySubscribers> {
        let mut state = self.state();
        let max = self.shared.subscribers_max;
        if state.clients() >= max {
            state.refused += 1;
            return Err(TooManySubscribers { max });
        }
        Ok(self.enter(state, queue_max, false))
    }

    /// The same for a part of the gateway itself, which takes no client's place.
    pub fn follow(&self, queue_max: usize) -> Subscription {
        self.enter(self.state(), queue_max, true)
    }

    fn enter(
        &self,
        mut state: MutexGuard<'_, State>,
        queue_max: usize,
        is_ours: bool,
    ) -> Subscription {
        let mailbox = Arc::new(Mailbox {
            is_ours,
            inside: Mutex::new(Inside {
                queue: Queue::new(queue_max),
                closed: state.closed,
            }),
            arrived: Notify::new(),
        });
        let id = state.next_id;
        state.next_id += 1;
        state.mailboxes.insert(id, mailbox.clone());
        Subscription {
            hub: self.clone(),
            id,
            position: state.position,
            mailbox,
        }
    }

    /// Ends every subscription once what waits in it is taken.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for mailbox in state.mailboxes.values() {
            mailbox.lock().closed = true;
            mailbox.arrived.notify_one();
        }
    }

    pub fn counts(&self) -> Counts {
        let state = self.state();
        let waiting = state.mailboxes.values();
        let deepest = waiting.map(|mailbox| mailbox.lock().queue.len()).max();
        Counts {
            events: state.events,
            subscribers: state.clients(),
            refused: state.refused,
            conflated: state.conflated,
            deepest: deepest.unwrap_or(0),
        }
    }

    /// Has its counts read at each scrape.
    pub fn counted_by(&self, meter: &Meter) {
        let hub = self.clone();
        let events = Change::ALL.map(|change| meter.counter(&table::EVENTS, &[change.as_str()]));
        let subscribers = meter.gauge(&table::SUBSCRIBERS, &[]);
        let refused = meter.counter(&table::SUBSCRIBERS_REFUSED, &[]);
        let conflated = meter.counter(&table::EVENTS_CONFLATED, &[]);
        let deepest = meter.gauge(&table::SUBSCRIBER_QUEUE_DEEPEST, &[]);
        meter.read_at_scrape(move || {
            let counts = hub.counts();
            for (counter, count) in events.iter().zip(counts.events) {
                counter.absolute(count);
            }
            subscribers.set(counts.subscribers as f64);
            refused.absolute(counts.refused);
            conflated.absolute(counts.conflated);
            deepest.set(counts.deepest as f64);
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Subscribers that count against the limit.
    fn clients(&self) -> usize {
        let clients = self.mailboxes.values().filter(|mailbox| !mailbox.is_ours);
        clients.count()
    }
}

impl Subscription {
    /// The number of the newest event that was published before this subscription: everything
    /// after it arrives here.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next event; `None` when the gateway shuts down. Nothing is lost when the future is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            {
                let mut inside = self.mailbox.lock();
                if let Some(delivery) = inside.queue.pop() {
                    return Some(delivery);
                }
                if inside.closed {
                    return None;
                }
            }
            self.mailbox.arrived.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.state().mailboxes.remove(&self.id);
    }
}

impl Delivery {
    /// Whether the Connect API tells it. Where events were left out the newest status is told in
    /// any case, because one of those may have been a change.
    pub fn is_status_change(&self) -> bool {
        self.conflated > 0 || self.event.is_status_change()
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::device::{DeviceId, Status};
    use crate::event::Change;

    fn event(number: u64, device: u32) -> StatusEvent {
        StatusEvent {
            number,
            device: DeviceId::new(device).unwrap(),
            change: Change::Changed,
            old: Some(Status::Disconnected),
            new: Status::TcpConnected,
            unix_ms: 0,
            cause: None,
            attempt: 0,
            next_try_unix_ms: None,
        }
    }

    async fn number(subscription: &mut Subscription) -> Option<u64> {
        Some(subscription.next().await?.event.number)
    }

    #[tokio::test]
    async fn each_subscriber_gets_what_comes_after_its_position() {
        let hub = Hub::new(2, 7);
        let mut early = hub.subscribe(4).unwrap();
        assert_eq!(early.position(), 7);
        hub.publish(&[event(8, 1), event(9, 2)]);
        let mut late = hub.subscribe(4).unwrap();
        assert_eq!(late.position(), 9);
        hub.publish(&[event(10, 1)]);
        for expected in [8, 9, 10] {
            assert_eq!(number(&mut early).await, Some(expected));
        }
        assert_eq!(number(&mut late).await, Some(10));
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_conflated_and_a_fast_one_is_not() {
        let hub = Hub::new(2, 0);
        let mut slow = hub.subscribe(1).unwrap();
        let mut fast = hub.subscribe(1).unwrap();
        for number in 1..=100 {
            hub.publish(&[event(number, 1)]);
            assert_eq!(
                fast.next().await.map(|delivery| delivery.conflated),
                Some(0)
            );
        }
        assert_eq!(number(&mut slow).await, Some(1));
        let newest = slow.next().await.unwrap();
        assert_eq!((newest.event.number, newest.conflated), (100, 98));
        assert!(newest.is_status_change());
    }

    #[tokio::test]
    async fn a_cancelled_wait_loses_nothing() {
        let hub = Hub::new(1, 0);
        let mut subscription = hub.subscribe(4).unwrap();
        {
            let mut next = std::pin::pin!(subscription.next());
            assert_eq!(next.as_mut().now_or_never(), None);
            hub.publish(&[event(1, 1)]);
        }
        assert_eq!(number(&mut subscription).await, Some(1));
    }

    #[test]
    fn a_waiting_subscriber_is_woken() {
        let hub = Hub::new(1, 0);
        let mut subscription = hub.subscribe(4).unwrap();
        let mut next = std::pin::pin!(subscription.next());
        assert_eq!(next.as_mut().now_or_never(), None);
        hub.publish(&[event(1, 1)]);
        let woken = next.as_mut().now_or_never().flatten();
        assert_eq!(woken.map(|delivery| delivery.event.number), Some(1));
    }

    #[tokio::test]
    async fn events_come_from_another_thread() {
        let hub = Hub::new(1, 0);
        let mut subscription = hub.subscribe(0).unwrap();
        let publisher = hub.clone();
        let publishing = std::thread::spawn(move || {
            (1..=1000).for_each(|number| publisher.publish(&[event(number, 1)]));
            publisher.close();
        });
        let mut last = 0;
        let mut told = 0;
        while let Some(delivery) = subscription.next().await {
            assert!(delivery.event.number > last);
            last = delivery.event.number;
            told += 1 + delivery.conflated;
        }
        assert_eq!((last, told), (1000, 1000));
        publishing.join().unwrap();
    }

    #[tokio::test]
    async fn closing_ends_each_subscription_after_what_waits() {
        let hub = Hub::new(3, 0);
        let mut waiting = hub.subscribe(4).unwrap();
        hub.publish(&[event(1, 1)]);
        hub.close();
        assert_eq!(number(&mut waiting).await, Some(1));
        assert_eq!(number(&mut waiting).await, None);
        assert_eq!(number(&mut hub.subscribe(4).unwrap()).await, None);
    }

    #[test]
    fn one_more_than_the_limit_is_refused_until_another_leaves() {
        let hub = Hub::new(1, 0);
        let subscription = hub.subscribe(1).unwrap();
        let refused = hub.subscribe(1).err();
        assert_eq!(refused, Some(TooManySubscribers { max: 1 }));
        assert_eq!(hub.counts().subscribers, 1);
        drop(subscription);
        assert_eq!(hub.counts().subscribers, 0);
        assert!(hub.subscribe(1).is_ok());
    }

    #[tokio::test]
    async fn a_scrape_tells_what_was_published_and_who_is_slow() {
        let meter = Meter::new();
        let hub = Hub::new(2, 0);
        hub.counted_by(&meter);
        let shows = |lines: &[&str]| {
            let text = meter.render();
            for line in lines {
                let line = format!("gatehouse_{line}");
                assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
            }
        };
        // Counted whether somebody hears it or not.
        hub.publish(&[event(1, 1)]);
        shows(&["events_total{change=\"changed\"} 1", "subscribers 0"]);
        let mut slow = hub.subscribe(1).unwrap();
        let mut fast = hub.subscribe(10).unwrap();
        let ours = hub.follow(10);
        assert!(hub.subscribe(1).is_err() && hub.subscribe(1).is_err());
        shows(&["subscribers 2"]);
        drop(ours);
        for (number, change) in (2..).zip(Change::ALL) {
            hub.publish(&[StatusEvent {
                change,
                ..event(number, 7)
            }]);
        }
        shows(&[
            "events_total{change=\"added\"} 1",
            "events_total{change=\"changed\"} 2",
            "events_total{change=\"removed\"} 1",
            "events_total{change=\"refused\"} 1",
            "events_total{change=\"approved\"} 1",
            "events_total{change=\"denied\"} 1",
            "subscribers 2",
            "subscribers_refused_total 2",
            // One in order, then a slot for each of the three lists.
            "events_conflated_total 2",
            "subscriber_queue_deepest 6",
        ]);
        while fast.next().now_or_never().is_some() {}
        shows(&["subscriber_queue_deepest 4"]);
        while slow.next().now_or_never().is_some() {}
        drop(slow);
        shows(&[
            "subscribers 1",
            "events_conflated_total 2",
            "subscriber_queue_deepest 0",
        ]);
    }
}
