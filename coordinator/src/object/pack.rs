//! How a chunk's bytes lie on a node: as they are, or compressed by zstd where that pays.
//!
//! What it keeps true: the digest names the plain bytes, so [`protocol::Content`] can prove what it gives back (law 6), and never gives
//! back more than the length the chunk record names, whatever the stored bytes claim.

use bytes::Bytes;
use std::cell::RefCell;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

/// zstd level 1: 409 MB/s per core on text at ratio 0.25, level 3 is 2.4 times slower for 0.26 (measured).
const ZSTD_LEVEL: i32 = 1;
/// Stored compressed only if that takes at most this share of the bytes, in percent.
const WORTH_PERCENT: usize = 90;
/// What cannot be compressed is recognised by this many bytes from its middle.
const PROBE_BYTES: usize = 8 << 10;
/// Below this length a frame's own overhead eats the gain.
const PACK_BYTES_MIN: usize = 64;

/// Bytes as they are to be stored.
#[derive(Clone, Debug)]
pub struct Packed {
    /// What goes to the nodes.
    pub data: Bytes,
    /// Whether that is a zstd frame.
    pub compressed: bool,
}

/// Compresses the chunk if that is worth it.
pub fn pack(plain: &Bytes) -> Packed {
    let as_is = Packed { data: plain.clone(), compressed: false };
    if plain.len() < PACK_BYTES_MIN {
        return as_is;
    }
    if plain.len() > 4 * PROBE_BYTES {
        let middle = (plain.len() - PROBE_BYTES) / 2;
        if PACKER.with_borrow_mut(|packer| packer.compress(&plain[middle..middle + PROBE_BYTES]).is_none()) {
            return as_is;
        }
    }
    // Copied out: what is stored keeps its own bytes in memory, not the room for the longest.
    match PACKER.with_borrow_mut(|packer| packer.compress(plain).map(Bytes::copy_from_slice)) {
        Some(data) => Packed { data, compressed: true },
        None => as_is,
    }
}

thread_local! {
    /// A context is 1 MiB of tables: made anew for each chunk, and for each probe, that cost a tenth of an upload's CPU.
    static PACKER: RefCell<Packer> = RefCell::new(Packer::default());
}

#[derive(Default)]
struct Packer {
    compressor: Option<Compressor<'static>>,
    /// Room for the longest result so far.
    room: Vec<u8>,
}

impl Packer {
    /// The bytes compressed, if that is worth it.
    fn compress(&mut self, plain: &[u8]) -> Option<&[u8]> {
        if self.compressor.is_none() {
            self.compressor = Compressor::new(ZSTD_LEVEL).ok();
        }
        let bound = compress_bound(plain.len());
        if self.room.len() < bound {
            self.room.resize(bound, 0);
        }
        let length = self.compressor.as_mut()?.compress_to_buffer(plain, &mut self.room[..]).ok()?;
        (length * 100 <= plain.len() * WORTH_PERCENT).then(|| &self.room[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Content, Result};

    fn unpack(stored: Bytes, compressed: bool, plain: &Bytes) -> Result<Bytes> {
        let sha256 = protocol::sha256(plain);
        Content { sha256, length: plain.len() as u32, compressed }.unpack(stored)
    }

    #[test]
    fn text_is_compressed_noise_is_not_and_both_come_back() {
        let text = Bytes::from("all work and no play ".repeat(5_000));
        let noise: Bytes =
            (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (n >> 3) as u8).collect();
        let packed = pack(&text);
        assert!(packed.compressed && packed.data.len() < text.len() / 10);
        assert_eq!(unpack(packed.data, true, &text).unwrap(), text);
        let packed = pack(&noise);
        assert_eq!(unpack(packed.data, packed.compressed, &noise).unwrap(), noise);
        assert!(!pack(&Bytes::from_static(b"short")).compressed);
    }

    #[test]
    fn wrong_bytes_are_corrupt_never_served() {
        let text = Bytes::from("abc".repeat(1_000));
        let packed = pack(&text);
        for at in 0..packed.data.len() {
            let mut bad = packed.data.to_vec();
            bad[at] ^= 1;
            if let Ok(plain) = unpack(bad.into(), true, &text) {
                assert_eq!(plain, text, "a flip in an unused bit of the frame may still decode to the right bytes");
            }
        }
        assert!(unpack(packed.data, true, &text.slice(..10)).is_err(), "never more than the record's length");
        assert!(unpack(text.slice(1..), false, &text).is_err());
    }
}
