//! What the contracts in `proto/` say of their messages and methods, and a short text of any
//! request for the audit log.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::LazyLock;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// A summary has no more characters than this.
pub const SUMMARY_MAX: usize = 200;
/// Messages in messages are told down to here.
const DEPTH_MAX: usize = 4;

/// All contracts, as the build found them.
const BUILT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.bin"));
/// What the store keeps, which is no contract with clients.
const STORE: &str = "gatehouse.store";

/// The contracts that this gateway was built with.
pub static CONTRACTS: LazyLock<Contracts> = LazyLock::new(|| Contracts::read(BUILT));

/// The contracts with clients.
pub fn of_services() -> FileDescriptorSet {
    // The build wrote it; a test sees that it is whole.
    let mut files = FileDescriptorSet::decode(BUILT).unwrap_or_default();
    files.file.retain(|file| file.package() != STORE);
    files
}

/// Messages and methods by their full names.
#[derive(Debug, Default)]
pub struct Contracts {
    messages: HashMap<String, HashMap<u32, Field>>,
    /// The request of each method, `gsdk.connect.Connect/Connect`.
    requests: HashMap<String, String>,
}

#[derive(Debug)]
struct Field {
    name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Unsigned,
    Signed,
    /// Whatever is encoded in 4 or 8 bytes; our contracts have such for addresses only.
    Fixed,
    Text,
    /// May be a secret, so it is never told.
    Bytes,
    Message(String),
}

impl Contracts {
    fn read(descriptors: &[u8]) -> Self {
        // The build wrote it; a test sees that it is whole.
        let files = FileDescriptorSet::decode(descriptors).unwrap_or_default();
        let mut contracts = Self::default();
        for file in &files.file {
            let package = file.package();
            for message in &file.message_type {
                contracts.add_message(package, message);
            }
            for service in &file.service {
                for method in &service.method {
                    let call = format!("{package}.{}/{}", service.name(), method.name());
                    let request = method.input_type().trim_start_matches('.').to_owned();
                    contracts.requests.insert(call, request);
                }
            }
        }
        contracts
    }

    fn add_message(&mut self, parent: &str, message: &DescriptorProto) {
        let name = format!("{parent}.{}", message.name());
        for inner in &message.nested_type {
            self.add_message(&name, inner);
        }
        let field = |field: &prost_types::FieldDescriptorProto| {
            let number = u32::try_from(field.number()).ok()?;
            let kind = kind(field.r#type(), field.type_name());
            let name = field.name().to_owned();
            Some((number, Field { name, kind }))
        };
        let fields = message.field.iter().filter_map(field).collect();
        self.messages.insert(name, fields);
    }

    /// The full names of all methods.
    pub fn calls(&self) -> impl Iterator<Item = &str> {
        self.requests.keys().map(String::as_str)
    }

    /// The first part of a request in short: field names and values, at most [`SUMMARY_MAX`]
    /// characters. Text is escaped, bytes are left out. What does not decode, or was cut off, ends
    /// the summary with `…`.
    pub fn summary(&self, call: &str, request: &[u8]) -> String {
        let mut summary = Summary::default();
        if let Some(message) = self.requests.get(call) {
            let told = self.tell(message, request, DEPTH_MAX, &mut summary);
            if told.is_none() {
                summary.cut();
            }
        }
        summary.text
    }

    /// `None` when nothing more is to be told.
    fn tell(
        &self,
        message: &str,
        mut bytes: &[u8],
        depth: usize,
        summary: &mut Summary,
    ) -> Option<()> {
        let fields = self.messages.get(message)?;
        let mut before = 0;
        while bytes.has_remaining() {
            let (number, wire) = decode_key(&mut bytes).ok()?;
            let value = take(&mut bytes, wire)?;
            if let Some(field) = fields.get(&number) {
                let again = std::mem::replace(&mut before, number) == number;
                summary.name(&field.name, again)?;
                self.tell_value(&field.kind, value, depth, summary)?;
            }
            // A value that was cut off.
            if value.is_cut() {
                return None;
            }
        }
        Some(())
    }

    fn tell_value(
        &self,
        kind: &Kind,
        value: Value<'_>,
        depth: usize,
        summary: &mut Summary,
    ) -> Option<()> {
        match (kind, value) {
            (Kind::Message(_), _) if depth == 0 => summary.push("{…}"),
            (Kind::Message(message), Value::Bytes { bytes, .. }) => {
                summary.push("{")?;
                self.tell(message, bytes, depth - 1, summary)?;
                summary.push("}")
            }
            (Kind::Text, Value::Bytes { bytes, .. }) => {
                summary.text(&String::from_utf8_lossy(bytes))
            }
            (Kind::Bytes, Value::Bytes { length, .. }) => summary.push(&format!("{length} bytes")),
            (kind, Value::Number(number)) => summary.number(kind, number),
            (kind, Value::Bytes { bytes, .. }) => packed(kind, bytes, summary),
        }
    }
}

fn kind(kind: Type, type_name: &str) -> Kind {
    match kind {
        Type::Bool => Kind::Bool,
        Type::Uint32 | Type::Uint64 => Kind::Unsigned,
        Type::Int32 | Type::Int64 | Type::Enum | Type::Sint32 | Type::Sint64 => Kind::Signed,
        Type::String => Kind::Text,
        Type::Message => Kind::Message(type_name.trim_start_matches('.').to_owned()),
        Type::Bytes | Type::Group => Kind::Bytes,
        Type::Double
        | Type::Float
        | Type::Fixed32
        | Type::Fixed64
        | Type::Sfixed32
        | Type::Sfixed64 => Kind::Fixed,
    }
}

/// A value as it is on the wire.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    /// What there is of a value of this length.
    Bytes {
        bytes: &'a [u8],
        length: usize,
    },
}

