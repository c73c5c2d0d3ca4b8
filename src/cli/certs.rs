//! `gatehouse certs`: certificates, link keys, secrets of devices.

mod imports;
mod keys;
mod list;
mod make;
mod place;
mod revoke;
#[cfg(test)]
mod tests;

use std::error::Error;

use clap::{Args, Subcommand};

/// Makes, imports, lists and revokes certificates; makes keys and secrets
#[derive(Debug, Args)]
#[command(
    long_about = "Makes, imports, lists and revokes certificates; makes keys and secrets.\n\n\
        The gateway makes its own root certificate, server certificate and first link key at its \
        first start: none of these commands is needed to begin. It may run while they work. What \
        exists is only overwritten by a verb that says so; the old file then stays beside the new \
        one, with the date behind its name. Private keys are written for their owner alone (mode \
        0600).\n\n\
        The keys of the roots and all link keys are sealed under the gateway's key file: \
        gateway.key in the data directory, or where [keys] file in its configuration says \
        (--key-file here). Keep a copy of that file where the data directory is not.\n\n\
        Where the key file is lost for good: move keys and certs/ca_key.pem in the data directory \
        away and start the gateway. It goes on with its certificates, and makes a new key file \
        and a new link key. Give the link key to the devices (show-key), make a new root (root \
        --replace), give ca.crt to devices and clients, and then end the trust in the old root \
        (root --forget-old).",
    after_help = "Examples:\n  \
        gatehouse certs client anna --role admin --data-dir gatehouse-data\n      \
            a certificate for anna, who may do everything\n  \
        gatehouse certs device 1001 --data-dir gatehouse-data\n      \
            a certificate for device 1001\n  \
        gatehouse certs list --data-dir gatehouse-data\n      \
            what there is, and when it expires\n  \
        gatehouse certs revoke --device 1001 --data-dir gatehouse-data\n      \
            takes the certificates of device 1001 back"
)]
pub struct Certs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Client(make::Client),
    Operator(make::Operator),
    Device(make::Device),
    Tenant(make::Tenant),
    Gateway(make::Gateway),
    Root(make::Root),
    Server(make::Server),
    ImportRoot(imports::ImportRoot),
    ImportServer(imports::ImportServer),
    List(list::List),
    Revoke(revoke::Revoke),
    LinkKey(keys::LinkKey),
    ShowKey(keys::ShowKey),
    DeviceSecret(keys::DeviceSecret),
}

/// What a command prints to the standard output.
type Answer = Result<String, Box<dyn Error>>;

impl Certs {
    /// # Errors
    /// One line that says what was wrong.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        Ok(super::print(&self.command.answer()?)?)
    }
}

impl Command {
    fn answer(self) -> Answer {
        match self {
            Self::Client(command) => command.answer(),
            Self::Operator(command) => command.answer(),
            Self::Device(command) => command.answer(),
            Self::Tenant(command) => command.answer(),
            Self::Gateway(command) => command.answer(),
            Self::Root(command) => command.answer(),
            Self::Server(command) => command.answer(),
            Self::ImportRoot(command) => command.answer(),
            Self::ImportServer(command) => command.answer(),
            Self::List(command) => command.answer(),
            Self::Revoke(command) => command.answer(),
            Self::LinkKey(command) => command.answer(),
            Self::ShowKey(command) => command.answer(),
            Self::DeviceSecret(command) => command.answer(),
        }
    }
}
