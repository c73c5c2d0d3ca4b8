//! Where the parts of a message stand in its body.

use crate::codec::connect;
use crate::codec::dialect::Dialect;
use crate::codec::error::DecodeError;
use crate::codec::field::{self, Encoding, Field, Fields, PAYLOAD, STREAM_ID};
use crate::codec::frame;
use crate::codec::message::{Answer, Message, Run, StreamData, StreamDataKind, StreamId};
use crate::codec::message_type::MessageType;
use crate::codec::pson::Value;

pub(super) const PARAMETERS: u8 = 2;
const RESOURCE: u8 = 4;
const RESOURCE_2020: u8 = 2;
/// The interval of a Start Stream, the action of a Run.
const PARAMETER_2020: u8 = 4;

/// The message in a frame of this type.
///
/// Fields may come in any order and under any wire type; of a field that repeats the last one
/// counts, fields that the message does not have are skipped.
///
/// # Errors
/// When the body does not parse, or the type is 0. The session cannot go on then.
pub fn decode(dialect: Dialect, message_type: u64, body: &[u8]) -> Result<Message, DecodeError> {
    if message_type == 0 {
        return Err(DecodeError::ReservedType);
    }
    let Some(known) = MessageType::from_number(dialect, message_type) else {
        return Ok(Message::Unknown(message_type));
    };
    let mut slots = Slots::read(dialect, body)?;
    let stream_id = slots.stream_id()?;
    Ok(assemble(dialect, known, stream_id, slots))
}

/// Appends `message` as a frame of `dialect`. What the dialect has no place for is left out.
pub fn encode(dialect: Dialect, message: &Message, out: &mut Vec<u8>) {
    let message_type = match message {
        Message::Ok(_) => MessageType::Ok,
        Message::Error(_) => MessageType::Error,
        Message::Connect(_) => MessageType::Connect,
        Message::Disconnect { .. } => MessageType::Disconnect,
        Message::KeepAlive => MessageType::KeepAlive,
        Message::Run(_) => MessageType::Run,
        Message::Describe { .. } => MessageType::Describe,
        Message::StartStream { .. } => MessageType::StartStream,
        Message::StopStream { .. } => MessageType::StopStream,
        Message::StreamData(data) => match data.kind {
            Some(StreamDataKind::Sample) => MessageType::StreamSample,
            Some(StreamDataKind::Event) | None => MessageType::StreamData,
        },
        Message::Unknown(number) => return frame::write(*number, &[], out),
    };
    let body = match message {
        Message::Connect(connect) => connect::encode(dialect, connect),
        _ => Parts::of(message).encode(dialect, message_type),
    };
    frame::write(message_type.number(dialect), &body, out);
}

/// The values of a body by field number.
pub(super) struct Slots([Option<Value>; 6]);

impl Slots {
    fn read(dialect: Dialect, body: &[u8]) -> Result<Self, DecodeError> {
        let mut slots = Self(Default::default());
        for field in Fields::new(dialect, body) {
            let field = field?;
            let slot = usize::try_from(field.number)
                .ok()
                .and_then(|number| slots.0.get_mut(number));
            if let (Some(slot), true) = (slot, field.encoding != Encoding::Fixed) {
                *slot = Some(signed(field));
            }
        }
        Ok(slots)
    }

    pub fn take(&mut self, number: u8) -> Option<Value> {
        self.0.get_mut(usize::from(number))?.take()
    }

    fn stream_id(&mut self) -> Result<Option<StreamId>, DecodeError> {
        match self.take(STREAM_ID) {
            None | Some(Value::Unsigned(0)) => Ok(None),
            Some(Value::Unsigned(id)) => StreamId::try_from(id)
                .map(Some)
                .map_err(|_| DecodeError::BadStreamId),
            Some(_) => Err(DecodeError::BadStreamId),
        }
    }
}

/// A bare negative number in parameters or payload is sent as the varint of its two's complement.
fn signed(field: Field) -> Value {
    match field.value {
        Value::Unsigned(number)
            if field.encoding == Encoding::Varint
                && (field.number == u64::from(PARAMETERS)
                    || field.number == u64::from(PAYLOAD)) =>
        {
            Value::from(number.cast_signed())
        }
        value => value,
    }
}

const fn resource_field(dialect: Dialect, message_type: MessageType) -> u8 {
    match (dialect, message_type) {
        (Dialect::Legacy, MessageType::Describe | MessageType::StartStream) => PAYLOAD,
        (Dialect::Code2020 | Dialect::Doc2020, _) => RESOURCE_2020,
        _ => RESOURCE,
    }
}

const fn parameters_field(dialect: Dialect, message_type: MessageType) -> Option<u8> {
    match message_type {
        MessageType::StartStream if dialect.is_2020() => Some(PARAMETER_2020),
        _ if dialect.is_2020() => None,
        _ => Some(PARAMETERS),
    }
}

fn take_resource(dialect: Dialect, message_type: MessageType, slots: &mut Slots) -> Option<Value> {
    let field = resource_field(dialect, message_type);
    match message_type {
        MessageType::Run => slots.take(field),
        MessageType::Describe | MessageType::StartStream if dialect.is_2020() => slots.take(field),
        // The field of the other generation has no other meaning here, so it is read as well.
        MessageType::Describe | MessageType::StartStream => slots
            .take(field)
            .or_else(|| slots.take(RESOURCE))
            .or_else(|| slots.take(PAYLOAD)),
        _ => None,
    }
}

