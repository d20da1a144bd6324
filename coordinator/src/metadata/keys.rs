//! The one place that spells keys.
//!
//! ```text
//! bucket/<bucket>                              records::BucketRecord    a bucket and its settings
//! object/<bucket>\0<key>                       records::ObjectRecord    what a listing shows
//! version/<bucket>\0<key>\0<number u64 BE>     records::VersionRecord   a manifest
//! page/<version 16>/<end offset u64 BE>        records::PageRecord      chunks of a long manifest
//! chunk/<chunk 16>                             records::ChunkRecord     where bytes are
//! digest/<sha256 32><data 1><parity 1>         records::DigestRecord    which chunk holds these bytes under this code
//! ref/<chunk 16>/<version 16>                  records::RefRecord       who needs a chunk
//! intent/<version 16>                          records::IntentRecord    an upload under way
//! upload/<bucket>\0<key>\0<upload 16>          records::UploadRecord    a multipart upload that is open
//! part/<upload 16>/<number u16 BE>             records::PartRecord      a part of it
//! completed/<upload 16>                        records::CompletedRecord what became of it
//! parts/<version 16>/<end offset u64 BE>       records::PartsRecord     the parts that a version was put together from
//! repair/<severity 1>/<chunk 16>               records::RepairRecord    work, most urgent (0) first
//! garbage/<version 16>                         records::GarbageRecord   versions nobody sees any more
//! collect/<chunk 16>                           records::CollectRecord   chunks that lost a reference
//! trash/<node>\0<chunk 16><index 1>            records::TrashRecord     shards to delete
//! node/<name>                                  records::NodeRecord
//! lease/<name>, beat/<name>                    records::LeaseRecord     who does a kind of work, and that it still does
//! worker/<name>                                records::WorkerRecord    how far a pass has come
//! wanted/<worker>/<id 16>                      records::WantedRecord    passes that are wanted
//! verify/<id 16>                               records::VerifyRecord    what is read and checked, and how far
//! finding/<id 16>/<number u64 BE>              records::FindingRecord   what was found wrong
//! credential/<id>                              records::CredentialRecord  who may come in
//! usage/<bucket>                               records::UsageRecord     how full a bucket with a quota was
//! transition/<version 16>                      records::TransitionRecord  versions to be stored as another class
//! heat/<version 16>                            records::HeatRecord      how much a version is read
//! savings/<bucket>, savings                    records::SavingsRecord   what a bucket and all of them hold, and what that takes
//! cluster                                      records::ClusterRecord
//! ```
//!
//! What it keeps true: keys of different kinds or names never collide, because a bucket and a key hold no NUL and binary parts
//! have fixed lengths; byte order is the order of names, numbers and offsets.
//! In keys of pages, references, lists of parts, intents and garbage a version's id is that of its manifest: its own, until its class was changed.
//! A page's key holds the END offset of its last chunk, so that one scan finds the page with offset `o`: the first after `o`.

mod counts;
mod multipart;
#[cfg(test)]
mod tests;
mod tiers;
mod work;

pub use counts::{parse_savings, parse_usage, savings, savings_after, savings_of_all, usage, usages};
pub use multipart::{
    all_completed, completed, every_part, every_upload, parse_part, parse_parts, parse_upload, part, parts, parts_from,
    parts_in, parts_in_every_version, parts_of, upload, uploads, uploads_of,
};
pub use tiers::{heat, heats, parse_heat, parse_transition, transition, transitions};
pub use work::{beat, finding, findings_from, lease, parse_verify, verifies, verify, wanted, wanted_of, worker};

use crate::code::Code;
use crate::metadata::records::{SEVERITY_DRAIN, VersionId};
use bytes::{BufMut, Bytes, BytesMut};
use protocol::{ChunkId, Error, NodeId, Result, ShardId};
use uuid::Uuid;

