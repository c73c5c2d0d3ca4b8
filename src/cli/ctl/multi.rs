//! Which of several devices failed: a `…Multi` call tells it in the details of its status.

use prost::Message;
use tonic::{Code, Status};

use super::row::{Field, Row, Value};
use crate::grpc::code::code_name;
use crate::grpc::proto::gsdk::err::MultiErrorResponse;

/// `google.rpc.Status`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// One device that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDevice {
    pub id: u32,
    /// The name of a status code of the API, or what takes its place.
    pub code: String,
    pub message: String,
}

impl Row for FailedDevice {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |failed| failed.id.into()),
        Field::shown("code", 20, |failed| (&failed.code).into()),
        Field::shown("message", 40, |failed| Value::Text(failed.message.clone())),
    ];
}

/// The devices that the details of a status name, by ID; none when it has no such details.
pub fn failed_devices(status: &Status) -> Vec<FailedDevice> {
    let details = RpcStatus::decode(status.details())
        .unwrap_or_default()
        .details;
    let multi = details
        .iter()
        .find(|detail| detail.type_url.ends_with("err.MultiErrorResponse"))
        .and_then(|detail| MultiErrorResponse::decode(detail.value.as_slice()).ok());
    let errors = multi.unwrap_or_default().device_errors;
    let mut failed: Vec<FailedDevice> = errors
        .into_iter()
        .map(|error| FailedDevice {
            id: error.device_id,
            code: code_name(Code::from(error.code)).to_owned(),
            message: error.msg,
        })
        .collect();
    failed.sort_by_key(|failed| failed.id);
    failed
}

#[cfg(test)]
mod tests {
    use super::super::output::{Output, render};
    use super::*;
    use crate::grpc::proto::gsdk::err::ErrorResponse;

    fn details(type_url: &str) -> Vec<u8> {
        let error = |device_id, code: Code, msg: &str| ErrorResponse {
            device_id,
            code: code as i32,
            msg: msg.to_owned(),
        };
        let multi = MultiErrorResponse {
            device_errors: vec![
                error(9, Code::FailedPrecondition, "not connected"),
                error(7, Code::NotFound, "not\x1b listed"),
            ],
        };
        let detail = Detail {
            type_url: format!("type.googleapis.com/{type_url}"),
            value: multi.encode_to_vec(),
        };
        RpcStatus {
            details: vec![detail],
        }
        .encode_to_vec()
    }

    #[test]
    fn failed_devices_are_read_in_both_generations() {
        for type_url in ["gsdk.err.MultiErrorResponse", "err.MultiErrorResponse"] {
            let status = Status::with_details(Code::Internal, "two", details(type_url).into());
            assert_eq!(
                render(&failed_devices(&status), Output::Table),
                "ID  CODE                 MESSAGE\n\
                 7   NOT_FOUND            not\\u{1b} listed\n\
                 9   FAILED_PRECONDITION  not connected\n"
            );
        }
    }

    #[test]
    fn details_that_are_cut_or_of_another_kind_name_nobody() {
        let whole = details("gsdk.err.MultiErrorResponse");
        for end in 0..whole.len() {
            let bytes = whole[..end].to_vec();
            let status = Status::with_details(Code::Internal, "cut", bytes.into());
            assert_eq!(failed_devices(&status), []);
        }
        let other = details("google.rpc.ErrorInfo");
        let status = Status::with_details(Code::Internal, "other", other.into());
        assert_eq!(failed_devices(&status), []);
        assert_eq!(failed_devices(&Status::internal("none")), []);
    }
}
