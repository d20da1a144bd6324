//! Cuts a stream of bytes into content-defined chunks and hashes them, so that a new version stores only what changed, even
//! after an insertion.
//!
//! What it keeps true:
//! - The cut points depend on the bytes and on the offset's [`SizeClass`] only, never on how the bytes arrived; but where more is left behind
//!   them than can be kept (decision 0103).
//! - No byte is copied here: chunks share the memory of the stage that they were cut from.
//!
//! The cutting algorithm is FastCDC 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication
//! Based Storage Systems", IEEE TPDS 31(9)), by the `fastcdc` crate. Its parameters are part of what a bucket promises: changed
//! ones find no old chunk again.

use super::digest::Md5;
use super::refused::Refused;
use bytes::Bytes;
use fastcdc::v2020::FastCDC;
use protocol::{Error, Result, Sha256, sha256, sha256_of_each};
use std::iter;

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

impl StreamDigest {
    /// Before anything comes of them: whether the bytes are those that the client meant.
    pub fn require_md5(&self, announced: Option<[u8; 16]>) -> Result<()> {
        match (announced, self.md5) {
            (Some(expected), Some(found)) if expected != found => Err(Refused::ContentDiffers.error(format!(
                "the MD5 of the {} bytes that arrived is {}, and {} was announced",
                self.size,
                hex::encode(found),
                hex::encode(expected)
            ))),
            (Some(_), None) => Err(Error::invalid("an MD5 was announced, and this put computes none")),
            _ => Ok(()),
        }
    }
}

/// The state of one stream.
pub struct Chunker {
    /// Where the stream starts in the object; sizes go by that, ends count from the stream's own start.
    base: u64,
    cut_bytes: u64,
    whole: Sha256,
    md5: Option<Md5>,
}

impl Default for Chunker {
    fn default() -> Chunker {
        Chunker { base: 0, cut_bytes: 0, whole: Sha256::new(), md5: None }
    }
}

/// What became of a stage.
pub struct Cuts {
    /// Chunks whose ends are certain; they share the stage's memory.
    pub chunks: Vec<PlainChunk>,
    /// The bytes behind them, to stand at the front of the next stage.
    pub rest: Bytes,
}

impl Chunker {
    /// A chunker that also computes the MD5 of the whole.
    pub fn with_md5() -> Chunker {
        Chunker { md5: Some(Md5::default()), ..Chunker::default() }
    }

    /// The same for bytes that are to stand at `offset` of an object.
    pub fn at(self, offset: u64) -> Chunker {
        Chunker { base: offset, ..self }
    }

    fn class(&self) -> SizeClass {
        class_at(self.base.saturating_add(self.cut_bytes))
    }

    /// Whether so much has come that chunks have become longer than at an object's start.
    pub fn is_far(&self) -> bool {
        class_at(self.cut_bytes) != CLASSES[0]
    }

    /// The longest chunk here, in bytes: a stage of so many gives at least one certain cut.
    pub fn chunk_bytes_max(&self) -> usize {
        self.class().max_bytes
    }

    /// Cuts `stage`, which begins with the rest of the one before. What is left behind the last certain cut is cut, too, while it is more than
    /// `rest_bytes_max`: nothing may be left where the stream has ended.
    pub fn cut(&mut self, stage: Bytes, rest_bytes_max: usize) -> Cuts {
        let mut rest = stage;
        let mut chunks = Vec::new();
        while let Some(data) = self.split_off(&mut rest, rest_bytes_max) {
            let sha256 = self.whole.update_beside(&data);
            if let Some(md5) = &mut self.md5 {
                md5.update(&data);
            }
            chunks.push(PlainChunk { data, sha256, end: self.cut_bytes });
        }
        Cuts { chunks, rest }
    }

    /// Cuts bytes that are all there, and of whose whole nobody asks for a digest.
    pub fn cut_nameless(mut self, mut data: Bytes) -> Vec<PlainChunk> {
        let pieces: Vec<Bytes> = iter::from_fn(|| self.split_off(&mut data, 0)).collect();
        let digests = sha256_of_each(&pieces.iter().map(|piece| &piece[..]).collect::<Vec<_>>());
        let mut end = 0;
        let named = |(data, sha256): (Bytes, [u8; 32])| {
            end += data.len() as u64;
            PlainChunk { data, sha256, end }
        };
        pieces.into_iter().zip(digests).map(named).collect()
    }

    /// The next chunk's bytes, from the front of `rest`.
    fn split_off(&mut self, rest: &mut Bytes, rest_bytes_max: usize) -> Option<Bytes> {
        let length = first_cut(rest, self.class(), rest.len() > rest_bytes_max)?;
        self.cut_bytes += length as u64;
        Some(rest.split_to(length))
    }

    /// Ends the stream: what the whole came to.
    pub fn finish(self) -> StreamDigest {
        StreamDigest { size: self.cut_bytes, sha256: self.whole.finish(), md5: self.md5.map(Md5::finish) }
    }

