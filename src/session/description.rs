//! What a device says of its resources, as far as the gateway acts on it.

use crate::codec::pson::Value;

/// Resources that are kept of one description; what follows is taken for not there.
const RESOURCES_MAX: usize = 4096;

/// What may be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is run, and has no data: to ask for any would execute it.
    Action,
    Input,
    Output,
    InputOutput,
}

/// One resource of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    pub kind: Kind,
    /// Whether it can be streamed at all.
    pub streams: bool,
}

/// The answer to a Describe of all resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    resources: Vec<(Box<str>, Resource)>,
}

impl Description {
    /// A device without resources sends no payload, or null.
    pub fn new(payload: Option<&Value>) -> Self {
        let Some(Value::Map(pairs)) = payload else {
            return Self::default();
        };
        let resources = pairs.iter().take(RESOURCES_MAX);
        Self {
            resources: resources
                .map(|(name, value)| (name.as_str().into(), Resource::new(value)))
                .collect(),
        }
    }

    /// The resource of this name, or else the first whose pattern matches it.
    pub fn find(&self, name: &str) -> Option<Resource> {
        let find = |is_it: &dyn Fn(&str) -> bool| {
            let mut resources = self.resources.iter();
            resources.find(|(known, _)| is_it(known))
        };
        let found = find(&|known| known == name).or_else(|| find(&|known| matches(known, name)));
        found.map(|(_, resource)| *resource)
    }
}

impl Resource {
    /// What says of itself no function that is known has no data: nothing is done with it unasked.
    fn new(value: &Value) -> Self {
        let kind = match value.get("fn").and_then(Value::as_unsigned) {
            Some(2) => Kind::Input,
            Some(3) => Kind::Output,
            Some(4) => Kind::InputOutput,
            _ => Kind::Action,
        };
        Self {
            kind,
            streams: value.get("st") != Some(&Value::Bool(false)),
        }
    }
}

/// Whether `name` fits a pattern: `:x` stands for one part of a path, `*x` for all that follow.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = name.split('/');
    for wanted in pattern.split('/') {
        let Some(part) = parts.next() else {
            return false;
        };
        if wanted.starts_with('*') {
            return !part.is_empty();
        }
        let fits = if wanted.starts_with(':') {
            !part.is_empty()
        } else {
            wanted == part
        };
        if !fits {
            return false;
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn described(resources: &[(&str, Value)]) -> Description {
        Description::new(Some(&Value::map(resources.iter().cloned())))
    }

    fn of(function: u64) -> Value {
        Value::map([("fn", function)])
    }

    fn kind(description: &Description, name: &str) -> Option<Kind> {
        description.find(name).map(|resource| resource.kind)
    }

    #[test]
    fn i_08_functions_are_told_apart() {
        let described = described(&[
            ("reboot", of(1)),
            ("led", of(2)),
            ("temp", of(3)),
            ("sum", of(4)),
            ("bare", Value::Null),
            ("strange", of(9)),
        ]);
        assert_eq!(kind(&described, "reboot"), Some(Kind::Action));
        assert_eq!(kind(&described, "led"), Some(Kind::Input));
        assert_eq!(kind(&described, "temp"), Some(Kind::Output));
        assert_eq!(kind(&described, "sum"), Some(Kind::InputOutput));
        assert_eq!(kind(&described, "bare"), Some(Kind::Action));
        assert_eq!(kind(&described, "strange"), Some(Kind::Action));
        assert_eq!(kind(&described, "other"), None);
    }

    #[test]
    fn a_resource_can_say_that_it_does_not_stream() {
        let full = Value::map([
            ("fn", Value::from(3_u64)),
            ("pr", true.into()),
            ("st", false.into()),
            ("id", 5_u64.into()),
        ]);
        let described = described(&[("a", full), ("b", of(3))]);
        assert!(!described.find("a").unwrap().streams);
        assert!(described.find("b").unwrap().streams);
    }

    #[test]
    fn nothing_and_null_are_no_resources() {
        for payload in [None, Some(Value::Null), Some(Value::from("a"))] {
            assert_eq!(Description::new(payload.as_ref()), Description::default());
        }
    }

    #[test]
    fn patterns_match_paths() {
        let described = described(&[
            ("$terminal/:session", of(3)),
            ("$fs/*path", of(2)),
            ("a/:x/c", of(4)),
            ("a/b/c", of(1)),
        ]);
        assert_eq!(kind(&described, "$terminal/7"), Some(Kind::Output));
        assert_eq!(kind(&described, "$terminal/"), None);
        assert_eq!(kind(&described, "$terminal/7/params"), None);
        assert_eq!(kind(&described, "$fs/etc/passwd"), Some(Kind::Input));
        assert_eq!(kind(&described, "$fs"), None);
        assert_eq!(kind(&described, "a/x/c"), Some(Kind::InputOutput));
        assert_eq!(kind(&described, "a/b/c"), Some(Kind::Action));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let names: Vec<String> = (0..RESOURCES_MAX + 1).map(|n| n.to_string()).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), of(3))).collect();
        let described = described(&all);
        assert_eq!(described.resources.len(), RESOURCES_MAX);
    }

    proptest! {
        #[test]
        fn a_name_is_found_under_itself(name in "[a-z:*/]{0,12}", other in ".{0,12}") {
            let described = described(&[(&name, of(3))]);
            prop_assert_eq!(kind(&described, &name), Some(Kind::Output));
            let _ = described.find(&other);
        }
    }
}
