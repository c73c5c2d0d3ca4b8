//! `list`, `get`, `retry`: what the gateway knows of devices.

use clap::Args;

use super::client::Client;
use super::input::device_id;
use super::output::{Output, render, render_one};
use super::{Done, put, say};
use crate::grpc::proto::gatehouse::v1::{Device, GetRequest, ListRequest, RetryNowRequest};
use crate::grpc::proto::gsdk::connect::GetDeviceListRequest;

/// Lists the devices that the gateway keeps track of
#[derive(Debug, Args)]
#[command(
    long_about = "Lists the devices that the gateway keeps track of, by ID: those that it dials, \
        and those that have dialled in.\n\n\
        A table shows the main fields; the other outputs show all of them: id, status, since, mode, \
        address, origin, use_ssl, type, owner, device, link, proof, peer, attempt, next_try, cause, \
        cause_detail. A field that is not there is null in JSON and empty in CSV.",
    after_help = "Examples:\n  \
        gatehouse ctl list\n  \
        gatehouse ctl list --output csv > devices.csv\n  \
        gatehouse ctl list --output jsonl | jq -r 'select(.status != \"TCP_CONNECTED\") | .id'\n\n\
        One line of jsonl, shortened:\n  \
        {\"id\":1001,\"status\":\"TCP_CANNOT_CONNECT\",\"since\":\"2026-11-21T09:30:00.000Z\",\
        \"address\":\"192.0.2.7:51211\",\"attempt\":3,\"cause\":\"dial_failed\"}"
)]
pub struct List {
    /// Ask by the call of the Connect API: fewer fields, in any gateway that speaks it
    #[arg(long)]
    connect_api: bool,
}

impl List {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        if self.connect_api {
            let mut api = client.connect();
            let call = api.get_device_list(GetDeviceListRequest {});
            let mut devices = client.ask(call).await?.device_infos;
            devices.sort_by_key(|device| device.device_id);
            return put(&render(&devices, output));
        }
        put(&render(&all(client).await?, output))
    }
}

/// Every device of the managed list, by ID.
async fn all(client: &Client) -> Result<Vec<Device>, super::Failure> {
    let mut api = client.fleet();
    let mut devices = Vec::new();
    let mut after_device_id = 0;
    loop {
        let request = ListRequest {
            after_device_id,
            page_size: 0,
        };
        let page = client.ask(api.list(request)).await?;
        devices.extend(page.devices);
        // A page that does not lead on would be asked for without end.
        if page.next_after_device_id <= after_device_id {
            return Ok(devices);
        }
        after_device_id = page.next_after_device_id;
    }
}

/// Shows everything the gateway knows of one device
#[derive(Debug, Args)]
#[command(
    long_about = "Shows everything the gateway knows of one device, one field a line: its status and \
        since when, where it is, how it proved who it is, and why the last try failed.",
    after_help = "Examples:\n  \
        gatehouse ctl get 1001\n  \
        gatehouse ctl get 1001 --output json | jq -r .status"
)]
pub struct Get {
    /// The ID of the device
    #[arg(value_name = "ID", value_parser = device_id)]
    id: u32,
}

impl Get {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let device_id = self.id;
        let mut api = client.fleet();
        let answer = client.ask(api.get(GetRequest { device_id })).await?;
        put(&render_one(&answer.device.unwrap_or_default(), output))
    }
}

/// Dials devices now instead of after their wait
#[derive(Debug, Args)]
#[command(
    long_about = "Dials devices now instead of after the wait that follows a failed try. Nothing is \
        done when one of them is not in the managed list (exit code 5).",
    after_help = "Example:\n  gatehouse ctl retry 1001 1002"
)]
pub struct Retry {
    /// The IDs of the devices
    #[arg(value_name = "ID", required = true, value_parser = device_id)]
    ids: Vec<u32>,
}

impl Retry {
    pub async fn run(self, client: &Client) -> Done {
        let request = RetryNowRequest {
            device_ids: self.ids,
        };
        client.ask(client.fleet().retry_now(request)).await?;
        say("the devices are dialled now");
        Ok(())
    }
}
