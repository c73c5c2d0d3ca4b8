//! The topics of one owner: which subscriptions want a message, and the messages that are retained.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::pson::{Value, Version};
use crate::functions::topic::{ANY, REST, TopicFilter, TopicName};

/// The largest message that is retained, in bytes of its encoding (PSON v2); a larger one is passed
/// on, and not retained.
pub const RETAINED_MAX_BYTES: usize = 16 << 10;

/// Subscriptions of type `S`, each under one filter. What nobody wants any more owns no memory.
#[derive(Debug)]
pub struct Topics<S> {
    root: Node<S>,
    retained: BTreeMap<TopicName, Value>,
}

/// One level of the filters.
#[derive(Debug)]
struct Node<S> {
    /// Whose filter ends here.
    here: BTreeSet<S>,
    /// Whose filter goes on with `#` alone.
    rest: BTreeSet<S>,
    below: BTreeMap<Box<str>, Node<S>>,
    /// What is below `+`.
    any: Option<Box<Node<S>>>,
}

/// Why a message was not retained; what was retained under its topic before still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRetained {
    Full,
    TooLarge,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self {
            here: BTreeSet::new(),
            rest: BTreeSet::new(),
            below: BTreeMap::new(),
            any: None,
        }
    }
}

impl<S> Default for Topics<S> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            retained: BTreeMap::new(),
        }
    }
}

impl<S: Ord + Copy> Topics<S> {
    pub fn insert(&mut self, filter: &TopicFilter, subscription: S) {
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = match level {
                REST => {
                    node.rest.insert(subscription);
                    return;
                }
                ANY => node.any.get_or_insert_default(),
                level => node.below.entry(level.into()).or_default(),
            };
        }
        node.here.insert(subscription);
    }

    /// Takes back what [`Self::insert`] did with the same filter.
    pub fn remove(&mut self, filter: &TopicFilter, subscription: S) {
        let levels: Vec<_> = filter.levels().collect();
        self.root.remove(&levels, subscription);
    }

    /// The subscriptions that want a message of this topic, each once.
    pub fn wanted_by(&self, name: &TopicName) -> Vec<S> {
        let mut found = Vec::new();
        let levels: Vec<_> = name.levels().collect();
        if name.is_hidden() {
            if let Some(first) = self.root.below.get(levels[0]) {
                first.collect(&levels[1..], &mut found);
            }
        } else {
            self.root.collect(&levels, &mut found);
        }
        found
    }

    /// Keeps a message for those who subscribe later, in the place of an earlier one of its topic;
    /// null clears that. At most `max` are kept.
    ///
    /// # Errors
    /// [`NotRetained`].
    pub fn retain(
        &mut self,
        name: &TopicName,
        value: &Value,
        max: usize,
    ) -> Result<(), NotRetained> {
        if *value == Value::Null {
            self.retained.remove(name);
            return Ok(());
        }
        let mut encoded = Vec::new();
        Version::V2.encode(value, &mut encoded);
        if encoded.len() > RETAINED_MAX_BYTES {
            return Err(NotRetained::TooLarge);
        }
        if self.retained.len() >= max && !self.retained.contains_key(name) {
            return Err(NotRetained::Full);
        }
        self.retained.insert(name.clone(), value.clone());
        Ok(())
    }

    /// The retained messages that this filter wants, by ascending topic.
    pub fn retained(&self, filter: &TopicFilter) -> impl Iterator<Item = (&TopicName, &Value)> {
        let wanted = move |(name, _): &(&TopicName, _)| filter.matches(name);
        self.retained.iter().filter(wanted)
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_empty() && self.retained.is_empty()
    }
}

