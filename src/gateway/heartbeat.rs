//! Feels the pulse of the gateway, and tells the service manager of it.

use std::time::Duration;

use actix::Addr;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::clock;
use crate::registry::actor::{Figures, Probe, Registry};
use crate::service::notify;
use crate::service::pulse::{Output, Part};
use crate::service::readiness::{Readiness, State};
use crate::service::vitals::Vitals;
use crate::store::Store;
use crate::time::Instant;

/// How often the line of `systemctl status` is renewed, at most.
const STATUS_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Heartbeat {
    pub(super) vitals: Vitals,
    pub(super) registry: Addr<Registry>,
    pub(super) store: Store,
    pub(super) readiness: Readiness,
}

/// What a part said; the registry says more than that it is there.
enum Answer {
    Registry(Option<Figures>),
    Store(bool),
}

impl Heartbeat {
    /// Runs until it is dropped. On a thread of the runtime: a registry that hangs does not hang it.
    pub(super) async fn run(self) {
        let mut asked: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        let mut line = StatusLine::default();
        loop {
            let due = self.vitals.with(|pulse| {
                pulse.handle_timeout(clock::now());
                pulse.poll_timeout()
            });
            while let Some(output) = self.vitals.with(|pulse| pulse.poll_output()) {
                match output {
                    Output::Ask(part) => asked.push(self.ask(part)),
                    Output::FeedWatchdog => notify::alive(),
                }
            }
            tokio::select! {
                () = tokio::time::sleep_until(clock::deadline(due)) => {}
                Some(answer) = asked.next() => self.heard(&answer, &mut line),
            }
        }
    }

    fn ask(&self, part: Part) -> BoxFuture<'static, Answer> {
        let (registry, store) = (self.registry.clone(), self.store.clone());
        Box::pin(async move {
            match part {
                Part::Registry => Answer::Registry(registry.send(Probe).await.ok()),
                Part::Store => Answer::Store(store.probe().await),
            }
        })
    }

    fn heard(&self, answer: &Answer, line: &mut StatusLine) {
        let (part, answered) = match answer {
            Answer::Registry(figures) => (Part::Registry, figures.is_some()),
            Answer::Store(answered) => (Part::Store, *answered),
        };
        self.vitals.with(|pulse| match answered {
            true => pulse.handle_answer(part, clock::now()),
            false => pulse.handle_no_answer(part),
        });
        if let Answer::Registry(Some(figures)) = answer {
            line.tell(self.readiness.get(), *figures);
        }
    }
}

/// What was told last, and when.
#[derive(Default)]
struct StatusLine {
    told: Option<(State, Figures)>,
    again_at: Instant,
}

impl StatusLine {
    fn tell(&mut self, state: State, figures: Figures) {
        let now = clock::now().instant;
        let turned = self.told.is_none_or(|(told, _)| told != state);
        let changed = self.told != Some((state, figures));
        if turned || (changed && self.again_at <= now) {
            self.told = Some((state, figures));
            self.again_at = now + STATUS_EVERY;
            notify::status(&status(state, figures));
        }
    }
}

fn status(state: State, figures: Figures) -> String {
    let Figures { sessions, devices } = figures;
    let doing = match state {
        State::Starting => "starting",
        State::Ready => "ready",
        State::Draining => "draining",
    };
    format!("{doing}: {sessions} sessions, {devices} devices listed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_it_does_with_numbers() {
        let figures = Figures {
            sessions: 12,
            devices: 20,
        };
        let text = status(State::Draining, figures);
        assert_eq!(text, "draining: 12 sessions, 20 devices listed");
    }
}
