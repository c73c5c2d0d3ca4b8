//! What is known of the stored points without reading them: a note of each batch.
//!
//! Points of a bucket lie in batches in the order in which they came. The newest batch is written
//! again with more points until it is full, so that a bucket of many points has few batches. A
//! clock that goes back makes nothing worse than the search: a note has the earliest and the latest
//! time of its batch, and every batch that can have a point of a range is read.

use std::collections::{BTreeMap, VecDeque};

use crate::store::bucket::{BucketInfo, BucketName, Range};
use crate::store::limits::Limits;

/// A batch is full with so many points …
const BATCH_POINTS: u64 = 64;
/// … or with so many bytes. One point may have more.
const BATCH_BYTES: u32 = 4096;

/// What is in one stored batch of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Ascending within a bucket.
    pub number: u64,
    pub points: u32,
    pub bytes: u32,
    /// The earliest time of a point, in milliseconds since the Unix epoch.
    pub first_unix_ms: u64,
    /// The latest.
    pub last_unix_ms: u64,
}

/// The batches of one bucket, at least one, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bucket {
    batches: VecDeque<Note>,
    points: u64,
}

/// All buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    buckets: BTreeMap<BucketName, Bucket>,
}

impl Note {
    /// Takes in a point of so many bytes.
    pub fn add(&mut self, unix_ms: u64, bytes: usize) {
        self.points = self.points.saturating_add(1);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        self.first_unix_ms = self.first_unix_ms.min(unix_ms);
        self.last_unix_ms = self.last_unix_ms.max(unix_ms);
    }

    /// A batch that has no point yet.
    pub const fn empty(number: u64) -> Self {
        Self {
            number,
            points: 0,
            bytes: 0,
            first_unix_ms: u64::MAX,
            last_unix_ms: 0,
        }
    }

    /// Whether the next point begins another batch. Small buckets have small batches, because a
    /// batch goes as a whole when there are too many points.
    pub fn is_full(&self, limits: &Limits) -> bool {
        let points_max = (limits.bucket_keep_max / 16).clamp(1, BATCH_POINTS);
        u64::from(self.points) >= points_max || self.bytes >= BATCH_BYTES
    }
}

impl Index {
    /// Takes in a batch that is the newest of its bucket, or is that and was written again.
    pub fn put(&mut self, name: &BucketName, note: Note) {
        let bucket = match self.buckets.get_mut(name) {
            Some(bucket) => bucket,
            None => self.buckets.entry(name.clone()).or_default(),
        };
        if let Some(newest) = bucket
            .batches
            .pop_back_if(|newest| newest.number == note.number)
        {
            bucket.points -= u64::from(newest.points);
        }
        bucket.points += u64::from(note.points);
        bucket.batches.push_back(note);
    }

    /// Takes out a batch that cannot be read.
    pub fn lose(&mut self, name: &BucketName, number: u64) {
        let Some(bucket) = self.buckets.get_mut(name) else {
            return;
        };
        if let Ok(place) = bucket
            .batches
            .binary_search_by_key(&number, |note| note.number)
        {
            let note = bucket.batches.remove(place);
            bucket.points -= note.map_or(0, |note| u64::from(note.points));
        }
        if bucket.batches.is_empty() {
            self.buckets.remove(name);
        }
    }

    pub fn remove(&mut self, name: &BucketName) {
        self.buckets.remove(name);
    }

    pub fn has(&self, name: &BucketName) -> bool {
        self.buckets.contains_key(name)
    }

    pub fn newest(&self, name: &BucketName) -> Option<Note> {
        self.buckets.get(name)?.batches.back().copied()
    }

    pub fn all(&self) -> impl Iterator<Item = &BucketName> {
        self.buckets.keys()
    }

    pub fn of_owner(&self, owner: &str) -> impl Iterator<Item = &BucketName> {
        self.owned(owner).map(|(name, _)| name)
    }

    /// The buckets of an owner, by name.
    pub fn infos(&self, owner: &str) -> Vec<BucketInfo> {
        self.owned(owner).filter_map(info).collect()
    }

    /// Takes out what is too old or too much in a bucket; the numbers of those batches. A bucket
    /// without a batch is none any more.
    pub fn trim(&mut self, name: &BucketName, limits: &Limits, now_unix_ms: u64) -> Vec<u64> {
        let keep_ms = u64::try_from(limits.bucket_keep_for.as_millis()).unwrap_or(u64::MAX);
        let oldest_kept_ms = now_unix_ms.saturating_sub(keep_ms);
        let Some(bucket) = self.buckets.get_mut(name) else {
            return Vec::new();
        };
        let mut trimmed = Vec::new();
        while let Some(note) = bucket.batches.front() {
            let too_many = bucket.points > limits.bucket_keep_max && bucket.batches.len() > 1;
            if !too_many && note.last_unix_ms >= oldest_kept_ms {
                break;
            }
            trimmed.push(note.number);
            bucket.points -= u64::from(note.points);
            bucket.batches.pop_front();
        }
        if bucket.batches.is_empty() {
            self.buckets.remove(name);
        }
        trimmed
    }

