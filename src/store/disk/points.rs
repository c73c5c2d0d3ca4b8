//! Buckets on disk: batches of points, and a note of each.

use sled::{Batch as TreeWrites, IVec};

use super::{Disk, DiskError, write};
use crate::store::bucket::{BucketName, Point};
use crate::store::bucket_index::{Index, Note};
use crate::store::bucket_record as record;
use crate::store::record::RecordError;

/// What is to be written at once.
#[derive(Default)]
pub struct PointWrites {
    batches: TreeWrites,
    notes: TreeWrites,
}

impl PointWrites {
    pub fn put(&mut self, bucket: &BucketName, note: &Note, batch: Vec<u8>) {
        let key = record::key(bucket, note.number);
        self.notes.insert(&*key, record::encode_note(note));
        self.batches.insert(key, batch);
    }

    pub fn remove(&mut self, bucket: &BucketName, numbers: &[u64]) {
        for number in numbers {
            self.remove_key(record::key(bucket, *number));
        }
    }

    fn remove_key(&mut self, key: impl Into<IVec>) {
        let key = key.into();
        self.notes.remove(&key);
        self.batches.remove(key);
    }
}

impl Disk {
    /// Writes all of this or none.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write_points(&self, writes: PointWrites) -> Result<(), DiskError> {
        write(vec![
            (self.points.clone(), writes.batches),
            (self.buckets.clone(), writes.notes),
        ])
    }

    /// # Errors
    /// [`DiskError`].
    pub fn remove_bucket(&self, bucket: &BucketName) -> Result<(), DiskError> {
        let mut writes = PointWrites::default();
        for tree in [&self.points, &self.buckets] {
            for key in tree.scan_prefix(record::prefix(bucket)).keys() {
                writes.remove_key(key?);
            }
        }
        self.write_points(writes)
    }

    /// The bytes of a batch and the points in it; `None` when it is missing, or does not decode:
    /// then it was moved aside.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn points(
        &self,
        bucket: &BucketName,
        number: u64,
    ) -> Result<Option<(IVec, Vec<Point>)>, DiskError> {
        let key = record::key(bucket, number);
        if let Some(bytes) = self.points.get(&key)? {
            match record::decode_points(&bytes) {
                Ok(points) => return Ok(Some((bytes, points))),
                Err(error) => self.copy_aside(&self.points, &key, &bytes, &error)?,
            }
        }
        tracing::error!(?bucket, number, "a batch of points is lost");
        let mut writes = PointWrites::default();
        writes.remove_key(key);
        self.write_points(writes)?;
        Ok(None)
    }

    /// What the notes say. A note that does not decode is set aside, and made anew from its batch.
    pub(super) fn load_index(&self) -> Result<Index, DiskError> {
        let mut index = Index::default();
        for entry in &self.buckets {
            let (key, value) = entry?;
            let (bucket, note) = match record::decode_note(&key, &value) {
                Ok(found) => found,
                Err(error) => {
                    self.copy_aside(&self.buckets, &key, &value, &error)?;
                    match self.note_anew(&key)? {
                        Some(found) => found,
                        None => continue,
                    }
                }
            };
            index.put(&bucket, note);
        }
        Ok(index)
    }

    /// A new note of the batch under this key; where there is none to be made, neither the note
    /// nor the batch is there any more.
    fn note_anew(&self, key: &IVec) -> Result<Option<(BucketName, Note)>, DiskError> {
        if let Some(bytes) = self.points.get(key)? {
            match note_of(key, &bytes) {
                Ok((bucket, note)) => {
                    self.buckets.insert(key, record::encode_note(&note))?;
                    return Ok(Some((bucket, note)));
                }
                Err(error) => self.copy_aside(&self.points, key, &bytes, &error)?,
            }
        }
        let mut writes = PointWrites::default();
        writes.remove_key(key);
        self.write_points(writes)?;
        Ok(None)
    }
}

fn note_of(key: &[u8], bytes: &[u8]) -> Result<(BucketName, Note), RecordError> {
    let (bucket, number) = record::batch_of_key(key)?;
    let mut note = Note::empty(number);
    for point in record::decode_points(bytes)? {
        note.add(point.unix_ms, 0);
    }
    note.bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Ok((bucket, note))
}
