//! How a chunk is spread: `data` shards that hold its bytes and `parity` shards that can stand in for them.
//!
//! What it keeps true:
//! - Replication is the code with one data shard: `1+2` is three copies. There is one write path, read path and repair path.
//! - A shard is as long as its part of the chunk, however short that is: at most two bytes a data shard are added.
//! - Which piece of its chunk a shard is follows from its index alone, also where a shard was given up and stored anew elsewhere.
//! - A write quorum is one shard more than reading needs, so that no single loss after the reply loses a chunk (law 1):
//!   two of three replicas; five of six shards under 4+2, never four.

mod reed_solomon;

use bytes::{Bytes, BytesMut};
use protocol::{Error, Result};
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
    pub fn new(data: u8, parity: u8) -> Result<Code> {
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

    /// Which piece of the chunk the shard of this index is: 0 up to [`Code::shards`], the data pieces first. A piece that is stored
    /// anew after its shard was given up has an index of the same remainder; with one data shard all pieces are the same bytes.
    pub fn piece(self, index: u8) -> u8 {
        (usize::from(index) % self.shards()) as u8
    }

    /// The length of each shard of a chunk of `length` stored bytes. The encoder works on words of two bytes.
    pub fn shard_length(self, length: usize) -> usize {
        match self.data {
            1 => length,
            data => length.div_ceil(usize::from(data)).next_multiple_of(2),
        }
    }

    /// A chunk's shards with their CRC32s, in index order: replicas share their bytes, data shards are the chunk's own.
    pub fn encode(self, chunk: &Bytes) -> Vec<(Bytes, u32)> {
        if self.data == 1 {
            return vec![(chunk.clone(), crc32fast::hash(chunk)); self.shards()];
        }
        let length = self.shard_length(chunk.len());
        let mut shards: Vec<Bytes> =
            (0..usize::from(self.data)).map(|piece| padded(chunk, piece * length, length)).collect();
        let parity = reed_solomon::parity(&shards, usize::from(self.parity), length);
        shards.extend(parity);
        shards
            .into_iter()
            .map(|shard| {
                let crc = crc32fast::hash(&shard);
                (shard, crc)
            })
            .collect()
    }

    /// The `length` stored bytes of a chunk from as many of its pieces as reading needs, each another one.
    ///
    /// `Corrupt` if they are no such pieces. That they are the right ones is for the chunk's digest to prove.
    pub fn decode(self, pieces: &[(u8, Bytes)], length: usize) -> Result<Bytes> {
        assert_eq!(pieces.len(), self.read_quorum(), "as many pieces as reading needs");
        let shard_length = self.shard_length(length);
        if let Some((piece, data)) = pieces.iter().find(|(_, data)| data.len() != shard_length) {
            let found = data.len();
            return Err(Error::corrupt(format!("piece {piece} of a chunk has {found} bytes, expected {shard_length}")));
        }
        if self.data == 1 {
            return Ok(pieces[0].1.clone());
        }
        let restored = reed_solomon::restore(self, pieces, shard_length)?;
        let mut chunk = BytesMut::with_capacity(shard_length * usize::from(self.data));
        for piece in 0..self.data {
            let read = pieces.iter().find(|(other, _)| *other == piece).map(|(_, data)| &data[..]);
            let data = read.or_else(|| restored.get(&piece).map(Vec::as_slice));
            chunk.extend_from_slice(data.ok_or_else(|| Error::corrupt("a piece of a chunk was given twice"))?);
        }
        chunk.truncate(length);
        Ok(chunk.freeze())
    }

    /// Shards that suffice to read.
    pub fn read_quorum(self) -> usize {
        usize::from(self.data)
    }
}

/// `length` bytes of the chunk from `start` on, with zeros after its end.
fn padded(chunk: &Bytes, start: usize, length: usize) -> Bytes {
    let (start, end) = (start.min(chunk.len()), (start + length).min(chunk.len()));
    if end - start == length {
        return chunk.slice(start..end);
    }
    let mut shard = BytesMut::zeroed(length);
    shard[..end - start].copy_from_slice(&chunk[start..end]);
    shard.freeze()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

impl FromStr for Code {
    type Err = Error;

    fn from_str(text: &str) -> Result<Code> {
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

    fn try_from((data, parity): (u8, u8)) -> Result<Code> {
        Code::new(data, parity)
    }
}

impl From<Code> for (u8, u8) {
    fn from(code: Code) -> (u8, u8) {
        (code.data, code.parity)
    }
}

#[cfg(test)]
mod tests;
