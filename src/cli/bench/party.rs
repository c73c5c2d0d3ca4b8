//! The devices of one link: all that is measured of it, at the gateway and at a bare loop.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use super::bare::BareLoop;
use super::bare_link::BareSecurity;
use super::fleet::{Fleet, Proof};
use super::ramp::{self, Ramp};
use super::report::{Link, Memory, Resumed};
use super::sizes::WARM;
use super::subject::Subject;
use super::usage;

/// Devices started a second: above what two cores connect, and so few that those which wait find
/// room. A full queue of the listening socket drops a SYN, which is sent again after a second.
const PLAIN_RATES: Rates = Rates {
    first: 12_000,
    again: 30_000,
};
const AES_RATES: Rates = Rates {
    first: 8000,
    again: 12_000,
};
const TLS_RATES: Rates = Rates {
    first: 4000,
    again: 4000,
};

pub(super) const PLAIN_FIRST_ID: u32 = 1_000_000;
const AES_FIRST_ID: u32 = 2_000_000;
/// The highest, so that those who wait for them need not look at the others.
pub(super) const TLS_FIRST_ID: u32 = 3_000_000;
const BARE_FIRST_ID: u32 = 4_000_000;

/// Files that may be open beside those of the links.
const FILES_SPARE: usize = 16;

/// The devices of one link, and where they dial.
pub(super) struct Party {
    proof: Proof,
    gateway: SocketAddr,
    bare: BareLoop,
    first_id: u32,
    count: u32,
    rates: Rates,
    /// Whether a link can be resumed.
    resumes: bool,
}

/// Devices started a second, when the gateway has their identities to store and when it has not.
struct Rates {
    first: u32,
    again: u32,
}

impl Party {
    pub(super) fn plain(subject: &Subject, count: u32) -> Result<Self, Box<dyn Error>> {
        let proof = subject.credential();
        Ok(Self {
            gateway: subject.address(&proof)?,
            proof,
            bare: BareLoop::start(BareSecurity::Plain)?,
            first_id: PLAIN_FIRST_ID,
            count,
            rates: PLAIN_RATES,
            resumes: false,
        })
    }

    pub(super) fn aes(subject: &Subject, count: u32) -> Result<Self, Box<dyn Error>> {
        let proof = subject.key_file()?;
        Ok(Self {
            gateway: subject.address(&proof)?,
            proof,
            bare: BareLoop::start(BareSecurity::Aes(subject.key().clone()))?,
            first_id: AES_FIRST_ID,
            count,
            rates: AES_RATES,
            resumes: false,
        })
    }

    pub(super) fn tls(subject: &Subject, count: u32) -> Result<Self, Box<dyn Error>> {
        let proof = subject.tls_credential();
        Ok(Self {
            gateway: subject.address(&proof)?,
            proof,
            bare: BareLoop::start(BareSecurity::Tls(Arc::new(subject.bare_tls()?)))?,
            first_id: TLS_FIRST_ID,
            count,
            rates: TLS_RATES,
            resumes: true,
        })
    }

    /// A few devices at the loop, and then `count`, with the memory of each of these.
    pub(super) async fn idle_bare(
        &self,
        count: u32,
        fleets: &mut Vec<Fleet>,
    ) -> Result<f64, Box<dyn Error>> {
        fleets.push(self.connect_bare(WARM).await?.0);
        let before = usage::memory()?;
        fleets.push(self.connect_bare(count).await?.0);
        bytes_each(before, count)
    }

    /// All of them at the gateway, for the first time, with the memory of each. The first half is
    /// there before anything is measured: by then the store has filled its cache, which no further
    /// session makes larger.
    pub(super) async fn first(
        &self,
        subject: &Subject,
        fleets: &mut Vec<Fleet>,
    ) -> Result<(Ramp, f64), Box<dyn Error>> {
        let (warm, rest, rate) = (self.count - self.rest(), self.rest(), self.rates.first);
        if warm > 0 {
            fleets.push(self.connect(subject, self.first_id, warm, rate).await?.0);
        }
        let before = usage::memory()?;
        let first_id = self.first_id + warm;
        let (fleet, ramp) = self.connect(subject, first_id, rest, rate).await?;
        fleets.push(fleet);
        Ok((ramp, bytes_each(before, rest)?))
    }

