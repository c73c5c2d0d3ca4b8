//! Properties: values that the gateway keeps for a device, each under a name.

use prost::Message;

use crate::codec::pson::{Value, Version};
use crate::codec::reader::Reader;
use crate::device::DeviceId;
use crate::registry::NotStored;
use crate::store::record::{RecordError, device_id, device_key, proto};

/// The longest name of a property or a bucket, in characters.
pub const NAME_MAX: usize = 64;

/// Why a property was not changed; nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    #[error("the device has {0} properties already, which is as many as one may have")]
    TooMany(usize),
    #[error("the value has {bytes} bytes; a property has {max} at most")]
    TooLarge { bytes: usize, max: usize },
    #[error(
        "the property's name is not 1 to {NAME_MAX} characters, or has a control character in it"
    )]
    BadName,
    /// The disk refuses, too much waits for it, or the store is closed.
    #[error("the property was not stored: {0}")]
    NotStored(NotStored),
}

impl PropertyError {
    /// The HTTP code that says it.
    pub const fn code(&self) -> u16 {
        match self {
            Self::TooMany(_) => 507,
            Self::TooLarge { .. } => 413,
            Self::BadName => 400,
            Self::NotStored(NotStored::NoSpace(_)) => 507,
            Self::NotStored(NotStored::Other(_)) => 503,
        }
    }
}

/// The properties of one device: names and values.
pub type Properties = Vec<(Box<str>, Value)>;

/// One property as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub device: DeviceId,
    pub name: Box<str>,
    /// The value in PSON v2.
    pub pson: Vec<u8>,
}

/// A property set, or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyChange {
    pub device: DeviceId,
    pub name: Box<str>,
    /// The value in PSON v2; `None` to delete.
    pub pson: Option<Vec<u8>>,
}

impl PropertyChange {
    /// Checks the name and the length of the value in PSON v2, at most `max_bytes`.
    ///
    /// # Errors
    /// [`PropertyError::BadName`], [`PropertyError::TooLarge`].
    pub fn new(
        device: DeviceId,
        name: &str,
        value: Option<&Value>,
        max_bytes: usize,
    ) -> Result<Self, PropertyError> {
        if !is_name(name) {
            return Err(PropertyError::BadName);
        }
        let pson = value.map(encode_value);
        let bytes = pson.as_ref().map_or(0, Vec::len);
        if bytes > max_bytes {
            return Err(PropertyError::TooLarge {
                bytes,
                max: max_bytes,
            });
        }
        Ok(Self {
            device,
            name: name.into(),
            pson,
        })
    }
}

/// Whether a property or a bucket can have this name: 1 to [`NAME_MAX`] characters, none of them a
/// control character.
pub fn is_name(name: &str) -> bool {
    let length = name.chars().take(NAME_MAX + 1).count();
    (1..=NAME_MAX).contains(&length) && !name.chars().any(char::is_control)
}

/// The key of a property in its tree. Those of one device lie together, under
/// [`device_key`](crate::store::record::device_key).
pub fn key(device: DeviceId, name: &str) -> Vec<u8> {
    [&device_key(device)[..], name.as_bytes()].concat()
}

pub fn encode(device: DeviceId, name: &str, pson: &[u8]) -> Vec<u8> {
    proto::Property {
        device: device.get(),
        name: name.to_owned(),
        value: pson.to_vec(),
    }
    .encode_to_vec()
}

/// The property, and its value.
///
/// # Errors
/// [`RecordError`], also when the key is that of another property.
pub fn decode(found: &[u8], bytes: &[u8]) -> Result<(Property, Value), RecordError> {
    let record = proto::Property::decode(bytes)?;
    let device = device_id(record.device)?;
    if !is_name(&record.name) {
        return Err(RecordError::FunctionName);
    }
    if found != key(device, &record.name) {
        return Err(RecordError::OtherRecord);
    }
    let value = decode_value(&record.value)?;
    let property = Property {
        device,
        name: record.name.into(),
        pson: record.value,
    };
    Ok((property, value))
}

pub fn encode_value(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    Version::V2.encode(value, &mut bytes);
    bytes
}

/// # Errors
/// [`RecordError::Value`], [`RecordError::Trailing`].
pub fn decode_value(bytes: &[u8]) -> Result<Value, RecordError> {
    let mut reader = Reader::new(bytes);
    let value = Version::V2.decode(&mut reader)?;
    match reader.left() {
        0 => Ok(value),
        left => Err(RecordError::Trailing(left)),
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::pson::tests::any_value;

    pub fn any_property() -> impl Strategy<Value = Property> {
        ((1..9u32), "[a-zä/ ]{1,9}", any_value()).prop_map(|(device, name, value)| Property {
            device: DeviceId::new(device).expect("not zero"),
            name: name.into(),
            pson: encode_value(&value),
        })
    }

    proptest! {
        #[test]
        fn a_property_comes_back_as_it_was(property in any_property()) {
            let Property { device, name, pson } = &property;
            let bytes = encode(*device, name, pson);
            let value = decode_value(pson).unwrap();
            let found = decode(&key(*device, name), &bytes);
            prop_assert_eq!(found, Ok((property.clone(), value)));
            for length in 0..bytes.len() {
                let cut = decode(&key(*device, name), &bytes[..length]);
                prop_assert!(cut.is_err(), "at {}", length);
            }
        }

        #[test]
        fn two_properties_have_two_keys(one in any_property(), other in any_property()) {
            let alike = key(one.device, &one.name) == key(other.device, &other.name);
            prop_assert_eq!(alike, (one.device, one.name) == (other.device, other.name));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(key in vec(any::<u8>(), 0..9), bytes in vec(any::<u8>(), 0..64)) {
            let _ = decode(&key, &bytes);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let device = DeviceId::new(7).unwrap();
        let decode = |name: &str, pson: &[u8]| {
            decode(&key(device, "cfg"), &encode(device, name, pson)).map(|(_, value)| value)
        };
        assert_eq!(decode("cfg", &[0x1e]), Ok(Value::Unsigned(30)));
        assert_eq!(decode("cfh", &[0x1e]), Err(RecordError::OtherRecord));
        assert_eq!(decode("", &[0x1e]), Err(RecordError::FunctionName));
        assert_eq!(decode("cfg", &[0x1e, 0]), Err(RecordError::Trailing(1)));
        assert!(decode("cfg", &[]).is_err());
    }

    #[test]
    fn names_and_values_have_their_bounds() {
        let device = DeviceId::new(7).unwrap();
        let value = Value::String("x".repeat(9));
        let change = |name: &str, max| PropertyChange::new(device, name, Some(&value), max);
        let longest = "ä".repeat(NAME_MAX);
        let bytes = encode_value(&value).len();
        for name in ["a", "a b", "<b>", longest.as_str()] {
            assert!(change(name, bytes).is_ok(), "{name}");
        }
        for name in ["", "a\0", "a\n", "\u{9b}", &format!("{longest}a")] {
            assert_eq!(change(name, bytes), Err(PropertyError::BadName), "{name:?}");
        }
        let max = bytes - 1;
        let error = PropertyError::TooLarge { bytes, max };
        assert_eq!(change("a", max), Err(error));
        assert!(PropertyChange::new(device, "a", None, 0).is_ok());
    }
}