impl<S: Ord + Copy> Node<S> {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.rest.is_empty() && self.below.is_empty() && self.any.is_none()
    }

    fn remove(&mut self, levels: &[&str], subscription: S) {
        let Some((level, levels)) = levels.split_first() else {
            self.here.remove(&subscription);
            return;
        };
        if *level == REST {
            self.rest.remove(&subscription);
        } else if *level == ANY {
            let Some(node) = &mut self.any else { return };
            node.remove(levels, subscription);
            if node.is_empty() {
                self.any = None;
            }
        } else if let Some(node) = self.below.get_mut(*level) {
            node.remove(levels, subscription);
            if node.is_empty() {
                self.below.remove(*level);
            }
        }
    }

    fn collect(&self, levels: &[&str], found: &mut Vec<S>) {
        found.extend(&self.rest);
        let Some((level, levels)) = levels.split_first() else {
            found.extend(&self.here);
            return;
        };
        if let Some(node) = self.below.get(*level) {
            node.collect(levels, found);
        }
        if let Some(node) = &self.any {
            node.collect(levels, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::topic::tests::{any_filter, any_name, naive_match};
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn the_newest_message_is_retained_and_null_clears_it() {
        let mut topics = Topics::<u32>::default();
        for (topic, value) in [("a/b", 1_u32), ("a/b", 2), ("a/c", 3), ("$x", 4)] {
            assert_eq!(topics.retain(&name(topic), &value.into(), 9), Ok(()));
        }
        let all = |topics: &Topics<u32>, wanted: &str| -> Vec<_> {
            let wanted = filter(wanted);
            let found = topics.retained(&wanted);
            found.filter_map(|(_, value)| value.as_unsigned()).collect()
        };
        assert_eq!(all(&topics, "a/+"), [2, 3]);
        assert_eq!(all(&topics, "#"), [2, 3]);
        assert_eq!(all(&topics, "$x"), [4]);
        for topic in ["a/b", "a/c", "$x", "never"] {
            assert_eq!(topics.retain(&name(topic), &Value::Null, 0), Ok(()));
        }
        assert!(topics.is_empty());
    }

    #[test]
    fn retained_messages_are_bounded() {
        let mut topics = Topics::<u32>::default();
        let value = Value::from(1_u32);
        assert_eq!(topics.retain(&name("a"), &value, 1), Ok(()));
        assert_eq!(topics.retain(&name("b"), &value, 1), Err(NotRetained::Full));
        assert_eq!(topics.retain(&name("a"), &value, 1), Ok(()));
        let large = Value::Bytes(vec![0; RETAINED_MAX_BYTES]);
        let kept = topics.retain(&name("a"), &large, 1);
        assert_eq!(kept, Err(NotRetained::TooLarge));
        assert_eq!(topics.retained(&filter("#")).count(), 1);
    }

    #[test]
    fn ten_thousand_filters_share_their_levels() {
        let mut topics = Topics::default();
        for door in 0..10_000 {
            topics.insert(&filter(&format!("building/door/{door}/+")), door);
        }
        topics.insert(&filter("building/#"), 10_000);
        let wanted = topics.wanted_by(&name("building/door/77/open"));
        assert_eq!(wanted, [10_000, 77]);
    }

    proptest! {
        /// Over random joins and leaves the trie finds what the rules find one by one, and nothing is
        /// left behind.
        #[test]
        fn the_trie_finds_what_the_rules_say(
            filters in proptest::collection::vec(any_filter(), 0..40),
            leave in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
            names in proptest::collection::vec(any_name(), 1..10),
        ) {
            let mut topics = Topics::default();
            let mut open: Vec<_> = filters.into_iter().enumerate().collect();
            for (id, text) in &open {
                topics.insert(&filter(text), *id);
            }
            for index in leave {
                if open.is_empty() {
                    break;
                }
                let (id, text) = open.swap_remove(index.index(open.len()));
                topics.remove(&filter(&text), id);
            }
            for text in names {
                let mut found = topics.wanted_by(&name(&text));
                found.sort_unstable();
                let wants = |(_, filter): &&(usize, String)| naive_match(filter, &text);
                let mut expected: Vec<_> = open.iter().filter(wants).map(|(id, _)| *id).collect();
                expected.sort_unstable();
                prop_assert_eq!(found, expected, "{}", text);
            }
            for (id, text) in &open {
                topics.remove(&filter(text), *id);
            }
            prop_assert!(topics.is_empty());
        }
    }
}
