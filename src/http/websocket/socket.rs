//! One WebSocket while it is open: carries out what its conversation says, forwards what its
//! streams tell, and pings.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::time::{sleep_until, timeout};
use tokio_stream::{StreamExt, StreamMap};

use crate::clock;
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::http::lease::Over;
use crate::http::problem::Problem;
use crate::http::websocket::conversation::{Conversation, Step, Terms, WRONG_MAX};
use crate::http::websocket::flow::{Flow, SetPace, flow, refused};
use crate::http::websocket::frames::{self, FRAME_MAX, Frames};
use crate::http::websocket::inputs::{Give, Inputs};
use crate::http::websocket::liveness::{Due, Liveness, SILENCE_MAX};
use crate::stream::Pace;
use crate::stream::hub::{Hub, Sink};

/// The longest message that is read at all: up to here a client is told that it was too long.
pub const MESSAGE_MAX: usize = 2 * FRAME_MAX;
/// How long the closing words and the answer to them may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// The longest reason in a close frame, in bytes (RFC 6455).
const REASON_MAX: usize = 123;

/// What a socket is about.
pub struct Subject {
    pub hub: Hub,
    pub device: DeviceId,
    pub terms: Terms,
    /// The stream of the resource that the terms name, if they name one.
    pub first: Option<(Sink, Pace)>,
    pub give: Give,
}

/// Serves a socket until its end, or until `over`.
pub async fn serve(
    socket: WebSocket,
    mut subject: Subject,
    over: impl Future<Output = Over> + Send,
) {
    let first = subject.first.take().zip(subject.terms.only.clone());
    let mut open = Open::new(socket, subject);
    if let Some(((sink, pace), resource)) = first {
        open.follow(sink, resource, pace);
    }
    let farewell = tokio::select! {
        biased;
        over = over => Some(Farewell::over(&over)),
        farewell = open.run() => farewell,
    };
    if let Some(farewell) = farewell {
        farewell.say(open.socket).await;
    }
}

/// Why the gateway closes.
struct Farewell {
    code: u16,
    reason: String,
}

struct Open {
    socket: WebSocket,
    hub: Hub,
    device: DeviceId,
    conversation: Conversation,
    flows: StreamMap<Arc<str>, Flow>,
    paces: HashMap<Arc<str>, SetPace>,
    inputs: Inputs,
    liveness: Liveness,
}

enum Happening {
    Heard(Option<Result<Message, axum::Error>>),
    Told(String),
    Due,
}

impl Open {
    fn new(socket: WebSocket, subject: Subject) -> Self {
        Self {
            socket,
            hub: subject.hub,
            device: subject.device,
            conversation: Conversation::new(subject.terms),
            flows: StreamMap::new(),
            paces: HashMap::new(),
            inputs: Inputs::new(subject.give),
            liveness: Liveness::new(clock::now().instant),
        }
    }

