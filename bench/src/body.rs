//! Request bodies: bytes that no store can shrink or share, made faster than a loopback carries them, and checkable at any
//! offset without keeping them.
//!
//! What it keeps true:
//! - Two seeds give bodies that share no block; one seed gives the same body for ever.
//! - Memory per body is one piece, whatever its length.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// The generator starts anew at every block, so that a check can begin anywhere.
const BLOCK_BYTES: usize = 4096;
/// How many bytes are made and sent at a time.
pub const PIECE_BYTES: usize = 256 << 10;
/// Independent generators side by side: enough for the compiler to use vector registers (12 GB/s; one SplitMix64: 5 GB/s).
const LANES: usize = 8;
/// How much of a received piece [`Verify::Sampled`] compares.
const SAMPLE_BYTES: usize = 64;
/// The odd constant of SplitMix64.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// What an upload sends.
#[derive(Clone, Debug)]
pub enum Body {
    /// Incompressible bytes.
    Random(Random),
    /// The same bytes with one byte inserted at their start.
    Shifted(Random),
    /// A file as it is.
    File {
        /// Where it lies.
        path: PathBuf,
        /// Its length, taken beforehand: the request's head names it.
        length_bytes: u64,
    },
}

impl Body {
    /// Its length in bytes.
    pub fn length_bytes(&self) -> u64 {
        match self {
            Body::Random(random) => random.length_bytes,
            Body::Shifted(random) => random.length_bytes + 1,
            Body::File { length_bytes, .. } => *length_bytes,
        }
    }

    /// Starts reading it.
    pub fn open(&self) -> io::Result<BodyReader> {
        let source = match self {
            Body::Random(random) => Source::Random { random: *random, offset: 0 },
            Body::Shifted(random) => Source::Inserted { random: *random },
            Body::File { path, .. } => Source::File(File::open(path)?),
        };
        Ok(BodyReader { source, left_bytes: self.length_bytes() })
    }
}

/// A body being read.
pub struct BodyReader {
    source: Source,
    left_bytes: u64,
}

enum Source {
    Inserted { random: Random },
    Random { random: Random, offset: u64 },
    File(File),
}

impl BodyReader {
    /// Appends the next piece to `out`; `false` when there is none. A file shorter than it was is an error.
    pub fn append_piece(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.left_bytes == 0 {
            return Ok(false);
        }
        let start = out.len();
        match &mut self.source {
            Source::Inserted { random } => {
                out.push(b'+');
                self.source = Source::Random { random: *random, offset: 0 };
            }
            Source::Random { random, offset } => {
                let length = self.left_bytes.min(PIECE_BYTES as u64);
                out.resize(start + length as usize, 0);
                random.fill(*offset, &mut out[start..]);
                *offset += length;
            }
            Source::File(file) => {
                out.resize(start + self.left_bytes.min(PIECE_BYTES as u64) as usize, 0);
                file.read_exact(&mut out[start..])?;
            }
        }
        self.left_bytes -= (out.len() - start) as u64;
        Ok(true)
    }
}

/// How closely a download is compared with what was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Verify {
    /// Its length, and the first bytes of every piece received.
    Sampled,
    /// Every byte.
    Full,
}

/// An endless supply of distinct bodies: the seed says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    /// Which body.
    pub seed: u64,
    /// How long it is.
    pub length_bytes: u64,
}

impl Random {
    /// Writes the bytes from `offset` on, which lies at a block's start.
    fn fill(&self, offset: u64, out: &mut [u8]) {
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "pieces are made of whole blocks");
        let mut index = offset / BLOCK_BYTES as u64;
        let (blocks, rest) = out.as_chunks_mut::<BLOCK_BYTES>();
        for block in blocks {
            fill_block(self.seed, index, block);
            index += 1;
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK_BYTES];
            fill_block(self.seed, index, &mut block);
            rest.copy_from_slice(&block[..rest.len()]);
        }
    }

    /// Whether `piece` is what this body holds at `offset`, as far as `verify` looks.
    pub fn matches(&self, offset: u64, piece: &[u8], verify: Verify) -> bool {
        let looked_at = match verify {
            Verify::Sampled => piece.len().min(SAMPLE_BYTES),
            Verify::Full => piece.len(),
        };
        let mut rest = &piece[..looked_at];
        let mut at = offset;
        let mut block = [0; BLOCK_BYTES];
        while !rest.is_empty() {
            fill_block(self.seed, at / BLOCK_BYTES as u64, &mut block);
            let expected = &block[(at % BLOCK_BYTES as u64) as usize..];
            let length = expected.len().min(rest.len());
            if expected[..length] != rest[..length] {
                return false;
            }
            rest = &rest[length..];
            at += length as u64;
        }
        true
    }
}

