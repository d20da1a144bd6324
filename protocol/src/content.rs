//! What a stored chunk must turn out to be, so that whoever holds a replica can prove it without asking the coordinator: repair
//! copies from node to node, and a rotten source is found out before its bytes are stored again (law 6).
//!
//! What it keeps true: never more than the length that is named comes out, whatever the stored bytes claim.

use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// The plain bytes behind a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Their SHA-256.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
    /// Their length in bytes.
    pub length: u32,
    /// Whether a replica is a zstd frame of them, rather than the bytes themselves.
    pub compressed: bool,
}

impl Content {
    /// The plain bytes of a stored replica; `Corrupt` if it is not one.
    pub fn unpack(&self, stored: Bytes) -> Result<Bytes> {
        let length = self.length as usize;
        let plain = match self.compressed {
            true => zstd::bulk::decompress(&stored, length)
                .map(Bytes::from)
                .map_err(|error| Error::caused(ErrorKind::Corrupt, "chunk does not decompress", error))?,
            false => stored,
        };
        if plain.len() != length || digest(&SHA256, &plain).as_ref() != self.sha256 {
            return Err(Error::corrupt(format!("chunk of {} bytes does not match its digest", plain.len())));
        }
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_that_were_named_come_out() {
        let plain = Bytes::from("abc".repeat(1_000));
        let sha256 = digest(&SHA256, &plain).as_ref().try_into().unwrap();
        let as_is = Content { sha256, length: 3_000, compressed: false };
        assert_eq!(as_is.unpack(plain.clone()).unwrap(), plain);
        assert_eq!(as_is.unpack(plain.slice(1..)).unwrap_err().kind, ErrorKind::Corrupt);
        let frame = Bytes::from(zstd::bulk::compress(&plain, 1).unwrap());
        let packed = Content { compressed: true, ..as_is.clone() };
        assert_eq!(packed.unpack(frame.clone()).unwrap(), plain);
        assert_eq!(as_is.unpack(frame.clone()).unwrap_err().kind, ErrorKind::Corrupt);
        let longer = Content { length: 2_999, ..packed };
        assert_eq!(longer.unpack(frame).unwrap_err().kind, ErrorKind::Corrupt, "never more than what is named");
    }

    #[test]
    fn it_travels_as_json() {
        let content = Content { sha256: [0xab; 32], length: 7, compressed: true };
        let text = serde_json::to_string(&content).unwrap();
        assert!(text.contains(&"ab".repeat(32)), "{text}");
        assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), content);
    }
}