    /// `None` when the other end is gone.
    async fn run(&mut self) -> Option<Farewell> {
        loop {
            let happening = self.happening().await;
            let done = match happening {
                Happening::Heard(message) => self.hear(message).await,
                Happening::Told(frame) => self.tell(frame).await,
                Happening::Due => self.look_after().await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn happening(&mut self) -> Happening {
        tokio::select! {
            message = self.socket.recv() => Happening::Heard(message),
            Some((_, frame)) = self.flows.next() => Happening::Told(frame),
            (resource, problem) = self.inputs.next_not_taken() => {
                Happening::Told(problem_frame(&resource, &problem))
            }
            () = sleep_until(clock::deadline(self.liveness.poll_timeout())) => Happening::Due,
        }
    }

    async fn hear(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
    ) -> Result<(), Option<Farewell>> {
        let message = match message {
            None => return Err(None),
            Some(Err(error)) => return Err(Some(Farewell::unreadable(&error))),
            Some(Ok(message)) => message,
        };
        self.liveness.handle_heard(clock::now().instant);
        let step = match message {
            Message::Text(text) => self.conversation.handle_text(&text),
            Message::Binary(_) => self.conversation.handle_binary(),
            // The library answers both.
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(None),
        };
        self.carry_out(step).await
    }

    async fn carry_out(&mut self, step: Step) -> Result<(), Option<Farewell>> {
        match step {
            Step::Open(resource, pace) => self.open(resource, pace).await,
            Step::SetPace(resource, pace) => {
                if let Some(set_pace) = self.paces.get(&resource) {
                    set_pace.send_replace(pace);
                }
                Ok(())
            }
            Step::Stop(resource) => {
                self.flows.remove(&resource);
                self.paces.remove(&resource);
                let frame = Frames::of(&resource).stop("the client asked for it");
                self.tell(frame).await
            }
            Step::Input(resource, value) => self.input(resource, value).await,
            Step::Wrong {
                resource,
                code,
                reason,
            } => {
                let frame = match resource {
                    Some(resource) => Frames::of(&resource).error(code, &reason),
                    None => frames::error(code, &reason),
                };
                self.tell(frame).await
            }
            Step::GiveUp => Err(Some(Farewell {
                code: close_code::POLICY,
                reason: format!("{WRONG_MAX} frames in a row were wrong"),
            })),
        }
    }

    async fn open(&mut self, resource: Arc<str>, pace: Pace) -> Result<(), Option<Farewell>> {
        match self.hub.open(self.device, &resource, pace) {
            Ok(sink) => {
                self.follow(sink, resource, pace);
                Ok(())
            }
            Err(error) => {
                self.conversation.handle_closed(&resource);
                self.tell(refused(&Frames::of(&resource), &error)).await
            }
        }
    }

    fn follow(&mut self, sink: Sink, resource: Arc<str>, pace: Pace) {
        let (flow, set_pace) = flow(sink, &resource, pace);
        self.paces.insert(Arc::clone(&resource), set_pace);
        self.flows.insert(resource, flow);
    }

    async fn input(&mut self, resource: Arc<str>, value: Value) -> Result<(), Option<Farewell>> {
        match self.inputs.push(Arc::clone(&resource), value) {
            Ok(()) => Ok(()),
            Err(full) => {
                let frame = Frames::of(&resource).error(429, &full.to_string());
                self.tell(frame).await
            }
        }
    }

    async fn look_after(&mut self) -> Result<(), Option<Farewell>> {
        match self.liveness.handle_timeout(clock::now().instant) {
            None => Ok(()),
            Some(Due::Ping) => self.send(Message::Ping(bytes::Bytes::new())).await,
            Some(Due::Close) => Err(None),
        }
    }

    async fn tell(&mut self, frame: String) -> Result<(), Option<Farewell>> {
        self.send(Message::Text(frame.into())).await
    }

    /// While it waits for a slow reader, the oldest samples fall out of the queues of the sinks.
    async fn send(&mut self, message: Message) -> Result<(), Option<Farewell>> {
        match timeout(SILENCE_MAX, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(None),
        }
    }
}

fn problem_frame(resource: &str, problem: &Problem) -> String {
    Frames::of(resource).error(problem.status.as_u16(), &problem.detail)
}

impl Farewell {
    fn over(over: &Over) -> Self {
        let code = match over {
            Over::Stopping => close_code::AWAY,
            Over::Withdrawn(_) => close_code::POLICY,
        };
        Self {
            code,
            reason: over.to_string(),
        }
    }

    fn unreadable(error: &axum::Error) -> Self {
        Self {
            code: close_code::PROTOCOL,
            reason: error.to_string(),
        }
    }

    /// Says it, and reads on until the other end has answered.
    async fn say(self, mut socket: WebSocket) {
        let mut reason = self.reason;
        while reason.len() > REASON_MAX {
            reason.pop();
        }
        let close = Message::Close(Some(CloseFrame {
            code: self.code,
            reason: reason.into(),
        }));
        let farewell = async {
            if socket.send(close).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        };
        // Who does not answer has heard it or never will.
        let _ = timeout(FAREWELL, farewell).await;
    }
}
