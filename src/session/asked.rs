//! What a device asks of the gateway, as its messages say it, and who answers.

use crate::codec::message::StreamId;
use crate::codec::pson::Value;
use crate::device::{DeviceId, Generation};

/// A server function that a device runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    ReadProperty {
        name: String,
    },
    SetProperty {
        name: String,
        value: Value,
    },
    /// Runs a resource of another device of the same owner.
    CallDevice {
        device: String,
        resource: String,
        input: Option<Value>,
    },
    CallEndpoint {
        name: String,
        data: Option<Value>,
    },
    WriteBucket {
        name: String,
        data: Value,
    },
}

/// A stream that a device opens.
#[derive(Clone, Debug, PartialEq)]
pub enum Subscription {
    /// The value of a property of its own whenever it is set; `current`: the present one at once.
    Property { name: String, current: bool },
    /// An event of the gateway by its name, with the filters that the device gave.
    Event {
        name: String,
        filters: Option<Value>,
    },
    /// What devices of the same owner publish under topics that this filter matches.
    TopicIn { filter: String },
    /// What the device publishes under this topic.
    TopicOut { topic: String, retained: bool },
}

/// Why something is not done, with the HTTP-like code of the Error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Denied {
    pub code: u16,
    pub text: String,
}

/// What something that a device asked came to; the value is the payload of its Ok.
pub type Outcome = Result<Option<Value>, Denied>;

/// Told once. Dropped without being called it answers for itself that the gateway failed.
///
/// [`Functions`] calls it under a lock of its own: it must not block, and must not call
/// [`Functions`] back, neither in the call nor in its drop.
pub type Answerer = Box<dyn FnOnce(Outcome) + Send>;

/// Hands a value to the device on a stream that it opened; false when it was dropped because too
/// much waits, or the session is gone.
///
/// [`Functions`] calls it under a lock of its own: it must not block, and must not call
/// [`Functions`] back, neither in the call nor in its drop.
pub type Push = Box<dyn Fn(Value) -> bool + Send + Sync>;

/// A stream that a device opened, in one of its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceStream {
    pub device: DeviceId,
    pub generation: Generation,
    pub id: StreamId,
}

/// Who does what devices ask. No call blocks.
pub trait Functions: Send + Sync {
    /// `answer` is `None` when the device wants none.
    fn run(&self, device: DeviceId, function: Function, answer: Option<Answerer>);

    /// Opens a stream of the device; events go to `push` after `answer` was told Ok.
    fn subscribe(
        &self,
        stream: DeviceStream,
        subscription: Subscription,
        push: Push,
        answer: Answerer,
    );

    /// The device stopped it.
    fn unsubscribe(&self, stream: DeviceStream);

    /// The device sent a value on a stream that it opened for publishing.
    fn publish(&self, stream: DeviceStream, value: Value);

    /// That session ended, and with it all its streams.
    fn session_ended(&self, device: DeviceId, generation: Generation);
}
