//! `pending`: who was turned away, and what is decided of it.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::client::Client;
use super::devices::count;
use super::input::device_id;
use super::output::{Output, render};
use super::{Done, Failure, put, say};
use crate::cli::duration;
use crate::grpc::proto::gatehouse::v1::{
    ApproveRequest, ListPendingRequest, ListRefusedRequest, ListUnprovenRequest, RefuseRequest,
};
use crate::grpc::proto::gsdk::connect::GetPendingListRequest;

/// Shows who dialled in and was turned away, and decides of it
#[derive(Debug, Subcommand)]
#[command(
    long_about = "Shows who dialled in and was turned away, and decides of it. A device is pending \
        when it proved who it is and the accept filter does not let it in. Deciding wants the role \
        admin.",
    after_help = "Examples:\n  \
        gatehouse ctl pending list\n  \
        gatehouse ctl pending approve 1001 1002 --enrol\n  \
        gatehouse ctl pending refuse 1003 --for 30d"
)]
pub enum Pending {
    /// Lists the pending devices, by their last try
    List(List),
    /// Lets pending devices in: adds them to the accept filter
    Approve(Approve),
    /// Takes devices off the pending list and keeps them off it for a time
    Refuse(Refuse),
    /// Lists those that showed no proof that holds; anybody can cause a line here
    #[command(after_help = "Example:\n  gatehouse ctl pending unproven --output json")]
    Unproven,
    /// Lists the devices that were refused and whose refusal has not expired
    #[command(after_help = "Example:\n  gatehouse ctl pending refused")]
    Refused,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  gatehouse ctl pending list --output jsonl\n\n\
        Prints one line a device:\n  \
        {\"id\":1001,\"owner\":\"\",\"device\":\"1001\",\"address\":\"192.0.2.7\",\
        \"link\":\"LINK_AES\",\"proof\":\"PROOF_FLEET_KEY\",\"type\":\"UNDEFINED\",\
        \"first_try\":\"2026-11-21T09:30:00.000Z\",\"last_try\":\"2026-11-21T09:35:00.000Z\",\
        \"tries\":6}"
)]
pub struct List {
    /// Ask by the call of the Connect API: fewer fields, in any gateway that speaks it
    #[arg(long)]
    connect_api: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        gatehouse ctl pending approve 1001 1002\n  \
        gatehouse ctl pending approve --all --enrol")]
pub struct Approve {
    /// The IDs of the devices
    #[arg(value_name = "ID", value_parser = device_id, required_unless_present = "all")]
    ids: Vec<u32>,
    /// Every device that is pending now
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Write a key of its own to each device that comes in with the fleet key alone
    #[arg(long)]
    enrol: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gatehouse ctl pending refuse 1003 --for 30d")]
pub struct Refuse {
    /// The IDs of the devices
    #[arg(value_name = "ID", required = true, value_parser = device_id)]
    ids: Vec<u32>,
    /// How long they are not asked about again [default: what the gateway is configured for]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse_some)]
    duration: Option<Duration>,
}

impl Pending {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let mut api = client.approvals();
        match self {
            Self::List(List { connect_api: true }) => {
                let mut api = client.connect();
                let answer = client
                    .ask(api.get_pending_list(GetPendingListRequest {}))
                    .await?;
                put(&render(&answer.device_infos, output))
            }
            Self::List(_) => {
                let answer = client.ask(api.list_pending(ListPendingRequest {})).await?;
                put(&render(&answer.devices, output))
            }
            Self::Approve(approve) => approve.run(client).await,
            Self::Refuse(refuse) => refuse.run(client).await,
            Self::Unproven => {
                let answer = client
                    .ask(api.list_unproven(ListUnprovenRequest {}))
                    .await?;
                put(&render(&answer.peers, output))
            }
            Self::Refused => {
                let answer = client.ask(api.list_refused(ListRefusedRequest {})).await?;
                put(&render(&answer.refusals, output))
            }
        }
    }
}

impl Approve {
    async fn run(self, client: &Client) -> Done {
        let device_ids = match self.all {
            true => pending(client).await?,
            false => self.ids,
        };
        if device_ids.is_empty() {
            say("no device is pending");
            return Ok(());
        }
        let told = format!("approved {}", count(device_ids.len()));
        let request = ApproveRequest {
            device_ids,
            enrol: self.enrol,
        };
        client.ask(client.approvals().approve(request)).await?;
        say(&told);
        Ok(())
    }
}

async fn pending(client: &Client) -> Result<Vec<u32>, Failure> {
    let mut api = client.approvals();
    let answer = client.ask(api.list_pending(ListPendingRequest {})).await?;
    Ok(answer
        .devices
        .iter()
        .map(|device| device.device_id)
        .collect())
}

impl Refuse {
    async fn run(self, client: &Client) -> Done {
        let told = format!("refused {}", count(self.ids.len()));
        let request = RefuseRequest {
            device_ids: self.ids,
            for_seconds: self.duration.map_or(0, whole_seconds),
        };
        client.ask(client.approvals().refuse(request)).await?;
        say(&told);
        Ok(())
    }
}

/// Seconds, rounded up: 0 has a meaning of its own in the API.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
