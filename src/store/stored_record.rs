//! The records of the services to bytes and back. Bytes that say what cannot be do not decode.

use prost::Message;

use crate::access::{self, Role};
use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::records::{
    AuditEntry, PreviousDigest, Record, RecordKey, Refusal, Slaves, StoredCredential, StoredToken,
};
use crate::store::record::{RecordError, device_id, proto};

/// The first byte of a key in the tree `approvals`: one device can have both.
const REFUSAL: u8 = b'r';
const ENROLMENT: u8 = b'e';

/// The key of a record in its tree.
pub fn key(key: &RecordKey) -> Vec<u8> {
    match key {
        RecordKey::Slaves(parent) => parent.get().to_be_bytes().to_vec(),
        // No name holds a zero byte, so that no two identities have one key.
        RecordKey::Credential(identity) => {
            [identity.owner.as_bytes(), b"\0", identity.device.as_bytes()].concat()
        }
        RecordKey::Refusal(device) => approval_key(REFUSAL, *device),
        RecordKey::Enrolment(device) => approval_key(ENROLMENT, *device),
        RecordKey::Token(name) => name.as_bytes().to_vec(),
    }
}

fn approval_key(kind: u8, device: DeviceId) -> Vec<u8> {
    [&[kind][..], &device.get().to_be_bytes()].concat()
}

pub fn encode(record: &Record) -> Vec<u8> {
    match record {
        Record::Slaves(slaves) => slaves_record(slaves).encode_to_vec(),
        Record::Credential(credential) => credential_record(credential).encode_to_vec(),
        Record::Refusal(refusal) => approval(refusal_record(refusal)).encode_to_vec(),
        Record::Enrolment(device) => approval(enrolment_record(*device)).encode_to_vec(),
        Record::Token(token) => token_record(token).encode_to_vec(),
    }
}

/// # Errors
/// [`RecordError`], also when the key is that of another parent device.
pub fn decode_slaves(key: &[u8], bytes: &[u8]) -> Result<Record, RecordError> {
    let record = proto::Slaves::decode(bytes)?;
    let ids = |ids: Vec<u32>| ids.into_iter().map(device_id).collect::<Result<_, _>>();
    let slaves = Slaves {
        parent: device_id(record.parent)?,
        rs485: ids(record.rs485)?,
        wiegand: ids(record.wiegand)?,
    };
    under(key, Record::Slaves(slaves))
}

/// # Errors
/// [`RecordError`], also when the key is that of another name.
pub fn decode_credential(key: &[u8], bytes: &[u8]) -> Result<Record, RecordError> {
    let record = proto::Credential::decode(bytes)?;
    let previous = |previous: proto::PreviousDigest| {
        Ok::<_, RecordError>(PreviousDigest {
            digest: digest(&previous.digest)?,
            holds_until_unix_ms: previous.holds_until_unix_ms,
        })
    };
    let credential = StoredCredential {
        identity: Identity::new(&record.owner, &record.device)?,
        digest: digest(&record.digest)?,
        previous: record.previous.map(previous).transpose()?,
        created_unix_ms: record.created_unix_ms,
        made_for_tls: record.made_for_tls,
        confirmed: !record.unconfirmed,
    };
    under(key, Record::Credential(credential))
}

/// # Errors
/// [`RecordError`], also when the key is that of another device or kind.
pub fn decode_approval(key: &[u8], bytes: &[u8]) -> Result<Record, RecordError> {
    let record = match proto::Approval::decode(bytes)?.kind {
        Some(proto::approval::Kind::Refusal(refusal)) => Record::Refusal(Refusal {
            device: device_id(refusal.device)?,
            by: refusal.by.into(),
            unix_ms: refusal.unix_ms,
            expires_unix_ms: refusal.expires_unix_ms,
        }),
        Some(proto::approval::Kind::Enrolment(enrolment)) => {
            Record::Enrolment(device_id(enrolment.device)?)
        }
        None => return Err(RecordError::NoKind),
    };
    under(key, record)
}

/// # Errors
/// [`RecordError`], also when the key is that of another token.
pub fn decode_token(key: &[u8], bytes: &[u8]) -> Result<Record, RecordError> {
    let record = proto::Token::decode(bytes)?;
    if !access::is_caller_name(&record.name) {
        return Err(RecordError::TokenName);
    }
    let token = StoredToken {
        role: Role::from_name(&record.role).ok_or(RecordError::Role(record.role))?,
        digest: digest(&record.digest)?,
        name: record.name.into(),
        created_unix_ms: record.created_unix_ms,
        expires_unix_ms: record.expires_unix_ms,
        created_by: record.created_by.into(),
    };
    under(key, Record::Token(token))
}

/// The key of an entry of the audit log.
pub fn audit_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number of an entry of the audit log; `None` where the key is none of it.
pub fn audit_number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

pub fn encode_audit(entry: &AuditEntry) -> Vec<u8> {
    proto::AuditEntry {
        unix_ms: entry.unix_ms,
        caller: entry.caller.to_string(),
        peer: entry.peer.to_string(),
        call: entry.call.to_string(),
        arguments: entry.arguments.to_string(),
        result: entry.result.to_string(),
    }
    .encode_to_vec()
}

/// # Errors
/// [`RecordError::Key`], [`RecordError::Malformed`].
pub fn decode_audit(key: &[u8], bytes: &[u8]) -> Result<AuditEntry, RecordError> {
    let number = audit_number(key).ok_or(RecordError::Key(key.len(), 8))?;
    let record = proto::AuditEntry::decode(bytes)?;
    Ok(AuditEntry {
        number,
        unix_ms: record.unix_ms,
        caller: record.caller.into(),
        peer: record.peer.into(),
        call: record.call.into(),
        arguments: record.arguments.into(),
        result: record.result.into(),
    })
}

