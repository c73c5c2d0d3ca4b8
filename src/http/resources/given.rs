//! Inputs that come on sockets, given to devices and written to the audit log.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;

use crate::callers::audit::{Audit, Ticket, as_text};
use crate::callers::guard::Pass;
use crate::callers::peer::Peer;
use crate::device::DeviceId;
use crate::handle::Gateway;
use crate::http::problem::code_name;
use crate::http::resources::answer::value_of;
use crate::http::websocket::inputs::Give;
use crate::session::machine::Request;

/// So many resources of a socket are remembered as written to; those beyond are written to the log
/// with each input.
const REMEMBERED_MAX: usize = 256;
/// The name of the call in the audit log.
const CALL: &str = "INPUT /v3/users/{user}/devices/{device}/resources";

/// Who gives, and to which device.
pub struct Giver {
    pub pass: Pass,
    pub peer: Option<Peer>,
    pub user: String,
    pub device: String,
    pub id: DeviceId,
}

/// Gives inputs to one device. The first input of each resource is in the audit log; a socket may
/// give many in a second.
pub fn give(gateway: Gateway, audit: Audit, giver: Giver) -> Give {
    let seen = Mutex::new(HashSet::new());
    Arc::new(move |resource, payload| {
        let ticket = is_first(&seen, &resource).then(|| begin(&audit, &giver, &resource));
        let (gateway, id) = (gateway.clone(), giver.id);
        let resource = resource.to_string();
        async move {
            let request = Request::StreamInput { resource, payload };
            let given = value_of(gateway.ask(id, request).await);
            if let Some(mut ticket) = ticket {
                let problem = given.as_ref().err();
                ticket.ended(problem.map_or("OK", |problem| code_name(problem.status)));
            }
            given.map(|_| ())
        }
        .boxed()
    })
}

fn is_first(seen: &Mutex<HashSet<Arc<str>>>, resource: &Arc<str>) -> bool {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.contains(resource) {
        return false;
    }
    if seen.len() < REMEMBERED_MAX {
        seen.insert(Arc::clone(resource));
    }
    true
}

fn begin(audit: &Audit, giver: &Giver, resource: &str) -> Ticket {
    let ticket = audit.begin(&giver.pass.caller.name, giver.peer.as_ref(), CALL, as_text);
    let (user, device) = (&giver.user, &giver.device);
    let arguments = format!("user {user:?} device {device:?} resource {resource:?}");
    ticket.heard().hear(arguments.as_bytes());
    ticket
}
