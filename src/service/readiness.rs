//! Whether the gateway takes work, for everybody who tells it or asks.

use tokio::sync::watch;

/// What the gateway is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The store is not open yet, or not every listening socket is bound.
    #[default]
    Starting,
    Ready,
    /// It was told to stop and takes nothing new.
    Draining,
}

/// Cheap to clone; every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(watch::Sender<State>);

impl Readiness {
    pub fn set(&self, state: State) {
        self.0.send_replace(state);
    }

    pub fn get(&self) -> State {
        *self.0.borrow()
    }

    /// Follows what it is and becomes.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}
