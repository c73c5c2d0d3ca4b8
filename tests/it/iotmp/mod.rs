//! The checks of the device protocol, I-1 to I-16, against a running gateway: what stock clients
//! send, byte by byte, and what they get.

mod connect;
mod frames;
mod resources;
mod streams;

use gatehouse::config::{Credential, CredentialDigest, Listen};

use crate::support::client::allow_all;
use crate::support::gateway::TestGateway;
use crate::support::peer::Peer;
use crate::support::web::Web;
use gatehouse::codec::dialect::Dialect;

/// A gateway with a plain listener that knows the devices `dev1`, `dev2` of alice and `dev3` of
/// bob by the credential `secret`.
pub async fn gateway() -> TestGateway {
    let gateway = TestGateway::with(|config| {
        config.plain.listen = Listen(Some(([127, 0, 0, 1], 0).into()));
        // A test that comes again at once may be there before its last link has ended.
        config.takeover.burst = 1000;
        config.credential = ["alice/dev1", "alice/dev2", "bob/dev3"]
            .map(credential)
            .into();
    })
    .await;
    allow_all(&mut gateway.client().await).await;
    gateway
}

fn credential(name: &str) -> Credential {
    let (owner, device) = name.split_once('/').expect("an owner");
    Credential {
        device: device.to_owned(),
        owner: Some(owner.to_owned()),
        digest: CredentialDigest::of(b"secret"),
    }
}

/// `dev1` of alice, admitted, in the dialect of today.
pub async fn dev1(gateway: &TestGateway) -> Peer {
    Peer::admitted(gateway.plain(), Dialect::Current, "alice", "dev1").await
}

pub fn web(gateway: &TestGateway) -> Web {
    Web::new(gateway.http())
}

/// The path of a resource of `dev1`.
pub fn path(resource: &str) -> String {
    format!("/v3/users/alice/devices/dev1/resources/{resource}")
}