const BUCKET: &[u8] = b"bucket/";
const OBJECT: &[u8] = b"object/";
const VERSION: &[u8] = b"version/";
const PAGE: &[u8] = b"page/";
const CHUNK: &[u8] = b"chunk/";
const DIGEST: &[u8] = b"digest/";
const REF: &[u8] = b"ref/";
const INTENT: &[u8] = b"intent/";
const REPAIR: &[u8] = b"repair/";
const GARBAGE: &[u8] = b"garbage/";
const COLLECT: &[u8] = b"collect/";
const TRASH: &[u8] = b"trash/";
const NODE: &[u8] = b"node/";
const LEASE: &[u8] = b"lease/";
const BEAT: &[u8] = b"beat/";
const WORKER: &[u8] = b"worker/";
const WANTED: &[u8] = b"wanted/";
const VERIFY: &[u8] = b"verify/";
const FINDING: &[u8] = b"finding/";
const CREDENTIAL: &[u8] = b"credential/";
const USAGE: &[u8] = b"usage/";
const TRANSITION: &[u8] = b"transition/";
const HEAT: &[u8] = b"heat/";
const SAVINGS: &[u8] = b"savings/";

/// A half-open range of keys, `[from, to)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that may be in it.
    pub from: Bytes,
    /// The first key beyond it.
    pub to: Bytes,
}

/// The cluster's own record.
pub fn cluster() -> Bytes {
    Bytes::from_static(b"cluster")
}

/// A bucket.
pub fn bucket(bucket: &str) -> Bytes {
    join(&[BUCKET, name(bucket)])
}

/// The buckets whose names start with `prefix`.
pub fn buckets(prefix: &str) -> KeyRange {
    starting_with(join(&[BUCKET, name(prefix)]))
}

/// The name in a [`bucket()`] key.
pub fn parse_bucket(key: &[u8]) -> Result<&str> {
    text(key, strip(key, BUCKET)?)
}

/// The current state of a name.
pub fn object(bucket: &str, key: &str) -> Bytes {
    join(&[OBJECT, name(bucket), b"\0", name(key)])
}

/// The objects of every bucket.
pub fn every_object() -> KeyRange {
    starting_with(Bytes::from_static(OBJECT))
}

/// The objects of the buckets whose names start with `prefix`.
pub fn objects_of_buckets(prefix: &str) -> KeyRange {
    starting_with(join(&[OBJECT, name(prefix)]))
}

/// The objects of a bucket whose keys start with `prefix`.
pub fn objects(bucket: &str, prefix: &str) -> KeyRange {
    starting_with(join(&[OBJECT, name(bucket), b"\0", name(prefix)]))
}

/// Bucket and key of an [`object`] key.
pub fn parse_object(key: &[u8]) -> Result<(&str, &str)> {
    let (bucket, object) = split_at_nul(strip(key, OBJECT)?).ok_or_else(|| malformed(key))?;
    Ok((text(key, bucket)?, text(key, object)?))
}

/// Version `number` of a name.
pub fn version(bucket: &str, key: &str, number: u64) -> Bytes {
    join(&[VERSION, name(bucket), b"\0", name(key), b"\0", &number.to_be_bytes()])
}

/// The versions of a name, the oldest first.
pub fn versions(bucket: &str, key: &str) -> KeyRange {
    starting_with(join(&[VERSION, name(bucket), b"\0", name(key), b"\0"]))
}

/// All versions of all names.
pub fn every_version() -> KeyRange {
    starting_with(Bytes::from_static(VERSION))
}

/// All versions of the names in `bucket` that start with `prefix`.
pub fn versions_in(bucket: &str, prefix: &str) -> KeyRange {
    starting_with(join(&[VERSION, name(bucket), b"\0", name(prefix)]))
}

/// Bucket, key and number of a [`version`] key.
pub fn parse_version(key: &[u8]) -> Result<(&str, &str, u64)> {
    let (bucket, rest) = split_at_nul(strip(key, VERSION)?).ok_or_else(|| malformed(key))?;
    let (object, number) = split_at_nul(rest).ok_or_else(|| malformed(key))?;
    let number = number.try_into().map_err(|_| malformed(key))?;
    Ok((text(key, bucket)?, text(key, object)?, u64::from_be_bytes(number)))
}

/// The page of a version whose last chunk ends at `end`.
pub fn page(version: VersionId, end: u64) -> Bytes {
    join(&[PAGE, version.0.as_bytes(), b"/", &end.to_be_bytes()])
}