    /// Cuts all that is left of a stream. What is all of it gets an MD5, asked for or not: it is few bytes.
    pub fn cut_to_end(mut self, data: Bytes) -> (Vec<PlainChunk>, StreamDigest) {
        if self.cut_bytes == 0 {
            self.md5.get_or_insert_default();
        }
        // So few bytes that there can be but one chunk are hashed once.
        if self.cut_bytes == 0 && (1..=CLASSES[0].min_bytes).contains(&data.len()) {
            let size = data.len() as u64;
            let sha256 = sha256(&data);
            let mut md5 = self.md5;
            if let Some(md5) = &mut md5 {
                md5.update(&data);
            }
            let digest = StreamDigest { size, sha256, md5: md5.map(Md5::finish) };
            return (vec![PlainChunk { data, sha256, end: size }], digest);
        }
        let Cuts { chunks, .. } = self.cut(data, 0);
        (chunks, self.finish())
    }
}

/// Where the first chunk of `bytes` ends; `None` where bytes to come may still say.
fn first_cut(bytes: &[u8], class: SizeClass, cuts_all: bool) -> Option<usize> {
    let window = &bytes[..bytes.len().min(class.max_bytes)];
    let certain = cuts_all || window.len() == class.max_bytes;
    if window.len() <= class.min_bytes {
        return (certain && !window.is_empty()).then_some(window.len());
    }
    let mut cutter = FastCDC::new(window, class.min_bytes, class.average_bytes, class.max_bytes);
    let length = cutter.next().map_or(window.len(), |chunk| chunk.length);
    // A cut before the window's end was found by what comes before it, and stays.
    (certain || length < window.len()).then_some(length)
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
        let mut rest = Bytes::new();
        for (number, piece) in data.chunks(piece_bytes).enumerate() {
            let stage = Bytes::from([&rest[..], piece].concat());
            let ended = (number + 1) * piece_bytes >= data.len();
            let cuts = chunker.cut(stage, if ended { 0 } else { usize::MAX });
            chunks.extend(cuts.chunks);
            rest = cuts.rest;
        }
        assert!(rest.is_empty());
        (chunks, chunker.finish())
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_bytes_arrived() {
        let data = noise(3_000_000, 1);
        let (one, digest) = chunks_of(&data, data.len());
        for piece_bytes in [1_000, 20_000, 65_536, 200_000, 700_001] {
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

    #[test]
    fn no_more_is_left_than_may_be_and_the_whole_is_the_same() {
        let data = Bytes::from(noise(3_000_000, 5));
        let (whole, digest) = chunks_of(&data, data.len());
        for (piece_bytes, rest_bytes_max) in [(70_000, 64 << 10), (5_000, 1_000), (300_000, 0)] {
            let mut chunker = Chunker::default();
            let mut chunks = Vec::new();
            let mut rest = Bytes::new();
            for piece in data.chunks(piece_bytes) {
                let cuts = chunker.cut(Bytes::from([&rest[..], piece].concat()), rest_bytes_max);
                chunks.extend(cuts.chunks);
                rest = cuts.rest;
                assert!(rest.len() <= rest_bytes_max);
            }
            let (last, told) = chunker.cut_to_end(rest);
            chunks.extend(last);
            let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
            assert!(joined == data && told == digest);
            assert!(chunks.len() > whole.len() && ends(&chunks).is_sorted());
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
    fn without_the_whole_s_digest_the_chunks_are_the_same() {
        for length in [0, 1, 20_000, 1_000_000] {
            let data = Bytes::from(noise(length, 4));
            let told = |chunks: Vec<PlainChunk>| -> Vec<([u8; 32], u64)> {
                chunks.into_iter().map(|chunk| (chunk.sha256, chunk.end)).collect()
            };
            let (chunks, _) = Chunker::default().cut_to_end(data.clone());
            assert_eq!(told(Chunker::default().cut_nameless(data)), told(chunks));
        }
    }

    #[test]
    fn nothing_makes_no_chunk_and_little_makes_one() {
        let (chunks, digest) = chunks_of(&[], 1);
        assert!(chunks.is_empty());
        assert_eq!(digest.size, 0);
        let (chunks, digest) = chunks_of(b"hello", 2);
        assert_eq!(chunks.len(), 1);
        assert_eq!((chunks[0].end, digest.size), (5, 5));
        let (whole, whole_digest) = Chunker::default().cut_to_end(Bytes::from_static(b"hello"));
        assert_eq!((whole.len(), whole[0].sha256, whole[0].end), (1, chunks[0].sha256, 5));
        assert_eq!(whole_digest, StreamDigest { md5: whole_digest.md5, ..digest });
        assert_eq!(whole_digest.md5.map(hex::encode).as_deref(), Some("5d41402abc4b2a76b9719d911017c592"));
        assert!(Chunker::default().cut_to_end(Bytes::new()).0.is_empty());
    }

    #[test]
    fn the_average_grows_with_the_offset() {
        assert_eq!(class_at(0).average_bytes, 64 << 10);
        assert_eq!(class_at((256 << 20) - 1).average_bytes, 64 << 10);
        assert_eq!(class_at(256 << 20).average_bytes, 256 << 10);
        assert_eq!(class_at(5 << 40).average_bytes, 1 << 20);
    }

    #[test]
    fn what_stands_far_into_an_object_is_cut_as_there_and_counted_from_its_own_start() {
        let data = Bytes::from(noise(3 << 20, 3));
        let (small, _) = Chunker::default().cut_to_end(data.clone());
        let (large, digest) = Chunker::with_md5().at(5 << 30).cut_to_end(data.clone());
        assert!(large.len() * 4 < small.len(), "{} against {}", large.len(), small.len());
        assert_eq!((ends(&large).last(), digest.size), (Some(&(3 << 20)), 3 << 20));
        assert_eq!(digest.sha256, sha256(&data));
    }
}
