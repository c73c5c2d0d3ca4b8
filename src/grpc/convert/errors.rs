//! What went wrong, as the codes and texts of gRPC.

use tonic::Status as Answer;

use super::{DEVICE_PORT, QUEUE_SIZE_DEFAULT};
use crate::cause::CauseKind;
use crate::registry::accept_filter::InvalidFilter;
use crate::registry::hub::TooManySubscribers;
use crate::registry::{CommandError, NotStored};
use crate::search::udp::SearchError;

/// Why a request was refused before anything was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error(
        "{field}.IPAddr is {value:?}; it must be an IPv4 address such as 192.0.2.7, host names are not taken"
    )]
    Address { field: String, value: String },
    #[error("{field}.port is {value}; it must be 0 to 65535, where 0 means {DEVICE_PORT}")]
    Port { field: String, value: i32 },
    #[error("{field} is 0; it must be 1 to 4294967295")]
    DeviceId { field: String },
    #[error("queueSize is {value}; it must be 0, which means {QUEUE_SIZE_DEFAULT}, or more")]
    QueueSize { value: i32 },
    #[error("timeout is {value} ms; it must be 0, which means 5000, to 60000")]
    SearchTime { value: u32 },
    #[error("window_s is {value}; it must be whole minutes, 60 to 600, or 0, which means 600")]
    Window { value: u32 },
    #[error("by is {value}, which is nothing that devices are ranked by; it must be 0 to 5")]
    TopBy { value: i32 },
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
}

impl From<RequestError> for Answer {
    fn from(error: RequestError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<CommandError> for Answer {
    fn from(error: CommandError) -> Self {
        let text = error.to_string();
        match error {
            CommandError::CannotConnect(cause) => {
                let reason = match cause.kind {
                    // The words of the vendor's gateway, which begin so, have no name of a cause.
                    CauseKind::DialFailed | CauseKind::DialTimeout if !cause.detail.is_empty() => {
                        cause.detail.to_string()
                    }
                    _ => cause.to_string(),
                };
                Self::unavailable(format!("Cannot connect to the device: {reason}"))
            }
            CommandError::LimitReached(_) => Self::resource_exhausted(text),
            CommandError::NotStored(error) => not_stored(&error, text),
            CommandError::ShuttingDown => Self::unavailable(text),
            CommandError::UnknownDevice(_) | CommandError::NotPending(_) => Self::not_found(text),
        }
    }
}

/// That a change is not on disk: both say that it may be tried again, and no space says that
/// somebody has to make some first.
pub fn not_stored(error: &NotStored, text: String) -> Answer {
    match error {
        NotStored::NoSpace(_) => Answer::resource_exhausted(text),
        NotStored::Other(_) => Answer::unavailable(text),
    }
}

impl From<SearchError> for Answer {
    fn from(error: SearchError) -> Self {
        let text = error.to_string();
        match error {
            SearchError::TooMany => Self::resource_exhausted(text),
            SearchError::Socket(_) | SearchError::NotSent { .. } | SearchError::NowhereToSend => {
                Self::unavailable(text)
            }
        }
    }
}

impl From<TooManySubscribers> for Answer {
    fn from(error: TooManySubscribers) -> Self {
        Self::resource_exhausted(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::cause::Cause;
    use crate::device::DeviceId;

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).expect("not zero")
    }

    #[test]
    fn command_errors_have_their_codes() {
        let refused = "dial tcp 192.0.2.7:51211: connection refused";
        let dialled = Cause::new(CauseKind::DialFailed, refused);
        let keys = Cause::new(CauseKind::KeyRefused, "the device closed the connection");
        for (error, code, text) in [
            (
                CommandError::CannotConnect(dialled),
                Code::Unavailable,
                "Cannot connect to the device: dial tcp 192.0.2.7:51211: connection refused",
            ),
            (
                CommandError::CannotConnect(keys),
                Code::Unavailable,
                "Cannot connect to the device: key_refused: the device closed the connection",
            ),
            (
                CommandError::CannotConnect(CauseKind::DialTimeout.into()),
                Code::Unavailable,
                "Cannot connect to the device: dial_timeout",
            ),
            (
                CommandError::NotStored(NotStored::NoSpace("no space".to_owned())),
                Code::ResourceExhausted,
                "the change could not be stored: no space",
            ),
            (
                CommandError::LimitReached("full".to_owned()),
                Code::ResourceExhausted,
                "full",
            ),
            (
                CommandError::NotStored("broken".into()),
                Code::Unavailable,
                "the change could not be stored: broken",
            ),
            (
                CommandError::UnknownDevice(id(7)),
                Code::NotFound,
                "device 7 is not in the managed list",
            ),
            (
                CommandError::NotPending(id(7)),
                Code::NotFound,
                "device 7 is not pending",
            ),
            (
                CommandError::ShuttingDown,
                Code::Unavailable,
                "the gateway is shutting down",
            ),
        ] {
            let answer = Answer::from(error);
            assert_eq!((answer.code(), answer.message()), (code, text));
        }
    }
}
