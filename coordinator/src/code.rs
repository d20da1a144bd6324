//! How a chunk is spread: `data` shards that hold its bytes and `parity` shards that can stand in for them.
//!
//! What it keeps true:
//! - Replication is the code with one data shard: `1+2` is three copies. There is one write path, read path and repair path.
//! - A write quorum is one shard more than reading needs, so that no single loss after the reply loses a chunk (law 1):
//!   two of three replicas; five of six shards under 4+2, never four.

use bytes::Bytes;
use protocol::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `data + parity`; written `1+2`, `4+2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Code {
    /// Shards that hold the chunk's bytes; any `data` shards give them back.
    pub data: u8,
    /// Shards beyond those.
    pub parity: u8,
}

impl Code {
    /// Three copies.
    pub const REPLICATION: Code = Code { data: 1, parity: 2 };

    /// A code; `Invalid` without data shards, or with more shards than an index byte can number.
    pub fn new(data: u8, parity: u8) -> Result<Code, Error> {
        if data == 0 || data.checked_add(parity).is_none() {
            return Err(Error::invalid(format!("code {data}+{parity} must have 1 data shard and at most 255 shards")));
        }
        Ok(Code { data, parity })
    }

    /// Shards in all, each on a node of its own.
    pub fn shards(self) -> usize {
        usize::from(self.data) + usize::from(self.parity)
    }

    /// Shards that must be durable before a write is acknowledged (law 1).
    pub fn write_quorum(self) -> usize {
        self.shards().min(usize::from(self.data) + 1)
    }

    /// A chunk's shards with their CRC32s, in index order: replicas share their bytes.
    pub fn encode(self, chunk: &Bytes) -> Vec<(Bytes, u32)> {
        assert_eq!(self.data, 1, "a code with several data shards comes with its encoder");
        vec![(chunk.clone(), crc32fast::hash(chunk)); self.shards()]
    }

    /// Shards that suffice to read.
    pub fn read_quorum(self) -> usize {
        usize::from(self.data)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

impl FromStr for Code {
    type Err = Error;

    fn from_str(text: &str) -> Result<Code, Error> {
        let bad = || Error::invalid(format!("code {text:?} must be written data+parity, such as 1+2 or 4+2"));
        let (data, parity) = text.split_once('+').ok_or_else(bad)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(data) || !digits(parity) {
            return Err(bad());
        }
        Code::new(data.parse().map_err(|_| bad())?, parity.parse().map_err(|_| bad())?)
    }
}

impl TryFrom<(u8, u8)> for Code {
    type Error = Error;

    fn try_from((data, parity): (u8, u8)) -> Result<Code, Error> {
        Code::new(data, parity)
    }
}

impl From<Code> for (u8, u8) {
    fn from(code: Code) -> (u8, u8) {
        (code.data, code.parity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_quorum_is_one_shard_more_than_reading_needs() {
        assert_eq!((Code::REPLICATION.shards(), Code::REPLICATION.write_quorum()), (3, 2));
        let wide = Code::new(4, 2).unwrap();
        assert_eq!((wide.shards(), wide.write_quorum(), wide.read_quorum()), (6, 5, 4));
        let single = Code::new(1, 0).unwrap();
        assert_eq!(single.write_quorum(), 1, "a code without parity cannot promise more than it has");
    }

    #[test]
    fn a_code_has_one_spelling() {
        assert_eq!("4+2".parse::<Code>().unwrap().to_string(), "4+2");
        for text in ["", "4", "+2", "4+", "0+2", "4+2+1", "255+1", "-1+2", " 1+2"] {
            assert!(text.parse::<Code>().is_err(), "{text:?}");
        }
        assert!(serde_json::from_str::<Code>("[0,2]").is_err());
    }
}
