//! The figures of savings: how they add up, how those of a pass under way are noted in its record, and those that are on record.

use crate::code::Code;
use crate::metadata::keys;
use crate::metadata::records::{ChunkRecord, Record, SavingsRecord};
use crate::object::{BucketName, Objects};
use crate::worker::Pass;
use bytes::Bytes;
use protocol::{Error, Result};

/// What the figures of the whole pass are called in its record begins so,
pub(super) const ALL: &str = "";
/// and those of the bucket that it is in begin so.
pub(super) const BUCKET: &str = "bucket_";
/// The most buckets in one page.
pub const SAVINGS_LIMIT_MAX: usize = 1_000;
/// Between a bucket and the rest of a position; no bucket's name holds one.
const BETWEEN: u8 = 0;
/// Of an offset in a position.
const OFFSET_BYTES: usize = size_of::<u64>();

type Figure = fn(&mut SavingsRecord) -> &mut u64;

/// What is added up, and its name in the record of a pass.
const FIGURES: [(&str, Figure); 7] = [
    ("versions", |figures| &mut figures.versions),
    ("logical_bytes", |figures| &mut figures.logical_bytes),
    ("unique_bytes", |figures| &mut figures.unique_bytes),
    ("stored_bytes", |figures| &mut figures.stored_bytes),
    ("node_bytes", |figures| &mut figures.node_bytes),
    ("coded_bytes", |figures| &mut figures.coded_bytes),
    ("coded_as_copies_bytes", |figures| &mut figures.coded_as_copies_bytes),
];

/// Adds a chunk that counts; copies are made as `replication` says.
pub(super) fn add_chunk(figures: &mut SavingsRecord, chunk: &ChunkRecord, replication: Code) {
    let shard_length = u64::from(chunk.shard_length());
    let stored_length = u64::from(chunk.stored_length);
    figures.unique_bytes += u64::from(chunk.length);
    figures.stored_bytes += stored_length;
    figures.node_bytes += shard_length * chunk.shards.len() as u64;
    if chunk.code.data > 1 {
        figures.coded_bytes += shard_length * chunk.code.shards() as u64;
        figures.coded_as_copies_bytes += stored_length * replication.shards() as u64;
    }
}

/// Both together; the times are the first one's.
pub(super) fn sum(mut one: SavingsRecord, mut other: SavingsRecord) -> SavingsRecord {
    for (_, figure) in FIGURES {
        let more = *figure(&mut other);
        *figure(&mut one) += more;
    }
    one
}

/// Notes figures in the record of a pass.
pub(super) fn note(pass: &mut Pass, whose: &str, figures: &SavingsRecord) {
    let mut figures = *figures;
    for (name, figure) in FIGURES {
        pass.record.counts.insert(format!("{whose}{name}"), *figure(&mut figures));
    }
}

/// The figures in the record of a pass.
pub(super) fn noted(pass: &Pass, whose: &str) -> SavingsRecord {
    let mut figures = SavingsRecord::default();
    for (name, figure) in FIGURES {
        *figure(&mut figures) = pass.counted(&format!("{whose}{name}"));
    }
    figures
}

/// Where a pass goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After this bucket; at the first one if there is none.
    Behind(Option<BucketName>),
    /// In this bucket.
    Within {
        /// The bucket.
        bucket: BucketName,
        /// The key of a version, or one before it,
        from: Bytes,
        /// and the offset in that version.
        offset: u64,
    },
}

impl Place {
    /// As it stands in the record of a pass: the bucket; within it a NUL, the offset and the key follow.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Place::Behind(bucket) => bucket.as_ref().map_or("", BucketName::as_str).as_bytes().to_vec(),
            Place::Within { bucket, from, offset } => {
                [bucket.as_str().as_bytes(), &[BETWEEN], &offset.to_be_bytes(), from].concat()
            }
        }
    }

    /// The reverse.
    pub(super) fn parse(bytes: &[u8]) -> Result<Place> {
        let bad = || Error::corrupt("the record of the savings pass says nowhere to go on");
        let end = bytes.iter().position(|byte| *byte == BETWEEN).unwrap_or(bytes.len());
        let (bucket, rest) = bytes.split_at(end);
        let bucket = match std::str::from_utf8(bucket).map_err(|_| bad())? {
            "" => None,
            name => Some(BucketName::parse(name)?),
        };
        let Some(rest) = rest.get(1..) else { return Ok(Place::Behind(bucket)) };
        let (offset, from) = rest.split_first_chunk::<OFFSET_BYTES>().ok_or_else(bad)?;
        let (offset, from) = (u64::from_be_bytes(*offset), Bytes::copy_from_slice(from));
        Ok(Place::Within { bucket: bucket.ok_or_else(bad)?, from, offset })
    }
}

