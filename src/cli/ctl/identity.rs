//! `identity`: the credentials and link keys of devices.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::client::Client;
use super::devices::count;
use super::exit::{Exit, Failure};
use super::input::device_id;
use super::output::{Output, render, render_one};
use super::pending::whole_seconds;
use super::row::{Field, Row};
use super::{Done, put, rows, say};
use crate::cli::duration;
use crate::grpc::proto::gatehouse::v1::{
    AddIdentityRequest, EnrolRequest, Identity, ListIdentitiesRequest, RemoveIdentitiesRequest,
    RotateIdentityRequest, SecretKind,
};

/// Makes, changes and takes away what devices prove themselves by (role admin)
#[derive(Debug, Subcommand)]
#[command(
    long_about = "Makes, changes and takes away what devices prove themselves by: credentials (a \
        secret text in the device's Connect) and link keys (the key of its encrypted link). A \
        secret is shown once, when it is made: the gateway does not keep it readable. Wants the \
        role admin.",
    after_help = "Examples:\n  \
        gatehouse ctl identity add 1001 --accept\n  \
        gatehouse ctl identity rotate 1001 --grace 2d\n  \
        gatehouse ctl identity remove 1001"
)]
pub enum IdentityCommand {
    /// Makes a credential or a link key for a device, and prints it
    Add(Add),
    /// Lists every device that has a proof of its own
    #[command(after_help = "Example:\n  gatehouse ctl identity list --output csv")]
    List,
    /// Takes credentials and link keys away; sessions that stand on them are closed
    Remove(Remove),
    /// Makes a new secret in the place of the old one, and prints it
    Rotate(Rotate),
    /// Writes a fresh link key to connected devices; each then stands on its own key
    #[command(after_help = "Example:\n  gatehouse ctl identity enrol 1001 1002")]
    Enrol(Enrol),
}

/// What kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The credential of the device's Connect: a random text
    Credential,
    /// The key of the aes link: 64 hex digits
    LinkKey,
}

