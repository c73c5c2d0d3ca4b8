//! The verbs that sign certificates.

use clap::Args;

use super::Answer;
use super::place::{Life, Names, Out, Place, days, parse_id, shown};
use crate::access;
use crate::config::certs_dir;
use crate::device::DeviceId;
use crate::link::office::Wanted;
use crate::link::role::Role;

/// Makes a certificate for a client of the gateway's services
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a certificate for a client of the gateway's services.\n\n\
        Its role says what the client may do: a viewer reads and follows, an operator also \
        connects and configures devices, an admin also decides who may come in. It is signed by \
        the gateway's root. Two files are written: NAME.crt and NAME_key.pem. The client also \
        needs certs/ca.crt from the data directory, to know the gateway by.",
    after_help = "Examples:\n  \
        gatehouse certs client anna --role admin --data-dir gatehouse-data\n      \
            writes anna.crt and anna_key.pem to this directory\n  \
        gatehouse certs client wall --role viewer --days 90 --out-dir /etc/wall \\\n          \
            --data-dir /var/lib/gatehouse"
)]
pub(super) struct Client {
    /// Who uses it: 1 to 64 of A-Z a-z 0-9 . _ -
    name: String,
    /// What its holder may do: viewer, operator or admin
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    role: access::Role,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    out: Out,
}

/// The same as client --role operator
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        gatehouse certs operator alice --data-dir gatehouse-data\n      \
            writes alice.crt and alice_key.pem to this directory")]
pub(super) struct Operator {
    /// Who uses it: 1 to 64 of A-Z a-z 0-9 . _ -
    name: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    out: Out,
}

/// Makes a certificate for a device
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a certificate for a device.\n\n\
        It proves on the tls link that the device is the one with this ID; from then on the \
        fleet's link key no longer opens that ID. Two files are written: device_ID.crt and \
        device_ID_key.pem. The device also needs certs/ca.crt from the data directory. It is a \
        TLS client unless --server says otherwise.",
    after_help = "Examples:\n  \
        gatehouse certs device 1001 --data-dir gatehouse-data\n      \
            writes device_1001.crt and device_1001_key.pem to this directory\n  \
        gatehouse certs device 1001 1002 --data-dir gatehouse-data\n      \
            one certificate for a controller that speaks for two devices\n  \
        gatehouse certs device 1001 --server --data-dir gatehouse-data\n      \
            for a device that is the TLS server when the gateway dials it"
)]
pub(super) struct Device {
    /// The device IDs that it is for
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<DeviceId>,
    /// The device is a TLS server: [tls] dial_role = "client" in the gateway's configuration
    #[arg(long)]
    server: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    out: Out,
}

/// Makes a certificate for a tenant of a master gateway
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a certificate for a tenant of a master gateway.\n\n\
        The tenant administrator reaches everything; its files are admin.crt and admin_key.pem, \
        those of another tenant tenant_ID.crt and tenant_ID_key.pem.",
    after_help = "Examples:\n  \
        gatehouse certs tenant administrator --data-dir master-data\n  \
        gatehouse certs tenant acme --data-dir master-data"
)]
pub(super) struct Tenant {
    /// The tenant's ID
    id: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    out: Out,
}

/// Makes a certificate for a device gateway of a master gateway
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a certificate for a device gateway of a master gateway.\n\n\
        The device gateway shows it when it dials the master gateway. Two files are written: \
        gateway_ID.crt and gateway_ID_key.pem.",
    after_help = "Examples:\n  \
        gatehouse certs gateway acme gate-1 --data-dir master-data"
)]
pub(super) struct Gateway {
    /// The ID of the tenant that the gateway belongs to
    tenant: String,
    /// The gateway's ID
    id: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    out: Out,
}

