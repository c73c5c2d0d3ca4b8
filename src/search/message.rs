//! The datagrams of the search for devices in the subnet, for both sides.
//!
//! The question is an IOTMP Describe with parameters, the answer an Ok of the same stream ID. Both
//! are one frame in one datagram, in the current dialect.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use crate::codec::dialect::Dialect;
use crate::codec::frame::{self, Split};
use crate::codec::message::{self, Answer, Message};
use crate::codec::pson::Value;
use crate::device::ConnectionMode;

/// The length of a question, and the most that an answer may have: in bytes, so that whoever
/// forges the sender of a question gains nothing by what is answered.
pub const DATAGRAM_MAX: usize = 512;
/// The length of a nonce, in bytes.
pub const NONCE_LEN: usize = 16;
/// The longest address of a server: that of a DNS name, in bytes.
const SERVER_ADDR_MAX: usize = 253;

/// What tells one search from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Random.
    pub stream_id: NonZeroU16,
    /// Random: who has not seen the question cannot answer it.
    pub nonce: [u8; NONCE_LEN],
}

/// What a device tells to whoever asks in its subnet. A hint: nothing of it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// 0 where the device knows only its name.
    pub id: u32,
    /// The number of its `device.Type`.
    pub device_type: u32,
    pub use_dhcp: bool,
    pub mode: ConnectionMode,
    pub address: Ipv4Addr,
    /// Where it can be dialled.
    pub port: u16,
    pub use_ssl: bool,
    /// Whom it dials; empty when it does not.
    pub server_addr: String,
}

/// Why a datagram is no answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It cannot be read, or lacks what an answer must have.
    Malformed,
    /// It answers another question.
    Foreign,
}

impl Question {
    /// The datagram, of exactly [`DATAGRAM_MAX`] bytes.
    pub fn datagram(&self) -> Vec<u8> {
        // The length of the pad takes two bytes from here on and up to the whole datagram.
        const PAD_LEAST: usize = 128;
        let missing = DATAGRAM_MAX.saturating_sub(self.padded(PAD_LEAST).len());
        self.padded(PAD_LEAST + missing)
    }

    fn padded(&self, len: usize) -> Vec<u8> {
        let parameters = Value::Map(vec![
            ("nonce".to_owned(), Value::Bytes(self.nonce.to_vec())),
            ("pad".to_owned(), Value::Bytes(vec![0; len])),
        ]);
        encoded(&Message::Describe {
            stream_id: Some(self.stream_id.get()),
            resource: None,
            parameters: Some(parameters),
        })
    }
}

/// The question in a datagram, if it is one. Any other length is none.
pub fn parse_question(datagram: &[u8]) -> Option<Question> {
    if datagram.len() != DATAGRAM_MAX {
        return None;
    }
    let Message::Describe {
        stream_id: Some(stream_id),
        resource: None,
        parameters: Some(parameters),
    } = decoded(datagram)?
    else {
        return None;
    };
    Some(Question {
        stream_id: NonZeroU16::new(stream_id)?,
        nonce: nonce(&parameters)?,
    })
}

/// The datagram that answers `question`, of at most [`DATAGRAM_MAX`] bytes. A `server_addr` that
/// cannot be the address of a server is left out.
pub fn answer(question: &Question, found: &Found) -> Vec<u8> {
    let server_addr = match &found.server_addr {
        address if is_server_addr(address) => address.as_str(),
        _ => "",
    };
    let nonce = Value::Bytes(question.nonce.to_vec());
    let payload = Value::map([
        ("id", Value::from(found.id)),
        ("type", found.device_type.into()),
        ("useDHCP", found.use_dhcp.into()),
        ("connectionMode", Value::from(found.mode as u32)),
        ("IPAddr", found.address.to_string().into()),
        ("port", u32::from(found.port).into()),
        ("useSSL", found.use_ssl.into()),
        ("serverAddr", server_addr.into()),
    ]);
    encoded(&Message::Ok(Answer {
        stream_id: Some(question.stream_id.get()),
        parameters: Some(Value::Map(vec![("nonce".to_owned(), nonce)])),
        payload: Some(payload),
    }))
}