/// The pages of a version that hold the byte at `offset` or one after it, in order; all of them from offset 0.
pub fn pages_from(version: VersionId, offset: u64) -> KeyRange {
    let to = starting_with(join(&[PAGE, version.0.as_bytes(), b"/"])).to;
    // No object has u64::MAX bytes, so at that offset there is nothing to find.
    let from = offset.checked_add(1).map_or_else(|| to.clone(), |end| page(version, end));
    KeyRange { from, to }
}

/// Version and end offset of a [`page`] key.
pub fn parse_page(key: &[u8]) -> Result<(VersionId, u64)> {
    let (version, end) = split_id(key, strip(key, PAGE)?)?;
    let end = strip(end, b"/")?.try_into().map_err(|_| malformed(key))?;
    Ok((VersionId(version), u64::from_be_bytes(end)))
}

/// Where a chunk's bytes are.
pub fn chunk(chunk: ChunkId) -> Bytes {
    join(&[CHUNK, chunk.0.as_bytes()])
}

/// All chunks, the oldest first.
pub fn chunks() -> KeyRange {
    starting_with(Bytes::from_static(CHUNK))
}

/// The id in a [`chunk`] key.
pub fn parse_chunk(key: &[u8]) -> Result<ChunkId> {
    Ok(ChunkId(last_id(key, strip(key, CHUNK)?)?))
}

/// Which chunk holds the bytes with this SHA-256 under this code.
pub fn digest(sha256: &[u8; 32], code: Code) -> Bytes {
    join(&[DIGEST, sha256, &[code.data, code.parity]])
}

/// That `version` needs `chunk`. Spelled `reference` because `ref` is a word of the language.
pub fn reference(chunk: ChunkId, version: VersionId) -> Bytes {
    join(&[REF, chunk.0.as_bytes(), b"/", version.0.as_bytes()])
}

/// Everyone that needs `chunk`.
pub fn references(chunk: ChunkId) -> KeyRange {
    starting_with(join(&[REF, chunk.0.as_bytes(), b"/"]))
}

/// All references, by chunk.
pub fn every_reference() -> KeyRange {
    starting_with(Bytes::from_static(REF))
}

/// Chunk and version of a [`reference()`] key.
pub fn parse_reference(key: &[u8]) -> Result<(ChunkId, VersionId)> {
    let (chunk, version) = split_id(key, strip(key, REF)?)?;
    Ok((ChunkId(chunk), VersionId(last_id(key, strip(version, b"/")?)?)))
}

/// An upload under way.
pub fn intent(version: VersionId) -> Bytes {
    join(&[INTENT, version.0.as_bytes()])
}

/// All uploads under way, the oldest first.
pub fn intents() -> KeyRange {
    starting_with(Bytes::from_static(INTENT))
}

/// The version in an [`intent`] key.
pub fn parse_intent(key: &[u8]) -> Result<VersionId> {
    Ok(VersionId(last_id(key, strip(key, INTENT)?)?))
}

/// A chunk short of shards; `severity` is how many more it may lose, so that 0 comes first.
pub fn repair(severity: u8, chunk: ChunkId) -> Bytes {
    join(&[REPAIR, &[severity], b"/", chunk.0.as_bytes()])
}

/// The repair work of a severity.
pub fn repairs_from(severity: u8) -> KeyRange {
    starting_with(join(&[REPAIR, &[severity], b"/"]))
}

/// The repair work of chunks that are short of shards, the most urgent first.
pub fn shortages() -> KeyRange {
    KeyRange { to: repairs_from(SEVERITY_DRAIN).from, ..repairs() }
}

/// All repair work, the most urgent first.
pub fn repairs() -> KeyRange {
    starting_with(Bytes::from_static(REPAIR))
}

/// Severity and chunk of a [`repair`] key.
pub fn parse_repair(key: &[u8]) -> Result<(u8, ChunkId)> {
    let (severity, rest) = strip(key, REPAIR)?.split_first().ok_or_else(|| malformed(key))?;
    Ok((*severity, ChunkId(last_id(key, strip(rest, b"/")?)?)))
}

/// A version whose space is to be given back.
pub fn garbage(version: VersionId) -> Bytes {
    join(&[GARBAGE, version.0.as_bytes()])
}

