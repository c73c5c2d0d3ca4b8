//! The pulse of the running gateway, shared by who feels it and who tells it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::service::pulse::{Part, Pulse};

/// Cheap to clone; every clone is the same.
#[derive(Clone, Debug)]
pub struct Vitals(Arc<Mutex<Pulse>>);

impl Vitals {
    /// `watchdog`: within which time the service manager wants to hear of the gateway.
    pub fn new(watchdog: Option<Duration>) -> Self {
        Self(Arc::new(Mutex::new(Pulse::new(watchdog, clock::now()))))
    }

    /// The parts that hang.
    pub fn silent(&self) -> Vec<Part> {
        self.with(|pulse| pulse.silent(clock::now()))
    }

    /// Has the pulse do something. Do not wait inside.
    pub fn with<T>(&self, act: impl FnOnce(&mut Pulse) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
