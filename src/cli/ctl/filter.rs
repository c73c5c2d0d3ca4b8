//! `filter`: which devices may dial in.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};

use super::accept::{self, Hosts};
use super::client::Client;
use super::input::device_id;
use super::output::{Output, render_one};
use super::{Done, put, say};
use crate::grpc::proto::gatehouse::v1::ChangeAcceptFilterRequest;
use crate::grpc::proto::gsdk::connect::{
    AcceptFilter, GetAcceptFilterRequest, SetAcceptFilterRequest,
};

/// Says and sets which devices may dial in
#[derive(Debug, Subcommand)]
#[command(
    long_about = "Says and sets which devices may dial in. A new gateway lets nobody in. Besides its \
        place in this filter a device needs proof of who it is; devices that are connected stay \
        connected whatever is set here.",
    after_help = "Examples:\n  \
        gatehouse ctl filter get\n  \
        gatehouse ctl filter add 1001 1002\n  \
        gatehouse ctl filter set --device 1001 --from 192.0.2.0/24"
)]
pub enum Filter {
    /// Shows the filter as it was set
    #[command(after_help = "Example:\n  gatehouse ctl filter get --output json\n\n\
        Prints, shortened:\n  \
        {\"allow_all\":false,\"device_ids\":[1001],\"addresses\":[\"192.0.2.0\"],\
        \"subnet_masks\":[\"255.255.255.0\"]}")]
    Get,
    /// Replaces the whole filter
    Set(Set),
    /// Lets more devices in, whatever else the filter says (role admin)
    #[command(after_help = "Example:\n  gatehouse ctl filter add 1001 1002")]
    Add(Ids),
    /// Takes single devices out of the filter (role admin)
    #[command(after_help = "Example:\n  gatehouse ctl filter remove 1001")]
    Remove(Ids),
    /// Lets every device in that proves who it is; replaces the filter
    #[command(after_help = "Example:\n  gatehouse ctl filter allow-all")]
    AllowAll,
    /// Lets no device in; replaces the filter
    #[command(after_help = "Example:\n  gatehouse ctl filter deny-all")]
    DenyAll,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        gatehouse ctl filter set --device 1001 --device 1002\n  \
        gatehouse ctl filter set --from 192.0.2.0/24\n  \
        gatehouse ctl filter set --from 192.0.2.0 --subnet 255.255.255.0")]
pub struct Set {
    /// A device that may dial in; may be given several times
    #[arg(long, value_name = "ID", value_parser = device_id, required_unless_present = "hosts")]
    device: Vec<u32>,
    /// An IPv4 address or network whose devices may dial in as well; may be given several times
    #[arg(long = "from", value_name = "IP[/BITS]")]
    hosts: Vec<Hosts>,
    /// The subnet mask of each address, in the same order, where it is not given after a `/`
    #[arg(long, value_name = "MASK", requires = "hosts")]
    subnet: Vec<Ipv4Addr>,
}

#[derive(Debug, Args)]
pub struct Ids {
    /// The IDs of the devices
    #[arg(value_name = "ID", required = true, value_parser = device_id)]
    ids: Vec<u32>,
}

impl Filter {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        match self {
            Self::Get => {
                let mut api = client.connect();
                let answer = client
                    .ask(api.get_accept_filter(GetAcceptFilterRequest {}))
                    .await?;
                put(&render_one(&answer.filter.unwrap_or_default(), output))
            }
            Self::Set(set) => {
                let filter = accept::filter(set.device, &set.hosts, &set.subnet)?;
                replace(client, filter, "the filter is set").await
            }
            Self::AllowAll => {
                let filter = AcceptFilter {
                    allow_all: true,
                    ..AcceptFilter::default()
                };
                replace(
                    client,
                    filter,
                    "every device that proves itself may dial in",
                )
                .await
            }
            Self::DenyAll => {
                replace(client, AcceptFilter::default(), "no device may dial in").await
            }
            Self::Add(Ids { ids }) => change(client, ids, Vec::new()).await,
            Self::Remove(Ids { ids }) => change(client, Vec::new(), ids).await,
        }
    }
}

async fn replace(client: &Client, filter: AcceptFilter, told: &str) -> Done {
    let filter = Some(filter);
    let request = SetAcceptFilterRequest { filter };
    client
        .ask(client.connect().set_accept_filter(request))
        .await?;
    say(told);
    Ok(())
}

async fn change(client: &Client, add: Vec<u32>, remove: Vec<u32>) -> Done {
    let request = ChangeAcceptFilterRequest {
        add_device_ids: add,
        remove_device_ids: remove,
    };
    client
        .ask(client.approvals().change_accept_filter(request))
        .await?;
    say("the filter is changed");
    Ok(())
}
