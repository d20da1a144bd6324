//! Bodies of test files, made from a seed: `body_of(seed, key, n)` is what attempt `n` on `key` uploads, now and when it is read
//! back, so that a wrong byte tells where it came from.

use super::client::sha256;
use std::sync::LazyLock;

/// Sizes that attempts on a key go through: empty, tiny, one piece, around a chunk's average, several chunks, several batches.
const SIZES: [usize; 20] = [
    4_096, 0, 700, 65_536, 20_000, 9_000, 65_537, 1, 130_000, 3_000, 65_535, 4_095, 30_000, 64, 400_000, 8_192, 12_345,
    100_000, 2_600_000, 50_000,
];
/// Every fifth attempt is an edit of the same base, so that versions share chunks.
const EDIT_EVERY: u64 = 5;
const EDIT_BASE_BYTES: usize = 300_000;
/// The store of noise that bodies are made from, and the length of the runs taken from it.
const NOISE_BYTES: usize = 4 << 20;
const RUN_BYTES: usize = 1016;
/// The increment of SplitMix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What attempt `n` on `key` uploads.
pub fn body_of(seed: u64, key: &str, n: u64) -> Vec<u8> {
    let key_seed = fold(seed, key.as_bytes());
    if n % EDIT_EVERY == EDIT_EVERY - 1 {
        let mut data = random_bytes(key_seed, EDIT_BASE_BYTES);
        let tag = random_bytes(mix(key_seed ^ mix(n + 1)), 64);
        let at = (mix(key_seed + n) % (EDIT_BASE_BYTES - tag.len()) as u64) as usize;
        data[at..at + tag.len()].copy_from_slice(&tag);
        return data;
    }
    let size = SIZES[((key_seed % 64 + n) % SIZES.len() as u64) as usize];
    random_bytes(mix(key_seed ^ mix(n + 1)), size)
}

/// `count` bytes that hardly a compressor makes smaller, another sequence for each seed. Quick in a debug build, too: runs of one
/// store of noise, chosen and marked by the seed.
pub fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..NOISE_BYTES as u64 / 8).flat_map(|n| finish(n.wrapping_mul(GOLDEN)).to_le_bytes()).collect()
    });
    let mut bytes = Vec::with_capacity(count + RUN_BYTES + 8);
    let mut state = seed;
    while bytes.len() < count {
        state = state.wrapping_add(GOLDEN);
        let draw = finish(state);
        bytes.extend_from_slice(&draw.to_le_bytes());
        let at = (draw % (NOISE_BYTES - RUN_BYTES) as u64) as usize;
        bytes.extend_from_slice(&NOISE[at..at + RUN_BYTES]);
    }
    bytes.truncate(count);
    bytes
}

/// One step of SplitMix64 (Vigna's public-domain `splitmix64.c`).
pub fn mix(state: u64) -> u64 {
    finish(state.wrapping_add(GOLDEN))
}

fn finish(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn fold(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(mix(seed), |state, byte| mix(state ^ u64::from(*byte)))
}

/// The digest of what attempt `n` on `key` uploads, in hex.
pub(super) fn digest_of(seed: u64, key: &str, n: u64) -> String {
    sha256(&body_of(seed, key, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn attempts_differ_and_repeat() {
        let digests: BTreeSet<String> = (0..40).map(|n| digest_of(1, "k", n)).collect();
        // Empty bodies are all alike, and one-byte bodies may be.
        assert!(digests.len() >= 33, "{}", digests.len());
        assert_eq!(body_of(1, "k", 3), body_of(1, "k", 3));
        assert_ne!(body_of(1, "k", 7), body_of(2, "k", 7));
        let edits = [body_of(1, "k", 4), body_of(1, "k", 9)];
        let same = edits[0].iter().zip(&edits[1]).filter(|(one, other)| one == other).count();
        assert!(same > EDIT_BASE_BYTES - 200, "edits of one base are almost alike: {same}");
    }
}
