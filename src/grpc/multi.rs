//! `…Multi` calls: the same work on several devices at once, and how the failed ones are told.
//!
//! They are told in the trailer `grpc-status-details-bin`, as the clients of the API read it.
//! Clients limit what they take of trailers: Java 8 KiB in base64, grpcio 8 KiB of bytes, tonic
//! 16 KiB in base64, Go 16 MiB. So texts are shortened, down to nothing, before the detail is
//! larger than [`DETAIL_MAX`]. Every failed device is named whatever it takes, because a client
//! would take one that is not named for changed. From some 480 failed devices on (700 with grpcio,
//! 1,000 with tonic) a client at its default limit therefore refuses the trailers and reports a
//! failure of its own making; it should ask for fewer devices at a time, or raise its limit.

use std::collections::BTreeSet;
use std::future::Future;

use futures_util::stream::{self, StreamExt};
use prost::Message;
use tonic::{Code, Status};

use crate::device::DeviceId;
use crate::grpc::convert::device_id;
use crate::grpc::generation::Generation;
use crate::grpc::proto::gsdk::err::{ErrorResponse, MultiErrorResponse};

/// The most that the details hold before texts are shortened, in bytes: in base64, with the other
/// trailers, they stay below 8 KiB.
const DETAIL_MAX: usize = 5400;
/// The longest text of one device, in bytes.
const TEXT_MAX: usize = 256;
/// A text that has to be shorter than this, in bytes, says nothing any more.
const TEXT_LEAST: usize = 16;

/// Does `work` for each of the devices, for `in_flight_max` of them at the same time. A device that
/// is named twice is worked on once.
///
/// # Errors
/// The status that names every device for which it failed. What was done for the others stays.
pub async fn each<W, F>(
    ids: Vec<u32>,
    in_flight_max: usize,
    generation: Generation,
    work: W,
) -> Result<(), Status>
where
    W: Fn(DeviceId) -> F,
    F: Future<Output = Result<(), Status>>,
{
    let ids: BTreeSet<u32> = ids.into_iter().collect();
    let count = ids.len();
    let works = stream::iter(ids).map(|id| {
        let work = device_id("deviceIDs", id).map(&work);
        async move {
            let result = match work {
                Ok(work) => work.await,
                Err(error) => Err(error.into()),
            };
            result.err().map(|status| failure(id, &status))
        }
    });
    let mut failed: Vec<ErrorResponse> = works
        .buffer_unordered(in_flight_max.max(1))
        .filter_map(std::future::ready)
        .collect()
        .await;
    if failed.is_empty() {
        return Ok(());
    }
    failed.sort_by_key(|failure| failure.device_id);
    Err(status(failed, count, generation))
}

fn failure(id: u32, status: &Status) -> ErrorResponse {
    let mut msg = status.message().to_owned();
    shorten(&mut msg, TEXT_MAX);
    ErrorResponse {
        device_id: id,
        code: status.code() as i32,
        msg,
    }
}

