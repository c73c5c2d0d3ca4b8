//! The audit log of calls that change something.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::callers::peer::Peer;
use crate::clock;
use crate::registry::records::AuditEntry;
use crate::store::Store;

/// So much of a request is kept for its summary, in bytes.
const HEARD_MAX: usize = 4096;
/// Tries without credentials that are written in one minute; the rest are counted in the log of
/// the process, so that strangers cannot drive out what others did.
const STRANGERS_A_MINUTE: u32 = 30;
const MINUTE_MS: u64 = 60_000;

/// Tells the arguments of a call in short, without a secret, from the first part of its request.
pub type Summarise = fn(call: &str, heard: &[u8]) -> String;

/// The [`Summarise`] of calls whose arguments are heard in words.
pub fn as_text(_call: &str, heard: &[u8]) -> String {
    String::from_utf8_lossy(heard).into_owned()
}

/// Writes entries. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    strangers: Quota,
}

impl Audit {
    pub fn new(store: Store) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                strangers: Quota::default(),
            }),
        }
    }

    /// Begins the entry of a call that was let in. It is written when the ticket is dropped.
    pub fn begin(
        &self,
        caller: &str,
        peer: Option<&Peer>,
        call: &str,
        summarise: Summarise,
    ) -> Ticket {
        Ticket {
            audit: self.clone(),
            caller: caller.into(),
            peer: peer_text(peer),
            call: call.into(),
            heard: Heard::default(),
            summarise,
            result: "CANCELLED",
        }
    }

    /// Writes that somebody who showed nothing that holds tried to make this call.
    pub fn stranger(&self, peer: Option<&Peer>, call: &str) {
        if !self.inner.strangers.take(clock::now().unix_ms) {
            tracing::debug!(target: "audit", call, "a refused call is not written: there are too many");
            return;
        }
        let mut ticket = self.begin("nobody", peer, call, |_, _| String::new());
        ticket.ended("UNAUTHENTICATED");
    }

    /// Entries with a greater number than `after`, oldest first, at most `max`.
    ///
    /// # Errors
    /// A text when the store cannot tell.
    pub async fn read(&self, after: u64, max: usize) -> Result<Vec<AuditEntry>, String> {
        self.inner.store.audit(after, max).await
    }
}

/// One call that changes something, until it has ended. A call that is dropped was cancelled; what
/// it changed by then stays.
pub struct Ticket {
    audit: Audit,
    caller: Box<str>,
    peer: Box<str>,
    call: Box<str>,
    heard: Heard,
    summarise: Summarise,
    /// The name of a gRPC status code.
    result: &'static str,
}

impl Ticket {
    /// What is heard of the request.
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// How the call ended, as the name of a gRPC status code; the last word counts.
    pub fn ended(&mut self, result: &'static str) {
        self.result = result;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let entry = AuditEntry {
            number: 0,
            unix_ms: clock::now().unix_ms,
            caller: self.caller.clone(),
            peer: self.peer.clone(),
            call: self.call.clone(),
            arguments: self.heard.summary(&self.call, self.summarise).into(),
            result: self.result.into(),
        };
        tracing::info!(
            target: "audit",
            caller = %entry.caller,
            peer = %entry.peer,
            call = %entry.call,
            arguments = %entry.arguments,
            result = %entry.result,
            "call"
        );
        self.audit.inner.store.append_audit(entry);
    }
}

/// The first part of a request as it goes by.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    pub fn hear(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEARD_MAX - heard.len();
        heard.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn summary(&self, call: &str, summarise: Summarise) -> String {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        summarise(call, &heard)
    }
}

/// So many in a minute.
#[derive(Default)]
struct Quota {
    minute: AtomicU64,
    used: AtomicU32,
}

impl Quota {
    /// Two that come at the turn of a minute may both begin it; the bound is not meant to be exact.
    fn take(&self, now_unix_ms: u64) -> bool {
        let minute = now_unix_ms / MINUTE_MS;
        if self.minute.swap(minute, Ordering::Relaxed) != minute {
            self.used.store(0, Ordering::Relaxed);
        }
        // Without end it would begin again.
        let used = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < STRANGERS_A_MINUTE).then_some(used + 1)
            });
        used.is_ok()
    }
}

fn peer_text(peer: Option<&Peer>) -> Box<str> {
    peer.map(|peer| peer.address.to_string())
        .unwrap_or_default()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_written_so_many_times_a_minute() {
        let quota = Quota::default();
        let taken = |now| (0..1000).filter(|_| quota.take(now)).count();
        assert_eq!(taken(5 * MINUTE_MS), 30);
        assert_eq!(taken(5 * MINUTE_MS + 59_999), 0);
        assert_eq!(taken(6 * MINUTE_MS), 30);
    }

    #[test]
    fn only_the_first_part_of_a_request_is_kept() {
        let long = Heard::default();
        (0..10).for_each(|_| long.hear(&[0; 1000]));
        assert_eq!(long.0.lock().expect("sound").len(), HEARD_MAX);
    }
}
