//! Waiting until devices are connected.

use std::collections::BTreeMap;

use super::multi::FailedDevice;
use super::rows;
use crate::grpc::proto::gatehouse::v1::watch_response::Item;
use crate::grpc::proto::gatehouse::v1::{Cause, Change};
use crate::grpc::proto::gsdk::connect::Status;

/// The devices that were not seen connected yet, each with what was last heard of it.
#[derive(Clone, Debug)]
pub struct Waiting {
    left: BTreeMap<u32, Heard>,
    total: usize,
}

#[derive(Clone, Debug, Default)]
struct Heard {
    status: Option<i32>,
    cause: Option<Cause>,
}

impl Waiting {
    pub fn new(ids: impl IntoIterator<Item = u32>) -> Self {
        let left: BTreeMap<u32, Heard> = ids.into_iter().map(|id| (id, Heard::default())).collect();
        let total = left.len();
        Self { left, total }
    }

    /// Takes what a watch with a snapshot tells.
    pub fn take(&mut self, item: Item) {
        match item {
            Item::Device(device) => self.hear(device.device_id, device.status, device.cause),
            Item::Event(event) if event.change() == Change::Removed => {
                let cause = Cause {
                    kind: "removed:".to_owned(),
                    detail: "it was taken off the list".to_owned(),
                };
                self.hear(event.device_id, Status::Disconnected.into(), Some(cause));
            }
            Item::Event(event) => self.hear(event.device_id, event.new_status, event.cause),
            Item::SnapshotBegin(_) | Item::SnapshotEnd(_) | Item::Gap(_) => {}
        }
    }

    fn hear(&mut self, id: u32, status: i32, cause: Option<Cause>) {
        let connected = [Status::TcpConnected, Status::TlsConnected];
        if connected.map(i32::from).contains(&status) {
            self.left.remove(&id);
        } else if let Some(heard) = self.left.get_mut(&id) {
            heard.status = Some(status);
            heard.cause = cause.or(heard.cause.take());
        }
    }

    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// How many were seen connected.
    pub fn connected(&self) -> usize {
        self.total - self.left.len()
    }

    pub const fn total(&self) -> usize {
        self.total
    }

    /// Those that were not seen connected, with their status in the place of a code.
    pub fn missing(self) -> Vec<FailedDevice> {
        let missing = self.left.into_iter().map(|(id, heard)| FailedDevice {
            id,
            code: heard
                .status
                .map_or_else(String::new, |status| rows::status(status).text()),
            message: heard.cause.map_or_else(
                || "not connected yet".to_owned(),
                |cause| {
                    format!("{} {}", cause.kind, cause.detail)
                        .trim_end()
                        .to_owned()
                },
            ),
        });
        missing.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::gatehouse::v1::{Device, Event};

    fn device(device_id: u32, status: Status) -> Item {
        Item::Device(Device {
            device_id,
            status: status.into(),
            ..Device::default()
        })
    }

    fn event(device_id: u32, status: Status, change: Change, kind: &str) -> Item {
        Item::Event(Event {
            device_id,
            change: change.into(),
            new_status: status.into(),
            cause: Some(Cause {
                kind: kind.to_owned(),
                detail: String::new(),
            }),
            ..Event::default()
        })
    }

    #[test]
    fn connected_devices_are_counted_once_and_strangers_not() {
        let mut waiting = Waiting::new([1, 2, 3]);
        waiting.take(device(1, Status::TcpConnected));
        waiting.take(device(9, Status::TcpConnected));
        waiting.take(device(2, Status::TryToConnect));
        assert_eq!((waiting.connected(), waiting.total()), (1, 3));
        waiting.take(event(1, Status::Disconnected, Change::Changed, "lost"));
        waiting.take(event(2, Status::TlsConnected, Change::Changed, ""));
        waiting.take(event(
            3,
            Status::TcpCannotConnect,
            Change::Changed,
            "dial_failed",
        ));
        assert!(!waiting.is_done());
        let missing = waiting.clone().missing();
        assert_eq!((missing.len(), missing[0].id), (1, 3));
        assert_eq!(missing[0].code, "TCP_CANNOT_CONNECT");
        assert_eq!(missing[0].message, "dial_failed");
        waiting.take(event(3, Status::TcpConnected, Change::Changed, ""));
        assert!(waiting.is_done());
    }

    #[test]
    fn a_device_that_was_removed_or_never_heard_of_is_missing() {
        let mut waiting = Waiting::new([1, 2]);
        waiting.take(event(1, Status::TcpConnected, Change::Removed, ""));
        let missing = waiting.missing();
        assert_eq!(missing[0].message, "removed: it was taken off the list");
        assert_eq!(
            (missing[1].code.as_str(), missing[1].message.as_str()),
            ("", "not connected yet")
        );
    }
}
