//! One stream on a socket, as frames.

use std::pin::Pin;

use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use crate::http::problem::Problem;
use crate::http::websocket::frames::Frames;
use crate::stream::Pace;
use crate::stream::hub::{Delivery, OpenError, Sink};

/// The frames of one stream; it ends when the gateway shuts down.
pub type Flow = Pin<Box<dyn Stream<Item = String> + Send>>;

/// Changes the pace of a flow. The flow lasts without it.
pub type SetPace = watch::Sender<Pace>;

struct State {
    sink: Sink,
    frames: Frames,
    /// `None` when nobody can change it any more.
    paces: Option<watch::Receiver<Pace>>,
}

/// What a sink of `resource` that was opened with this pace is told, as frames.
pub fn flow(sink: Sink, resource: &str, pace: Pace) -> (Flow, SetPace) {
    let (set_pace, paces) = watch::channel(pace);
    let state = State {
        sink,
        frames: Frames::of(resource),
        paces: Some(paces),
    };
    (Box::pin(stream::unfold(state, turn)), set_pace)
}

async fn turn(mut state: State) -> Option<(String, State)> {
    loop {
        tokio::select! {
            biased;
            pace = next_pace(&mut state.paces) => match state.sink.set_pace(pace) {
                Ok(()) => {}
                Err(error) => return Some((refused(&state.frames, &error), state)),
            },
            delivery = state.sink.next() => {
                let frame = frame(&state.frames, &delivery?);
                return Some((frame, state));
            }
        }
    }
}

async fn next_pace(paces: &mut Option<watch::Receiver<Pace>>) -> Pace {
    if let Some(receiver) = paces {
        if receiver.changed().await.is_ok() {
            return *receiver.borrow_and_update();
        }
        *paces = None;
    }
    std::future::pending().await
}

/// What a sink was told, as a frame.
fn frame(frames: &Frames, delivery: &Delivery) -> String {
    match delivery {
        Delivery::Started { sampled, events } => frames.start(*sampled, *events),
        Delivery::Data(sample) => frames.data(sample.value.json(), sample.unix_ms, sample.lost),
        Delivery::Lost(cause) => frames.stop(&cause.to_string()),
        Delivery::Refused(refusal) => frames.error(refusal.code, &refusal.text),
    }
}

/// A stream that the hub does not open, as a frame.
pub fn refused(frames: &Frames, error: &OpenError) -> String {
    let code = Problem::from(error.clone()).status;
    frames.error(code.as_u16(), &error.to_string())
}
