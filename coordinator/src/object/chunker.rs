//! Cuts a stream of bytes into content-defined chunks and hashes them, so that a new version stores only what changed, even
//! after an insertion.
//!
//! What it keeps true:
//! - The cut points depend on the bytes and on the offset's [`SizeClass`] only, never on how the bytes arrived.
//! - Memory is bounded: one unfinished chunk, at most [`CHUNK_BYTES_MAX`].
//!
//! The cutting algorithm is FastCDC 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication
//! Based Storage Systems", IEEE TPDS 31(9)), by the `fastcdc` crate. Its parameters are part of what a bucket promises: changed
//! ones find no old chunk again.

use super::digest::{Md5, Sha256, sha256};
use bytes::{Bytes, BytesMut};
use fastcdc::v2020::FastCDC;

/// The longest chunk of any class, in bytes.
pub const CHUNK_BYTES_MAX: usize = 2 << 20;

/// Chunk sizes for a stretch of an object. Small chunks find more duplicates (design 6: 64 KiB with zstd keeps 1/24 of eight
/// releases of a source tree, 256 KiB far more), large ones cost fewer records per GiB; the length is not known beforehand,
/// so the average grows with the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeClass {
    from_offset: u64,
    min_bytes: usize,
    average_bytes: usize,
    max_bytes: usize,
}

const CLASSES: [SizeClass; 3] = [
    SizeClass { from_offset: 0, min_bytes: 16 << 10, average_bytes: 64 << 10, max_bytes: 256 << 10 },
    SizeClass { from_offset: 256 << 20, min_bytes: 64 << 10, average_bytes: 256 << 10, max_bytes: 1 << 20 },
    SizeClass { from_offset: 1 << 30, min_bytes: 256 << 10, average_bytes: 1 << 20, max_bytes: CHUNK_BYTES_MAX },
];

fn class_at(offset: u64) -> SizeClass {
    let mut chosen = CLASSES[0];
    for class in CLASSES {
        if offset >= class.from_offset {
            chosen = class;
        }
    }
    chosen
}

/// A chunk as it was given: plain bytes and their name by content.
#[derive(Clone, Debug)]
pub struct PlainChunk {
    /// The bytes.
    pub data: Bytes,
    /// SHA-256 of `data`.
    pub sha256: [u8; 32],
    /// Offset in the object one past its last byte.
    pub end: u64,
}

/// What the whole stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamDigest {
    /// Bytes in all.
    pub size: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
    /// MD5 of them, where it was asked for.
    pub md5: Option<[u8; 16]>,
}

/// The state of one stream.
pub struct Chunker {
    buffer: BytesMut,
    cut_bytes: u64,
    whole: Sha256,
    md5: Option<Md5>,
}

impl Default for Chunker {
    fn default() -> Chunker {
        Chunker { buffer: BytesMut::new(), cut_bytes: 0, whole: Sha256::new(), md5: None }
    }
}

impl Chunker {
    /// A chunker that also computes the MD5 of the whole.
    pub fn with_md5() -> Chunker {
        Chunker { md5: Some(Md5::default()), ..Chunker::default() }
    }

    /// Takes the next pieces and gives out the chunks that are certain.
    pub fn push(&mut self, pieces: Vec<Bytes>) -> Vec<PlainChunk> {
        let incoming: usize = pieces.iter().map(Bytes::len).sum();
        self.buffer.reserve(incoming);
        for piece in pieces {
            self.whole.update(&piece);
            if let Some(md5) = &mut self.md5 {
                md5.update(&piece);
            }
            self.buffer.extend_from_slice(&piece);
        }
        self.cut(false)
    }

    /// Ends the stream: the last chunks, and what the whole came to.
    pub fn finish(mut self) -> (Vec<PlainChunk>, StreamDigest) {
        let md5 = self.md5.take().map(Md5::finish);
        let certainly_one_chunk = self.cut_bytes == 0 && (1..=CLASSES[0].min_bytes).contains(&self.buffer.len());
        if certainly_one_chunk {
            let sha256 = self.whole.finish();
            let size = self.buffer.len() as u64;
            let only = PlainChunk { data: self.buffer.freeze(), sha256, end: size };
            return (vec![only], StreamDigest { size, sha256, md5 });
        }
        let chunks = self.cut(true);
        (chunks, StreamDigest { size: self.cut_bytes, sha256: self.whole.finish(), md5 })
    }

