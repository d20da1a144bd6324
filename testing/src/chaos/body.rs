//! Bodies that name their origin: `body(seed, key, n)` is what the `n`th upload of `key` sends, and every piece of 4 KiB says so, so
//! that a wrong byte tells where it came from.

use crate::real::random_bytes;
use sha2::{Digest, Sha256};

/// Every so many bytes the origin is told.
const TAG_EVERY_BYTES: usize = 4096;
const TAG: &str = "<<holdfast chaos ";
const MIB: usize = 1 << 20;
/// Average and longest chunk of small objects.
const CHUNK: usize = 64 << 10;
const CHUNK_LONGEST: usize = 256 << 10;
/// Sizes, and how often of a hundred each is drawn.
const SIZES: [(u64, &[usize]); 5] = [
    (30, &[0, 1, 700, 4_096]),
    (30, &[CHUNK - 1, CHUNK, CHUNK + 1, CHUNK_LONGEST - 1, CHUNK_LONGEST, CHUNK_LONGEST + 1]),
    (35, &[12_345, 200_000, 30_000]),
    (4, &[MIB]),
    (1, &[9 * MIB]),
];

/// What upload `n` of `key` sends.
pub fn body(seed: u64, key: &str, n: u64) -> Vec<u8> {
    let draw = draw(seed, key, n);
    let mut data = random_bytes(draw, size(draw));
    for (number, piece) in data.chunks_mut(TAG_EVERY_BYTES).enumerate() {
        let tag = format!("{TAG}{seed} {key} #{n} @{}>>", number * TAG_EVERY_BYTES);
        if piece.len() >= tag.len() {
            piece[..tag.len()].copy_from_slice(tag.as_bytes());
        }
    }
    data
}

/// SHA-256 in hex.
pub fn sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// Where bytes that are not `wanted` come from, as far as they tell.
pub fn origin(got: &[u8], wanted: &[u8]) -> String {
    let differ = got.iter().zip(wanted).position(|(one, other)| one != other);
    let at = differ.unwrap_or(got.len().min(wanted.len()));
    let from = at / TAG_EVERY_BYTES * TAG_EVERY_BYTES;
    let piece = &got[from.min(got.len())..got.len().min(from + TAG_EVERY_BYTES)];
    let told = piece
        .starts_with(TAG.as_bytes())
        .then(|| piece.windows(2).position(|pair| pair == b">>"))
        .flatten()
        .map_or_else(|| "no origin".to_owned(), |end| String::from_utf8_lossy(&piece[2..end]).into_owned());
    format!("{} bytes for {}, first difference at {at}; that piece says: {told}", got.len(), wanted.len())
}

fn size(draw: u64) -> usize {
    let mut left = draw % 100;
    for (share, sizes) in SIZES {
        if left < share {
            return sizes[(draw / 100 % sizes.len() as u64) as usize];
        }
        left -= share;
    }
    unreachable!("the shares add up to a hundred")
}

fn draw(seed: u64, key: &str, n: u64) -> u64 {
    let digest = Sha256::digest(format!("{seed}\0{key}\0{n}"));
    u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn bodies_repeat_and_differ_and_have_all_sizes() {
        assert_eq!(body(1, "k", 3), body(1, "k", 3));
        assert_ne!(sha256(&body(1, "k", 7)), sha256(&body(2, "k", 7)));
        let sizes: BTreeSet<usize> = (0..400).map(|n| size(draw(1, "k", n))).collect();
        assert_eq!(sizes.len(), 15, "{sizes:?}");
        assert_eq!(SIZES.iter().map(|(share, _)| share).sum::<u64>(), 100);
    }

    #[test]
    fn a_wrong_piece_tells_where_it_is_from() {
        let large = |key: &str| (0..).map(|n| body(1, key, n)).find(|data| data.len() == 200_000).unwrap();
        let (wanted, other) = (large("a"), large("b"));
        let mut mixed = wanted.clone();
        mixed[8192..20_000].copy_from_slice(&other[8192..20_000]);
        let told = origin(&mixed, &wanted);
        assert!(told.contains(" b #") && told.contains("@8192"), "{told}");
        assert!(origin(&wanted[..100_000], &wanted).contains("100000 bytes for 200000"));
    }
}
