//! Which gateway, and as whom: the command line before the environment before the profile file
//! before a data directory that lies here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::exit::{Exit, Failure};

/// Where a gateway listens unless something says otherwise.
const PORT: u16 = 4000;
/// The profile that is used when none is named.
const DEFAULT: &str = "default";

/// A token; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is one word of visible ASCII characters".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// What the command line and the environment say; a profile says the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub address: Option<String>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub cert_key: Option<PathBuf>,
    /// A profile names a file only: the token is not in the text of two files.
    #[serde(skip)]
    pub token: Option<Token>,
    pub token_file: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
}

impl Given {
    /// Fills what is missing here from what counts less.
    fn or(self, less: Self) -> Self {
        let has_token = self.token.is_some() || self.token_file.is_some();
        let has_cert = self.cert.is_some() || self.cert_key.is_some();
        let [cert, cert_key] = match has_cert {
            true => [self.cert, self.cert_key],
            false => [less.cert, less.cert_key],
        };
        Self {
            address: self.address.or(less.address),
            ca: self.ca.or(less.ca),
            cert,
            cert_key,
            token: self.token.or(less.token.filter(|_| !has_token)),
            token_file: self.token_file.or(less.token_file.filter(|_| !has_token)),
            data_dir: self.data_dir.or(less.data_dir),
        }
    }

    /// Paths of a profile are meant from the folder of its file.
    fn below(mut self, folder: &Path) -> Self {
        for path in [
            &mut self.ca,
            &mut self.cert,
            &mut self.cert_key,
            &mut self.token_file,
            &mut self.data_dir,
        ]
        .into_iter()
        .flatten()
        {
            *path = folder.join(&path);
        }
        self
    }
}

/// The profile file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    #[serde(default)]
    profile: BTreeMap<String, Given>,
}

/// The profile of this name, or the default one if there is such.
///
/// # Errors
/// [`Exit::Usage`] when the text is no profile file, or has no profile of that name.
pub fn profile(text: &str, file: &Path, name: Option<&str>) -> Result<Given, Failure> {
    let shown = file.display();
    let mut profiles: Profiles = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text.get(..span.start)
                .map_or(1, |before| before.matches('\n').count() + 1)
        });
        let what = error.message();
        Failure::new(Exit::Usage, format!("{shown}: line {line}: {what}"))
    })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    match profiles.profile.remove(name.unwrap_or(DEFAULT)) {
        Some(given) => Ok(given.below(folder)),
        None => match name {
            None => Ok(Given::default()),
            Some(name) => Err(Failure::new(
                Exit::Usage,
                format!(
                    "{shown} has no profile {name:?}; it has {}",
                    names(&profiles)
                ),
            )),
        },
    }
}

fn names(profiles: &Profiles) -> String {
    if profiles.profile.is_empty() {
        return "none, add [profile.NAME] to it".to_owned();
    }
    let names: Vec<&str> = profiles.profile.keys().map(String::as_str).collect();
    names.join(", ")
}

/// Where a token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    Text(Token),
    File(PathBuf),
    /// The first token of a gateway on this machine: not everybody may read it, and not everything
    /// needs it.
    IfReadable(PathBuf),
}

/// One gateway, and how to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: Address,
    /// The root certificate by which the gateway is known.
    pub ca: PathBuf,
    /// A client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub token: Option<TokenFrom>,
}

/// Host and port of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, the latter without brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Address {
    type Err = Failure;

    /// Without a port it is 4000.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let parts = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').and_then(|(host, rest)| {
                let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
                is_v6.then_some((host, rest))
            }),
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (host, rest) = text.split_at(end);
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
                (!host.is_empty() && host.bytes().all(is_name)).then_some((host, rest))
            }
        };
        let address = parts.and_then(|(host, rest)| {
            let port = match rest {
                "" => Some(PORT),
                rest => rest
                    .strip_prefix(':')?
                    .parse()
                    .ok()
                    .filter(|port| *port > 0),
            };
            let host = host.to_owned();
            Some(Self { host, port: port? })
        });
        address.ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!(
                    "the address of the gateway is {text:?}; write it as HOST:PORT, for instance gateway.example:4000 or [::1]:4000"
                ),
            )
        })
    }
}

