//! Typed IOTMP messages, the same for every dialect.

use crate::codec::pson::Value;
pub use crate::codec::wire::{decode, encode};

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
        /// Only the search for devices in the subnet has any.
        parameters: Option<Value>,
    },
    StartStream {
        stream_id: Option<StreamId>,
        resource: Option<Value>,
        /// In 2020 the bare interval in seconds, elsewhere a map with it in milliseconds.
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

impl Answer {
    /// The code that the other side set, if any.
    pub fn code(&self) -> Option<u16> {
        let code = self.parameters.as_ref()?.as_unsigned()?;
        u16::try_from(code).ok()
    }

    /// What an Error says in words, if anything. It is as long as the other side made it.
    pub fn text(&self) -> Option<&str> {
        text_of(self.payload.as_ref()?)
    }
}

/// The words of a payload that should say something: it is a text, or has one as `error` or
/// `message`.
pub fn text_of(payload: &Value) -> Option<&str> {
    let named = payload.get("error").or_else(|| payload.get("message"));
    named.unwrap_or(payload).as_str()
}

/// The first message of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    pub stream_id: Option<StreamId>,
    /// How the device wants to authenticate; 1 (or absent) means by credentials.
    pub authentication: Authentication,
    /// Seconds, as asked for; `None` where the device leaves it to the default of 60. What is no
    /// number of seconds at all is `u64::MAX`, which no limit lets through.
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
    /// 0 when it names none.
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

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::dialect::{self, Dialect};
    use crate::codec::error::DecodeError;
    use crate::codec::frame::{self, BODY_MAX, Split};
    use crate::codec::pson::Version;
    use crate::codec::pson::tests::{any_value, decoded, encoded};

    fn any_id() -> impl Strategy<Value = Option<StreamId>> {
        option::of(1..=StreamId::MAX)
    }

    fn any_connect() -> impl Strategy<Value = Connect> {
        let credentials = (".{0,20}", ".{1,20}", ".{0,20}");
        (any_id(), credentials, option::of(any::<u64>())).prop_map(
            |(stream_id, (username, device, credential), keep_alive)| Connect {
                stream_id,
                authentication: Authentication::Credentials {
                    username,
                    device,
                    credential: credential.into_bytes(),
                },
                keep_alive,
            },
        )
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let values = || option::of(any_value());
        let answer = || {
            (any_id(), values(), values()).prop_map(|(stream_id, parameters, payload)| Answer {
                stream_id,
                parameters,
                payload,
            })
        };
        let run = (
            any_id(),
            values(),
            values(),
            values(),
            option::of(0_u64..20),
        )
            .prop_map(|(stream_id, resource, parameters, payload, action)| Run {
                stream_id,
                resource,
                parameters,
                payload,
                action,
            });
        prop_oneof![
            answer().prop_map(Message::Ok),
            answer().prop_map(Message::Error),
            any_connect().prop_map(Message::Connect),
            answer().prop_map(|answer| Message::Disconnect {
                stream_id: answer.stream_id,
                reason: answer.parameters,
                detail: answer.payload,
            }),
            Just(Message::KeepAlive),
            run.prop_map(Message::Run),
            (any_id(), values(), values()).prop_map(|(stream_id, resource, parameters)| {
                Message::Describe {
                    stream_id,
                    resource,
                    parameters,
                }
            }),
            answer().prop_map(|answer| Message::StartStream {
                stream_id: answer.stream_id,
                resource: answer.parameters,
                parameters: answer.payload,
            }),
            answer().prop_map(|answer| Message::StopStream {
                stream_id: answer.stream_id,
                parameters: answer.parameters,
                payload: answer.payload,
            }),
            (answer(), any::<bool>()).prop_map(|(answer, sample)| {
                Message::StreamData(StreamData {
                    stream_id: answer.stream_id.unwrap_or(0),
                    kind: Some(if sample {
                        StreamDataKind::Sample
                    } else {
                        StreamDataKind::Event
                    }),
                    parameters: answer.parameters,
                    payload: answer.payload,
                })
            }),
            (12_u64..1000).prop_map(Message::Unknown),
        ]
    }

    fn any_dialect() -> impl Strategy<Value = Dialect> {
        proptest::sample::select(Dialect::ALL.as_slice())
    }

    fn written(dialect: Dialect, message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        encode(dialect, message, &mut out);
        out
    }

    fn read(dialect: Dialect, bytes: &[u8]) -> Result<Message, DecodeError> {
        match frame::split(bytes, BODY_MAX) {
            Ok(Split::Frame(frame)) => decode(dialect, frame.message_type, &bytes[frame.body]),
            other => panic!("{other:?}"),
        }
    }

    /// What comes through `dialect` of `message`.
    fn kept(dialect: Dialect, mut message: Message) -> Message {
        let keep = |value: &mut Option<Value>| {
            if let Some(value) = value
                && dialect != Dialect::Current
                && dialect != Dialect::Documented
            {
                *value = decoded(Version::V1, &encoded(Version::V1, value)).unwrap();
            }
        };
        match &mut message {
            Message::Ok(Answer {
                parameters,
                payload,
                ..
            })
            | Message::Error(Answer {
                parameters,
                payload,
                ..
            })
            | Message::Disconnect {
                reason: parameters,
                detail: payload,
                ..
            }
            | Message::StopStream {
                parameters,
                payload,
                ..
            }
            | Message::StreamData(StreamData {
                parameters,
                payload,
                ..
            }) => {
                keep(parameters);
                keep(payload);
                if dialect.is_2020() {
                    *parameters = None;
                }
            }
            Message::Run(run) => {
                keep(&mut run.resource);
                keep(&mut run.parameters);
                keep(&mut run.payload);
                if dialect.is_2020() {
                    run.parameters = None;
                } else {
                    run.action = None;
                }
            }
            Message::Describe {
                resource,
                parameters,
                ..
            } => {
                keep(resource);
                keep(parameters);
                if dialect.is_2020() {
                    *parameters = None;
                }
            }
            Message::StartStream {
                resource,
                parameters,
                ..
            } => {
                keep(resource);
                keep(parameters);
            }
            Message::Connect(_) | Message::KeepAlive | Message::Unknown(_) => {}
        }
        if let Message::StreamData(data) = &mut message
            && !dialect.is_2020()
        {
            data.kind = None;
        }
        message
    }

    /// The text of these is ours, so it does not come back.
    fn is_malformed_connect(message: &Message) -> bool {
        matches!(message, Message::Connect(connect)
            if matches!(connect.authentication, Authentication::Malformed(_)))
    }

    #[test]
    fn type_0_is_refused_and_types_beyond_the_last_are_not() {
        let reserved = decode(Dialect::Current, 0, &[]);
        assert_eq!(reserved, Err(DecodeError::ReservedType));
        let unknown = decode(Dialect::Current, 11, &[0xff]);
        assert_eq!(unknown, Ok(Message::Unknown(11)));
        let sample = decode(Dialect::Code2020, 11, &[0x08, 3]);
        assert!(matches!(sample, Ok(Message::StreamData(_))));
    }

    #[test]
    fn bare_negative_number_is_read_from_its_varint() {
        let minus_five = [
            0x18, 0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
        ];
        let answer = Answer {
            payload: Some(Value::Negative(-5)),
            ..Answer::default()
        };
        assert_eq!(
            decode(Dialect::Legacy, 1, &minus_five),
            Ok(Message::Ok(answer))
        );
    }

    #[test]
    fn last_of_repeated_fields_counts_and_ids_are_16_bits() {
        let twice = decode(Dialect::Current, 9, &[0x08, 1, 0x08, 2]);
        assert!(matches!(
            twice,
            Ok(Message::StopStream {
                stream_id: Some(2),
                ..
            })
        ));
        let too_large = decode(Dialect::Current, 9, &[0x08, 0x80, 0x80, 0x04]);
        assert_eq!(too_large, Err(DecodeError::BadStreamId));
        let none = decode(Dialect::Current, 9, &[0x08, 0]);
        assert!(matches!(
            none,
            Ok(Message::StopStream {
                stream_id: None,
                ..
            })
        ));
    }

    #[test]
    fn resource_of_the_other_generation_is_read() {
        let start = Message::StartStream {
            stream_id: Some(6),
            resource: Some("t".into()),
            parameters: Some(Value::map([("interval", 5000_u64)])),
        };
        let legacy = written(Dialect::Legacy, &start);
        assert_eq!(legacy[4], 0x19, "the resource is field 3");
        assert_eq!(read(Dialect::Current, &legacy), Ok(start.clone()));
        let current = written(Dialect::Current, &start);
        assert_eq!(read(Dialect::Legacy, &current), Ok(start));
    }

    proptest! {
        #[test]
        fn round_trip(dialect in any_dialect(), message in any_message()) {
            let bytes = written(dialect, &message);
            prop_assert_eq!(read(dialect, &bytes), Ok(kept(dialect, message)));
        }

        #[test]
        fn connect_tells_its_dialect(dialect in any_dialect(), mut connect in any_connect()) {
            connect.stream_id = connect.stream_id.or(Some(1));
            let bytes = written(dialect, &Message::Connect(connect));
            prop_assert_eq!(dialect::detect(&bytes), Ok(Some(dialect)));
        }

        #[test]
        fn truncated_bodies_never_panic(dialect in any_dialect(), message in any_message()) {
            let bytes = written(dialect, &message);
            let Ok(Split::Frame(frame)) = frame::split(&bytes, BODY_MAX) else {
                return Err(TestCaseError::fail("no frame"));
            };
            let body = &bytes[frame.body];
            for cut in 0..body.len() {
                let _ = decode(dialect, frame.message_type, &body[..cut]);
            }
        }

        #[test]
        fn arbitrary_bodies_never_panic(
            dialect in any_dialect(),
            message_type in 0_u64..14,
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            // What can be read can be written, and stays the same from then on.
            if let Ok(message) = decode(dialect, message_type, &body)
                && !is_malformed_connect(&message)
            {
                let once = written(dialect, &message);
                let again = written(dialect, &read(dialect, &once).unwrap());
                prop_assert_eq!(once, again);
            }
        }
    }
}
