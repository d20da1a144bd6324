//! Ports for clusters that run side by side.
//!
//! What it keeps true: a block of ports belongs to one holder at a time on this machine, as its first port stays bound; and the
//! blocks lie below the range from which the kernel picks ports for outgoing connections, so that a process that was killed
//! finds its port free when it is started again.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};

/// The first port of the first block.
const FIRST: u16 = 20_000;
/// Blocks end here; the kernel's own range usually begins at 32768.
const LAST: u16 = 32_000;
/// Ports in a block: the one that marks it as taken, a coordinator's, up to 14 nodes', and the S3 protocol's.
const BLOCK: u16 = 17;

/// A block of ports, held until it is dropped.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _held: TcpListener,
}

impl Ports {
    /// Takes a block that nobody uses.
    pub fn take() -> Ports {
        let blocks = (LAST - FIRST) / BLOCK;
        let start = scatter() % u64::from(blocks);
        for offset in 0..blocks {
            let block = (start as u16 + offset) % blocks;
            let first = FIRST + block * BLOCK;
            let Ok(held) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) else { continue };
            if (first + 1..first + BLOCK).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
                return Ports { first, _held: held };
            }
        }
        panic!("no {BLOCK} free ports in a row from {FIRST} to {LAST}");
    }

    /// The coordinator's port.
    pub fn coordinator(&self) -> u16 {
        self.first + 1
    }

    /// The port of the S3 protocol.
    pub fn s3(&self) -> u16 {
        self.first + BLOCK - 1
    }

    /// The port of node `number`, from 1.
    pub fn node(&self, number: usize) -> u16 {
        assert!((1..usize::from(BLOCK) - 2).contains(&number), "a block has ports for {} nodes", BLOCK - 3);
        self.coordinator() + number as u16
    }
}

/// Where to begin to look, so that test processes that run at the same time seldom meet.
fn scatter() -> u64 {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
    (u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) + taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_held_do_not_overlap() {
        let held: Vec<Ports> = (0..5).map(|_| Ports::take()).collect();
        for (index, one) in held.iter().enumerate() {
            for other in &held[..index] {
                assert!(one.first.abs_diff(other.first) >= BLOCK);
            }
        }
        assert_eq!(held[0].node(1), held[0].coordinator() + 1);
    }
}