/// Makes the root certificate, or a new one in front of the old
#[derive(Debug, Args)]
#[command(
    long_about = "Makes the root certificate, or a new one in front of the old.\n\n\
        The gateway makes its first root by itself. To replace a root: --replace makes a new one, \
        which signs from now on, and a new server certificate; certs/ca.crt then holds both, and \
        what the old one signed is still good. Give the new ca.crt to devices and clients, and \
        make new certificates for those that have one; then --forget-old ends the trust in the \
        old root.",
    after_help = "Examples:\n  \
        gatehouse certs root --data-dir gatehouse-data\n      \
            the first root, before the gateway's first start\n  \
        gatehouse certs root --replace --data-dir gatehouse-data\n  \
        gatehouse certs root --forget-old --data-dir gatehouse-data"
)]
pub(super) struct Root {
    /// Make a new root in front of those that are there
    #[arg(long, conflicts_with = "forget_old")]
    replace: bool,
    /// End the trust in all roots but the first
    #[arg(long)]
    forget_old: bool,
    #[command(flatten)]
    place: Place,
    /// How many days the root is valid, up to 100 years
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3653,
        conflicts_with = "forget_old",
        value_parser = clap::value_parser!(u32).range(1..=36_525)
    )]
    days: u32,
    #[command(flatten)]
    names: Names,
}

/// Makes a new server certificate for the gateway
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a new server certificate for the gateway.\n\n\
        It is for the names and addresses of this machine, those of the certificate that is \
        there, and those that --name adds, and is signed by the gateway's root. A running gateway \
        takes it at once.",
    after_help = "Examples:\n  \
        gatehouse certs server --data-dir gatehouse-data\n  \
        gatehouse certs server --name gate.example.org --name 192.0.2.7 --data-dir gatehouse-data"
)]
pub(super) struct Server {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    names: Names,
}

impl Client {
    pub(super) fn answer(self) -> Answer {
        let role = Role::client(self.role, &self.name)?;
        issue(Wanted::Client(role), &self.place, &self.life, &self.out)
    }
}

impl Operator {
    pub(super) fn answer(self) -> Answer {
        let role = Role::operator(&self.name)?;
        issue(Wanted::Client(role), &self.place, &self.life, &self.out)
    }
}

impl Device {
    pub(super) fn answer(self) -> Answer {
        let wanted = Wanted::Devices {
            ids: self.ids,
            serves: self.server,
        };
        issue(wanted, &self.place, &self.life, &self.out)
    }
}

impl Tenant {
    pub(super) fn answer(self) -> Answer {
        let role = Role::tenant(&self.id)?;
        issue(Wanted::Client(role), &self.place, &self.life, &self.out)
    }
}

impl Gateway {
    pub(super) fn answer(self) -> Answer {
        let role = Role::master_gateway(&self.tenant, &self.id)?;
        issue(Wanted::Client(role), &self.place, &self.life, &self.out)
    }
}

impl Root {
    pub(super) fn answer(self) -> Answer {
        let ca = certs_dir(&self.place.data_dir).join("ca.crt");
        if self.forget_old {
            let forgotten = self.place.office()?.forget_old_roots()?;
            return Ok(format!("{}: {forgotten} roots forgotten\n", ca.display()));
        }
        let life = days(self.days);
        if self.replace {
            let office = self.place.office()?;
            office.replace_root(life, &self.names.hosts()?)?;
            return Ok(format!(
                "{}: a new root in front; give the file to devices and clients\n",
                ca.display()
            ));
        }
        let path = self.place.new_office()?.make_root(life)?;
        Ok(format!("{}\n", path.display()))
    }
}

impl Server {
    pub(super) fn answer(self) -> Answer {
        let office = self.place.office()?;
        office.renew_server(self.life.duration(), &self.names.hosts()?)?;
        let path = certs_dir(&self.place.data_dir).join("server.crt");
        Ok(format!("{}\n", path.display()))
    }
}

fn issue(wanted: Wanted, place: &Place, life: &Life, out: &Out) -> Answer {
    let office = place.office()?;
    let files = office.issue(&wanted, life.duration(), &out.out_dir)?;
    Ok(shown(&files))
}

fn parse_role(text: &str) -> Result<access::Role, String> {
    let role = access::Role::from_name(text);
    role.ok_or_else(|| "a role is viewer, operator or admin".to_owned())
}