/// One block: xorshift128+ in [`LANES`] lanes, their states drawn by SplitMix64 from seed and index.
fn fill_block(seed: u64, index: u64, block: &mut [u8; BLOCK_BYTES]) {
    let key = mix(seed ^ mix(index.wrapping_add(1).wrapping_mul(GAMMA)));
    let draw = |n: usize| mix(key.wrapping_add((n as u64 + 1).wrapping_mul(GAMMA)));
    let mut first: [u64; LANES] = std::array::from_fn(|lane| draw(2 * lane));
    let mut second: [u64; LANES] = std::array::from_fn(|lane| draw(2 * lane + 1));
    for row in block.as_chunks_mut::<{ 8 * LANES }>().0 {
        for lane in 0..LANES {
            let (mut x, y) = (first[lane], second[lane]);
            row[lane * 8..lane * 8 + 8].copy_from_slice(&x.wrapping_add(y).to_le_bytes());
            first[lane] = y;
            x ^= x << 23;
            second[lane] = x ^ y ^ (x >> 18) ^ (y >> 5);
        }
    }
}

/// SplitMix64's output function: a bijection that scatters neighbouring numbers.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::io::Write;

    fn bytes_of(body: &Body) -> Vec<u8> {
        let mut reader = body.open().unwrap();
        let mut out = Vec::new();
        while reader.append_piece(&mut out).unwrap() {}
        assert_eq!(out.len() as u64, body.length_bytes());
        out
    }

    #[test]
    fn two_seeds_give_bodies_that_share_no_block() {
        let mut seen = HashSet::new();
        for seed in 0..64 {
            let bytes = bytes_of(&Body::Random(Random { seed, length_bytes: 64 << 10 }));
            for window in bytes.chunks(64) {
                assert!(seen.insert(window.to_vec()), "a repeated run of 64 bytes");
            }
        }
    }

    #[test]
    fn one_seed_gives_the_same_body_for_ever() {
        let bytes = bytes_of(&Body::Random(Random { seed: 7, length_bytes: 16 }));
        assert_eq!(bytes, [163, 132, 144, 4, 61, 12, 111, 37, 181, 79, 116, 36, 246, 136, 154, 170]);
    }

    #[test]
    fn bodies_are_incompressible() {
        let bytes = bytes_of(&Body::Random(Random { seed: 1, length_bytes: 1 << 20 }));
        let mut counts = [0u32; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let total = bytes.len() as f64;
        let entropy: f64 = counts.iter().map(|&count| f64::from(count) / total).map(|p| -p * p.log2()).sum();
        assert!(entropy > 7.999, "{entropy} bits per byte");
    }

    #[test]
    fn a_check_begins_anywhere_and_sees_a_flipped_bit() {
        let random = Random { seed: 3, length_bytes: 20_000 };
        let mut bytes = bytes_of(&Body::Random(random));
        for offset in [0, 1, 4095, 4096, 19_999] {
            assert!(random.matches(offset as u64, &bytes[offset..], Verify::Full), "{offset}");
        }
        bytes[10_000] ^= 1;
        assert!(!random.matches(0, &bytes, Verify::Full));
        assert!(random.matches(0, &bytes, Verify::Sampled));
        assert!(!random.matches(9_990, &bytes[9_990..], Verify::Sampled));
    }

    #[test]
    fn a_shifted_body_is_the_body_after_one_byte() {
        let random = Random { seed: 3, length_bytes: 300_000 };
        let plain = bytes_of(&Body::Random(random));
        let shifted = bytes_of(&Body::Shifted(random));
        assert_eq!(shifted[1..], plain);
    }

    #[test]
    fn a_file_is_sent_as_it_is_and_a_shortened_one_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"twelve bytes").unwrap();
        let path = file.path().to_path_buf();
        assert_eq!(bytes_of(&Body::File { path: path.clone(), length_bytes: 12 }), b"twelve bytes");
        let mut reader = Body::File { path, length_bytes: 13 }.open().unwrap();
        assert!(reader.append_piece(&mut Vec::new()).is_err());
    }
}