    /// The numbers of the batches that can have points of this range, in the wanted order.
    pub fn covering(&self, name: &BucketName, range: &Range) -> Vec<u64> {
        let batches = self.buckets.get(name).map(|bucket| bucket.batches.iter());
        let touches = |note: &&Note| {
            note.last_unix_ms >= range.from_unix_ms && note.first_unix_ms <= range.until_unix_ms
        };
        let touched = batches.into_iter().flatten().filter(touches);
        let mut numbers: Vec<u64> = touched.map(|note| note.number).collect();
        if range.newest_first {
            numbers.reverse();
        }
        numbers
    }

    fn owned(&self, owner: &str) -> impl Iterator<Item = (&BucketName, &Bucket)> {
        let from = BucketName {
            owner: owner.into(),
            name: "".into(),
        };
        let buckets = self.buckets.range(from..);
        buckets.take_while(move |(name, _)| *name.owner == *owner)
    }
}

fn info((name, bucket): (&BucketName, &Bucket)) -> Option<BucketInfo> {
    let notes = bucket.batches.iter();
    Some(BucketInfo {
        name: name.name.clone(),
        points: bucket.points,
        first_unix_ms: notes.clone().map(|note| note.first_unix_ms).min()?,
        last_unix_ms: notes.map(|note| note.last_unix_ms).max()?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn name(owner: &str, name: &str) -> BucketName {
        BucketName {
            owner: owner.into(),
            name: name.into(),
        }
    }

    fn limits(keep_max: u64, keep_for_ms: u64) -> Limits {
        Limits {
            bucket_keep_max: keep_max,
            bucket_keep_for: Duration::from_millis(keep_for_ms),
            ..Limits::default()
        }
    }

    /// Appends as the store does.
    fn append(index: &mut Index, name: &BucketName, unix_ms: u64, limits: &Limits) {
        let mut note = match index.newest(name) {
            Some(note) if !note.is_full(limits) => note,
            newest => Note::empty(newest.map_or(0, |note| note.number + 1)),
        };
        note.add(unix_ms, 20);
        index.put(name, note);
    }

    proptest! {
        #[test]
        fn a_bucket_is_within_its_bounds_and_no_smaller_than_need_be(
            times in vec(0..1000u64, 1..300), keep_max in 0..200u64, keep_for_ms in 0..1500u64,
        ) {
            let (limits, name) = (limits(keep_max, keep_for_ms), name("", "t"));
            let (mut index, mut trimmed) = (Index::default(), Vec::new());
            for (count, unix_ms) in times.iter().enumerate() {
                append(&mut index, &name, *unix_ms, &limits);
                trimmed.extend(index.trim(&name, &limits, 1000));
                let infos = index.infos("");
                let Some(info) = infos.first() else {
                    // Only age empties a bucket.
                    prop_assert!(unix_ms + keep_for_ms < 1000);
                    continue;
                };
                prop_assert!(info.points <= keep_max.max(1));
                if keep_for_ms >= 1000 {
                    let few = (keep_max - keep_max / 16).clamp(1, count as u64 + 1);
                    prop_assert!(info.points >= few.min(keep_max.max(1)), "{}", info.points);
                }
            }
            prop_assert!(trimmed.windows(2).all(|pair| pair[0] < pair[1] || keep_for_ms < 1000));
        }

        #[test]
        fn every_batch_that_can_have_a_point_is_read(
            times in vec(0..100u64, 1..300), from in 0..100u64, until in 0..100u64, newest_first: bool,
        ) {
            let (limits, name) = (limits(160, 1000), name("home", "t"));
            let mut index = Index::default();
            let mut numbers = Vec::new();
            for unix_ms in &times {
                append(&mut index, &name, *unix_ms, &limits);
                numbers.extend(index.newest(&name).map(|note| (note.number, *unix_ms)));
            }
            let range = Range { from_unix_ms: from, until_unix_ms: until, max: 1, newest_first };
            let read = index.covering(&name, &range);
            let ascending = read.windows(2).all(|pair| (pair[0] > pair[1]) == newest_first);
            prop_assert!(ascending);
            for (number, unix_ms) in numbers {
                if (from..=until).contains(&unix_ms) {
                    prop_assert!(read.contains(&number));
                }
            }
        }
    }

    #[test]
    fn owners_are_kept_apart() {
        let mut index = Index::default();
        for (owner, bucket) in [("", "b"), ("a", "x"), ("a", "c"), ("ab", "c"), ("b", "")] {
            append(&mut index, &name(owner, bucket), 5, &limits(10, 10));
        }
        let names = |owner: &str| -> Vec<String> {
            let infos = index.infos(owner).into_iter();
            infos.map(|info| info.name.into()).collect()
        };
        assert_eq!(names(""), ["b"]);
        assert_eq!(names("a"), ["c", "x"]);
        assert_eq!(names("ab"), ["c"]);
        assert_eq!(names("aa"), [""; 0]);
        index.remove(&name("a", "c"));
        assert_eq!(index.infos("a").len(), 1);
        assert_eq!(index.of_owner("a").count(), 1);
    }

    #[test]
    fn a_lost_batch_takes_its_points_along() {
        let (limits, name) = (limits(32, 1000), name("", "t"));
        let mut index = Index::default();
        for unix_ms in 1..=5 {
            append(&mut index, &name, unix_ms, &limits);
        }
        index.lose(&name, 1);
        index.lose(&name, 77);
        assert_eq!(index.infos("")[0].points, 3);
        index.lose(&name, 0);
        index.lose(&name, 2);
        assert!(!index.has(&name));
    }
}
