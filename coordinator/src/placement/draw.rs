//! The number a node draws for a chunk, compared without floating point, so that every machine ranks alike.

use protocol::{ChunkId, NodeId};
use std::cmp::Ordering;

/// The largest share: keeps the products of [`Draw::cmp`] within 128 bits.
pub(super) const SHARE_MAX: u128 = 1 << 80;

/// Fractional bits of a logarithm.
const FRACTION_BITS: u32 = 32;

/// `-log2(u)` and the share it is to be divided by. The least quotient is the best draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draw {
    /// Below 2^39: at most 65 with 32 fractional bits.
    cost: u64,
    share: u128,
}

impl Ord for Draw {
    /// Best first: `a.cost / a.share < b.cost / b.share`, multiplied out.
    fn cmp(&self, other: &Draw) -> Ordering {
        (u128::from(self.cost) * other.share).cmp(&(u128::from(other.cost) * self.share))
    }
}

impl PartialOrd for Draw {
    fn partial_cmp(&self, other: &Draw) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What `node` draws for `chunk`.
pub(super) fn draw(chunk: ChunkId, node: &NodeId, share: u128) -> Draw {
    assert!((1..=SHARE_MAX).contains(&share), "share {share}");
    let (high, low) = chunk.0.as_u64_pair();
    let hash = mix(mix(mix(high) ^ low) ^ fnv1a(node.as_str().as_bytes()));
    Draw { cost: minus_log2(hash), share }
}

/// SplitMix64's step and finaliser (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014;
/// the constants are those of Vigna's public-domain splitmix64.c).
fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo; RFC 9923): turns a name into a number; [`mix`] spreads it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// `-log2(hash / 2^64)` with [`FRACTION_BITS`] fractional bits, never 0. One squaring gives one bit of the logarithm.
fn minus_log2(hash: u64) -> u64 {
    let hash = hash.max(1);
    let zeros = hash.leading_zeros();
    let mut mantissa = u128::from(hash << zeros); // 2^63 × [1, 2)
    let mut fraction = 0u64;
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        let bit = mantissa >> 64;
        fraction = fraction << 1 | u64::try_from(bit).expect("a square of [1, 2) is below 4");
        mantissa >>= bit;
    }
    (u64::from(zeros + 1) << FRACTION_BITS) - fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_exact_to_its_last_bits() {
        assert_eq!(minus_log2(1), 64 << FRACTION_BITS);
        assert_eq!(minus_log2(0), minus_log2(1));
        assert_eq!(minus_log2(1 << 63), 1 << FRACTION_BITS);
        assert!(minus_log2(u64::MAX) > 0);
        let mut hash = 1;
        for _ in 0..10_000 {
            hash = mix(hash);
            let wanted = 64.0 - (hash as f64).log2();
            let found = minus_log2(hash) as f64 / (1u64 << FRACTION_BITS) as f64;
            assert!((wanted - found).abs() < 1e-9, "{hash:x}: {found}, wanted {wanted}");
        }
    }

    #[test]
    fn mix_and_fnv_give_their_published_values() {
        // splitmix64.c seeded with 0 and with 1234567; FNV-1a of "" and "a".
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn a_larger_share_makes_a_better_draw() {
        let small = Draw { cost: 1000, share: 10 };
        let large = Draw { cost: 1000, share: 11 };
        assert!(large < small);
        assert_eq!(Draw { cost: 5, share: 1 }.cmp(&Draw { cost: 10, share: 2 }), Ordering::Equal);
        let extreme = Draw { cost: 65 << FRACTION_BITS, share: SHARE_MAX };
        assert_eq!(extreme.cmp(&extreme), Ordering::Equal, "does not overflow");
    }
}
