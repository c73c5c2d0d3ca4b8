//! The two generations of paths under which the same calls are made.
//!
//! Clients of G-SDK 1.4 and older call `/connect.Connect/…`, newer ones `/gsdk.connect.Connect/…`.
//! The older numbers are a subset of the newer ones, so one handler serves both.

/// What the newer generation puts before the name of a package.
const PREFIX: &str = "gsdk.";

/// The name of a service in the older generation, if it has one.
pub fn bare(service: &str) -> Option<&str> {
    service.strip_prefix(PREFIX)
}

/// By which generation of paths a call came; found in the extensions of every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generation {
    /// `connect.Connect`: its clients do not know `TRY_TO_CONNECT`.
    Bare,
    /// `gsdk.connect.Connect`, and every service that has only one name.
    #[default]
    Prefixed,
}

impl Generation {
    /// The generation by which a request came.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        let generation = request.extensions().get::<Self>();
        generation.copied().unwrap_or_default()
    }
}

/// The two halves of a path, as they were called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    pub service: &'a str,
    pub method: &'a str,
}

/// The service that is to answer a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name under which it is served.
    pub service: String,
    pub generation: Generation,
}

impl<'a> Call<'a> {
    /// Takes `/package.Service/Method` apart; `None` for any other path.
    pub fn parse(path: &'a str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.rsplit_once('/')?;
        Some(Self { service, method })
    }

    /// Finds the service among those that are served, by its own name or by the bare one.
    pub fn target(self, is_served: impl Fn(&str) -> bool) -> Option<Target> {
        if is_served(self.service) {
            return Some(Target {
                service: self.service.to_owned(),
                generation: Generation::Prefixed,
            });
        }
        let service = format!("{PREFIX}{}", self.service);
        is_served(&service).then_some(Target {
            service,
            generation: Generation::Bare,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<(String, Generation)> {
        let served = ["gsdk.connect.Connect", "gatehouse.v1.Fleet"];
        let target = Call::parse(path)?.target(|name| served.contains(&name))?;
        Some((target.service, target.generation))
    }

    #[test]
    fn finds_a_service_by_both_names() {
        let connect = "gsdk.connect.Connect".to_owned();
        for (path, found) in [
            (
                "/gsdk.connect.Connect/GetDeviceList",
                Some((connect.clone(), Generation::Prefixed)),
            ),
            (
                "/connect.Connect/GetDeviceList",
                Some((connect, Generation::Bare)),
            ),
            (
                "/gatehouse.v1.Fleet/Watch",
                Some(("gatehouse.v1.Fleet".to_owned(), Generation::Prefixed)),
            ),
            ("/gsdk.gatehouse.v1.Fleet/Watch", None),
            ("/gsdk.gsdk.connect.Connect/Connect", None),
            ("/config.Config/Get", None),
            ("/connect.Connect", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(target(path), found, "{path}");
        }
    }

    #[test]
    fn keeps_the_names_as_called() {
        assert_eq!(
            Call::parse("/a/b/c"),
            Some(Call {
                service: "a/b",
                method: "c"
            })
        );
    }
}
