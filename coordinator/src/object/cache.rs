//! A bounded cache of small chunks that were read or written lately. Chunks are immutable and ids never reused (law 2), so an
//! entry cannot be stale; what is in it was verified before it came here.

use crate::names;
use bytes::Bytes;
use metrics::Counter;
use protocol::ChunkId;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Larger chunks are not kept: a few of them would push out what the cache is for.
pub const CACHED_CHUNK_BYTES_MAX: usize = 64 << 10;
/// What an entry costs beyond its bytes.
const ENTRY_BYTES: usize = 128;
/// A guess at the size of an entry, only to size the table.
const ENTRY_BYTES_EXPECTED: u64 = 4 << 10;

#[derive(Clone)]
struct ByBytes;

impl Weighter<ChunkId, Bytes> for ByBytes {
    fn weight(&self, _: &ChunkId, data: &Bytes) -> u64 {
        (data.len() + ENTRY_BYTES) as u64
    }
}

/// The cache; cheap to clone.
#[derive(Clone)]
pub struct ChunkCache {
    entries: Arc<Cache<ChunkId, Bytes, ByBytes>>,
    hits: Counter,
    misses: Counter,
}

impl ChunkCache {
    /// A cache of at most `bytes`; 0 keeps nothing.
    pub fn new(bytes: u64) -> ChunkCache {
        let expected = (bytes / ENTRY_BYTES_EXPECTED).max(1) as usize;
        let asked = |outcome| metrics::counter!(names::CACHE_REQUESTS_TOTAL, "outcome" => outcome);
        let entries = Arc::new(Cache::with_weighter(expected, bytes, ByBytes));
        ChunkCache { entries, hits: asked("hit"), misses: asked("miss") }
    }

    /// The plain bytes of the chunk, if they are here.
    pub fn get(&self, chunk: ChunkId) -> Option<Bytes> {
        let found = self.entries.get(&chunk);
        if found.is_some() {
            self.hits.increment(1)
        } else {
            self.misses.increment(1)
        }
        found
    }

    /// Bytes of its entries, and the most they may have.
    pub fn size_and_most(&self) -> (u64, u64) {
        (self.entries.weight(), self.entries.capacity())
    }

    /// Keeps the verified plain bytes of a small chunk: a copy of them, since they may be a slice of a far larger buffer, which
    /// they would keep in memory (measured: 400 MiB for a cache of 32).
    pub fn insert(&self, chunk: ChunkId, data: &[u8]) {
        if data.len() <= CACHED_CHUNK_BYTES_MAX {
            self.entries.insert(chunk, Bytes::copy_from_slice(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_cache_stays_below_its_bound_and_leaves_large_chunks_out() {
        let cache = ChunkCache::new(1 << 20);
        for n in 0..1_000u128 {
            cache.insert(ChunkId(Uuid::from_u128(n)), &[0; 4096]);
        }
        assert!(cache.entries.weight() <= 1 << 20);
        let large = ChunkId(Uuid::from_u128(5_000));
        cache.insert(large, &vec![0; CACHED_CHUNK_BYTES_MAX + 1]);
        assert!(cache.get(large).is_none());
    }
}