    /// As many at the gateway, which has no other, once more; then as many at the loop.
    pub(super) async fn link(
        &self,
        subject: &Subject,
        bare_bytes: f64,
        (first, session_bytes): (Ramp, f64),
    ) -> Result<Link, Box<dyn Error>> {
        let (count, rate) = (self.rest(), self.rates.again);
        let files = usage::files()?;
        let (fleet, again) = self.connect(subject, self.first_id, count, rate).await?;
        let resumed = self.resume(subject, &fleet, count, files).await?;
        drop(fleet);
        subject.until_empty().await?;
        let (fleet, bare) = self.connect_bare(count).await?;
        let resumed_bare = self.resume_bare(&fleet, count, files).await?;
        drop(fleet);
        let resumed = resumed.zip(resumed_bare);
        Ok(Link {
            sessions: self.count,
            memory: Memory {
                session_bytes,
                bare_bytes,
            },
            first,
            again,
            bare,
            resumed: resumed.map(|(gateway, bare)| Resumed { gateway, bare }),
        })
    }

    /// As many once more at a gateway that has no other, and gone again.
    pub(super) async fn again(&self, subject: &Subject) -> Result<Ramp, Box<dyn Error>> {
        let (count, rate) = (self.count, self.rates.again);
        let (fleet, ramp) = self.connect(subject, self.first_id, count, rate).await?;
        drop(fleet);
        subject.until_empty().await?;
        Ok(ramp)
    }

    /// The gateway ends the sessions of `fleet`, which sees that when all sockets are closed but
    /// `files`, and comes back at once with its tickets.
    async fn resume(
        &self,
        subject: &Subject,
        fleet: &Fleet,
        count: u32,
        files: usize,
    ) -> Result<Option<Ramp>, Box<dyn Error>> {
        if !self.resumes {
            return Ok(None);
        }
        fleet.pause()?;
        subject
            .disconnect(self.first_id..self.first_id + count)
            .await?;
        until_closed(files).await?;
        fleet.go_on()?;
        let settled = || subject.is_settled();
        let ramp = ramp::watch(0, count as usize, || subject.connected(), settled).await?;
        Ok(Some(ramp))
    }

    /// The same at the loop.
    async fn resume_bare(
        &self,
        fleet: &Fleet,
        count: u32,
        files: usize,
    ) -> Result<Option<Ramp>, Box<dyn Error>> {
        if !self.resumes {
            return Ok(None);
        }
        fleet.pause()?;
        self.bare.cut();
        until_closed(files).await?;
        let before = self.bare.connected();
        fleet.go_on()?;
        let seen = || self.bare.connected();
        let ramp = ramp::watch(before, count as usize, seen, || true).await?;
        Ok(Some(ramp))
    }

    /// How many are measured.
    const fn rest(&self) -> u32 {
        self.count - self.count / 2
    }

    async fn connect(
        &self,
        subject: &Subject,
        first_id: u32,
        count: u32,
        rate: u32,
    ) -> Result<(Fleet, Ramp), Box<dyn Error>> {
        let before = subject.connected();
        let fleet = Fleet::start(self.gateway, &self.proof, first_id, count, rate)?;
        let settled = || subject.is_settled();
        let ramp = ramp::watch(before, count as usize, || subject.connected(), settled).await?;
        Ok((fleet, ramp))
    }

    async fn connect_bare(&self, count: u32) -> Result<(Fleet, Ramp), Box<dyn Error>> {
        let before = self.bare.connected();
        let to = self.bare.address();
        let fleet = Fleet::start(to, &self.proof, BARE_FIRST_ID, count, self.rates.again)?;
        let seen = || self.bare.connected();
        let ramp = ramp::watch(before, count as usize, seen, || true).await?;
        Ok((fleet, ramp))
    }
}

/// Waits until not many more than `files` are open: the store has some open now and then.
async fn until_closed(files: usize) -> Result<(), Box<dyn Error>> {
    let most = files + FILES_SPARE;
    let is_so = || usage::files().is_ok_and(|open| open <= most);
    ramp::until("the sockets were closed", is_so).await
}

/// By how much this process has grown for each of `count`.
fn bytes_each(before: u64, count: u32) -> Result<f64, Box<dyn Error>> {
    let grown = usage::memory()?.saturating_sub(before);
    Ok(grown as f64 / f64::from(count))
}
