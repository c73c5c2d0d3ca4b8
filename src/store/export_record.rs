//! The records of the services as lines of the export.

use serde::{Deserialize, Serialize};

use crate::access::{self, Role};
use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::records::{
    PreviousDigest, Record, Refusal, Slaves, StoredCredential, StoredToken,
};
use crate::store::export_line::device_id;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordLine {
    Slaves(SlavesLine),
    Credential(CredentialLine),
    Refusal(RefusalLine),
    Enrolment(EnrolmentLine),
    Token(TokenLine),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlavesLine {
    parent: u32,
    rs485: Vec<u32>,
    wiegand: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialLine {
    owner: String,
    device: String,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousLine>,
    created_unix_ms: u64,
    made_for_tls: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unconfirmed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviousLine {
    digest: String,
    holds_until_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalLine {
    device: u32,
    by: String,
    unix_ms: u64,
    expires_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentLine {
    device: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLine {
    name: String,
    role: String,
    digest: String,
    created_unix_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_unix_ms: Option<u64>,
    created_by: String,
}

impl RecordLine {
    pub fn of(record: &Record) -> Self {
        match record {
            Record::Slaves(slaves) => Self::Slaves(SlavesLine {
                parent: slaves.parent.get(),
                rs485: numbers(&slaves.rs485),
                wiegand: numbers(&slaves.wiegand),
            }),
            Record::Credential(credential) => Self::Credential(credential_line(credential)),
            Record::Refusal(refusal) => Self::Refusal(RefusalLine {
                device: refusal.device.get(),
                by: refusal.by.to_string(),
                unix_ms: refusal.unix_ms,
                expires_unix_ms: refusal.expires_unix_ms,
            }),
            Record::Enrolment(device) => Self::Enrolment(EnrolmentLine {
                device: device.get(),
            }),
            Record::Token(token) => Self::Token(TokenLine {
                name: token.name.to_string(),
                role: token.role.as_str().to_owned(),
                digest: hex::encode(token.digest),
                created_unix_ms: token.created_unix_ms,
                expires_unix_ms: token.expires_unix_ms,
                created_by: token.created_by.to_string(),
            }),
        }
    }

    /// # Errors
    /// A text that says what cannot be.
    pub fn record(self) -> Result<Record, String> {
        Ok(match self {
            Self::Slaves(line) => Record::Slaves(Slaves {
                parent: device_id(line.parent)?,
                rs485: devices(line.rs485)?,
                wiegand: devices(line.wiegand)?,
            }),
            Self::Credential(line) => Record::Credential(line.credential()?),
            Self::Refusal(line) => Record::Refusal(Refusal {
                device: device_id(line.device)?,
                by: line.by.into(),
                unix_ms: line.unix_ms,
                expires_unix_ms: line.expires_unix_ms,
            }),
            Self::Enrolment(line) => Record::Enrolment(device_id(line.device)?),
            Self::Token(line) => Record::Token(line.token()?),
        })
    }
}

impl CredentialLine {
    fn credential(self) -> Result<StoredCredential, String> {
        let identity = Identity::new(&self.owner, &self.device);
        let previous = |line: PreviousLine| {
            Ok::<_, String>(PreviousDigest {
                digest: digest(&line.digest)?,
                holds_until_unix_ms: line.holds_until_unix_ms,
            })
        };
        Ok(StoredCredential {
            identity: identity.map_err(|error| error.to_string())?,
            digest: digest(&self.digest)?,
            previous: self.previous.map(previous).transpose()?,
            created_unix_ms: self.created_unix_ms,
            made_for_tls: self.made_for_tls,
            confirmed: !self.unconfirmed,
        })
    }
}

impl TokenLine {
    fn token(self) -> Result<StoredToken, String> {
        if !access::is_caller_name(&self.name) {
            return Err("the token's name is not 1 to 64 of A-Z a-z 0-9 . _ -".to_owned());
        }
        let role = Role::from_name(&self.role);
        Ok(StoredToken {
            name: self.name.into(),
            role: role.ok_or("the role is not viewer, operator or admin")?,
            digest: digest(&self.digest)?,
            created_unix_ms: self.created_unix_ms,
            expires_unix_ms: self.expires_unix_ms,
            created_by: self.created_by.into(),
        })
    }
}

fn credential_line(credential: &StoredCredential) -> CredentialLine {
    let previous = |previous: &PreviousDigest| PreviousLine {
        digest: hex::encode(previous.digest),
        holds_until_unix_ms: previous.holds_until_unix_ms,
    };
    CredentialLine {
        owner: credential.identity.owner.to_string(),
        device: credential.identity.device.to_string(),
        digest: hex::encode(credential.digest),
        previous: credential.previous.as_ref().map(previous),
        created_unix_ms: credential.created_unix_ms,
        made_for_tls: credential.made_for_tls,
        unconfirmed: !credential.confirmed,
    }
}

fn numbers(ids: &[DeviceId]) -> Vec<u32> {
    ids.iter().map(|id| id.get()).collect()
}

fn devices(ids: Vec<u32>) -> Result<Vec<DeviceId>, String> {
    ids.into_iter().map(device_id).collect()
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest)
        .map_err(|_| "the digest is not 64 hex digits".to_owned())?;
    Ok(digest)
}