    fn cut(&mut self, ended: bool) -> Vec<PlainChunk> {
        let mut chunks = Vec::new();
        loop {
            let class = class_at(self.cut_bytes);
            if self.buffer.is_empty() || (!ended && self.buffer.len() < class.max_bytes) {
                return chunks;
            }
            let length = first_cut(&self.buffer, class);
            let data = self.buffer.split_to(length).freeze();
            self.cut_bytes += length as u64;
            let sha256 = sha256(&data);
            chunks.push(PlainChunk { data, sha256, end: self.cut_bytes });
        }
    }
}

fn first_cut(buffer: &[u8], class: SizeClass) -> usize {
    let window = &buffer[..buffer.len().min(class.max_bytes)];
    if window.len() <= class.min_bytes {
        return window.len();
    }
    let mut cutter = FastCDC::new(window, class.min_bytes, class.average_bytes, class.max_bytes);
    cutter.next().map_or(window.len(), |chunk| chunk.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut step = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 32) as u8
        };
        (0..length).map(|_| step()).collect()
    }

    fn chunks_of(data: &[u8], piece_bytes: usize) -> (Vec<PlainChunk>, StreamDigest) {
        let mut chunker = Chunker::default();
        let mut chunks = Vec::new();
        for piece in data.chunks(piece_bytes) {
            chunks.extend(chunker.push(vec![Bytes::copy_from_slice(piece)]));
        }
        let (last, digest) = chunker.finish();
        chunks.extend(last);
        (chunks, digest)
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_bytes_arrived() {
        let data = noise(3_000_000, 1);
        let (one, digest) = chunks_of(&data, data.len());
        for piece_bytes in [1_000, 65_536, 700_001] {
            let (other, other_digest) = chunks_of(&data, piece_bytes);
            assert_eq!(digest, other_digest);
            assert_eq!(ends(&one), ends(&other));
        }
        let joined: Vec<u8> = one.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
        assert_eq!(joined, data);
        assert_eq!(digest.sha256, sha256(&data));
        for chunk in &one {
            assert_eq!(chunk.sha256, sha256(&chunk.data));
        }
    }

    fn ends(chunks: &[PlainChunk]) -> Vec<u64> {
        chunks.iter().map(|chunk| chunk.end).collect()
    }

    #[test]
    fn a_byte_inserted_at_the_start_changes_only_the_first_chunks() {
        let data = noise(8_000_000, 2);
        let mut shifted = vec![7];
        shifted.extend_from_slice(&data);
        let before: HashSet<[u8; 32]> = chunks_of(&data, 1 << 16).0.iter().map(|chunk| chunk.sha256).collect();
        let after = chunks_of(&shifted, 1 << 16).0;
        let fresh = after.iter().filter(|chunk| !before.contains(&chunk.sha256)).count();
        assert!(fresh <= 2, "{fresh} of {} chunks are new", after.len());
    }

    #[test]
    fn nothing_makes_no_chunk_and_little_makes_one() {
        let (chunks, digest) = chunks_of(&[], 1);
        assert!(chunks.is_empty());
        assert_eq!(digest.size, 0);
        let (chunks, digest) = chunks_of(b"hello", 2);
        assert_eq!(chunks.len(), 1);
        assert_eq!((chunks[0].end, digest.size), (5, 5));
    }

    #[test]
    fn the_average_grows_with_the_offset() {
        assert_eq!(class_at(0).average_bytes, 64 << 10);
        assert_eq!(class_at((256 << 20) - 1).average_bytes, 64 << 10);
        assert_eq!(class_at(256 << 20).average_bytes, 256 << 10);
        assert_eq!(class_at(5 << 40).average_bytes, 1 << 20);
    }
}
