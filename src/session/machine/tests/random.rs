//! Whatever comes, in whatever order: no panic, one end, and nothing is sent after it.

use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::world::{FLEET_KEY, START, peer, setup};
use super::{connect, run};
use crate::cause::{Cause, CauseKind};
use crate::codec::dialect::Dialect;
use crate::codec::message::encode;
use crate::codec::message::{Message, Run, StreamData};
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::link::link_key::LinkKey;
use crate::session::AcceptLink;
use crate::session::machine::{Machine, Output, Request};
use crate::session::{DialLink, SessionCommand, SessionEvent};
use crate::stream::Wish;
use crate::time::Instant;

#[derive(Clone, Debug)]
enum Input {
    Bytes(Vec<u8>),
    Message(usize),
    Eof,
    IoError,
    Opened,
    DialFailed,
    Permit,
    Admit,
    Refuse,
    Close,
    Request(usize),
    Wish(u32, bool),
    Outcome(u32),
    Push,
    Written(usize),
    Pass(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        2 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Input::Bytes),
        9 => (0..12usize).prop_map(Input::Message),
        1 => Just(Input::Eof),
        1 => Just(Input::IoError),
        3 => Just(Input::Opened),
        1 => Just(Input::DialFailed),
        2 => Just(Input::Permit),
        5 => Just(Input::Admit),
        1 => Just(Input::Refuse),
        1 => Just(Input::Close),
        4 => (0..4usize).prop_map(Input::Request),
        3 => (0..3u32, any::<bool>()).prop_map(|(sampled, events)| Input::Wish(sampled, events)),
        1 => (0..3u32).prop_map(Input::Outcome),
        1 => Just(Input::Push),
        2 => (0..400_000usize).prop_map(Input::Written),
        2 => (0..40_000_000u64).prop_map(Input::Pass),
    ]
}

fn message(pick: usize) -> Message {
    match pick {
        0 | 1 => connect(7),
        2 => Message::KeepAlive,
        3 => run(Some(9)),
        4 => super::answer(1001, Value::Null),
        5 => super::answer(1002, Value::map([("a", Value::map([("fn", 4_u64)]))])),
        6 => super::answer(1003, Value::map([("out", 1_u64)])),
        7 => Message::StreamData(StreamData {
            stream_id: 1004,
            kind: None,
            parameters: None,
            payload: None,
        }),
        8 => Message::StartStream {
            stream_id: Some(5),
            resource: Some(Value::Unsigned(8)),
            parameters: Some(Value::map([("event", "alarm")])),
        },
        9 => Message::StopStream {
            stream_id: Some(5),
            parameters: None,
            payload: None,
        },
        10 => Message::Run(Run {
            stream_id: Some(4),
            resource: Some(Value::Unsigned(1)),
            parameters: Some("cfg".into()),
            ..Run::default()
        }),
        _ => Message::Disconnect {
            stream_id: Some(3),
            reason: None,
            detail: None,
        },
    }
}

fn machine(pick: usize) -> Machine<u32> {
    let aes = DialLink::Aes(LinkKey::new(FLEET_KEY).id());
    match pick {
        0 => Machine::inbound(peer(), AcceptLink::Plain, setup(), START),
        1 => Machine::inbound(peer(), AcceptLink::Aes, setup(), START),
        2 => Machine::dialled(peer(), DialLink::Plain, setup(), START),
        _ => Machine::dialled(peer(), aes, setup(), START),
    }
}

/// Feeds `input`; true when it was a request.
fn feed(machine: &mut Machine<u32>, input: Input, now: &mut Instant) -> bool {
    let cause = || Cause::from(CauseKind::Drain);
    match input {
        Input::Bytes(bytes) => machine.handle_bytes(&bytes, *now),
        Input::Message(pick) => {
            let mut bytes = Vec::new();
            encode(Dialect::Current, &message(pick), &mut bytes);
            machine.handle_bytes(&bytes, *now);
        }
        Input::Eof => machine.handle_eof(*now),
        Input::IoError => machine.handle_io_error(io::ErrorKind::BrokenPipe, "broken", *now),
        Input::Opened => machine.handle_opened([1; 32], *now),
        Input::DialFailed => machine.handle_dial_failed(cause(), *now),
        Input::Permit => machine.handle_permit([1; 32], *now),
        Input::Admit => {
            let id = DeviceId::new(4711).unwrap();
            machine.handle_command(SessionCommand::Admit(id), *now);
        }
        Input::Refuse => machine.handle_command(SessionCommand::Refuse(cause()), *now),
        Input::Close => machine.handle_command(SessionCommand::Close(cause()), *now),
        Input::Wish(sampled, events) => machine.handle_wish(
            Wish {
                resource: "a".into(),
                sampled: NonZeroU32::new(sampled),
                events,
            },
            *now,
        ),
        Input::Outcome(serial) => machine.handle_outcome(serial, Ok(None), *now),
        Input::Push => drop(machine.handle_push(5, Value::Null, *now)),
        Input::Request(pick) => {
            let resource = "a".to_owned();
            let payload = Value::Null;
            let request = match pick {
                0 => Request::Describe { resource: None },
                1 => Request::StreamInput { resource, payload },
                _ => Request::Read { resource },
            };
            machine.handle_request(request, 1, *now);
            return true;
        }
        Input::Written(unsent) => machine.handle_written(unsent, *now),
        Input::Pass(micros) => {
            *now = *now + Duration::from_micros(micros);
            machine.handle_timeout(*now);
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_end_and_nothing_is_sent_after_it(
        pick in 0..4usize,
        inputs in proptest::collection::vec(input(), 0..40),
    ) {
        let mut machine = machine(pick);
        let mut now = START;
        let (mut asked, mut answered) = (0, 0);
        let (mut claimed, mut described, mut ended, mut closed) = (0, 0, 0, false);
        // At last the time comes for everything.
        let ending = (0..4).map(|_| Input::Pass(4_000_000_000));
        for input in inputs.into_iter().chain(ending) {
            asked += usize::from(feed(&mut machine, input, &mut now));
            while let Some(output) = machine.poll_output() {
                let late = matches!(output, Output::Answer(..));
                prop_assert!(!closed || late, "{:?} after the close", output);
                match output {
                    Output::Send(_) => prop_assert_eq!(ended, 0, "sent after the end"),
                    Output::Report(SessionEvent::Claimed(_)) => claimed += 1,
                    Output::Report(SessionEvent::Described { .. }) => described += 1,
                    Output::Report(SessionEvent::Slow { .. }) => {
                        prop_assert!(false, "the shell judges that");
                    }
                    Output::Admitted { .. } => prop_assert_eq!(ended, 0, "let in after the end"),
                    Output::Report(SessionEvent::Ended(_)) => ended += 1,
                    Output::Answer(..) => answered += 1,
                    Output::Close => closed = true,
                    Output::Stream(_) | Output::Function(..) | Output::Subscribe(..)
                    | Output::Unsubscribe(_) | Output::Publish(..) => {
                        prop_assert_eq!(ended, 0, "told after the end");
                    }
                    Output::HandshakeReady | Output::Finish => {}
                }
                prop_assert!(ended <= 1 && claimed <= 1 && described <= claimed);
            }
            prop_assert_eq!(closed, machine.poll_timeout().is_none());
        }
        prop_assert!(closed && ended == 1);
        prop_assert_eq!(answered, asked);
        prop_assert_eq!(machine.retained(), 0);
    }
}
