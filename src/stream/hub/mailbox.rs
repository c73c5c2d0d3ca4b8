//! Where one sink is reached.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::stream::delivery::{Delivery, Queue};

#[derive(Debug)]
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    arrived: Notify,
}

#[derive(Debug)]
struct Inside {
    queue: Queue,
    closed: bool,
}

impl Mailbox {
    pub(super) fn new(queue_max: usize) -> Self {
        Self {
            inside: Mutex::new(Inside {
                queue: Queue::new(queue_max),
                closed: false,
            }),
            arrived: Notify::new(),
        }
    }

    /// Waits for nobody. Whether the oldest value had to go for it.
    pub(super) fn put(&self, delivery: Delivery) -> bool {
        let mut inside = self.lock();
        let slept = inside.queue.is_empty();
        let dropped = inside.queue.push(delivery);
        drop(inside);
        if slept {
            self.arrived.notify_one();
        }
        dropped
    }

    /// The end comes once what waits is taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Nothing is lost when the future is dropped before it is ready.
    pub(super) async fn take(&self) -> Option<Delivery> {
        loop {
            {
                let mut inside = self.lock();
                if let Some(delivery) = inside.queue.pop() {
                    return Some(delivery);
                }
                if inside.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