fn assemble(
    dialect: Dialect,
    message_type: MessageType,
    stream_id: Option<StreamId>,
    mut slots: Slots,
) -> Message {
    let resource = take_resource(dialect, message_type, &mut slots);
    let parameters = parameters_field(dialect, message_type).and_then(|field| slots.take(field));
    let payload = slots.take(PAYLOAD);
    let answer = |parameters, payload| Answer {
        stream_id,
        parameters,
        payload,
    };
    let stream_data = |kind: StreamDataKind, parameters, payload| {
        Message::StreamData(StreamData {
            stream_id: stream_id.unwrap_or(0),
            kind: dialect.is_2020().then_some(kind),
            parameters,
            payload,
        })
    };
    match message_type {
        MessageType::Ok => Message::Ok(answer(parameters, payload)),
        MessageType::Error => Message::Error(answer(parameters, payload)),
        MessageType::Connect => Message::Connect(connect::decode(
            dialect, stream_id, parameters, payload, slots,
        )),
        MessageType::Disconnect => Message::Disconnect {
            stream_id,
            reason: parameters,
            detail: payload,
        },
        MessageType::KeepAlive => Message::KeepAlive,
        MessageType::Run => Message::Run(Run {
            stream_id,
            resource,
            parameters,
            payload,
            action: take_action(dialect, &mut slots),
        }),
        MessageType::Describe => Message::Describe {
            stream_id,
            resource,
            parameters,
        },
        MessageType::StartStream => Message::StartStream {
            stream_id,
            resource,
            parameters,
        },
        MessageType::StopStream => Message::StopStream {
            stream_id,
            parameters,
            payload,
        },
        MessageType::StreamData => stream_data(StreamDataKind::Event, parameters, payload),
        MessageType::StreamSample => stream_data(StreamDataKind::Sample, parameters, payload),
    }
}

fn take_action(dialect: Dialect, slots: &mut Slots) -> Option<u64> {
    let action = dialect.is_2020().then(|| slots.take(PARAMETER_2020));
    action.flatten().as_ref().and_then(Value::as_unsigned)
}

/// What a message but Connect has in its body.
#[derive(Default)]
struct Parts<'a> {
    stream_id: Option<StreamId>,
    parameters: Option<&'a Value>,
    payload: Option<&'a Value>,
    resource: Option<&'a Value>,
    action: Option<u64>,
}

impl<'a> Parts<'a> {
    fn of(message: &'a Message) -> Self {
        let mut parts = Self::default();
        match message {
            Message::Ok(answer) | Message::Error(answer) => {
                parts.stream_id = answer.stream_id;
                parts.parameters = answer.parameters.as_ref();
                parts.payload = answer.payload.as_ref();
            }
            Message::Disconnect {
                stream_id,
                reason: parameters,
                detail: payload,
            }
            | Message::StopStream {
                stream_id,
                parameters,
                payload,
            } => {
                parts.stream_id = *stream_id;
                parts.parameters = parameters.as_ref();
                parts.payload = payload.as_ref();
            }
            Message::Run(run) => {
                parts.stream_id = run.stream_id;
                parts.resource = run.resource.as_ref();
                parts.parameters = run.parameters.as_ref();
                parts.payload = run.payload.as_ref();
                parts.action = run.action;
            }
            Message::Describe {
                stream_id,
                resource,
                parameters,
            }
            | Message::StartStream {
                stream_id,
                resource,
                parameters,
            } => {
                parts.stream_id = *stream_id;
                parts.resource = resource.as_ref();
                parts.parameters = parameters.as_ref();
            }
            Message::StreamData(data) => {
                parts.stream_id = Some(data.stream_id);
                parts.parameters = data.parameters.as_ref();
                parts.payload = data.payload.as_ref();
            }
            Message::Connect(_) | Message::KeepAlive | Message::Unknown(_) => {}
        }
        parts
    }

    fn encode(&self, dialect: Dialect, message_type: MessageType) -> Vec<u8> {
        let mut body = Body::new(dialect);
        body.stream_id(self.stream_id);
        body.put(resource_field(dialect, message_type), self.resource);
        if let Some(field) = parameters_field(dialect, message_type) {
            body.put(field, self.parameters);
        }
        body.put(PAYLOAD, self.payload);
        if dialect.is_2020() {
            body.put(PARAMETER_2020, self.action.map(Value::Unsigned).as_ref());
        }
        body.into_bytes()
    }
}

/// A body being written.
pub(super) struct Body {
    dialect: Dialect,
    bytes: Vec<u8>,
}

impl Body {
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            bytes: Vec::new(),
        }
    }

    pub fn put(&mut self, field: u8, value: Option<&Value>) {
        if let Some(value) = value {
            field::write(self.dialect, field, value, &mut self.bytes);
        }
    }

    /// 0 stands for none and is left out.
    pub fn stream_id(&mut self, stream_id: Option<StreamId>) {
        let stream_id = stream_id.filter(|id| *id != 0);
        let value = stream_id.map(|id| Value::Unsigned(id.into()));
        self.put(STREAM_ID, value.as_ref());
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