impl Kind {
    const fn wire(self) -> SecretKind {
        match self {
            Self::Credential => SecretKind::Credential,
            Self::LinkKey => SecretKind::LinkKey,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        gatehouse ctl identity add 1001 --accept\n  \
        gatehouse ctl identity add front-door --owner alice > front-door.secret\n  \
        gatehouse ctl identity add 1002 --kind link-key --output json\n\n\
        Prints the secret alone on its line; with --output json:\n  \
        {\"owner\":\"\",\"device\":\"1002\",\"kind\":\"SECRET_KIND_LINK_KEY\",\"secret\":\"…\"}")]
pub struct Add {
    /// The device: its serial number, or the name under which it connects
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The user name under which it connects [default: any, for a serial number]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    owner: String,
    /// What to make
    #[arg(long, value_enum, default_value_t = Kind::Credential)]
    kind: Kind,
    /// Let the device in as well: add its ID to the accept filter
    #[arg(long)]
    accept: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        gatehouse ctl identity remove 1001 1002\n  \
        gatehouse ctl identity remove front-door --owner alice --kind credential")]
pub struct Remove {
    /// The devices: their serial numbers, or the names under which they connect
    #[arg(value_name = "DEVICE", required = true)]
    devices: Vec<String>,
    /// The user name under which they connect
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    owner: String,
    /// Only secrets of this kind [default: both]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Makes a new secret in the place of the old one, and prints it. The old one holds \
        until the device has used the new one, or until the grace has passed.",
    after_help = "Example:\n  gatehouse ctl identity rotate 1001 --kind link-key --grace 2d"
)]
pub struct Rotate {
    /// The device: its serial number, or the name under which it connects
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The user name under which it connects
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    owner: String,
    /// Which secret
    #[arg(long, value_enum, default_value_t = Kind::Credential)]
    kind: Kind,
    /// How long the old secret holds if the device does not use the new one, at most 30d
    /// [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = duration::parse_some)]
    grace: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Enrol {
    /// The IDs of connected devices
    #[arg(value_name = "ID", required = true, value_parser = device_id)]
    ids: Vec<u32>,
}

/// A secret that was made; it is shown this once.
struct Made {
    identity: Identity,
    kind: SecretKind,
    secret: String,
}

impl Row for Made {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("owner", 10, |made| (&made.identity.owner).into()),
        Field::shown("device", 10, |made| (&made.identity.device).into()),
        Field::shown("kind", 22, |made| rows::secret_kind(made.kind.into())),
        Field::shown("secret", 64, |made| (&made.secret).into()),
    ];
}

impl IdentityCommand {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        match self {
            Self::Add(add) => add.run(client, output).await,
            Self::List => {
                let mut api = client.identities();
                let answer = client.ask(api.list(ListIdentitiesRequest {})).await?;
                put(&render(&answer.identities, output))
            }
            Self::Remove(remove) => remove.run(client).await,
            Self::Rotate(rotate) => rotate.run(client, output).await,
            Self::Enrol(Enrol { ids }) => {
                let told = format!("enrolled {}", count(ids.len()));
                let request = EnrolRequest { device_ids: ids };
                client.ask(client.identities().enrol(request)).await?;
                say(&told);
                Ok(())
            }
        }
    }
}

impl Add {
    async fn run(self, client: &Client, output: Output) -> Done {
        let identity = identity(self.owner, self.device);
        let kind = self.kind.wire();
        let request = AddIdentityRequest {
            identity: Some(identity.clone()),
            kind: kind.into(),
            accept: self.accept,
        };
        let secret = client.ask(client.identities().add(request)).await?.secret;
        show(
            &Made {
                identity,
                kind,
                secret,
            },
            output,
        )
    }
}

impl Rotate {
    async fn run(self, client: &Client, output: Output) -> Done {
        let grace = whole_seconds(self.grace.unwrap_or_default());
        let grace_seconds = u32::try_from(grace).map_err(|_| {
            Failure::new(Exit::Usage, "the grace is too long; it may be 30d at most")
        })?;
        let identity = identity(self.owner, self.device);
        let kind = self.kind.wire();
        let request = RotateIdentityRequest {
            identity: Some(identity.clone()),
            kind: kind.into(),
            grace_seconds,
        };
        let secret = client
            .ask(client.identities().rotate(request))
            .await?
            .secret;
        show(
            &Made {
                identity,
                kind,
                secret,
            },
            output,
        )
    }
}

impl Remove {
    async fn run(self, client: &Client) -> Done {
        let told = format!(
            "what {} proved themselves by is taken away",
            count(self.devices.len())
        );
        let owner = self.owner;
        let devices = self.devices.into_iter();
        let kind = self.kind.map_or(SecretKind::Unspecified, Kind::wire);
        let request = RemoveIdentitiesRequest {
            identities: devices
                .map(|device| identity(owner.clone(), device))
                .collect(),
            kind: kind.into(),
        };
        client.ask(client.identities().remove(request)).await?;
        say(&told);
        Ok(())
    }
}

const fn identity(owner: String, device: String) -> Identity {
    Identity { owner, device }
}

/// For people and pipes the secret stands alone; the word about it goes elsewhere.
fn show(made: &Made, output: Output) -> Done {
    let kind = match made.kind {
        SecretKind::LinkKey => "link key",
        SecretKind::Credential | SecretKind::Unspecified => "credential",
    };
    let device = super::escape::escape(&made.identity.device).into_owned();
    say(&format!("the {kind} of {device}, shown this once:"));
    match output {
        Output::Table => put(&format!("{}\n", super::escape::escape(&made.secret))),
        _ => put(&render_one(made, output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_json_says_whose_it_is() {
        let made = Made {
            identity: identity("alice".to_owned(), "door".to_owned()),
            kind: SecretKind::LinkKey,
            secret: "00ff".to_owned(),
        };
        assert_eq!(
            render_one(&made, Output::Jsonl),
            "{\"owner\":\"alice\",\"device\":\"door\",\"kind\":\"SECRET_KIND_LINK_KEY\",\"secret\":\"00ff\"}\n"
        );
    }
}
