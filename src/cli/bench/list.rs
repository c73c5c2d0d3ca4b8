//! How long the list of all devices takes.

use std::error::Error;
use std::time::{Duration, Instant};

use prost::Message;
use serde::Serialize;

use super::subject::Subject;
use crate::grpc::convert;
use crate::grpc::generation::Generation;
use crate::grpc::proto::gsdk::connect::{GetDeviceListRequest, GetDeviceListResponse};

/// How often each is done; the median counts.
const TIMES: usize = 21;

/// `GetDeviceList` over TLS, and the same list encoded and decoded without a server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct List {
    pub(super) devices: usize,
    pub(super) call_ms: f64,
    pub(super) encode_ms: f64,
    pub(super) decode_ms: f64,
}

/// # Errors
/// When a call fails.
pub(super) async fn measure(subject: &Subject) -> Result<List, Box<dyn Error>> {
    let mut client = subject.client().await?;
    let (mut calls, mut encodings, mut decodings) = (Vec::new(), Vec::new(), Vec::new());
    let mut devices = 0;
    for _ in 0..TIMES {
        let started = Instant::now();
        let answer = client.get_device_list(GetDeviceListRequest {}).await?;
        calls.push(started.elapsed());
        devices = answer.into_inner().device_infos.len();
        let started = Instant::now();
        let encoded = encode(subject);
        encodings.push(started.elapsed());
        let started = Instant::now();
        GetDeviceListResponse::decode(encoded.as_slice())?;
        decodings.push(started.elapsed());
    }
    Ok(List {
        devices,
        call_ms: median_ms(calls),
        encode_ms: median_ms(encodings),
        decode_ms: median_ms(decodings),
    })
}

fn encode(subject: &Subject) -> Vec<u8> {
    let snapshot = subject.snapshot();
    let infos = snapshot.devices.values();
    let infos = infos.map(|view| convert::device_info(view, Generation::Prefixed));
    let list = GetDeviceListResponse {
        device_infos: infos.collect(),
    };
    list.encode_to_vec()
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
