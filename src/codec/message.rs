//! Typed IOTMP messages, the same for every dialect.

use crate::codec::pson::Value;

/// Names a request or a stream within one session. 0 on the wire means "none".
pub type StreamId = u16;

/// One message, whichever dialect carried it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Ok(Answer),
    Error(Answer),
    Connect(Connect),
    /// An answer is wanted only with a stream ID.
    Disconnect {
        stream_id: Option<StreamId>,
        reason: Option<Value>,
        detail: Option<Value>,
    },
    KeepAlive,
    Run(Run),
    Describe {
        stream_id: Option<StreamId>,
        /// Absent: all resources.
        resource: Option<Value>,
    },
    StartStream {
        stream_id: Option<StreamId>,
        resource: Option<Value>,
        parameters: Option<Value>,
    },
    StopStream {
        stream_id: Option<StreamId>,
        parameters: Option<Value>,
        payload: Option<Value>,
    },
    StreamData(StreamData),
    /// A message type that this dialect does not have: to be ignored and counted.
    Unknown(u64),
}

/// Ok or Error to an earlier request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub stream_id: Option<StreamId>,
    /// An HTTP-like code where the other side set one, else a description.
    pub parameters: Option<Value>,
    pub payload: Option<Value>,
}

/// The first message of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    pub stream_id: Option<StreamId>,
    /// How the device wants to authenticate; 1 (or absent) means by credentials.
    pub authentication: Authentication,
    /// Seconds, as asked for; `None` where the device leaves it to the default of 60.
    pub keep_alive: Option<u64>,
}

/// What the payload of a Connect holds, by the authentication type of its dialect.
#[derive(Clone, Debug, PartialEq)]
pub enum Authentication {
    Credentials {
        username: String,
        device: String,
        credential: Vec<u8>,
    },
    /// Type 2 of the 2020 dialect: a certificate as text.
    Certificate(String),
    /// A payload or type that is none of the above, with a text that says what is wrong with it.
    Malformed(String),
}

/// A Run in either direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Absent: no answer is wanted.
    pub stream_id: Option<StreamId>,
    pub resource: Option<Value>,
    pub parameters: Option<Value>,
    pub payload: Option<Value>,
    /// The action of the 2020 dialect (default 1: run a resource); `None` elsewhere.
    pub action: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StreamData {
    pub stream_id: StreamId,
    /// Only the 2020 dialect tells events from samples; `None` elsewhere.
    pub kind: Option<StreamDataKind>,
    /// LEG marks the direction of the value here.
    pub parameters: Option<Value>,
    pub payload: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamDataKind {
    Event,
    Sample,
}
