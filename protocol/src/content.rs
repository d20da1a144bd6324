//! What a stored chunk must turn out to be, so that whoever holds a replica can prove it without asking the coordinator: repair
//! copies from node to node, and a rotten source is found out before its bytes are stored again (law 6).
//!
//! What it keeps true: never more than the length that is named comes out, whatever the stored bytes claim.

use crate::{Error, ErrorKind, Result, sha256, sha256_of_each};
use bytes::Bytes;
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
        let plain = self.decompress(stored)?;
        let found = sha256(&plain);
        self.require(plain, found)
    }

    /// The same of several chunks, in order, in less time than one after the other.
    pub fn unpack_each(stored: Vec<(&Content, Bytes)>) -> Vec<Result<Bytes>> {
        let plain: Vec<_> = stored.into_iter().map(|(content, stored)| (content, content.decompress(stored))).collect();
        let bytes: Vec<&[u8]> = plain.iter().map(|(_, plain)| plain.as_deref().unwrap_or_default()).collect();
        let found = sha256_of_each(&bytes);
        plain.into_iter().zip(found).map(|((content, plain), found)| content.require(plain?, found)).collect()
    }

    fn decompress(&self, stored: Bytes) -> Result<Bytes> {
        match self.compressed {
            true => zstd::bulk::decompress(&stored, self.length as usize)
                .map(Bytes::from)
                .map_err(|error| Error::caused(ErrorKind::Corrupt, "chunk does not decompress", error)),
            false => Ok(stored),
        }
    }

    /// These bytes, whose SHA-256 is `found`, if they are the ones.
    fn require(&self, plain: Bytes, found: [u8; 32]) -> Result<Bytes> {
        if plain.len() != self.length as usize || found != self.sha256 {
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
        let sha256 = sha256(&plain);
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
    fn of_several_each_is_judged_by_itself() {
        let named = |plain: &Bytes| Content { sha256: sha256(plain), length: plain.len() as u32, compressed: false };
        let (one, other) = (Bytes::from("abc".repeat(1_000)), Bytes::from("de".repeat(77)));
        let (first, second) = (named(&one), named(&other));
        let packed = Content { compressed: true, ..first.clone() };
        let frame = Bytes::from(zstd::bulk::compress(&one, 1).unwrap());
        let pairs = [
            (&first, &one, true),
            (&second, &one, false),
            (&packed, &frame, true),
            (&packed, &one, false),
            (&second, &other, true),
            (&first, &other, false),
        ];
        let found =
            Content::unpack_each(pairs.iter().map(|(content, stored, _)| (*content, (*stored).clone())).collect());
        assert_eq!(found.len(), pairs.len());
        for ((content, _, fits), found) in pairs.into_iter().zip(found) {
            assert_eq!(found.ok().map(|plain| named(&plain).sha256), fits.then_some(content.sha256));
        }
    }

    #[test]
    fn it_travels_as_json() {
        let content = Content { sha256: [0xab; 32], length: 7, compressed: true };
        let text = serde_json::to_string(&content).unwrap();
        assert!(text.contains(&"ab".repeat(32)), "{text}");
        assert_eq!(serde_json::from_str::<Content>(&text).unwrap(), content);
    }
}