fn slaves_record(slaves: &Slaves) -> proto::Slaves {
    let numbers = |ids: &[DeviceId]| ids.iter().map(|id| id.get()).collect();
    proto::Slaves {
        parent: slaves.parent.get(),
        rs485: numbers(&slaves.rs485),
        wiegand: numbers(&slaves.wiegand),
    }
}

fn credential_record(credential: &StoredCredential) -> proto::Credential {
    let previous = |previous: &PreviousDigest| proto::PreviousDigest {
        digest: previous.digest.to_vec(),
        holds_until_unix_ms: previous.holds_until_unix_ms,
    };
    proto::Credential {
        owner: credential.identity.owner.to_string(),
        device: credential.identity.device.to_string(),
        digest: credential.digest.to_vec(),
        previous: credential.previous.as_ref().map(previous),
        created_unix_ms: credential.created_unix_ms,
        made_for_tls: credential.made_for_tls,
        unconfirmed: !credential.confirmed,
    }
}

const fn approval(kind: proto::approval::Kind) -> proto::Approval {
    proto::Approval { kind: Some(kind) }
}

fn refusal_record(refusal: &Refusal) -> proto::approval::Kind {
    proto::approval::Kind::Refusal(proto::Refusal {
        device: refusal.device.get(),
        by: refusal.by.to_string(),
        unix_ms: refusal.unix_ms,
        expires_unix_ms: refusal.expires_unix_ms,
    })
}

const fn enrolment_record(device: DeviceId) -> proto::approval::Kind {
    proto::approval::Kind::Enrolment(proto::Enrolment {
        device: device.get(),
    })
}

fn token_record(token: &StoredToken) -> proto::Token {
    proto::Token {
        name: token.name.to_string(),
        role: token.role.as_str().to_owned(),
        digest: token.digest.to_vec(),
        created_unix_ms: token.created_unix_ms,
        expires_unix_ms: token.expires_unix_ms,
        created_by: token.created_by.to_string(),
    }
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], RecordError> {
    bytes
        .try_into()
        .map_err(|_| RecordError::Digest(bytes.len()))
}

fn under(found: &[u8], record: Record) -> Result<Record, RecordError> {
    if found == key(&record.key()) {
        Ok(record)
    } else {
        Err(RecordError::OtherRecord)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::store::desired::tests::any_record;

    fn decode(key: &RecordKey, bytes: &[u8]) -> Result<Record, RecordError> {
        let decode = match key {
            RecordKey::Slaves(_) => decode_slaves,
            RecordKey::Credential(_) => decode_credential,
            RecordKey::Refusal(_) | RecordKey::Enrolment(_) => decode_approval,
            RecordKey::Token(_) => decode_token,
        };
        decode(&super::key(key), bytes)
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(record in any_record()) {
            prop_assert_eq!(decode(&record.key(), &encode(&record)), Ok(record));
        }

        #[test]
        fn a_record_cut_short_is_refused_or_another(record in any_record()) {
            let bytes = encode(&record);
            for length in 0..bytes.len() {
                prop_assert_ne!(decode(&record.key(), &bytes[..length]), Ok(record.clone()));
            }
        }

        #[test]
        fn two_records_have_two_keys(one in any_record(), other in any_record()) {
            let (one, other) = (one.key(), other.key());
            let alike = key(&one) == key(&other);
            let approvals = |key: &RecordKey| matches!(key, RecordKey::Refusal(_) | RecordKey::Enrolment(_));
            let one_tree = std::mem::discriminant(&one) == std::mem::discriminant(&other)
                || (approvals(&one) && approvals(&other));
            prop_assert_eq!(alike && one_tree, one == other);
        }

        #[test]
        fn an_audit_entry_comes_back_as_it_was(
            number: u64, unix_ms: u64, texts in vec(".{0,9}", 5),
        ) {
            let text = |index: usize| texts[index].as_str().into();
            let entry = AuditEntry {
                number,
                unix_ms,
                caller: text(0),
                peer: text(1),
                call: text(2),
                arguments: text(3),
                result: text(4),
            };
            prop_assert_eq!(decode_audit(&audit_key(number), &encode_audit(&entry)), Ok(entry));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(key in vec(any::<u8>(), 0..9), bytes in vec(any::<u8>(), 0..64)) {
            let _ = decode_slaves(&key, &bytes);
            let _ = decode_credential(&key, &bytes);
            let _ = decode_approval(&key, &bytes);
            let _ = decode_token(&key, &bytes);
            let _ = decode_audit(&key, &bytes);
        }
    }

    #[test]
    fn what_cannot_be_does_not_decode() {
        let token = |alter: fn(&mut proto::Token)| {
            let mut token = proto::Token {
                name: "ci".to_owned(),
                role: "viewer".to_owned(),
                digest: vec![1; 32],
                ..Default::default()
            };
            alter(&mut token);
            decode_token(b"ci", &token.encode_to_vec())
        };
        assert!(token(|_| ()).is_ok());
        let role = RecordError::Role("root".to_owned());
        assert_eq!(token(|token| token.role = "root".to_owned()), Err(role));
        let short = token(|token| token.digest.truncate(31));
        assert_eq!(short, Err(RecordError::Digest(31)));
        let name = token(|token| token.name = "c i".to_owned());
        assert_eq!(name, Err(RecordError::TokenName));
        let other = token(|token| token.name = "cd".to_owned());
        assert_eq!(other, Err(RecordError::OtherRecord));
        let no_kind = decode_approval(b"r\0\0\0\x01", b"");
        assert_eq!(no_kind, Err(RecordError::NoKind));
    }
}
