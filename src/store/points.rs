//! The points of buckets on their way to the disk and back.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::registry::NotStored;
use crate::store::bucket::{
    BucketError, BucketInfo, BucketName, POINT_MAX_BYTES, POINTS_MAX, Point, Range,
};
use crate::store::bucket_index::{Index, Note};
use crate::store::bucket_record;
use crate::store::disk::points::PointWrites;
use crate::store::disk::{Disk, DiskError};
use crate::store::limits::Limits;
use crate::store::property::encode_value;

/// An answer ends with the batch with which so many bytes were read.
const ANSWER_BYTES: usize = 8 << 20;

/// A point that waits to be written, and who is told what came of it.
pub struct PendingPoint {
    pub bucket: BucketName,
    pub unix_ms: u64,
    /// The point as a batch of its own.
    pub bytes: Vec<u8>,
    pub answer: oneshot::Sender<Result<(), BucketError>>,
}

/// The points that wait, and what is known of those on disk.
pub struct Points {
    limits: Limits,
    index: Index,
    /// In the order in which they came.
    gathered: Vec<PendingPoint>,
    /// Why not, for each of `gathered` that the limits refused.
    refused: BTreeMap<usize, BucketError>,
}

/// A batch that is written again with more points, or begun.
struct Filled {
    note: Note,
    bytes: Vec<u8>,
}

impl PendingPoint {
    /// Checks the name and the length of the value.
    ///
    /// # Errors
    /// [`BucketError::BadName`], [`BucketError::TooLarge`].
    pub fn new(
        bucket: BucketName,
        point: &Point,
        answer: oneshot::Sender<Result<(), BucketError>>,
    ) -> Result<Self, BucketError> {
        if !bucket.is_valid() {
            return Err(BucketError::BadName);
        }
        let pson = encode_value(&point.value);
        if pson.len() > POINT_MAX_BYTES {
            return Err(BucketError::TooLarge(pson.len()));
        }
        Ok(Self {
            bucket,
            unix_ms: point.unix_ms,
            bytes: bucket_record::encode_point(point.unix_ms, point.device, pson),
            answer,
        })
    }
}

impl PendingPoint {
    /// Tells who waits that it is not stored.
    pub fn refuse(self, problem: NotStored) {
        // Who asked may have gone away meanwhile.
        let _ = self.answer.send(Err(BucketError::NotStored(problem)));
    }
}

impl Points {
    pub fn new(limits: Limits, index: Index) -> Self {
        Self {
            limits,
            index,
            gathered: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Other limits count from now on.
    pub fn keep(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes up the buckets as they were found when the files were opened again.
    pub fn found(&mut self, index: Index) {
        self.index = index;
    }

    pub fn push(&mut self, point: PendingPoint) {
        self.gathered.push(point);
    }

    pub fn len(&self) -> usize {
        self.gathered.len()
    }

    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty()
    }

    /// Tells all who wait that the disk refuses.
    pub fn fail(&mut self, problem: &NotStored) {
        self.refused.clear();
        for point in self.gathered.drain(..) {
            let error = BucketError::NotStored(problem.clone());
            let _ = point.answer.send(Err(error));
        }
    }

    /// Writes what was gathered, drops what is too much or too old, and tells who waits. After an
    /// error the index is not to be trusted until [`Self::found`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write(&mut self, disk: &Disk, now_unix_ms: u64) -> Result<(), DiskError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut writes = PointWrites::default();
        for (bucket, places) in self.by_bucket() {
            if !self.index.has(&bucket) && !self.has_room(&bucket, now_unix_ms, &mut writes) {
                let error = BucketError::TooMany(self.limits.buckets_max);
                let refused = places.into_iter().map(|place| (place, error.clone()));
                self.refused.extend(refused);
                continue;
            }
            for filled in self.fill(disk, &bucket, &places)? {
                self.index.put(&bucket, filled.note);
                writes.put(&bucket, &filled.note, filled.bytes);
            }
            let trimmed = self.index.trim(&bucket, &self.limits, now_unix_ms);
            writes.remove(&bucket, &trimmed);
        }
        disk.write_points(writes)?;
        disk.flush()?;
        for (place, point) in self.gathered.drain(..).enumerate() {
            let refused = self.refused.remove(&place);
            // Who asked may have gone away meanwhile.
            let _ = point.answer.send(refused.map_or(Ok(()), Err));
        }
        self.gathered.shrink_to(0);
        Ok(())
    }

    /// Writes points of an export, whose names and values are good.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn load(&mut self, disk: &Disk, points: Vec<(BucketName, Point)>) -> Result<(), DiskError> {
        for (bucket, point) in points {
            // Nobody waits for the answer.
            let (answer, _) = oneshot::channel();
            let pending = PendingPoint::new(bucket, &point, answer);
            self.gathered.extend(pending.ok());
        }
        self.write(disk, 0)
    }

