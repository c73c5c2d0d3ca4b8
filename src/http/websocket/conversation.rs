//! What one client and the gateway have said on one WebSocket: which streams it has, and how often
//! it was wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codec::pson::Value;
use crate::http::resources::address::SECURED;
use crate::http::websocket::frames::{self, FRAME_MAX, Said, Wanted};
use crate::session::security::is_security;
use crate::stream::Pace;

/// Streams of one socket.
pub const STREAMS_MAX: usize = 64;
/// So many wrong frames in a row end it.
pub const WRONG_MAX: u32 = 16;

/// What there may be on a socket.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The caller may give input.
    pub may_input: bool,
    /// The resource of the URL, where it names one: the socket is about that one alone.
    pub only: Option<Arc<str>>,
}

/// What follows from a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Open(Arc<str>, Pace),
    SetPace(Arc<str>, Pace),
    Stop(Arc<str>),
    Input(Arc<str>, Value),
    /// It was wrong; the text says what would be right.
    Wrong {
        resource: Option<Arc<str>>,
        code: u16,
        reason: String,
    },
    /// It was wrong once too often.
    GiveUp,
}

/// The state of one socket.
#[derive(Debug)]
pub struct Conversation {
    terms: Terms,
    streams: BTreeSet<Arc<str>>,
    wrong: u32,
}

impl Conversation {
    /// A socket about one resource begins with a stream of it.
    pub fn new(terms: Terms) -> Self {
        Self {
            streams: terms.only.iter().cloned().collect(),
            terms,
            wrong: 0,
        }
    }

    /// A frame of text came.
    pub fn handle_text(&mut self, text: &str) -> Step {
        let step = self.judge(text);
        self.count(step)
    }

    /// A frame came that is no text.
    pub fn handle_binary(&mut self) -> Step {
        self.count(wrong(
            None,
            400,
            "a frame is text with JSON in it, and this one is binary",
        ))
    }

    /// The stream was not opened, or is over.
    pub fn handle_closed(&mut self, resource: &str) {
        self.streams.remove(resource);
    }

    fn count(&mut self, step: Step) -> Step {
        if !matches!(step, Step::Wrong { .. }) {
            self.wrong = 0;
            return step;
        }
        self.wrong += 1;
        if self.wrong >= WRONG_MAX {
            return Step::GiveUp;
        }
        step
    }

    fn judge(&mut self, text: &str) -> Step {
        if text.len() > FRAME_MAX {
            let reason = format!(
                "a frame has at most {FRAME_MAX} bytes, and this one {}",
                text.len()
            );
            return wrong(None, 413, reason);
        }
        let said = match frames::read(text) {
            Ok(said) => said,
            Err(reason) => return wrong(None, 400, reason),
        };
        let resource = match self.resource(&said) {
            Ok(resource) => resource,
            Err(reason) => return wrong(None, 400, reason),
        };
        match said.wanted {
            Wanted::Stream(pace) => self.open(resource, pace),
            Wanted::Stop => self.stop(resource),
            Wanted::Input(value) => self.input(resource, value),
        }
    }

    fn resource(&self, said: &Said) -> Result<Arc<str>, String> {
        match (&self.terms.only, &said.resource) {
            (_, Some(named)) if named.is_empty() => Err("\"resource\" is empty".into()),
            (Some(only), Some(named)) if **only != **named => Err(format!(
                "this socket is about {only:?} alone; a socket at \"…/resources\" is about all"
            )),
            (Some(only), _) => Ok(Arc::clone(only)),
            (None, Some(named)) => Ok(named.as_str().into()),
            (None, None) => Err("a frame names its \"resource\"".into()),
        }
    }

    fn open(&mut self, resource: Arc<str>, pace: Pace) -> Step {
        if self.streams.contains(&resource) {
            return Step::SetPace(resource, pace);
        }
        if self.streams.len() >= STREAMS_MAX {
            let reason =
                format!("{STREAMS_MAX} resources are streamed on this socket, which is the limit");
            return wrong(Some(resource), 429, reason);
        }
        self.streams.insert(Arc::clone(&resource));
        Step::Open(resource, pace)
    }

    fn stop(&mut self, resource: Arc<str>) -> Step {
        if self.streams.remove(&resource) {
            Step::Stop(resource)
        } else {
            wrong(Some(resource), 409, "it is not streamed on this socket")
        }
    }

    fn input(&self, resource: Arc<str>, value: Value) -> Step {
        if !self.terms.may_input {
            return wrong(Some(resource), 403, "input wants the role operator");
        }
        if is_security(&resource) {
            return wrong(Some(resource), 403, SECURED);
        }
        Step::Input(resource, value)
    }
}

