//! Bodies that name their origin: a body is a function of its tag and size, so a wrong byte tells where it came from.

use super::rng::Rng;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Bodies with tags beyond this are made anew each time.
pub const KEPT_TAGS_MAX: u64 = 100;

/// Bytes of a body that are noise; the rest of each block repeats one byte, so that long bodies cost little to make, to cut
/// and to store.
const NOISE_BYTES: usize = 64;
/// A run of one byte is cut at the chunker's longest chunk of the first size class, so that a body of n such blocks has about n
/// chunks.
pub const BLOCK_BYTES: usize = 256 << 10;
/// Up to this size a body is certainly one chunk.
pub const ONE_CHUNK_BYTES: usize = 16 << 10;

/// What a put is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestBody {
    /// Whose it is.
    pub tag: u64,
    /// The bytes.
    pub data: Bytes,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

thread_local! {
    static KEPT: RefCell<BTreeMap<(u64, usize), TestBody>> = const { RefCell::new(BTreeMap::new()) };
}

impl TestBody {
    /// The body of `tag` with `size` bytes; one with a tag up to [`KEPT_TAGS_MAX`] is made once.
    pub fn new(tag: u64, size: usize) -> TestBody {
        if tag > KEPT_TAGS_MAX {
            return TestBody::make(tag, size);
        }
        KEPT.with_borrow_mut(|kept| kept.entry((tag, size)).or_insert_with(|| TestBody::make(tag, size)).clone())
    }

    /// A block that every body with this `shared` tag begins with, and a tail of its own.
    pub fn with_known_start(shared: u64, tag: u64, tail_bytes: usize) -> TestBody {
        let start = TestBody::new(shared, BLOCK_BYTES).data;
        let tail = TestBody::make(tag, tail_bytes).data;
        TestBody::of(tag, [start, tail].concat())
    }

    fn make(tag: u64, size: usize) -> TestBody {
        let mut data = vec![0; size];
        let blocks = data.chunks_mut(BLOCK_BYTES).enumerate();
        for (index, block) in blocks {
            let mut rng = Rng::new(tag, index as u64 + 7);
            let (noise, run) = block.split_at_mut(block.len().min(NOISE_BYTES));
            for byte in noise {
                *byte = rng.next_u64() as u8;
            }
            run.fill(rng.next_u64() as u8);
        }
        TestBody::of(tag, data)
    }

    /// These bytes, as the body of `tag`.
    pub fn of(tag: u64, data: Vec<u8>) -> TestBody {
        let sha256 = Sha256::digest(&data).into();
        TestBody { tag, data: data.into(), sha256 }
    }
}
