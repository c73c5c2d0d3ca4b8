//! `watch`: every change, over breaks and restarts of the gateway.

use clap::Args;
use tonic::{Code, Status, Streaming};

use super::blame;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::follow::{Follow, Line, pause};
use super::output::{Flow, Output};
use super::row::{Field, Row, Value};
use super::{Done, put, rows, say};
use crate::grpc::proto::gatehouse::v1::WatchResponse;
use crate::grpc::proto::gatehouse::v1::watch_response::Item;
use crate::grpc::proto::gsdk::connect::{StatusChange, SubscribeStatusRequest};

/// Follows every change of every device, and loses none
#[derive(Debug, Args)]
#[command(
    long_about = "Follows every change of every device until Ctrl-C, one line a change.\n\n\
        Every event has a number. When the connection breaks, or the gateway restarts, it tries \
        again until the gateway is back and goes on after the last number: no event is lost, and \
        the standard error says when the gateway was lost and found. With --after a later run goes \
        on where an earlier one ended.\n\n\
        Where the gateway's event log does not reach back that far, a line of kind `gap` tells the \
        numbers that were missed, and every device follows as between snapshot_begin and \
        snapshot_end; a device that is not among them is gone.",
    after_help = "Examples:\n  \
        gatehouse ctl watch\n      \
            from now on\n  \
        gatehouse ctl watch --snapshot --output jsonl\n      \
            every device as it is, then every change\n  \
        gatehouse ctl watch --after 1000042 --count 10 --output csv\n      \
            the ten events after number 1000042\n\n\
        One line of jsonl:\n  \
        {\"kind\":\"event\",\"number\":1000043,\"time\":\"2026-11-21T09:30:00.000Z\",\"id\":1001,\
        \"change\":\"CHANGE_CHANGED\",\"old_status\":\"TCP_CONNECTED\",\"status\":\"DISCONNECTED\",\
        \"cause\":\"keep_alive_timeout\",\"cause_detail\":null,\"attempt\":0,\"next_try\":null,\
        \"conflated\":0,\"devices\":null,\"missed_from\":null,\"missed_to\":null}"
)]
pub struct Watch {
    /// Go on after the event of this number [default: from now on]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    after: Option<u64>,
    /// Begin with every device as it is now
    #[arg(long, conflicts_with = "after")]
    snapshot: bool,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Follow by the call of the Connect API: statuses alone, without numbers, and it ends at a break
    #[arg(long, conflicts_with_all = ["after", "snapshot"])]
    connect_api: bool,
}

impl Watch {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let mut flow = Flow::new(output);
        let followed = tokio::select! {
            followed = self.follow(client, &mut flow) => followed,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
        };
        // The document is closed however it ends.
        followed.and_then(|()| put(flow.end()))
    }

    async fn follow(&self, client: &Client, flow: &mut Flow) -> Done {
        if self.connect_api {
            return statuses(client, flow, self.count).await;
        }
        put(&flow.begin::<Line>())?;
        let follow = match self.snapshot {
            true => Follow::with_snapshot(self.count),
            false => Follow::after(self.after.unwrap_or(0), self.count),
        };
        Follower { follow, flow }.run(client).await
    }
}

struct Follower<'a> {
    follow: Follow,
    flow: &'a mut Flow,
}

/// Why a stream was left.
enum Left {
    Done,
    Broken(String),
}

impl Follower<'_> {
    async fn run(mut self, client: &Client) -> Done {
        let address = &client.target().address;
        let mut stream = open(client, &self.follow).await?;
        loop {
            let Left::Broken(why) = self.read(client, &mut stream).await? else {
                return Ok(());
            };
            say(&format!(
                "lost the gateway at {address} ({why}); trying again"
            ));
            stream = reopen(client, &self.follow).await?;
            let number = self.follow.number();
            say(&format!(
                "found the gateway at {address} again; going on after event {number}"
            ));
        }
    }

    /// Prints what comes until there is enough or the stream breaks.
    async fn read(
        &mut self,
        client: &Client,
        stream: &mut Streaming<WatchResponse>,
    ) -> Result<Left, Box<dyn std::error::Error>> {
        while !self.follow.is_done() {
            let item = match stream.message().await {
                Ok(Some(response)) => response.item,
                Ok(None) => return Ok(Left::Broken("the stream ended".to_owned())),
                Err(status) if is_final(&status) => return Err(client.blame(&status).into()),
                Err(status) => return Ok(Left::Broken(status.message().to_owned())),
            };
            if let Some(Item::Gap(gap)) = &item {
                say(&format!(
                    "the events {} to {} were missed for good; every device as it is now follows",
                    gap.from, gap.to
                ));
            }
            if let Some(line) = item.and_then(|item| self.follow.take(item)) {
                put(&self.flow.row(&line))?;
            }
        }
        Ok(Left::Done)
    }
}

async fn open(client: &Client, follow: &Follow) -> Result<Streaming<WatchResponse>, Failure> {
    client.ask(client.fleet().watch(follow.request())).await
}

/// Tries until the gateway is there again, for ever unless it says that it never will.
async fn reopen(client: &Client, follow: &Follow) -> Result<Streaming<WatchResponse>, Failure> {
    let mut said = String::new();
    for tries in 0_u32.. {
        tokio::time::sleep(pause(tries, rand::random())).await;
        let failure = match attempt(client, follow).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => failure,
        };
        match failure.exit {
            Exit::Unreachable if failure.text != said => {
                say(&failure.text);
                said = failure.text;
            }
            Exit::Unreachable => {}
            _ => return Err(failure),
        }
    }
    Err(Failure::new(
        Exit::Unreachable,
        "the gateway did not come back",
    ))
}

async fn attempt(client: &Client, follow: &Follow) -> Result<Streaming<WatchResponse>, Failure> {
    let client = client.reopen().await?;
    let mut api = client.fleet();
    let answer = client.answer(api.watch(follow.request()), client.patience());
    answer.await?.map_err(|status| {
        let mut failure = client.blame(&status);
        if !is_final(&status) {
            failure.exit = Exit::Unreachable;
        }
        failure
    })
}

/// Whether trying again is in vain: the gateway answered, and will answer the same.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::InvalidArgument
            | Code::NotFound
    )
}

impl Row for StatusChange {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("time", 24, |change| {
            Value::Time(u64::from(change.timestamp) * 1000)
        }),
        Field::shown("id", 10, |change| change.device_id.into()),
        Field::shown("status", 18, |change| rows::status(change.status)),
    ];
}

async fn statuses(client: &Client, flow: &mut Flow, count: Option<u64>) -> Done {
    put(&flow.begin::<StatusChange>())?;
    let request = SubscribeStatusRequest { queue_size: 0 };
    let mut stream = client
        .ask(client.connect().subscribe_status(request))
        .await?;
    let mut left = count;
    while left != Some(0) {
        let change = stream.message().await;
        let change = change.map_err(|status| blame::of_status(&status, client.target()))?;
        let Some(change) = change else {
            let text =
                "the gateway ended the stream; without --connect-api `watch` goes on by itself";
            return Err(Failure::new(Exit::Unreachable, text).into());
        };
        put(&flow.row(&change))?;
        left = left.map(|left| left - 1);
    }
    Ok(())
}