/// What a datagram answers to `question`. `id` and `IPAddr` must be there; of the rest what is
/// missing is 0, and what is not known is passed over.
///
/// # Errors
/// [`NoAnswer`].
pub fn parse_answer(question: &Question, datagram: &[u8]) -> Result<Found, NoAnswer> {
    if datagram.len() > DATAGRAM_MAX {
        return Err(NoAnswer::Malformed);
    }
    let Some(Message::Ok(Answer {
        stream_id,
        parameters: Some(parameters),
        payload: Some(payload),
    })) = decoded(datagram)
    else {
        return Err(NoAnswer::Malformed);
    };
    let nonce = nonce(&parameters).ok_or(NoAnswer::Malformed)?;
    if stream_id != Some(question.stream_id.get()) || nonce != question.nonce {
        return Err(NoAnswer::Foreign);
    }
    found(&payload).ok_or(NoAnswer::Malformed)
}

fn found(payload: &Value) -> Option<Found> {
    let server_addr = match payload.get("serverAddr") {
        None => String::new(),
        Some(Value::String(address)) if is_server_addr(address) => address.clone(),
        Some(_) => return None,
    };
    let mode = match number(payload, "connectionMode")? {
        0 => ConnectionMode::ServerToDevice,
        1 => ConnectionMode::DeviceToServer,
        _ => return None,
    };
    Some(Found {
        id: u32::try_from(payload.get("id")?.as_unsigned()?).ok()?,
        device_type: u32::try_from(number(payload, "type")?).ok()?,
        use_dhcp: flag(payload, "useDHCP")?,
        mode,
        address: payload.get("IPAddr")?.as_str()?.parse().ok()?,
        port: u16::try_from(number(payload, "port")?).ok()?,
        use_ssl: flag(payload, "useSSL")?,
        server_addr,
    })
}

fn number(payload: &Value, key: &str) -> Option<u64> {
    match payload.get(key) {
        None => Some(0),
        Some(value) => value.as_unsigned(),
    }
}

fn flag(payload: &Value, key: &str) -> Option<bool> {
    match payload.get(key) {
        None => Some(false),
        Some(Value::Bool(flag)) => Some(*flag),
        Some(_) => None,
    }
}