/// The status of a call in which these of `count` devices failed.
fn status(mut failed: Vec<ErrorResponse>, count: usize, generation: Generation) -> Status {
    let first = failed.first().map_or(0, |failure| failure.code);
    let is_shared = failed.iter().all(|failure| failure.code == first);
    let code = if is_shared {
        Code::from_i32(first)
    } else {
        Code::Internal
    };
    let message = message(&failed, count);
    fit(&mut failed);
    let detail = MultiErrorResponse {
        device_errors: failed,
    };
    let type_url = match generation {
        Generation::Bare => "type.googleapis.com/err.MultiErrorResponse",
        Generation::Prefixed => "type.googleapis.com/gsdk.err.MultiErrorResponse",
    };
    let details = RpcStatus {
        code: code as i32,
        message: message.clone(),
        details: vec![Any {
            type_url: type_url.to_owned(),
            value: detail.encode_to_vec(),
        }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// Says what failed where it is the same everywhere: it may have to be left out of the detail.
fn message(failed: &[ErrorResponse], count: usize) -> String {
    let counts = format!("{} of {count} devices failed", failed.len());
    match failed {
        [first, others @ ..] if others.iter().all(|other| other.msg == first.msg) => {
            format!("{counts}: {}", first.msg)
        }
        _ => counts,
    }
}

/// Shortens all texts alike until they fit, or are gone.
fn fit(failed: &mut [ErrorResponse]) {
    let len = |failed: &[ErrorResponse]| -> usize {
        // Each stands in the list with a key and a length of up to two bytes.
        failed.iter().map(|failure| failure.encoded_len() + 3).sum()
    };
    let mut longest = TEXT_MAX;
    while longest > 0 && len(failed) > DETAIL_MAX {
        longest = if longest > TEXT_LEAST { longest / 2 } else { 0 };
        for failure in failed.iter_mut() {
            shorten(&mut failure.msg, longest);
        }
    }
}

fn shorten(text: &mut String, len: usize) {
    text.truncate(text.floor_char_boundary(len));
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn outcome(
        ids: &[u32],
        generation: Generation,
        work: impl Fn(u32) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let work = |id: DeviceId| std::future::ready(work(id.get()));
        each(ids.to_vec(), 4, generation, work).await
    }

    fn read(status: &Status) -> (RpcStatus, Vec<ErrorResponse>) {
        let details = RpcStatus::decode(status.details()).expect("google.rpc.Status");
        let detail = MultiErrorResponse::decode(&details.details[0].value[..]);
        let failed = detail.expect("MultiErrorResponse").device_errors;
        (details, failed)
    }

    #[tokio::test]
    async fn all_good_or_none_at_all_is_ok() {
        let generation = Generation::Prefixed;
        assert!(
            outcome(&[], generation, |_| Err(Status::aborted("")))
                .await
                .is_ok()
        );
        assert!(outcome(&[1, 2], generation, |_| Ok(())).await.is_ok());
    }

    #[tokio::test]
    async fn the_failed_ones_alone_are_named_once_each() {
        let work = |id| match id {
            1 => Ok(()),
            _ => Err(Status::not_found("Cannot get connection")),
        };
        let status = outcome(&[3, 1, 2, 3], Generation::Prefixed, work)
            .await
            .expect_err("two failed");
        let (details, failed) = read(&status);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(
            status.message(),
            "2 of 3 devices failed: Cannot get connection"
        );
        assert_eq!(details.code, status.code() as i32);
        assert_eq!(details.message, status.message());
        assert_eq!(details.details.len(), 1);
        let named = |id| ErrorResponse {
            device_id: id,
            code: 5,
            msg: "Cannot get connection".to_owned(),
        };
        assert_eq!(failed, [named(2), named(3)]);
    }

    #[tokio::test]
    async fn the_type_is_named_as_the_generation_names_it() {
        for (generation, url) in [
            (
                Generation::Bare,
                "type.googleapis.com/err.MultiErrorResponse",
            ),
            (
                Generation::Prefixed,
                "type.googleapis.com/gsdk.err.MultiErrorResponse",
            ),
        ] {
            let status = outcome(&[1], generation, |_| Err(Status::aborted("")))
                .await
                .expect_err("failed");
            assert_eq!(read(&status).0.details[0].type_url, url);
        }
    }

    #[tokio::test]
    async fn codes_that_differ_make_an_internal_error() {
        let work = |id| match id {
            0..5 => Err(Status::not_found("gone")),
            _ => Err(Status::failed_precondition("no")),
        };
        let status = outcome(&[1, 5], Generation::Prefixed, work).await;
        let status = status.expect_err("failed");
        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, "2 of 2 devices failed")
        );
        let status = outcome(&[0], Generation::Prefixed, |_| Ok(())).await;
        let status = status.expect_err("0 is no device");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            read(&status).1[0].msg,
            "deviceIDs is 0; it must be 1 to 4294967295"
        );
    }

    #[tokio::test]
    async fn every_device_is_named_and_texts_make_room() {
        let text = "ä".repeat(1000);
        for (count, len_max) in [(1, 700), (100, 5800), (450, 5800), (1000, 12_000)] {
            let ids: Vec<u32> = (1_000_000..1_000_000 + count).collect();
            let status = outcome(&ids, Generation::Prefixed, |_| Err(Status::aborted(&text)))
                .await
                .expect_err("all failed");
            assert!(status.details().len() < len_max, "{count} failed devices");
            let named: Vec<u32> = read(&status).1.iter().map(|one| one.device_id).collect();
            assert_eq!(named, ids);
        }
    }

    #[tokio::test]
    async fn no_more_than_allowed_are_worked_on_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |_| async {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        };
        let done = each((1..100).collect(), 7, Generation::Prefixed, work).await;
        assert!(done.is_ok());
        assert_eq!(most.load(Ordering::Relaxed), 7);
    }
}
