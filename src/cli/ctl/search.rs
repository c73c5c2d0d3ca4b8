//! `search` and `slaves`: devices that are found, and devices behind devices.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::client::Client;
use super::exit::{Exit, Failure};
use super::input::device_id;
use super::output::{Output, render};
use super::{Done, put, say};
use crate::grpc::proto::gsdk::connect::{
    GetSlaveDeviceRequest, SearchDeviceRequest, SetSlaveDeviceRequest, SlaveDeviceInfo,
};

/// How long answers are collected unless the command line says otherwise.
const COLLECT: Duration = Duration::from_secs(5);
/// How much longer than the search its answer may take.
const MARGIN: Duration = Duration::from_secs(15);

/// Looks for devices in the networks of the gateway
#[derive(Debug, Args)]
#[command(
    long_about = "Looks for devices in the networks of the gateway, for 5 seconds or as long as \
        --timeout says. What answers is a hint, not a proof of who it is.",
    after_help = "Examples:\n  \
        gatehouse ctl search\n  \
        gatehouse ctl search --timeout 10s --output jsonl\n\n\
        One line of jsonl:\n  \
        {\"id\":1001,\"type\":\"BIOSTATION_2\",\"address\":\"192.0.2.7:51211\",\
        \"mode\":\"SERVER_TO_DEVICE\",\"use_ssl\":false,\"use_dhcp\":true,\"server_address\":null}"
)]
pub struct Search {}

impl Search {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let collect = client.timeout().unwrap_or(COLLECT);
        let timeout = u32::try_from(collect.as_millis()).map_err(|_| {
            Failure::new(
                Exit::Usage,
                "nobody searches that long; give a shorter --timeout",
            )
        })?;
        let mut api = client.connect();
        let call = api.search_device(SearchDeviceRequest { timeout });
        let answer = client.answer(call, collect + MARGIN).await?;
        let answer = answer.map_err(|status| client.blame(&status))?;
        put(&render(&answer.device_infos, output))
    }
}

/// Says and sets which devices are behind a device, on RS-485 or Wiegand
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
        gatehouse ctl slaves get\n  \
        gatehouse ctl slaves set 1001 --rs485 2001,2002 --wiegand 3001")]
pub enum Slaves {
    /// Lists the devices that have others behind them
    #[command(after_help = "Example:\n  gatehouse ctl slaves get --output jsonl\n\n\
        Prints one line a device:\n  \
        {\"id\":1001,\"rs485\":[2001,2002],\"wiegand\":[3001]}")]
    Get,
    /// Sets the devices behind one or several devices
    Set(Set),
}

#[derive(Debug, Args)]
#[command(
    long_about = "Sets the devices behind one device; those behind others stay. A file replaces the \
        whole list: JSON as `gatehouse ctl slaves get --output json` prints it.",
    after_help = "Examples:\n  \
        gatehouse ctl slaves set 1001 --rs485 2001,2002\n  \
        gatehouse ctl slaves set --file slaves.json\n\n\
        slaves.json:\n  \
        [{\"id\":1001,\"rs485\":[2001,2002],\"wiegand\":[]}]"
)]
pub struct Set {
    /// The ID of the device they are behind
    #[arg(value_name = "ID", value_parser = device_id, required_unless_present = "file")]
    id: Option<u32>,
    /// The IDs on RS-485, separated by commas
    #[arg(long, value_name = "IDS", value_parser = device_id, value_delimiter = ',')]
    rs485: Vec<u32>,
    /// The IDs on Wiegand, separated by commas
    #[arg(long, value_name = "IDS", value_parser = device_id, value_delimiter = ',')]
    wiegand: Vec<u32>,
    /// A JSON file of devices; `-` for the standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "rs485", "wiegand"])]
    file: Option<PathBuf>,
}

impl Slaves {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let mut api = client.connect();
        match self {
            Self::Get => {
                let answer = client
                    .ask(api.get_slave_device(GetSlaveDeviceRequest {}))
                    .await?;
                put(&render(&answer.slave_device_infos, output))
            }
            Self::Set(set) => {
                let slave_device_infos = match set.file {
                    Some(file) => in_file(&file)?,
                    None => {
                        let present = client
                            .ask(api.get_slave_device(GetSlaveDeviceRequest {}))
                            .await?;
                        set.put_into(present.slave_device_infos)
                    }
                };
                let request = SetSlaveDeviceRequest { slave_device_infos };
                client.ask(api.set_slave_device(request)).await?;
                say("the devices behind are set");
                Ok(())
            }
        }
    }
}

fn in_file(file: &Path) -> Result<Vec<SlaveDeviceInfo>, Failure> {
    let json = Some(super::input::Format::Json);
    let (text, _, name) = super::files::read(file, json)?;
    super::input::slaves(&text, &name)
}

impl Set {
    /// The whole list: the API knows no other way to set it.
    fn put_into(self, mut list: Vec<SlaveDeviceInfo>) -> Vec<SlaveDeviceInfo> {
        let Some(device_id) = self.id else {
            return list;
        };
        list.retain(|other| other.device_id != device_id);
        list.push(SlaveDeviceInfo {
            device_id,
            rs485_slave_device_i_ds: self.rs485,
            wiegand_slave_device_i_ds: self.wiegand,
        });
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_behind_others_stay() {
        let info = |device_id, rs485: &[u32]| SlaveDeviceInfo {
            device_id,
            rs485_slave_device_i_ds: rs485.to_vec(),
            wiegand_slave_device_i_ds: Vec::new(),
        };
        let set = Set {
            id: Some(7),
            rs485: vec![72],
            wiegand: Vec::new(),
            file: None,
        };
        let list = set.put_into(vec![info(7, &[71]), info(8, &[81])]);
        assert_eq!(list, [info(8, &[81]), info(7, &[72])]);
    }
}
