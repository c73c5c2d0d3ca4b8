//! Which role each route wants, and which routes change something. A route that has no row here is
//! not served, whatever code there is for it.

use crate::access::Role;
use crate::access::Role::{Admin, Operator, Viewer};

/// What a route wants and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `GET` stands for `HEAD` as well.
    pub method: &'static str,
    /// As the router writes it: `/v3/pending/{id}/approve`.
    pub path: &'static str,
    /// The least role that may ask; `None`: anybody.
    pub needs: Option<Role>,
    /// It changes something, and is written to the audit log.
    pub changes: bool,
    /// It can be a WebSocket or a stream of events, for which a one-time ticket may stand in the
    /// URL.
    pub streams: bool,
}

/// The rule of a route.
pub fn rule(method: &str, path: &str) -> Option<&'static Rule> {
    let method = if method == "HEAD" { "GET" } else { method };
    let is_it = |rule: &&Rule| rule.path == path && rule.method == method;
    RULES.iter().find(is_it)
}

/// The methods under which a path is served, for the header `Allow`; empty for an unknown path.
pub fn methods(path: &str) -> Vec<&'static str> {
    let rules = RULES.iter().filter(|rule| rule.path == path);
    rules.map(|rule| rule.method).collect()
}

const RESOURCE: &str = "/v3/users/{user}/devices/{device}/resources/{*resource}";
const PROPERTIES: &str = "/v3/users/{user}/devices/{device}/properties";
const PROPERTY: &str = "/v3/users/{user}/devices/{device}/properties/{name}";

/// Every rule.
pub const RULES: &[Rule] = &[
    // The page holds nothing of the gateway: what it shows it asks for with a token.
    open("GET", "/"),
    open("GET", "/assets/{file}"),
    open("GET", "/healthz"),
    open("GET", "/readyz"),
    reads(Viewer, "GET", "/metrics"),
    // A device proves itself by its Connect.
    open("GET", "/iotmp"),
    reads(Viewer, "GET", "/v3/whoami"),
    reads(Viewer, "POST", "/v3/tickets"),
    reads(Viewer, "GET", "/v3/users/{user}/devices"),
    reads(Viewer, "GET", "/v3/users/{user}/devices/{device}"),
    reads(Viewer, "GET", "/v3/fleet"),
    reads(Viewer, "GET", "/v3/fleet/{id}"),
    streams(Viewer, "/v3/fleet/events"),
    reads(Viewer, "GET", "/v3/devices/top"),
    changes(Operator, "POST", "/v3/fleet/{id}/retry"),
    changes(Operator, "POST", "/v3/fleet/{id}/disconnect"),
    reads(Viewer, "GET", "/v3/pending"),
    changes(Admin, "POST", "/v3/pending/{id}/approve"),
    changes(Admin, "POST", "/v3/pending/{id}/refuse"),
    streams(Viewer, "/v3/users/{user}/devices/{device}/resources"),
    streams(Viewer, RESOURCE),
    changes(Operator, "POST", RESOURCE),
    reads(Viewer, "GET", PROPERTIES),
    reads(Viewer, "GET", PROPERTY),
    changes(Operator, "PUT", PROPERTY),
    changes(Operator, "DELETE", PROPERTY),
    reads(Viewer, "GET", "/v3/users/{user}/buckets"),
    reads(Viewer, "GET", "/v3/users/{user}/buckets/{bucket}/data"),
    changes(Operator, "DELETE", "/v3/users/{user}/buckets/{bucket}"),
    reads(Viewer, "GET", "/v3/openapi.json"),
];

const fn open(method: &'static str, path: &'static str) -> Rule {
    Rule {
        method,
        path,
        needs: None,
        changes: false,
        streams: false,
    }
}

const fn reads(needs: Role, method: &'static str, path: &'static str) -> Rule {
    Rule {
        needs: Some(needs),
        ..open(method, path)
    }
}

const fn changes(needs: Role, method: &'static str, path: &'static str) -> Rule {
    Rule {
        changes: true,
        ..reads(needs, method, path)
    }
}

const fn streams(needs: Role, path: &'static str) -> Rule {
    Rule {
        streams: true,
        ..reads(needs, "GET", path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_one_rule() {
        for row in RULES {
            let alike = |other: &&Rule| (other.method, other.path) == (row.method, row.path);
            assert_eq!(RULES.iter().filter(alike).count(), 1, "{row:?}");
            assert_eq!(rule(row.method, row.path), Some(row));
        }
        assert_eq!(rule("GET", "/v3/nonsense"), None);
        assert_eq!(rule("DELETE", "/v3/fleet"), None);
    }

    #[test]
    fn a_viewer_changes_nothing_and_a_stranger_less() {
        let changing = RULES.iter().filter(|rule| rule.changes);
        for rule in changing {
            assert!(rule.needs > Some(Viewer), "{rule:?}");
        }
    }

    #[test]
    fn a_head_is_a_get() {
        assert_eq!(rule("HEAD", "/v3/fleet"), rule("GET", "/v3/fleet"));
        assert_eq!(methods("/v3/fleet"), ["GET"]);
        assert!(methods("/v3/nonsense").is_empty());
    }
}
