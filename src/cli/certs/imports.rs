//! The verbs that take certificates issued elsewhere.

use std::path::PathBuf;

use clap::Args;

use super::Answer;
use super::place::{Names, Place};
use crate::config::certs_dir;

/// Takes a root certificate that was made elsewhere
#[derive(Debug, Args)]
#[command(
    long_about = "Takes a root certificate that was made elsewhere.\n\n\
        Gateways that share devices need the same root. The imported one stands in front of those \
        that are there, which stay trusted until `gatehouse certs root --forget-old`. With its \
        key the gateway signs under it from now on and gets a new server certificate; without, \
        import a server certificate that it signed (`gatehouse certs import-server`). The key is \
        PKCS #8 in PEM. What the root has revoked elsewhere belongs into certs/ca.crl.",
    after_help = "Examples:\n  \
        gatehouse certs import-root ca.crt ca_key.pem --data-dir gatehouse-data\n      \
            a root that this gateway signs with\n  \
        gatehouse certs import-root company.crt --data-dir gatehouse-data\n      \
            a root whose key stays where it is"
)]
pub(super) struct ImportRoot {
    /// The root certificate in PEM
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    /// Its private key
    key: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    names: Names,
}

/// Takes a server certificate that was issued elsewhere
#[derive(Debug, Args)]
#[command(
    long_about = "Takes a server certificate that was issued elsewhere.\n\n\
        It comes with its chain in one file and with its key, and must stand under a root in \
        certs/ca.crt (see `gatehouse certs import-root`). A running gateway takes it at once.",
    after_help = "Examples:\n  \
        gatehouse certs import-server gate.crt gate_key.pem --data-dir gatehouse-data"
)]
pub(super) struct ImportServer {
    /// The certificate in PEM, those between it and the root behind it
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    /// Its private key in PEM
    key: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    names: Names,
}

impl ImportRoot {
    pub(super) fn answer(self) -> Answer {
        let hosts = self.names.hosts()?;
        let office = self.place.new_office()?;
        office.import_root(&self.certificate, self.key.as_deref(), &hosts)?;
        let ca = certs_dir(&self.place.data_dir).join("ca.crt");
        let next = if self.key.is_some() {
            "give the file to devices and clients"
        } else {
            "next: gatehouse certs import-server, with a certificate that it signed"
        };
        Ok(format!("{}: the root in front; {next}\n", ca.display()))
    }
}

impl ImportServer {
    pub(super) fn answer(self) -> Answer {
        let hosts = self.names.hosts()?;
        let office = self.place.office()?;
        let lacks = office.import_server(&self.certificate, &self.key, &hosts)?;
        if !lacks.hosts.is_empty() {
            eprintln!(
                "gatehouse: the certificate lacks {}; clients that use them will refuse it",
                lacks.hosts.join(" ")
            );
        }
        if lacks.role {
            eprintln!(
                "gatehouse: the certificate lacks the URI urn:gatehouse:gateway; devices that look \
                 for it will refuse the gateway"
            );
        }
        let path = certs_dir(&self.place.data_dir).join("server.crt");
        Ok(format!("{}\n", path.display()))
    }
}