    /// Drops what is too much or too old in all buckets.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn trim_all(&mut self, disk: &Disk, now_unix_ms: u64) -> Result<(), DiskError> {
        let all: Vec<BucketName> = self.index.all().cloned().collect();
        self.trim(disk, &all, now_unix_ms)
    }

    /// Points of a range in the wanted order. A batch that does not decode is passed over: it was
    /// moved aside.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read(
        &mut self,
        disk: &Disk,
        bucket: &BucketName,
        range: &Range,
        now_unix_ms: u64,
    ) -> Result<Vec<Point>, DiskError> {
        self.trim(disk, std::slice::from_ref(bucket), now_unix_ms)?;
        let max = range.max.min(POINTS_MAX);
        let times = range.from_unix_ms..=range.until_unix_ms;
        let (mut found, mut read) = (Vec::new(), 0);
        for number in self.index.covering(bucket, range) {
            if found.len() >= max || read >= ANSWER_BYTES {
                break;
            }
            let Some((bytes, mut points)) = disk.points(bucket, number)? else {
                self.index.lose(bucket, number);
                continue;
            };
            read += bytes.len();
            if range.newest_first {
                points.reverse();
            }
            points.retain(|point| times.contains(&point.unix_ms));
            found.extend(points);
        }
        found.truncate(max);
        Ok(found)
    }

    /// The buckets of an owner by name.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn infos(
        &mut self,
        disk: &Disk,
        owner: &str,
        now_unix_ms: u64,
    ) -> Result<Vec<BucketInfo>, DiskError> {
        let names: Vec<BucketName> = self.index.of_owner(owner).cloned().collect();
        self.trim(disk, &names, now_unix_ms)?;
        Ok(self.index.infos(owner))
    }

    /// Deletes a bucket whole.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn delete(&mut self, disk: &Disk, bucket: &BucketName) -> Result<(), DiskError> {
        if self.index.has(bucket) {
            disk.remove_bucket(bucket)?;
            disk.flush()?;
            self.index.remove(bucket);
        }
        Ok(())
    }

    fn trim(
        &mut self,
        disk: &Disk,
        buckets: &[BucketName],
        now_unix_ms: u64,
    ) -> Result<(), DiskError> {
        let mut writes = PointWrites::default();
        let mut is_needed = false;
        for bucket in buckets {
            let trimmed = self.index.trim(bucket, &self.limits, now_unix_ms);
            is_needed |= !trimmed.is_empty();
            writes.remove(bucket, &trimmed);
        }
        if !is_needed {
            return Ok(());
        }
        disk.write_points(writes)
    }

    /// Whether the owner of a new bucket may have one more. One that has too many loses those
    /// first in which everything is too old.
    fn has_room(
        &mut self,
        bucket: &BucketName,
        now_unix_ms: u64,
        writes: &mut PointWrites,
    ) -> bool {
        let owner = &bucket.owner;
        if self.index.of_owner(owner).count() < self.limits.buckets_max {
            return true;
        }
        let names: Vec<BucketName> = self.index.of_owner(owner).cloned().collect();
        for name in &names {
            let trimmed = self.index.trim(name, &self.limits, now_unix_ms);
            writes.remove(name, &trimmed);
        }
        self.index.of_owner(owner).count() < self.limits.buckets_max
    }

    /// Where the gathered points of each bucket are, in the order in which they came, as are the
    /// buckets.
    fn by_bucket(&self) -> Vec<(BucketName, Vec<usize>)> {
        let mut places: BTreeMap<BucketName, Vec<usize>> = BTreeMap::new();
        for (place, point) in self.gathered.iter().enumerate() {
            match places.get_mut(&point.bucket) {
                Some(places) => places.push(place),
                None => drop(places.insert(point.bucket.clone(), vec![place])),
            }
        }
        let mut places = Vec::from_iter(places);
        places.sort_by_key(|(_, places)| places.first().copied());
        places
    }

    /// The batches that these points go into: the newest of the bucket until it is full, and more.
    fn fill(
        &mut self,
        disk: &Disk,
        bucket: &BucketName,
        places: &[usize],
    ) -> Result<Vec<Filled>, DiskError> {
        let newest = self.index.newest(bucket);
        let mut next = newest.map_or(0, |note| note.number + 1);
        let mut batches: Vec<Filled> = Vec::new();
        if let Some(note) = newest.filter(|note| !note.is_full(&self.limits)) {
            match disk.points(bucket, note.number)? {
                Some((bytes, _)) => batches.push(Filled {
                    note,
                    bytes: bytes.to_vec(),
                }),
                None => self.index.lose(bucket, note.number),
            }
        }
        for point in places.iter().filter_map(|place| self.gathered.get(*place)) {
            if batches
                .last()
                .is_none_or(|last| last.note.is_full(&self.limits))
            {
                let (note, bytes) = (Note::empty(next), Vec::new());
                batches.push(Filled { note, bytes });
                next += 1;
            }
            if let Some(last) = batches.last_mut() {
                last.note.add(point.unix_ms, point.bytes.len());
                last.bytes.extend_from_slice(&point.bytes);
            }
        }
        Ok(batches)
    }
}
