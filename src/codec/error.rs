//! Why bytes are no message.

/// What is wrong with the body of a frame. A stream cannot be found again after one of these: the
/// session ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the body ends inside a value")]
    Truncated,
    #[error("a varint is above 64 bits")]
    VarintTooLong,
    #[error("{0:#04x} begins no value of this encoding")]
    BadTag(u8),
    #[error("a negative number is below -2^63")]
    TooNegative,
    #[error("a map has a key that is not a string")]
    KeyNotString,
    #[error(
        "a value is nested deeper than {} containers",
        super::pson::NESTING_MAX
    )]
    TooDeep,
    #[error("{announced} elements or bytes are announced where {left} bytes are left")]
    CountTooLarge { announced: u64, left: usize },
    #[error("wire type {0} has no known length, so the body cannot be read any further")]
    WireType(u8),
    #[error("{0:#04x} is no field key of this dialect")]
    BadKey(u64),
    #[error("the stream ID is not an integer from 0 to 65535")]
    BadStreamId,
    #[error("message type 0 is reserved")]
    ReservedType,
}