impl Value<'_> {
    const fn is_cut(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Bytes { bytes, length } => bytes.len() < *length,
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], wire: WireType) -> Option<Value<'a>> {
    let length = match wire {
        WireType::Varint => return decode_varint(bytes).ok().map(Value::Number),
        WireType::SixtyFourBit => return bytes.try_get_u64_le().ok().map(Value::Number),
        WireType::ThirtyTwoBit => {
            let number = bytes.try_get_u32_le().ok()?;
            return Some(Value::Number(number.into()));
        }
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (value, rest) = bytes.split_at(length.min(bytes.len()));
    *bytes = rest;
    Some(Value::Bytes {
        bytes: value,
        length,
    })
}

/// A packed list of numbers.
fn packed(kind: &Kind, mut bytes: &[u8], summary: &mut Summary) -> Option<()> {
    if *kind == Kind::Fixed {
        return summary.push(&format!("{} bytes", bytes.len()));
    }
    let mut first = true;
    while bytes.has_remaining() {
        let number = decode_varint(&mut bytes).ok()?;
        if !std::mem::take(&mut first) {
            summary.push(", ")?;
        }
        summary.number(kind, number)?;
    }
    Some(())
}

/// A text that stops growing.
#[derive(Default)]
struct Summary {
    text: String,
    length: usize,
}

impl Summary {
    fn name(&mut self, name: &str, again: bool) -> Option<()> {
        let at_start = self.text.is_empty() || self.text.ends_with('{');
        match (again, at_start) {
            (true, _) => self.push(", "),
            (false, true) => self.push(&format!("{name} ")),
            (false, false) => self.push(&format!(" {name} ")),
        }
    }

    fn number(&mut self, kind: &Kind, number: u64) -> Option<()> {
        let text = match kind {
            Kind::Bool => (number != 0).to_string(),
            Kind::Signed => number.cast_signed().to_string(),
            _ => number.to_string(),
        };
        self.push(&text)
    }

    fn text(&mut self, text: &str) -> Option<()> {
        let mut escaped = String::new();
        // Two characters are enough room for the quotes; the rest is cut by the push.
        let shown = text.chars().take(SUMMARY_MAX).collect::<String>();
        write!(escaped, "{shown:?}").ok()?;
        self.push(&escaped)
    }

    fn push(&mut self, text: &str) -> Option<()> {
        let room = SUMMARY_MAX - 1 - self.length;
        let fits = text.chars().count() <= room;
        let end = text
            .char_indices()
            .nth(room)
            .map_or(text.len(), |(at, _)| at);
        self.text.push_str(&text[..end]);
        self.length += text[..end].chars().count();
        fits.then_some(())
    }

