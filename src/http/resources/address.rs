//! What a URL below `…/resources` names, and which device its user and device are.

use crate::device::DeviceId;
use crate::http::fleet_view::owner;
use crate::identity::Identity;
use crate::registry::snapshot::{DeviceView, Snapshot};

/// Why [security](crate::session::security::is_security) ones are not written.
pub const SECURED: &str = "what secures the link of a device is changed by EnableSSL, DisableSSL \
                           and Identities.Enrol of the gRPC API alone";

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All resources of the device.
    All,
    /// How a resource is used.
    Description(String),
    Resource(String),
}

impl Target {
    /// `resource`: the rest of the path behind `…/resources/`, percent-decoded, which may hold
    /// slashes; `path`: the whole path as it was sent.
    ///
    /// A path that ends in `/api`, so written, asks for a description, or for all resources where
    /// nothing else is left. A resource of such a name is reached by another writing: `%2Fapi`.
    pub fn of(resource: &str, path: &str) -> Self {
        if !path.ends_with("/api") {
            return Self::Resource(resource.to_owned());
        }
        match resource.strip_suffix("/api") {
            Some(named) => Self::Description(named.to_owned()),
            None => Self::All,
        }
    }
}

/// The listed device of this user.
///
/// # Errors
/// A sentence that says what there is not.
pub fn find<'a>(
    snapshot: &'a Snapshot,
    user: &str,
    device: &str,
) -> Result<&'a DeviceView, String> {
    let identity = Identity::new(owner(user), device).map_err(|error| error.to_string())?;
    if let Some(view) = snapshot.find(&identity) {
        return Ok(view);
    }
    let of_another = identity
        .serial()
        .is_some_and(|id| snapshot.devices.contains_key(&id));
    Err(if of_another {
        format!("device {device} is not one of the user {user:?}")
    } else {
        format!(
            "the user {user:?} has no device {device:?} in the managed list; devices that dial in \
             are in it as long as they are connected"
        )
    })
}

/// The ID of a device of this user, listed now or not: one that is known by a name keeps its ID.
///
/// # Errors
/// As [`find`].
pub fn known_id(snapshot: &Snapshot, user: &str, device: &str) -> Result<DeviceId, String> {
    let missing = match find(snapshot, user, device) {
        Ok(view) => return Ok(view.id),
        Err(missing) => missing,
    };
    let identity = Identity::new(owner(user), device).ok();
    let id = identity.and_then(|identity| snapshot.names.get(&identity).copied());
    id.ok_or(missing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::{ConnectionMode, Origin, Status};

    fn named(name: &str) -> Target {
        Target::Resource(name.into())
    }

    #[test]
    fn the_rest_of_the_path_is_the_name() {
        let base = "/v3/users/a/devices/d/resources/";
        let of = |resource: &str, sent: &str| Target::of(resource, &format!("{base}{sent}"));
        assert_eq!(of("temp", "temp"), named("temp"));
        assert_eq!(of("$cmd/1/params", "$cmd/1/params"), named("$cmd/1/params"));
        assert_eq!(
            of("temp/api", "temp/api"),
            Target::Description("temp".into())
        );
        assert_eq!(
            of("a/b/api", "a%2Fb/api"),
            Target::Description("a/b".into())
        );
        assert_eq!(of("api", "api"), Target::All);
        assert_eq!(of("api/api", "api/api"), Target::Description("api".into()));
        assert_eq!(of("a/api", "a%2Fapi"), named("a/api"));
        assert_eq!(of("api", "%61pi"), named("api"));
        assert_eq!(of("rapi", "rapi"), named("rapi"));
    }

    fn snapshot(devices: &[(u32, &str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for &(id, owner, device) in devices {
            let id = DeviceId::new(id).expect("above zero");
            let identity = Identity::new(owner, device).expect("a name");
            let view = DeviceView {
                id,
                identity: Some(identity.clone()),
                origin: Origin::Inbound,
                mode: ConnectionMode::DeviceToServer,
                address: ([127, 0, 0, 1], 1).into(),
                use_ssl: false,
                status: Status::TcpConnected,
                since_unix_ms: 0,
                device_type: 0,
                session: None,
                attempt: 0,
                next_try_unix_ms: None,
                cause: None,
            };
            snapshot.devices.insert(id, Arc::new(view));
            if identity.serial().is_none() {
                snapshot.names.insert(identity, id);
            }
        }
        snapshot
    }

    #[test]
    fn a_name_keeps_its_id() {
        let mut snapshot = snapshot(&[(7, "", "7"), (0xC000_0001, "anna", "door")]);
        snapshot.devices.clear();
        let known = |user, device| known_id(&snapshot, user, device).map(DeviceId::get).ok();
        assert_eq!(known("anna", "door"), Some(0xC000_0001));
        assert_eq!(known("bob", "door"), None);
        assert_eq!(known("~", "7"), None);
    }

    #[test]
    fn a_device_is_found_by_its_user_and_name() {
        let snapshot = snapshot(&[(7, "", "7"), (0xC000_0001, "anna", "door"), (9, "bob", "9")]);
        let found = |user, device| find(&snapshot, user, device).map(|view| view.id.get());
        assert_eq!(found("~", "7"), Ok(7));
        assert_eq!(found("anna", "door"), Ok(0xC000_0001));
        assert_eq!(found("bob", "9"), Ok(9));
        for (user, device, named) in [
            ("bob", "door", "has no device \"door\""),
            ("anna", "9", "not one of the user \"anna\""),
            ("~", "door", "has no device"),
            ("anna", "a b", "is not allowed"),
            ("~", "~", "is not allowed"),
        ] {
            let error = found(user, device).expect_err("not there");
            assert!(error.contains(named), "{user} {device}: {error}");
        }
    }
}
