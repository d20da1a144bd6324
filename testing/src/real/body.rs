//! Bodies of test files, made from a seed: `body_of(seed, key, n)` is what attempt `n` on `key` uploads, now and when it is read
//! back, so that a wrong byte tells where it came from.

use super::client::sha256;

/// Sizes that attempts on a key go through: empty, tiny, one piece, around a chunk's average, several chunks, several batches.
const SIZES: [usize; 20] = [
    4_096, 0, 700, 65_536, 20_000, 9_000, 65_537, 1, 130_000, 3_000, 65_535, 4_095, 30_000, 64, 400_000, 8_192, 12_345,
    100_000, 2_600_000, 50_000,
];
/// Every fifth attempt is an edit of the same base, so that versions share chunks.
const EDIT_EVERY: u64 = 5;
const EDIT_BASE_BYTES: usize = 300_000;

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

/// `count` bytes that no compressor makes smaller.
pub fn random_bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    let mut state = seed;
    while bytes.len() < count {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bytes.extend_from_slice(&finish(state).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// One step of SplitMix64 (Vigna's public-domain `splitmix64.c`).
pub(super) fn mix(state: u64) -> u64 {
    finish(state.wrapping_add(0x9E37_79B9_7F4A_7C15))
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
