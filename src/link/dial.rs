//! Opens TCP connections to devices.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::cause::{Cause, CauseKind};

/// Opens a connection that sends small frames at once. The caller sets the deadline, by dropping
/// the future.
///
/// # Errors
/// What to tell of a device that cannot be reached, as in
/// `dial tcp 10.0.0.1:51211: connection refused`.
pub async fn open(address: SocketAddr) -> Result<TcpStream, Cause> {
    let opened = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    opened
        .await
        .map_err(|error: io::Error| dial_cause(address, &error))
}

/// The words of the operating system for an error, in the form of a cause: lowercase, and without
/// its number.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text
        .split_once(" (os error")
        .map_or(text.as_str(), |(words, _)| words);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

fn dial_cause(address: SocketAddr, error: &io::Error) -> Cause {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => CauseKind::DialTimeout,
        _ => CauseKind::DialFailed,
    };
    let text = error_text(error);
    Cause::new(kind, format!("dial tcp {address}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_told_with_address_and_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let cause = open(address).await.unwrap_err();
        assert_eq!(cause.kind, CauseKind::DialFailed);
        let text = format!("dial tcp {address}: connection refused");
        assert_eq!(&*cause.detail, text);
    }

    #[test]
    fn a_timeout_of_the_system_is_one_of_ours() {
        let address = SocketAddr::from(([10, 0, 0, 1], 51_211));
        let error = io::Error::from(io::ErrorKind::TimedOut);
        let cause = dial_cause(address, &error);
        assert_eq!(cause.kind, CauseKind::DialTimeout);
        assert_eq!(&*cause.detail, "dial tcp 10.0.0.1:51211: timed out");
    }
}
