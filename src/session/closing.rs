//! The words with which a session is closed.

use crate::cause::CauseKind;
use crate::codec::message::{Message, StreamId};
use crate::codec::pson::Value;
use crate::session::connect::BAD_CREDENTIALS;
use crate::session::server_run;

/// The Error to a Connect that the gateway does not admit. The particulars are for the operator:
/// who is not proven learns the kind alone.
pub fn refusal(stream_id: StreamId, kind: CauseKind) -> Message {
    let code = is_about_identity(kind).then_some(BAD_CREDENTIALS);
    server_run::error(stream_id, code, kind.as_str())
}

/// The Disconnect to a device whose session the gateway ends; no answer is wanted.
pub fn disconnect(kind: CauseKind) -> Message {
    let text = match kind {
        CauseKind::Superseded => "superseded",
        CauseKind::Drain => "drain",
        CauseKind::Deleted => "deleted",
        _ => "disconnected",
    };
    Message::Disconnect {
        stream_id: None,
        reason: None,
        detail: Some(Value::String(text.into())),
    }
}

/// Whether another name or proof would have helped.
const fn is_about_identity(kind: CauseKind) -> bool {
    matches!(
        kind,
        CauseKind::BadIdentity
            | CauseKind::NotProven
            | CauseKind::WrongOwner
            | CauseKind::WrongDevice
            | CauseKind::WeakerProof
    )
}
