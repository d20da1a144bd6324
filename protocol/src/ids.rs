//! The names of things that outlive a process. None of them is ever reused; none of them becomes a path.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A cluster: made once by `coordinator new-cluster`, stamped on every record of every disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

/// A data directory's life: made when the directory is initialised, so that an emptied or swapped disk is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskId(pub Uuid);

/// A chunk: a content-defined run of object bytes, stored together. A UUIDv7, so that ids rise with time and the nodes'
/// indexes grow at their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkId(pub Uuid);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A storage node's name: 1–32 characters of `a–z`, `0–9` and `-`, chosen by the operator and unique in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

/// The longest node name, in bytes.
const NODE_ID_BYTES_MAX: usize = 32;

impl NodeId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<NodeId> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > NODE_ID_BYTES_MAX || !text.bytes().all(plain) {
            return Err(Error::invalid(format!(
                "node id {text:?} must be 1 to {NODE_ID_BYTES_MAX} characters of a-z, 0-9 and '-'"
            )));
        }
        Ok(NodeId(text.to_owned()))
    }
}

impl TryFrom<String> for NodeId {
    type Error = Error;

    fn try_from(text: String) -> Result<NodeId> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> String {
        id.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shard `index` of a chunk: a replica where the code has one data shard. Written as `<uuid>-<index>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    /// The chunk it is a piece of.
    pub chunk: ChunkId,
    /// Which piece: data shards first, then parity.
    pub index: u8,
}

impl ShardId {
    /// Length of [`ShardId::to_bytes`].
    pub const BYTES: usize = 17;

    /// The id as an index key: 16 bytes of chunk id, 1 byte of index; byte order is id order.
    pub fn to_bytes(self) -> [u8; ShardId::BYTES] {
        let mut bytes = [0; ShardId::BYTES];
        bytes[..16].copy_from_slice(self.chunk.0.as_bytes());
        bytes[16] = self.index;
        bytes
    }

    /// The id spelled by these bytes.
    pub fn from_bytes(bytes: [u8; ShardId::BYTES]) -> ShardId {
        let mut chunk = [0; 16];
        chunk.copy_from_slice(&bytes[..16]);
        ShardId { chunk: ChunkId(Uuid::from_bytes(chunk)), index: bytes[16] }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.chunk.0.simple(), self.index)
    }
}

impl FromStr for ShardId {
    type Err = Error;

    fn from_str(text: &str) -> Result<ShardId> {
        let bad = || Error::invalid(format!("shard id {text:?} must be 32 hex digits, '-' and an index from 0 to 255"));
        let (chunk, index) = text.split_once('-').ok_or_else(bad)?;
        if chunk.len() != 32 || index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let chunk = Uuid::try_parse(chunk).map_err(|_| bad())?;
        let index = index.parse().map_err(|_| bad())?;
        Ok(ShardId { chunk: ChunkId(chunk), index })
    }
}

impl Serialize for ShardId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ShardId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<ShardId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_ids_round_trip_as_text_and_bytes() {
        let id = ShardId { chunk: ChunkId(Uuid::from_u128(0x0192_aabb)), index: 5 };
        assert_eq!(id.to_string().parse::<ShardId>().unwrap(), id);
        assert_eq!(ShardId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn nothing_that_could_be_a_path_is_an_id() {
        for text in ["", "../x", "a/b", "A", "n.1", "\0", "ä", &"a".repeat(33)] {
            assert!(text.parse::<NodeId>().is_err(), "{text:?}");
        }
        assert_eq!("n-1".parse::<NodeId>().unwrap().as_str(), "n-1");
        for text in [
            "",
            "-1",
            "00-1",
            "../../etc/passwd-1",
            "0192aabb0192aabb0192aabb0192aabb-256",
            "0192aabb0192aabb0192aabb0192aabb-+1",
        ] {
            assert!(text.parse::<ShardId>().is_err(), "{text:?}");
        }
    }
}
