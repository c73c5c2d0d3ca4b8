//! The numbers of the message types.

use crate::codec::dialect::Dialect;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageType {
    Ok,
    Error,
    Connect,
    Disconnect,
    KeepAlive,
    Run,
    Describe,
    StartStream,
    StopStream,
    /// In 2020 this number is that of an event.
    StreamData,
    /// Has a number of its own only in 2020.
    StreamSample,
}

impl MessageType {
    const ALL: [Self; 11] = [
        Self::Ok,
        Self::Error,
        Self::Connect,
        Self::Disconnect,
        Self::KeepAlive,
        Self::Run,
        Self::Describe,
        Self::StartStream,
        Self::StopStream,
        Self::StreamData,
        Self::StreamSample,
    ];

    pub fn from_number(dialect: Dialect, number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|message_type| message_type.number(dialect) == number)
    }

    pub const fn number(self, dialect: Dialect) -> u64 {
        let (today, of_2020) = match self {
            Self::Ok => (1, 1),
            Self::Error => (2, 2),
            Self::Connect => (3, 8),
            Self::Disconnect => (4, 9),
            Self::KeepAlive => (5, 3),
            Self::Run => (6, 4),
            Self::Describe => (7, 7),
            Self::StartStream => (8, 5),
            Self::StopStream => (9, 6),
            Self::StreamData => (10, 10),
            Self::StreamSample => (10, 11),
        };
        if dialect.is_2020() { of_2020 } else { today }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_the_dialect_ends() {
        for dialect in Dialect::ALL {
            let last = if dialect.is_2020() { 11 } else { 10 };
            for number in 1..=last {
                let found = MessageType::from_number(dialect, number).unwrap();
                assert_eq!(found.number(dialect), number);
            }
            assert_eq!(MessageType::from_number(dialect, 0), None);
            assert_eq!(MessageType::from_number(dialect, last + 1), None);
        }
    }
}