    fn cut(&mut self) {
        self.text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::calls;
    use crate::grpc::proto::gatehouse::v1::{
        AddIdentityRequest, ApproveRequest, Identity, RetryNowRequest,
    };
    use crate::grpc::proto::gsdk::connect::{
        AcceptFilter, AddAsyncConnectionRequest, AsyncConnectInfo, SetAcceptFilterRequest,
    };

    const APPROVE: &str = "gatehouse.v1.Approvals/Approve";

    #[test]
    fn every_method_of_every_contract_has_a_rule() {
        let missing: Vec<&str> = CONTRACTS
            .calls()
            .filter(|call| calls::rule(call).is_none())
            .collect();
        assert!(missing.is_empty(), "no rule for {missing:?}");
        assert!(CONTRACTS.calls().count() > 30);
    }

    #[test]
    fn clients_are_told_every_contract_but_that_of_the_store() {
        let files = of_services().file;
        assert!(files.iter().any(|file| file.package() == "gsdk.connect"));
        assert!(files.iter().all(|file| file.package() != STORE));
        let all = FileDescriptorSet::decode(BUILT).unwrap().file.len();
        assert_eq!(files.len(), all - 1);
    }

    #[test]
    fn a_request_is_told_by_its_fields() {
        let approve = ApproveRequest {
            device_ids: vec![1001, 1002],
            enrol: true,
        };
        let told = CONTRACTS.summary(APPROVE, &approve.encode_to_vec());
        assert_eq!(told, "device_ids 1001, 1002 enrol true");

        let info = |id| AsyncConnectInfo {
            device_id: id,
            ip_addr: "192.0.2.7".to_owned(),
            port: 51211,
            use_ssl: false,
        };
        let add = AddAsyncConnectionRequest {
            connect_infos: vec![info(7), info(8)],
        };
        let told = CONTRACTS.summary(
            "gsdk.connect.Connect/AddAsyncConnection",
            &add.encode_to_vec(),
        );
        assert_eq!(
            told,
            "connectInfos {deviceID 7 IPAddr \"192.0.2.7\" port 51211}, \
             {deviceID 8 IPAddr \"192.0.2.7\" port 51211}"
        );
        let identity = AddIdentityRequest {
            identity: Some(Identity {
                owner: "a\n\u{1b}[2J".to_owned(),
                device: String::new(),
            }),
            kind: 1,
            accept: false,
        };
        let told = CONTRACTS.summary("gatehouse.v1.Identities/Add", &identity.encode_to_vec());
        assert_eq!(told, r#"identity {owner "a\n\u{1b}[2J"} kind 1"#);
        assert_eq!(CONTRACTS.summary("a.B/C", b"\x08\x01"), "");
    }

    #[test]
    fn a_long_request_is_cut() {
        let retry = RetryNowRequest {
            device_ids: (1..=1000).collect(),
        };
        let bytes = retry.encode_to_vec();
        let told = CONTRACTS.summary("gatehouse.v1.Fleet/RetryNow", &bytes);
        assert!(told.starts_with("device_ids 1, 2, 3, "), "{told}");
        assert!(
            told.ends_with('…') && told.chars().count() == SUMMARY_MAX,
            "{told}"
        );
        let short = CONTRACTS.summary("gatehouse.v1.Fleet/RetryNow", &bytes[..5]);
        assert_eq!(short, "device_ids 1, 2…");
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_short_text(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for call in ["gsdk.connect.Connect/SetAcceptFilter", APPROVE] {
                let told = CONTRACTS.summary(call, &bytes);
                prop_assert!(told.chars().count() <= SUMMARY_MAX);
                prop_assert!(!told.contains(char::is_control));
            }
        }

        #[test]
        fn a_request_cut_anywhere_is_told_as_far_as_it_goes(ip in ".{0,20}", ids in prop::collection::vec(any::<u32>(), 0..9)) {
            let filter = AcceptFilter {
                allow_all: true,
                device_i_ds: ids,
                ip_addrs: vec![ip],
                ..AcceptFilter::default()
            };
            let bytes = SetAcceptFilterRequest { filter: Some(filter) }.encode_to_vec();
            for length in 0..=bytes.len() {
                let told = CONTRACTS.summary("gsdk.connect.Connect/SetAcceptFilter", &bytes[..length]);
                prop_assert!(told.chars().count() <= SUMMARY_MAX);
                prop_assert!(length < 6 || told.contains("allowAll true"), "{}", told);
            }
        }
    }
}