fn wrong(resource: Option<Arc<str>>, code: u16, reason: impl Into<String>) -> Step {
    Step::Wrong {
        resource,
        code,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn conversation(may_input: bool, only: Option<&str>) -> Conversation {
        Conversation::new(Terms {
            may_input,
            only: only.map(Arc::from),
        })
    }

    fn code(step: &Step) -> Option<u16> {
        match step {
            Step::Wrong { code, .. } => Some(*code),
            _ => None,
        }
    }

    #[test]
    fn a_stream_opens_changes_and_stops() {
        let mut conversation = conversation(false, None);
        let temp: Arc<str> = "temp".into();
        let open = conversation.handle_text(r#"{"resource":"temp"}"#);
        assert_eq!(open, Step::Open(Arc::clone(&temp), Pace::Events));
        let again = conversation.handle_text(r#"{"resource":"temp"}"#);
        assert_eq!(again, Step::SetPace(Arc::clone(&temp), Pace::Events));
        let stop = r#"{"resource":"temp","enabled":false}"#;
        assert_eq!(conversation.handle_text(stop), Step::Stop(temp));
        assert_eq!(code(&conversation.handle_text(stop)), Some(409));
    }

    #[test]
    fn streams_are_bounded_and_a_place_is_free_again() {
        let mut conversation = conversation(false, None);
        let open = |n: usize| format!(r#"{{"resource":"r{n}"}}"#);
        for n in 0..STREAMS_MAX {
            assert!(matches!(conversation.handle_text(&open(n)), Step::Open(..)));
        }
        assert_eq!(code(&conversation.handle_text(&open(99))), Some(429));
        conversation.handle_closed("r7");
        assert!(matches!(
            conversation.handle_text(&open(99)),
            Step::Open(..)
        ));
    }

    #[test]
    fn input_wants_an_operator() {
        let input = r#"{"resource":"led","payload":true}"#;
        assert_eq!(
            code(&conversation(false, None).handle_text(input)),
            Some(403)
        );
        let step = conversation(true, None).handle_text(input);
        assert_eq!(step, Step::Input("led".into(), Value::Bool(true)));
        let secured = r#"{"resource":"security/key","payload":true}"#;
        assert_eq!(
            code(&conversation(true, None).handle_text(secured)),
            Some(403)
        );
    }

    #[test]
    fn a_socket_of_one_resource_is_about_that_one() {
        let mut one = conversation(true, Some("temp"));
        let step = one.handle_text(r#"{"payload":1}"#);
        assert_eq!(step, Step::Input("temp".into(), Value::Unsigned(1)));
        let step = one.handle_text("{}");
        assert_eq!(step, Step::SetPace("temp".into(), Pace::Events));
        let step = one.handle_text(r#"{"enabled":false}"#);
        assert_eq!(step, Step::Stop("temp".into()));
        let step = one.handle_text("{}");
        assert_eq!(step, Step::Open("temp".into(), Pace::Events));
        assert_eq!(code(&one.handle_text(r#"{"resource":"led"}"#)), Some(400));
        let mut all = conversation(true, None);
        assert_eq!(code(&all.handle_text(r#"{"payload":1}"#)), Some(400));
        assert_eq!(code(&all.handle_text(r#"{"resource":""}"#)), Some(400));
    }

    #[test]
    fn wrong_frames_in_a_row_end_it() {
        let mut conversation = conversation(false, None);
        for _ in 0..3 {
            for _ in 1..WRONG_MAX {
                assert_eq!(code(&conversation.handle_text("nonsense")), Some(400));
            }
            // One that is right begins the count anew.
            conversation.handle_text(r#"{"resource":"temp"}"#);
        }
        for _ in 1..WRONG_MAX {
            assert_eq!(code(&conversation.handle_binary()), Some(400));
        }
        assert_eq!(conversation.handle_text("nonsense"), Step::GiveUp);
    }

    #[test]
    fn long_frames_are_refused_unread() {
        let long = format!(r#"{{"payload":"{}"}}"#, "a".repeat(FRAME_MAX));
        assert_eq!(
            code(&conversation(true, Some("a")).handle_text(&long)),
            Some(413)
        );
    }

    proptest! {
        /// Whatever is said, what the shell was told to open is what the conversation counts.
        #[test]
        fn opened_and_closed_agree(
            said in proptest::collection::vec((0..80usize, any::<bool>()), 0..300),
        ) {
            let mut conversation = conversation(false, None);
            let mut open = BTreeSet::new();
            for (n, enabled) in said {
                let text = format!(r#"{{"resource":"r{n}","enabled":{enabled}}}"#);
                match conversation.handle_text(&text) {
                    Step::Open(resource, _) => prop_assert!(open.insert(resource)),
                    Step::SetPace(resource, _) => prop_assert!(open.contains(&resource)),
                    Step::Stop(resource) => prop_assert!(open.remove(&resource)),
                    Step::GiveUp | Step::Wrong { .. } => {}
                    Step::Input(..) => prop_assert!(false),
                }
                prop_assert!(open.len() <= STREAMS_MAX);
            }
        }
    }
}
