//! The resources of a device that secure its link. Only the gateway itself writes them.

/// The first part of their names.
const SECURITY: &str = "security";

/// Whether a resource secures the link, in whatever way its name is written: clients differ in what
/// they make of slashes and of capitals.
pub fn is_security(resource: &str) -> bool {
    let first = resource.split('/').find(|part| !part.is_empty());
    first.is_some_and(|first| first.eq_ignore_ascii_case(SECURITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_it_reaches_security() {
        for resource in [
            "security",
            "security/key",
            "Security/ssl",
            "/security/ssl",
            "//security//key",
        ] {
            assert!(is_security(resource), "{resource}");
        }
        for resource in ["door", "my/security", "securityguard", "", "/"] {
            assert!(!is_security(resource), "{resource}");
        }
    }
}
