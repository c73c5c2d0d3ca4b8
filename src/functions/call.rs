//! A device runs a resource of another device of its owner.
//!
//! Two devices can call each other in turn for ever. That is theirs to end, and it is bounded: each
//! call keeps its place among the caller's requests until it is answered, so that a ring of calls
//! holds no more than its devices may have in progress, and each of them ends with the deadline of
//! the request to the called device. The gateway keeps nothing else of a call.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::codec::message::Answer;
use crate::codec::pson::Value;
use crate::functions::fleet::Fleet;
use crate::functions::refusal::{denied, quoted, request};
use crate::identity::Identity;
use crate::session::asked::{Denied, Outcome};
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};
use crate::session::security::is_security;

/// So much of the text of a called device's Error is passed on, in characters.
const TEXT_MAX: usize = 256;

/// What the call comes to. Whether there is such a device is looked up at once.
///
/// # Errors
/// [`Denied`] for what is not even tried.
pub(super) fn call(
    fleet: &Arc<dyn Fleet>,
    caller: &Identity,
    device: &str,
    resource: String,
    input: Option<Value>,
) -> Result<BoxFuture<'static, Outcome>, Denied> {
    if resource.is_empty() {
        return Err(denied(400, "name the resource of the device to run"));
    }
    if is_security(&resource) {
        let text = "devices do not run the security resources of other devices";
        return Err(denied(403, text));
    }
    if *device == *caller.device {
        return Err(denied(400, "a device does not call itself"));
    }
    // Another owner's device and none at all are told in the same words.
    let called = Identity::new(&caller.owner, device).ok();
    let Some(id) = called.and_then(|called| fleet.find(&called)) else {
        let text = format!("there is no device {}", quoted(device));
        return Err(denied(404, text));
    };
    let name = quoted(device);
    let payload = input;
    let asked = fleet.ask(id, Request::Run { resource, payload });
    Ok(async move {
        match asked.await {
            Ok(Answered::Ok(answer)) => Ok(answer.payload),
            Ok(Answered::Error(answer)) => Err(refused(&answer)),
            Err(RequestError::NotConnected) => {
                Err(denied(404, format!("device {name} is not connected")))
            }
            Err(error) => Err(request(&error)),
        }
    }
    .boxed())
}

/// The Error of the called device, as it said it.
fn refused(answer: &Answer) -> Denied {
    let text = answer.text();
    let text = text.unwrap_or("the device refused without saying why");
    denied(
        answer.code().unwrap_or(502),
        text.chars().take(TEXT_MAX).collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_the_called_device_is_passed_on() {
        let answer = |parameters: Option<Value>, payload: Option<Value>| Answer {
            stream_id: None,
            parameters,
            payload,
        };
        let map = Value::map([("error", "teapot")]);
        let told = refused(&answer(Some(418_u32.into()), Some(map)));
        assert_eq!(told, denied(418, "teapot"));
        let told = refused(&answer(Some(70_000_u32.into()), Some("no".into())));
        assert_eq!(told, denied(502, "no"));
        let long = Value::from("x".repeat(1 << 20));
        let told = refused(&answer(None, Some(long)));
        assert_eq!((told.code, told.text.len()), (502, TEXT_MAX));
        assert!(!refused(&answer(None, None)).text.is_empty());
    }
}
