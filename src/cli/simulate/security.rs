//! Arguments to what secures the devices' links.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::args::{LikeArg, LinkArg, Simulate};
use super::plan::wrong;
use crate::config::{TlsVersion, gateway_key_in, keys_dir};
use crate::link::gateway_key;
use crate::link::key_files;
use crate::link::link_key::LinkKey;
use crate::sim::link::Security;
use crate::sim::spec::Spec;
use crate::sim::tls::{Options, OwnCertificate, Tls, Turned};

/// In the data directory of a gateway.
const ROOT: &str = "certs/ca.crt";

/// What all devices have, read before the first is started.
#[derive(Debug)]
pub(super) struct Securities {
    link: Link,
    keys: Keys,
    certificates: Certificates,
}

#[derive(Debug)]
enum Link {
    Plain,
    Aes,
    /// One for all devices, or one for each in their order.
    Tls(Vec<Tls>),
}

#[derive(Debug)]
enum Keys {
    None,
    Fleet(LinkKey),
    /// In the order of the devices.
    Devices(Vec<LinkKey>),
}

/// One for all devices, one for each in their order, or none.
type Certificates = Vec<Arc<OwnCertificate>>;

impl Securities {
    /// Reads the keys and certificates.
    ///
    /// # Errors
    /// One line that says which argument or file is wrong, and what would be right.
    pub(super) fn new(arguments: &Simulate) -> Result<Self, clap::Error> {
        let certificates = certificates(arguments)?;
        Ok(Self {
            link: link(arguments, &certificates)?,
            keys: keys(arguments)?,
            certificates,
        })
    }

    /// Secures the links of the device with this index.
    pub(super) fn secure(&self, spec: &mut Spec, index: usize) {
        let key = match &self.keys {
            Keys::None => None,
            Keys::Fleet(key) => Some(key.clone()),
            Keys::Devices(keys) => keys.get(index).cloned(),
        };
        spec.tls.certificate = of_device(&self.certificates, index).cloned();
        match (&self.link, key) {
            (Link::Tls(all), key) => {
                spec.state.key = key;
                if let Some(tls) = of_device(all, index) {
                    spec.security = Security::Tls(tls.for_another());
                }
            }
            (Link::Aes, Some(key)) => spec.security = Security::Aes(key),
            (Link::Aes, None) | (Link::Plain, _) => {}
        }
    }
}

/// One for all stands alone.
fn of_device<T>(all: &[T], index: usize) -> Option<&T> {
    match all {
        [one] => Some(one),
        each => each.get(index),
    }
}

/// How the devices lead tls links, but for their certificates.
pub(super) fn options(arguments: &Simulate) -> Options {
    let turned = if arguments.tls_insist {
        Turned::GatewayAlone
    } else {
        Turned::Anyone
    };
    let versions = match (arguments.tls_versions.as_slice(), arguments.like) {
        // All that this client offers, but for its WebSockets.
        ([], Some(LikeArg::Linux)) if !arguments.websocket => vec![TlsVersion::V1_2],
        ([], _) => Options::default().versions,
        (named, _) => named.to_vec(),
    };
    Options {
        certificate: None,
        versions,
        turned: arguments.tls_turned.then_some(turned),
        resumption: !arguments.no_resumption,
    }
}

