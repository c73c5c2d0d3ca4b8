//! What the audit log tells of a gRPC call.

use crate::grpc::contracts::CONTRACTS;

/// The first message in short: it begins after one byte that says whether it is compressed and
/// four of its length.
pub fn summary(call: &str, heard: &[u8]) -> String {
    match heard.split_at_checked(5) {
        Some(([0, length @ ..], message)) => {
            let length = length
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            let whole = message.get(..length).unwrap_or(message);
            CONTRACTS.summary(call, whole)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_is_told() {
        let call = "gatehouse.v1.Access/RevokeToken";
        let request = b"\0\0\0\0\x04\x0a\x02ci\0\0\0\0\x04\x0a\x02xx";
        assert_eq!(summary(call, request), "name \"ci\"");
        assert_eq!(summary(call, b"\x01\0\0\0\x04\x0a\x02ci"), "");
        for cut in 0..request.len() {
            summary(call, &request[..cut]);
        }
    }
}
