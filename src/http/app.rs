//! What every handler reaches.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::callers::guard::{Guard, Pass, Refusal};
use crate::clock;
use crate::http::Services;
use crate::http::counts::Counts;
use crate::http::hosts::Hosts;
use crate::http::lease::Lease;
use crate::http::problem::Problem;
use crate::http::tickets::{RANDOM_BYTES, Tickets};
use crate::link::host_names::HostNames;

/// The state of the router, shared by all requests.
pub struct App {
    pub services: Services,
    pub hosts: Hosts,
    pub counts: Counts,
    tickets: Mutex<Tickets<Pass>>,
    stop: CancellationToken,
}

impl App {
    /// `stop`: what ends streams.
    pub fn new(services: Services, stop: CancellationToken) -> Arc<Self> {
        let names = HostNames::of_this_machine(&services.names);
        let more = services.names.iter().chain(&services.http.hosts).cloned();
        let addresses = names.addresses.iter().map(ToString::to_string);
        let hosts = names.dns.iter().cloned().chain(addresses).chain(more);
        let hosts = Hosts::new(hosts, &services.http.origins);
        Arc::new(Self {
            counts: Counts::new(&services.meter),
            services,
            hosts,
            tickets: Mutex::default(),
            stop,
        })
    }

    /// What says when a stream must end that this pass let in. Hold it as long as the stream lasts.
    pub fn lease(&self, pass: &Pass) -> Lease {
        let guard = self.services.guard.clone();
        Lease::new(guard, pass.clone(), self.stop.clone())
    }

    /// A one-time ticket for the URL of a stream, which stands for this pass.
    ///
    /// # Errors
    /// [`Problem`] when too many tickets are not used yet, or there is no randomness.
    pub fn issue_ticket(&self, pass: Pass) -> Result<String, Problem> {
        let random = crate::link::random::random::<RANDOM_BYTES>();
        let random = random.map_err(|error| Problem::unavailable(error.to_string()))?;
        let owner = pass.caller.name.clone();
        let now = clock::now().instant;
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let issued = tickets.issue(&random, owner, pass, now);
        issued.map_err(|full| Problem::new(http::StatusCode::TOO_MANY_REQUESTS, full.to_string()))
    }

    /// Spends a ticket: the pass of who asked for it, if that still holds.
    ///
    /// # Errors
    /// [`Problem`] with 401.
    pub fn spend_ticket(&self, text: &str) -> Result<Pass, Problem> {
        let now = clock::now().instant;
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = tickets.spend(text, now);
        drop(tickets);
        let pass = pass.ok_or_else(|| {
            let detail = "the ticket is not valid: it was used, or is older than 30 s; ask for \
                          another with POST /v3/tickets";
            Problem::new(http::StatusCode::UNAUTHORIZED, detail)
        })?;
        let guard: &Guard = &self.services.guard;
        guard
            .still_holds(&pass)
            .map_err(|refusal: Refusal| Problem::from(refusal))?;
        Ok(pass)
    }
}
