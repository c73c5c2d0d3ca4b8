//! Batches of points to bytes and back. Bytes that say what cannot be do not decode.

use prost::Message;

use crate::device::DeviceId;
use crate::store::bucket::{BucketName, Point};
use crate::store::bucket_index::Note;
use crate::store::property::decode_value;
use crate::store::record::{RecordError, device_id, proto};

/// Bytes of a batch's number at the end of its key.
const NUMBER_BYTES: usize = 8;

/// What the keys of all batches of a bucket begin with, and those of no other bucket: no name holds
/// a zero byte.
pub fn prefix(bucket: &BucketName) -> Vec<u8> {
    let (owner, name) = (bucket.owner.as_bytes(), bucket.name.as_bytes());
    [owner, b"\0", name, b"\0"].concat()
}

/// The key of a batch, in both trees.
pub fn key(bucket: &BucketName, number: u64) -> Vec<u8> {
    [&prefix(bucket)[..], &number.to_be_bytes()].concat()
}

/// # Errors
/// [`RecordError::BatchKey`], [`RecordError::FunctionName`].
pub fn batch_of_key(key: &[u8]) -> Result<(BucketName, u64), RecordError> {
    let (prefix, number) = key
        .split_last_chunk::<NUMBER_BYTES>()
        .ok_or(RecordError::BatchKey)?;
    let names = prefix.strip_suffix(b"\0").ok_or(RecordError::BatchKey)?;
    let names = std::str::from_utf8(names).map_err(|_| RecordError::BatchKey)?;
    let (owner, name) = names.split_once('\0').ok_or(RecordError::BatchKey)?;
    let bucket = BucketName {
        owner: owner.into(),
        name: name.into(),
    };
    if !bucket.is_valid() {
        return Err(RecordError::FunctionName);
    }
    Ok((bucket, u64::from_be_bytes(*number)))
}

/// A point as a batch of its own; to append it to a batch is to append these bytes.
pub fn encode_point(unix_ms: u64, device: DeviceId, pson: Vec<u8>) -> Vec<u8> {
    proto::PointBatch {
        points: vec![proto::Point {
            unix_ms,
            device: device.get(),
            value: pson,
        }],
    }
    .encode_to_vec()
}

/// At least one point, in the order in which they came.
///
/// # Errors
/// [`RecordError`].
pub fn decode_points(bytes: &[u8]) -> Result<Vec<Point>, RecordError> {
    let points = proto::PointBatch::decode(bytes)?.points;
    if points.is_empty() {
        return Err(RecordError::NoPoints);
    }
    points.into_iter().map(point).collect()
}

pub fn encode_note(note: &Note) -> Vec<u8> {
    proto::PointBatchNote {
        points: note.points,
        bytes: note.bytes,
        first_unix_ms: note.first_unix_ms,
        last_unix_ms: note.last_unix_ms,
    }
    .encode_to_vec()
}

/// # Errors
/// [`RecordError`].
pub fn decode_note(key: &[u8], bytes: &[u8]) -> Result<(BucketName, Note), RecordError> {
    let (bucket, number) = batch_of_key(key)?;
    let record = proto::PointBatchNote::decode(bytes)?;
    if record.points == 0 || record.first_unix_ms > record.last_unix_ms {
        return Err(RecordError::NoPoints);
    }
    let note = Note {
        number,
        points: record.points,
        bytes: record.bytes,
        first_unix_ms: record.first_unix_ms,
        last_unix_ms: record.last_unix_ms,
    };
    Ok((bucket, note))
}

fn point(record: proto::Point) -> Result<Point, RecordError> {
    Ok(Point {
        unix_ms: record.unix_ms,
        device: device_id(record.device)?,
        value: decode_value(&record.value)?,
    })
}

#[cfg(test)]
pub mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::pson::tests::any_value;
    use crate::store::property::encode_value;

    fn any_point() -> impl Strategy<Value = Point> {
        (any::<u64>(), 1..=u32::MAX, any_value()).prop_map(|(unix_ms, device, value)| Point {
            unix_ms,
            device: DeviceId::new(device).expect("not zero"),
            value,
        })
    }

    fn any_bucket() -> impl Strategy<Value = BucketName> {
        ("[a-c.]{0,3}", "[a-cß ]{1,3}").prop_map(|(owner, name)| BucketName {
            owner: owner.into(),
            name: name.into(),
        })
    }

    pub fn encoded(point: &Point) -> Vec<u8> {
        let pson = encode_value(&point.value);
        encode_point(point.unix_ms, point.device, pson)
    }

    proptest! {
        #[test]
        fn appended_points_come_back_in_order(points in vec(any_point(), 1..6)) {
            let pieces: Vec<Vec<u8>> = points.iter().map(encoded).collect();
            let bytes = pieces.concat();
            prop_assert_eq!(decode_points(&bytes), Ok(points.clone()));
            let mut ends: Vec<usize> = Vec::new();
            for piece in &pieces {
                ends.push(ends.last().copied().unwrap_or(0) + piece.len());
            }
            for length in 0..bytes.len() {
                // Whole points are a batch as well; anything else is none.
                let whole = ends.iter().position(|end| *end == length);
                let expected = whole.map(|index| points[..=index].to_vec());
                prop_assert_eq!(decode_points(&bytes[..length]).ok(), expected);
            }
        }

        #[test]
        fn a_note_comes_back_as_it_was(
            bucket in any_bucket(), number: u64, points in 1..=u32::MAX, bytes: u32, one: u64, other: u64,
        ) {
            let note = Note {
                number,
                points,
                bytes,
                first_unix_ms: one.min(other),
                last_unix_ms: one.max(other),
            };
            let found = decode_note(&key(&bucket, number), &encode_note(&note));
            prop_assert_eq!(found, Ok((bucket, note)));
        }

        #[test]
        fn keys_lie_in_the_order_of_their_batches(
            one in any_bucket(), other in any_bucket(), numbers: (u64, u64),
        ) {
            let (first, second) = (key(&one, numbers.0), key(&other, numbers.1));
            prop_assert_eq!(first == second, (&one, numbers.0) == (&other, numbers.1));
            prop_assert_eq!(second.starts_with(&prefix(&one)), one == other);
            if one == other {
                prop_assert_eq!(first.cmp(&second), numbers.0.cmp(&numbers.1));
            }
        }

        #[test]
        fn any_bytes_decode_or_are_refused(key in vec(any::<u8>(), 0..20), bytes in vec(any::<u8>(), 0..64)) {
            let _ = decode_points(&bytes);
            let _ = decode_note(&key, &bytes);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (key, error) in [
            (&b"short"[..], RecordError::BatchKey),
            (b"a\0b12345678", RecordError::BatchKey),
            (b"a\0\x0012345678", RecordError::FunctionName),
            (b"a\0b\x0012345678", RecordError::NoPoints),
            (b"a\0b\0c\x0012345678", RecordError::FunctionName),
        ] {
            assert_eq!(decode_note(key, &[]), Err(error), "{key:?}");
        }
    }
}