fn link(arguments: &Simulate, certificates: &Certificates) -> Result<Link, clap::Error> {
    if arguments.tls_turned && certificates.is_empty() {
        return Err(wrong(
            "--tls-turned needs a certificate: --cert FILE or --device-certs DIR",
        ));
    }
    match arguments.link {
        LinkArg::Plain => return Ok(Link::Plain),
        LinkArg::Aes if arguments.ca.is_some() => {
            return Err(wrong("--ca goes with --link tls"));
        }
        LinkArg::Aes => return Ok(Link::Aes),
        LinkArg::Tls => {}
    }
    let in_data_dir = || Some(arguments.data_dir.as_ref()?.join(ROOT));
    let Some(file) = arguments.ca.clone().or_else(in_data_dir) else {
        return Err(wrong(
            "a tls link needs the root certificate of the gateway: --ca FILE or --data-dir DIR",
        ));
    };
    let root = text_of(&file)?;
    let tls = |certificate| {
        let options = Options {
            certificate,
            ..options(arguments)
        };
        Tls::new(&root, &options).map_err(|error| told(&file, &error))
    };
    if certificates.is_empty() {
        return Ok(Link::Tls(vec![tls(None)?]));
    }
    let each = certificates.iter().cloned().map(Some).map(tls);
    Ok(Link::Tls(each.collect::<Result<_, _>>()?))
}

fn keys(arguments: &Simulate) -> Result<Keys, clap::Error> {
    let (file, folder) = (&arguments.key, &arguments.device_keys);
    match (arguments.link, file, folder, &arguments.data_dir) {
        (LinkArg::Plain, None, None, None) => Ok(Keys::None),
        (LinkArg::Plain, ..) => Err(wrong("--link plain takes no keys")),
        (_, Some(file), ..) => Ok(Keys::Fleet(key_in(file)?)),
        (_, None, Some(dir), _) => {
            let keys = ids(arguments).map(|id| key_in(&dir.join(format!("{id}.key"))));
            Ok(Keys::Devices(keys.collect::<Result<_, _>>()?))
        }
        (_, None, None, Some(dir)) => Ok(Keys::Fleet(fleet_key_of(dir)?)),
        (LinkArg::Tls, None, None, None) => Ok(Keys::None),
        (LinkArg::Aes, None, None, None) => Err(wrong(
            "an aes link needs a key: --key FILE, --device-keys DIR, --data-dir DIR, or else \
             --link plain",
        )),
    }
}

/// The newest fleet key of the gateway with this data directory.
fn fleet_key_of(dir: &Path) -> Result<LinkKey, clap::Error> {
    let none = || told(dir, &"holds no fleet key, start the gateway once");
    if !keys_dir(dir).exists() {
        return Err(none());
    }
    let sealer = gateway_key::read(&gateway_key_in(dir)).map_err(wrong)?;
    let newest = key_files::newest_fleet_key(&keys_dir(dir), &sealer).map_err(wrong)?;
    newest.ok_or_else(none)
}

fn certificates(arguments: &Simulate) -> Result<Certificates, clap::Error> {
    match (
        &arguments.cert,
        &arguments.cert_key,
        &arguments.device_certs,
    ) {
        (Some(certificate), Some(key), _) => Ok(vec![certificate_in(certificate, key)?]),
        (_, _, Some(dir)) => ids(arguments)
            .map(|id| {
                let file = |name: String| dir.join(name);
                certificate_in(&file(format!("{id}.crt")), &file(format!("{id}_key.pem")))
            })
            .collect(),
        _ => Ok(Vec::new()),
    }
}

fn ids(arguments: &Simulate) -> impl Iterator<Item = u32> {
    let first = arguments.first_id;
    (0..arguments.count).map(move |index| first + index)
}

fn certificate_in(file: &Path, key: &Path) -> Result<Arc<OwnCertificate>, clap::Error> {
    let (certificate, key) = (text_of(file)?, text_of(key)?);
    let own = OwnCertificate::from_pem(&certificate, &key);
    own.map(Arc::new).map_err(|error| told(file, &error))
}

fn key_in(file: &Path) -> Result<LinkKey, clap::Error> {
    LinkKey::from_hex(&text_of(file)?).map_err(|error| told(file, &error))
}

fn text_of(file: &Path) -> Result<String, clap::Error> {
    fs::read_to_string(file).map_err(|error| told(file, &error))
}

fn told(file: &Path, problem: &dyn Display) -> clap::Error {
    wrong(format_args!("{}: {problem}", file.display()))
}