/// Puts together what is given. `profile` counts less than `given`; `here` is a data directory
/// that lies where the command runs.
///
/// # Errors
/// [`Exit::Usage`] when no root certificate is given, half a client certificate is, or the address
/// is none.
pub fn resolve(given: Given, profile: Given, here: Option<PathBuf>) -> Result<Target, Failure> {
    let mut all = given.or(profile);
    if all.ca.is_none() && all.data_dir.is_none() {
        all.data_dir = here;
    }
    let identity = match (all.cert, all.cert_key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (cert, _) => {
            let (there, missing) = match cert {
                Some(_) => ("--cert", "--cert-key"),
                None => ("--cert-key", "--cert"),
            };
            let text =
                format!("{there} is given without {missing}; a client certificate needs both");
            return Err(Failure::new(Exit::Usage, text));
        }
    };
    let data_dir = all.data_dir.as_deref();
    let local_ca = || data_dir.map(|dir| dir.join("certs").join("ca.crt"));
    let ca = all.ca.or_else(local_ca).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "no gateway is named: give its root certificate with --ca FILE (certs/ca.crt in the gateway's data directory), its data directory with --data-dir, or a profile",
        )
    })?;
    let given_token = match (all.token, all.token_file) {
        (Some(token), _) => Some(TokenFrom::Text(token)),
        (None, file) => file.map(TokenFrom::File),
    };
    // Who brings a certificate wants to be known by it.
    let local = data_dir.filter(|_| identity.is_none());
    let local_token = || local.map(|dir| TokenFrom::IfReadable(dir.join("admin.token")));
    Ok(Target {
        address: all.address.as_deref().unwrap_or("127.0.0.1").parse()?,
        ca,
        token: given_token.or_else(local_token),
        identity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<PathBuf> {
        Some(PathBuf::from(text))
    }

    fn address(text: &str) -> Result<String, String> {
        let address = text.parse::<Address>();
        address
            .map(|address| address.to_string())
            .map_err(|failure| failure.text)
    }

    #[test]
    fn addresses_have_a_host_and_maybe_a_port() {
        for (text, read) in [
            ("127.0.0.1:4000", "127.0.0.1:4000"),
            ("gateway.example", "gateway.example:4000"),
            ("gate-1:65535", "gate-1:65535"),
            ("[::1]:4001", "[::1]:4001"),
            ("[::1]", "[::1]:4000"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(read));
        }
        for text in [
            "",
            ":4000",
            "host:",
            "host:0",
            "host:65536",
            "::1",
            "[::1",
            "[door]:1",
            "a b:1",
            "https://host:1",
            "[::1]4000",
        ] {
            assert!(address(text).unwrap_err().contains("HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn what_lies_here_is_the_last_resort() {
        let target = resolve(Given::default(), Given::default(), path("data")).unwrap();
        assert_eq!(target.address.to_string(), "127.0.0.1:4000");
        assert_eq!(target.ca, Path::new("data/certs/ca.crt"));
        let local = TokenFrom::IfReadable(PathBuf::from("data/admin.token"));
        assert_eq!(target.token, Some(local));
        let failure = resolve(Given::default(), Given::default(), None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains("--ca FILE"), "{failure}");
        // A root that is named belongs to another gateway than the one that lies here.
        let given = Given {
            ca: path("other.crt"),
            ..Given::default()
        };
        let target = resolve(given, Given::default(), path("data")).unwrap();
        assert_eq!(
            (target.ca, target.token),
            (PathBuf::from("other.crt"), None)
        );
    }

    #[test]
    fn the_command_line_counts_more_than_the_profile() {
        let text = "[profile.default]\naddress = \"a:1\"\nca = \"a.crt\"\ntoken_file = \"t\"\n\
                    [profile.b]\naddress = \"b:1\"\nca = \"/b.crt\"\ncert = \"b\"\ncert_key = \"k\"\n";
        let read = |name| profile(text, Path::new("/etc/ctl.toml"), name);
        let given = Given {
            address: Some("c:2".to_owned()),
            token: Some(Token("word".to_owned())),
            ..Given::default()
        };
        let target = resolve(given.clone(), read(None).unwrap(), None).unwrap();
        assert_eq!(target.address.to_string(), "c:2");
        assert_eq!(target.ca, Path::new("/etc/a.crt"));
        assert_eq!(
            target.token,
            Some(TokenFrom::Text(Token("word".to_owned())))
        );
        let target = resolve(Given::default(), read(Some("b")).unwrap(), None).unwrap();
        assert_eq!(target.ca, Path::new("/b.crt"));
        let pair = (PathBuf::from("/etc/b"), PathBuf::from("/etc/k"));
        assert_eq!((target.identity, target.token), (Some(pair), None));
        let failure = read(Some("c")).unwrap_err();
        assert!(failure.text.ends_with("it has b, default"), "{failure}");
        assert!(!format!("{given:?}").contains("word"));
    }

    #[test]
    fn half_a_certificate_is_told() {
        let given = Given {
            cert: path("a.crt"),
            ca: path("ca.crt"),
            ..Given::default()
        };
        let failure = resolve(given, Given::default(), None).unwrap_err();
        assert!(failure.text.contains("without --cert-key"), "{failure}");
    }

    #[test]
    fn a_profile_file_that_is_none_names_the_line() {
        let read = |text| profile(text, Path::new("ctl.toml"), None).unwrap_err();
        let failure = read("[profile.default]\n\nadress = \"a:1\"\n");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains("ctl.toml: line 3"), "{failure}");
        assert!(failure.text.contains("adress"), "{failure}");
        assert!(!read("[profile").text.contains('\n'));
        let empty = profile("", Path::new("ctl.toml"), None);
        assert_eq!(empty, Ok(Given::default()));
    }

    #[test]
    fn a_token_is_one_visible_word() {
        assert_eq!(" abc.DEF-1\n".parse(), Ok(Token("abc.DEF-1".to_owned())));
        for text in ["", "  ", "a b", "é", "a\u{1b}"] {
            assert!(text.parse::<Token>().is_err(), "{text:?}");
        }
    }
}
