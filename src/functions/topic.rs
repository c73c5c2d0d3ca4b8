//! Topics of messages between devices: names to publish under and filters to subscribe with, by
//! the rules of MQTT 3.1.1 (section 4.7).

use std::iter::zip;

/// The longest name or filter, in bytes.
pub const TOPIC_MAX_BYTES: usize = 256;
/// The most levels of a name or filter: what is walked and kept for each of them is bounded.
pub const LEVELS_MAX: usize = 32;

/// Any one level, in a filter.
pub(super) const ANY: &str = "+";
/// All that is left, in a filter.
pub(super) const REST: &str = "#";

/// Why a text is no topic; the text says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("a topic is 1 to {TOPIC_MAX_BYTES} bytes, and this one is {0}")]
    Length(usize),
    #[error("a topic has at most {LEVELS_MAX} levels, and this one has {0}")]
    Levels(usize),
    #[error("a topic has no character 0 in it")]
    Nul,
    #[error("a message has one topic: `+` and `#` stand in the filters of subscriptions only")]
    Wildcard,
    #[error("`+` takes the place of a whole level, as in a/+/c")]
    Plus,
    #[error("`#` takes the place of the whole last level, as in a/#")]
    Hash,
}

/// What a message is published under: levels between `/`, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicName(Box<str>);

/// Which topics a subscription wants: `+` stands for any one level, `#` at the end for the level
/// above it and all below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFilter(Box<str>);

impl TopicName {
    /// # Errors
    /// [`TopicError`].
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether a wildcard at the first level passes it by.
    pub(super) fn is_hidden(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl TopicFilter {
    /// # Errors
    /// [`TopicError`].
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check(text)?;
        let last = text.split('/').count() - 1;
        for (index, level) in text.split('/').enumerate() {
            if level.contains(ANY) && level != ANY {
                return Err(TopicError::Plus);
            }
            if level.contains(REST) && (level != REST || index != last) {
                return Err(TopicError::Hash);
            }
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether the subscription wants messages of this topic.
    pub fn matches(&self, name: &TopicName) -> bool {
        if name.is_hidden() && (self.0.starts_with(ANY) || self.0.starts_with(REST)) {
            return false;
        }
        // `a/#` wants `a` as well.
        let (filter, open) = match self.0.strip_suffix(REST) {
            Some("") => return true,
            Some(above) => (above.strip_suffix('/').unwrap_or(above), true),
            None => (&*self.0, false),
        };
        let wanted = filter.split('/').count();
        let given = name.levels().count();
        let enough = if open {
            given >= wanted
        } else {
            given == wanted
        };
        enough
            && zip(filter.split('/'), name.levels()).all(|(want, has)| want == ANY || want == has)
    }
}

fn check(text: &str) -> Result<(), TopicError> {
    if !(1..=TOPIC_MAX_BYTES).contains(&text.len()) {
        return Err(TopicError::Length(text.len()));
    }
    let levels = text.split('/').count();
    if levels > LEVELS_MAX {
        return Err(TopicError::Levels(levels));
    }
    if text.contains('\0') {
        return Err(TopicError::Nul);
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rules word for word, without regard to cost.
    pub fn naive(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => naive(filter, name),
            ([want, filter @ ..], [has, name @ ..]) if want == has => naive(filter, name),
            _ => false,
        }
    }

    pub fn naive_match(filter: &str, name: &str) -> bool {
        if name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
            return false;
        }
        let filter: Vec<_> = filter.split('/').collect();
        let name: Vec<_> = name.split('/').collect();
        naive(&filter, &name)
    }

    /// Few different levels, so that much matches.
    pub fn any_name() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("ab"), Just("$x")];
        proptest::collection::vec(level, 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("empty", |name| !name.is_empty())
    }

    pub fn any_filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("$x"), Just("+")];
        let levels = proptest::collection::vec(level, 0..5);
        (levels, any::<bool>())
            .prop_map(|(mut levels, open)| {
                levels.extend(open.then_some("#"));
                levels.join("/")
            })
            .prop_filter("empty", |filter| !filter.is_empty())
    }

    fn check(filter: &str, name: &str) -> bool {
        TopicFilter::new(filter)
            .unwrap()
            .matches(&TopicName::new(name).unwrap())
    }

    #[test]
    fn filters_match_as_in_the_standard() {
        for (filter, name) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
            ("sport/#", "sport"),
            ("#", "a/b/c"),
            ("#", "/"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/monitor/clients"),
            ("$SYS/monitor/+", "$SYS/monitor/clients"),
            ("+/$x", "a/$x"),
        ] {
            assert!(check(filter, name), "{filter} {name}");
        }
        for (filter, name) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/monitor"),
            ("+/monitor", "$SYS/monitor"),
            ("sport/tennis", "Sport/tennis"),
            ("a/#", "ab"),
        ] {
            assert!(!check(filter, name), "{filter} {name}");
        }
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        let long = "a".repeat(TOPIC_MAX_BYTES + 1);
        let deep = "/".repeat(LEVELS_MAX);
        for (text, error) in [
            ("", TopicError::Length(0)),
            (&long, TopicError::Length(TOPIC_MAX_BYTES + 1)),
            (&deep, TopicError::Levels(LEVELS_MAX + 1)),
            ("a\0", TopicError::Nul),
        ] {
            assert_eq!(TopicName::new(text), Err(error));
            assert_eq!(TopicFilter::new(text), Err(error));
        }
        assert!(TopicName::new(&long[1..]).is_ok());
        assert!(TopicFilter::new(&deep[1..]).is_ok());
        for text in ["+", "a/#", "a+b", "#"] {
            assert_eq!(TopicName::new(text), Err(TopicError::Wildcard));
        }
        for text in ["a+/b", "++", "a/+b"] {
            assert_eq!(TopicFilter::new(text), Err(TopicError::Plus));
        }
        for text in ["#/a", "a#", "a/#/b", "##"] {
            assert_eq!(TopicFilter::new(text), Err(TopicError::Hash));
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_rules_say(filter in any_filter(), name in any_name()) {
            prop_assert_eq!(check(&filter, &name), naive_match(&filter, &name));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), name in "[a/+#$]{0,12}") {
            for text in [&text, &name] {
                let filter = TopicFilter::new(text);
                if let (Ok(name), Ok(filter)) = (TopicName::new(text), &filter) {
                    prop_assert!(filter.matches(&name), "a name is a filter that matches itself");
                }
            }
        }
    }
}