/// Figures of some buckets.
#[derive(Clone, Debug)]
pub struct SavingsPage {
    /// In the order of their names.
    pub buckets: Vec<(String, SavingsRecord)>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// What was last counted of the buckets whose names come after `after`, `limit` of them at most.
pub async fn list(objects: &Objects, after: &str, limit: usize) -> Result<SavingsPage> {
    let limit = limit.clamp(1, SAVINGS_LIMIT_MAX);
    let range = keys::savings_after(after);
    let found = objects.metadata.scan(&range.from, &range.to, limit + 1).await?;
    let mut page = SavingsPage { buckets: Vec::new(), more: found.len() > limit };
    for (key, entry) in found.iter().take(limit) {
        page.buckets.push((keys::parse_savings(key)?.to_owned(), SavingsRecord::decode(&entry.value)?));
    }
    Ok(page)
}

/// What was last counted of a bucket.
pub async fn of_bucket(objects: &Objects, bucket: &BucketName) -> Result<Option<SavingsRecord>> {
    read(objects, keys::savings(bucket.as_str())).await
}

/// What the last whole pass counted of all buckets; `None` before there was one.
pub async fn of_all(objects: &Objects) -> Result<Option<SavingsRecord>> {
    read(objects, keys::savings_of_all()).await
}

async fn read(objects: &Objects, key: Bytes) -> Result<Option<SavingsRecord>> {
    let found = objects.metadata.get(&key).await?;
    found.map(|entry| SavingsRecord::decode(&entry.value)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::{ChunkState, ShardPlace};

    fn chunk(code: Code, length: u32, stored_length: u32, shards: u8) -> ChunkRecord {
        let place = |index: u8| ShardPlace { node: format!("n{index}").parse().unwrap(), index, crc: 0 };
        ChunkRecord {
            length,
            stored_length,
            sha256: [0; 32],
            compressed: stored_length < length,
            code,
            shards: (0..shards).map(place).collect(),
            state: ChunkState::Live,
            fence: 0,
        }
    }

    #[test]
    fn copies_and_coded_chunks_add_up() {
        let (copies, coded) = (Code::REPLICATION, Code::new(4, 2).unwrap());
        let mut figures = SavingsRecord::default();
        add_chunk(&mut figures, &chunk(copies, 1_000, 400, 2), copies);
        assert_eq!((figures.unique_bytes, figures.stored_bytes, figures.node_bytes), (1_000, 400, 800));
        assert_eq!((figures.saved_by_compression_bytes(), figures.saved_by_coding_bytes()), (600, 0));
        // A quarter of 1,001 bytes, up to an even number, on five of six nodes.
        add_chunk(&mut figures, &chunk(coded, 1_001, 1_001, 5), copies);
        assert_eq!((figures.unique_bytes, figures.stored_bytes, figures.node_bytes), (2_001, 1_401, 800 + 5 * 252));
        assert_eq!(figures.saved_by_coding_bytes(), 3 * 1_001 - 6 * 252);
        // One byte is two in each of six shards.
        let mut short = SavingsRecord::default();
        add_chunk(&mut short, &chunk(coded, 1, 1, 6), copies);
        assert_eq!(short.saved_by_coding_bytes(), 3 - 12);
        short.logical_bytes = 5;
        assert_eq!(sum(figures, short).saved_by_coding_bytes(), 3 * 1_002 - 6 * 254);
        assert_eq!((sum(short, short).logical_bytes, sum(short, short).saved_by_dedup_bytes()), (10, 8));
    }

    #[test]
    fn places_round_trip_and_nonsense_is_corrupt() {
        let bucket = BucketName::parse("bucket-a").unwrap();
        let from = keys::version("bucket-a", "k", 7);
        for place in [
            Place::Behind(None),
            Place::Behind(Some(bucket.clone())),
            Place::Within { bucket: bucket.clone(), from, offset: u64::MAX },
            Place::Within { bucket, from: Bytes::new(), offset: 0 },
        ] {
            assert_eq!(Place::parse(&place.to_bytes()).unwrap(), place);
        }
        for bad in [&b"bucket-a\0\0\0"[..], b"\0\0\0\0\0\0\0\0\0", b"\xff"] {
            assert!(Place::parse(bad).is_err(), "{bad:?}");
        }
    }
}