/// All garbage, the oldest first.
pub fn garbages() -> KeyRange {
    starting_with(Bytes::from_static(GARBAGE))
}

/// The version in a [`garbage`] key.
pub fn parse_garbage(key: &[u8]) -> Result<VersionId> {
    Ok(VersionId(last_id(key, strip(key, GARBAGE)?)?))
}

/// A chunk to be looked at by the collector.
pub fn collect(chunk: ChunkId) -> Bytes {
    join(&[COLLECT, chunk.0.as_bytes()])
}

/// All chunks to be looked at by the collector.
pub fn collects() -> KeyRange {
    starting_with(Bytes::from_static(COLLECT))
}

/// The chunk in a [`collect`] key.
pub fn parse_collect(key: &[u8]) -> Result<ChunkId> {
    Ok(ChunkId(last_id(key, strip(key, COLLECT)?)?))
}

/// A shard to be deleted on a node.
pub fn trash(node: &NodeId, shard: ShardId) -> Bytes {
    join(&[TRASH, node.as_str().as_bytes(), b"\0", &shard.to_bytes()])
}

/// All shards to be deleted on a node.
pub fn trash_of(node: &NodeId) -> KeyRange {
    starting_with(join(&[TRASH, node.as_str().as_bytes(), b"\0"]))
}

/// All shards to be deleted, by node.
pub fn all_trash() -> KeyRange {
    starting_with(Bytes::from_static(TRASH))
}

/// Node and shard in a [`trash`] key.
pub fn parse_trash(key: &[u8]) -> Result<(NodeId, ShardId)> {
    let (node, shard) = split_at_nul(strip(key, TRASH)?).ok_or_else(|| malformed(key))?;
    let shard = shard.try_into().map_err(|_| malformed(key))?;
    Ok((text(key, node)?.parse()?, ShardId::from_bytes(shard)))
}

/// A storage node.
pub fn node(node: &NodeId) -> Bytes {
    join(&[NODE, node.as_str().as_bytes()])
}

/// All storage nodes, by name.
pub fn nodes() -> KeyRange {
    starting_with(Bytes::from_static(NODE))
}

/// A key by which clients come in.
pub fn credential(id: &str) -> Bytes {
    join(&[CREDENTIAL, name(id)])
}

/// All of them.
pub fn credentials() -> KeyRange {
    starting_with(Bytes::from_static(CREDENTIAL))
}

/// The key right after `key`: a scan from here skips `key` and nothing else.
pub fn after(key: &[u8]) -> Bytes {
    join(&[key, b"\0"])
}

/// The keys that start with `prefix`.
pub fn starting_with(prefix: Bytes) -> KeyRange {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX).expect("a prefix starts with text");
    let mut to = BytesMut::from(&prefix[..=last]);
    to[last] += 1;
    KeyRange { from: prefix, to: to.freeze() }
}

/// A key as people can read it.
pub fn display(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

/// A bucket or key, which a dialect has checked before it came here.
fn name(text: &str) -> &[u8] {
    assert!(!text.as_bytes().contains(&0), "a bucket or key holds no NUL");
    text.as_bytes()
}

fn join(parts: &[&[u8]]) -> Bytes {
    let mut key = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| key.put_slice(part));
    key.freeze()
}

fn malformed(key: &[u8]) -> Error {
    Error::corrupt(format!("key {} is not of the kind expected", display(key)))
}

fn strip<'a>(key: &'a [u8], prefix: &[u8]) -> Result<&'a [u8]> {
    key.strip_prefix(prefix).ok_or_else(|| malformed(key))
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn text<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| malformed(key))
}

fn split_id<'a>(key: &[u8], rest: &'a [u8]) -> Result<(Uuid, &'a [u8])> {
    let (id, rest) = rest.split_first_chunk::<16>().ok_or_else(|| malformed(key))?;
    Ok((Uuid::from_bytes(*id), rest))
}

fn last_id(key: &[u8], rest: &[u8]) -> Result<Uuid> {
    let (id, rest) = split_id(key, rest)?;
    if rest.is_empty() { Ok(id) } else { Err(malformed(key)) }
}
