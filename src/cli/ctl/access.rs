//! `token`, `whoami`, `audit`: who may call the gateway, and who did.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::client::Client;
use super::escape::escape;
use super::output::{Flow, Output, render, render_one};
use super::pending::whole_seconds;
use super::row::{Field, Row};
use super::{Done, put, say};
use crate::cli::duration;
use crate::grpc::proto::gatehouse::v1::{
    AuditEntry, CreateTokenRequest, ListAuditRequest, ListTokensRequest, RevokeTokenRequest, Role,
    WhoAmIRequest,
};

/// Makes, lists and ends tokens of clients (role admin)
#[derive(Debug, Subcommand)]
#[command(
    long_about = "Makes, lists and ends tokens. With a token a client comes in where a client \
        certificate is not wanted: `gatehouse ctl --token-file FILE`, or the metadata \
        `authorization: Bearer TOKEN` of any gRPC client. Wants the role admin; on the gateway's \
        machine its first admin token is the file admin.token in the data directory, which \
        --data-dir finds by itself.",
    after_help = "Examples:\n  \
        gatehouse ctl token create ci --role operator --expires 90d > ci.token\n  \
        gatehouse ctl token list\n  \
        gatehouse ctl token revoke ci"
)]
pub enum Token {
    /// Makes a token and prints it; it is shown this once
    Create(Create),
    /// Lists the tokens, never their text
    #[command(after_help = "Example:\n  gatehouse ctl token list --output json")]
    List,
    /// Ends a token: the next call with it is refused, and its streams end
    Revoke(Revoke),
}

/// What a client may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Reads and follows
    Viewer,
    /// Connects, adds, deletes, sets the accept filter, configures devices
    Operator,
    /// Identities, approvals, tokens, certificates
    Admin,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        gatehouse ctl token create ci --role operator --expires 90d > ci.token\n  \
        gatehouse ctl token create wall-screen --role viewer --output json\n\n\
        Prints the token alone on its line; with --output json:\n  \
        {\"name\":\"wall-screen\",\"token\":\"…\"}")]
pub struct Create {
    /// Who uses it: 1 to 64 of A-Z a-z 0-9 . _ -
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: RoleName,
    /// After how long it ends by itself [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration::parse_some)]
    expires: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gatehouse ctl token revoke ci")]
pub struct Revoke {
    /// The name of the token
    name: String,
}

/// A token that was made; it is shown this once.
struct Made {
    name: String,
    token: String,
}

impl Row for Made {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("name", 20, |made| (&made.name).into()),
        Field::shown("token", 64, |made| (&made.token).into()),
    ];
}

impl Token {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let mut api = client.access();
        match self {
            Self::Create(create) => create.run(client, output).await,
            Self::List => {
                let answer = client.ask(api.list_tokens(ListTokensRequest {})).await?;
                put(&render(&answer.tokens, output))
            }
            Self::Revoke(Revoke { name }) => {
                let told = format!("the token {} is ended", escape(&name));
                client
                    .ask(api.revoke_token(RevokeTokenRequest { name }))
                    .await?;
                say(&told);
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, client: &Client, output: Output) -> Done {
        let role = match self.role {
            RoleName::Viewer => Role::Viewer,
            RoleName::Operator => Role::Operator,
            RoleName::Admin => Role::Admin,
        };
        let request = CreateTokenRequest {
            name: self.name.clone(),
            role: role.into(),
            expires_after_seconds: self.expires.map_or(0, whole_seconds),
        };
        let token = client
            .ask(client.access().create_token(request))
            .await?
            .token;
        say(&format!(
            "the token {}, shown this once:",
            escape(&self.name)
        ));
        let name = self.name;
        match output {
            Output::Table => put(&format!("{}\n", escape(&token))),
            _ => put(&render_one(&Made { name, token }, output)),
        }
    }
}

/// Tells as whom the gateway takes this client
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  gatehouse ctl whoami --output json\n\n\
        Prints:\n  \
        {\"name\":\"token ci\",\"role\":\"ROLE_OPERATOR\"}")]
pub struct WhoAmI {}

impl WhoAmI {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let answer = client
            .ask(client.access().who_am_i(WhoAmIRequest {}))
            .await?;
        put(&render_one(&answer, output))
    }
}

/// Prints the calls that changed something, done or refused (role admin)
#[derive(Debug, Args)]
#[command(
    long_about = "Prints the audit log, oldest first: every call that changes something, done or \
        refused, with who called, from where, and the result. Wants the role admin.",
    after_help = "Examples:\n  \
        gatehouse ctl audit\n  \
        gatehouse ctl audit --after 5120 --output jsonl\n\n\
        One line of jsonl:\n  \
        {\"number\":5121,\"time\":\"2026-11-21T09:30:00.000Z\",\"caller\":\"token ci\",\
        \"peer\":\"192.0.2.9:40112\",\"call\":\"gsdk.connect.Connect/Disconnect\",\
        \"result\":\"OK\",\"arguments\":\"devices 1001\"}"
)]
pub struct Audit {
    /// Only entries with a greater number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
}

impl Audit {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        let mut api = client.access();
        let mut flow = Flow::new(output);
        put(&flow.begin::<AuditEntry>())?;
        let mut after = self.after;
        loop {
            let request = ListAuditRequest {
                after,
                page_size: 0,
            };
            let page = client.ask(api.list_audit(request)).await?;
            for entry in &page.entries {
                put(&flow.row(entry))?;
            }
            // A page that does not lead on would be asked for without end.
            if page.next_after <= after {
                return put(flow.end());
            }
            after = page.next_after;
        }
    }
}