/// It is shown to people as it is.
fn is_server_addr(text: &str) -> bool {
    text.len() <= SERVER_ADDR_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn nonce(parameters: &Value) -> Option<[u8; NONCE_LEN]> {
    match parameters.get("nonce")? {
        Value::Bytes(nonce) => nonce.as_slice().try_into().ok(),
        _ => None,
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
    message::encode(Dialect::Current, message, &mut datagram);
    datagram
}

/// The one frame that a datagram is.
fn decoded(datagram: &[u8]) -> Option<Message> {
    match frame::split(datagram, DATAGRAM_MAX) {
        Ok(Split::Frame(frame)) if frame.body.end == datagram.len() => {
            message::decode(Dialect::Current, frame.message_type, &datagram[frame.body]).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    pub fn any_question() -> impl Strategy<Value = Question> {
        (1..=u16::MAX, any::<[u8; NONCE_LEN]>()).prop_map(|(stream_id, nonce)| Question {
            stream_id: NonZeroU16::new(stream_id).expect("not 0"),
            nonce,
        })
    }

    pub fn any_found() -> impl Strategy<Value = Found> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        let numbers = (any::<u32>(), any::<u32>(), any::<u16>());
        (flags, numbers, any::<Ipv4Addr>(), "[!-~]{0,253}").prop_map(
            |((use_dhcp, use_ssl, dials), (id, device_type, port), address, server_addr)| Found {
                id,
                device_type,
                use_dhcp,
                mode: if dials {
                    ConnectionMode::DeviceToServer
                } else {
                    ConnectionMode::ServerToDevice
                },
                address,
                port,
                use_ssl,
                server_addr,
            },
        )
    }

    pub fn question(stream_id: u16) -> Question {
        Question {
            stream_id: NonZeroU16::new(stream_id).expect("not 0"),
            nonce: *b"0123456789abcdef",
        }
    }

    fn reply(parameters: Value, payload: Value) -> Vec<u8> {
        encoded(&Message::Ok(Answer {
            stream_id: Some(7),
            parameters: Some(parameters),
            payload: Some(payload),
        }))
    }

    #[test]
    fn a_question_is_512_bytes_whatever_its_stream_id() {
        for stream_id in [1, 127, 128, 16_383, 16_384, u16::MAX] {
            let datagram = question(stream_id).datagram();
            assert_eq!(datagram.len(), DATAGRAM_MAX);
            assert_eq!(parse_question(&datagram), Some(question(stream_id)));
        }
    }

    #[test]
    fn a_describe_of_another_kind_is_no_question() {
        let datagram = question(7).datagram();
        assert_eq!(parse_question(&datagram[..511]), None);
        assert_eq!(parse_question(&[datagram.as_slice(), &[0]].concat()), None);
        // A frame that ends before the datagram does.
        let short = question(7).padded(200);
        let stuffed = [short.as_slice(), &vec![0; DATAGRAM_MAX - short.len()]].concat();
        assert_eq!(parse_question(&stuffed), None);
    }

    #[test]
    fn an_answer_needs_the_nonce_the_id_and_the_address() {
        let nonce = || Value::map([("nonce", Value::Bytes(question(7).nonce.to_vec()))]);
        let least = [
            ("id", Value::from(1001_u32)),
            ("IPAddr", "192.0.2.7".into()),
        ];
        let read = |parameters, payload| parse_answer(&question(7), &reply(parameters, payload));
        let found = read(nonce(), Value::map(least.clone())).expect("an answer");
        assert_eq!((found.id, found.port, found.use_ssl), (1001, 0, false));
        for gone in 0..least.len() {
            let mut less = least.to_vec();
            less.remove(gone);
            assert_eq!(read(nonce(), Value::map(less)), Err(NoAnswer::Malformed));
        }
        for (key, wrong) in [
            ("connectionMode", Value::from(2_u32)),
            ("port", Value::from(65_536_u32)),
            ("useSSL", Value::from(1_u32)),
            ("serverAddr", "a b".into()),
            ("serverAddr", "a\nb".into()),
            ("type", (1_u64 << 32).into()),
        ] {
            let more = [least.as_slice(), &[(key, wrong)]].concat();
            assert_eq!(
                read(nonce(), Value::map(more)),
                Err(NoAnswer::Malformed),
                "{key}"
            );
        }
        let other = Value::map([("nonce", Value::Bytes(vec![0; NONCE_LEN]))]);
        assert_eq!(
            read(other, Value::map(least.clone())),
            Err(NoAnswer::Foreign)
        );
        let none = Value::map([("nonce", Value::Bytes(Vec::new()))]);
        assert_eq!(read(none, Value::map(least)), Err(NoAnswer::Malformed));
    }

    #[test]
    fn an_answer_to_another_stream_is_foreign() {
        let found = Found {
            id: 1001,
            device_type: 9,
            use_dhcp: true,
            mode: ConnectionMode::ServerToDevice,
            address: Ipv4Addr::LOCALHOST,
            port: 51211,
            use_ssl: false,
            server_addr: String::new(),
        };
        let datagram = answer(&question(7), &found);
        assert_eq!(parse_answer(&question(7), &datagram), Ok(found));
        let foreign = parse_answer(&question(8), &datagram);
        assert_eq!(foreign, Err(NoAnswer::Foreign));
    }

    #[test]
    fn an_address_too_long_for_a_server_is_left_out() {
        let mut found = found(&Value::map([
            ("id", Value::from(1_u32)),
            ("IPAddr", "192.0.2.7".into()),
        ]))
        .expect("found");
        found.server_addr = "a".repeat(4096);
        let datagram = answer(&question(7), &found);
        assert!(datagram.len() <= DATAGRAM_MAX);
        let read = parse_answer(&question(7), &datagram).expect("an answer");
        assert_eq!(read.server_addr, "");
    }

    proptest! {
        #[test]
        fn both_sides_understand_each_other(question in any_question(), found in any_found()) {
            prop_assert_eq!(parse_question(&question.datagram()), Some(question));
            let datagram = answer(&question, &found);
            prop_assert!(datagram.len() <= DATAGRAM_MAX);
            prop_assert_eq!(parse_answer(&question, &datagram), Ok(found));
            for cut in 0..datagram.len() {
                prop_assert!(parse_answer(&question, &datagram[..cut]).is_err());
            }
        }

        #[test]
        fn arbitrary_datagrams_never_panic(
            question in any_question(),
            mut datagram in proptest::collection::vec(any::<u8>(), 0..DATAGRAM_MAX + 1),
            message_type in 0_u8..12,
        ) {
            if let Some(first) = datagram.first_mut() {
                *first = message_type;
            }
            let _ = parse_question(&datagram);
            let _ = parse_answer(&question, &datagram);
        }
    }
}
