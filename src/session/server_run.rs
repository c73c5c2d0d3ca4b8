//! What devices ask of the gateway: server functions, streams of the gateway's events.
//!
//! None is offered yet. An answer is given to whoever wants one, so that a device which waits for
//! it goes on at once.

use crate::codec::message::{Answer, Message, Run, StreamId};
use crate::codec::pson::Value;

/// The HTTP-like code for a function that this gateway does not have.
const NOT_IMPLEMENTED: u64 = 501;

/// The answer to a Run of the device, if it wants one.
pub fn answer_run(run: &Run) -> Option<Message> {
    not_offered(run.stream_id, &function_name(run))
}

/// The answer to a Start Stream of the device, if it wants one.
pub fn answer_start_stream(stream_id: Option<StreamId>) -> Option<Message> {
    not_offered(stream_id, "a stream of the gateway's events")
}

/// The answer to a Stop Stream of the device, if it wants one: no stream of it is open, which is
/// what it asks for.
pub fn answer_stop_stream(stream_id: Option<StreamId>) -> Option<Message> {
    Some(ok(wanted(stream_id)?))
}

/// The answer to a Describe of the device, if it wants one.
pub fn answer_describe(stream_id: Option<StreamId>) -> Option<Message> {
    not_offered(stream_id, "a description of the gateway")
}

/// An Ok that says nothing but its stream ID.
pub fn ok(stream_id: StreamId) -> Message {
    Message::Ok(Answer {
        stream_id: Some(stream_id),
        ..Answer::default()
    })
}

/// An Error with a code, where there is one, and a text for people.
pub fn error(stream_id: StreamId, code: Option<u64>, text: &str) -> Message {
    let payload = Value::Map(vec![("error".into(), Value::String(text.into()))]);
    Message::Error(Answer {
        stream_id: Some(stream_id),
        parameters: code.map(Value::Unsigned),
        payload: Some(payload),
    })
}

/// The stream ID under which an answer is wanted; 0 means that none is.
pub fn wanted(stream_id: Option<StreamId>) -> Option<StreamId> {
    stream_id.filter(|&id| id != 0)
}

fn not_offered(stream_id: Option<StreamId>, what: &str) -> Option<Message> {
    let text = format!("this gateway does not offer {what}");
    Some(error(wanted(stream_id)?, Some(NOT_IMPLEMENTED), &text))
}

/// Devices give the run code as the resource and the name as the parameters, or the reverse; the
/// 2020 dialect gives it as the action.
fn function_name(run: &Run) -> String {
    let code = match (run.action, &run.resource, &run.parameters) {
        (Some(action), _, _) => return action_name(action).into(),
        (None, Some(Value::Unsigned(code)), _) => code,
        (None, Some(_), Some(Value::Unsigned(code))) => code,
        _ => return "a function without a run code".into(),
    };
    match code {
        1 => "to read a device property".into(),
        2 => "to set a device property".into(),
        3 => "to call a device".into(),
        4 => "to call an endpoint".into(),
        5 => "to write a bucket".into(),
        6 => "to lock a sync".into(),
        7 => "to unlock a sync".into(),
        code => format!("function {code}"),
    }
}

fn action_name(action: u64) -> &'static str {
    match action {
        9 => "to call an endpoint",
        10 => "to call a device",
        11 => "to write a bucket",
        12 => "to read a device property",
        13 => "to set a device property",
        _ => "this action",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(run: Run, names: &str) {
        let Some(Message::Error(answer)) = answer_run(&run) else {
            panic!("{run:?} is answered with an Error");
        };
        assert_eq!(answer.stream_id, run.stream_id);
        assert_eq!(answer.parameters, Some(Value::Unsigned(501)));
        let text = format!("this gateway does not offer {names}");
        let payload = Value::Map(vec![("error".into(), Value::String(text))]);
        assert_eq!(answer.payload, Some(payload));
    }

    fn run(resource: Value, parameters: Value) -> Run {
        Run {
            stream_id: Some(7),
            resource: Some(resource),
            parameters: Some(parameters),
            ..Run::default()
        }
    }

    #[test]
    fn both_shapes_of_a_server_run_are_named() {
        let name = || Value::String("b".into());
        check(run(Value::Unsigned(5), name()), "to write a bucket");
        check(run(name(), Value::Unsigned(5)), "to write a bucket");
        check(run(Value::Unsigned(44), name()), "function 44");
        check(run(name(), name()), "a function without a run code");
    }

    #[test]
    fn the_action_of_the_2020_dialect_is_named() {
        let asked = Run {
            stream_id: Some(11),
            action: Some(12),
            ..Run::default()
        };
        check(asked, "to read a device property");
    }

    #[test]
    fn nobody_is_answered_who_did_not_ask_for_it() {
        for stream_id in [None, Some(0)] {
            let run = Run {
                stream_id,
                ..Run::default()
            };
            assert_eq!(answer_run(&run), None);
            assert_eq!(answer_start_stream(stream_id), None);
            assert_eq!(answer_stop_stream(stream_id), None);
            assert_eq!(answer_describe(stream_id), None);
        }
    }
}
