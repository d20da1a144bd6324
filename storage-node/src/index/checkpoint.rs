//! The checkpoint file: up to where in the log the index is complete, so that a start replays only what lies after.
//!
//! ```text
//! offset size field
//!      0    8 magic and format "HFCHECK1"
//!      8   16 disk id
//!     24   16 boot id of the machine when it was written; zeros if unknown
//!     40   16 lineage of the sled database
//!     56    8 generation, u64 LE
//!     64    4 position: segment, u32 LE
//!     68    4 position: offset, u32 LE
//!     72    1 1 = written by an orderly shutdown
//!     73    3 zero
//!     76    4 CRC32 of bytes 0..76, u32 LE
//! ```

use protocol::{DiskId, Error, Result};
use segments::{Position, durable};
use std::path::Path;
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"HFCHECK1";
const LENGTH: usize = 80;

/// The content of the checkpoint file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The disk it belongs to.
    pub disk: DiskId,
    /// The machine's boot when it was written.
    pub boot: Uuid,
    /// The sled database it speaks of.
    pub lineage: Uuid,
    /// Counts checkpoints; the mark in sled has at least this generation, unless an older sled was put back.
    pub generation: u64,
    /// Every record before this position is in the index.
    pub position: Position,
    /// Whether an orderly shutdown wrote it.
    pub clean: bool,
}

impl Checkpoint {
    /// The file's content; `NotFound` if there is none, `Corrupt` if it is damaged.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        let bytes = durable::read_file(path)?;
        Checkpoint::decode(&bytes)
            .ok_or_else(|| Error::corrupt(format!("checkpoint file {} is damaged", path.display())))
    }

    /// Replaces the file, durably.
    pub fn write(&self, path: &Path) -> Result<()> {
        durable::write_file(path, &self.encode())
    }

    fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(self.disk.0.as_bytes());
        bytes[24..40].copy_from_slice(self.boot.as_bytes());
        bytes[40..56].copy_from_slice(self.lineage.as_bytes());
        bytes[56..64].copy_from_slice(&self.generation.to_le_bytes());
        bytes[64..68].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[68..72].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[72] = u8::from(self.clean);
        let crc = crc32fast::hash(&bytes[..76]);
        bytes[76..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if &bytes[..8] != MAGIC || word(76) != crc32fast::hash(&bytes[..76]) {
            return None;
        }
        let uuid = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).ok();
        Some(Checkpoint {
            disk: DiskId(uuid(8)?),
            boot: uuid(24)?,
            lineage: uuid(40)?,
            generation: u64::from(word(56)) | u64::from(word(60)) << 32,
            position: Position { segment: word(64), offset: word(68) },
            clean: bytes[72] == 1,
        })
    }
}

/// The id of this boot of the machine; nil where the kernel does not tell.
pub fn boot_id() -> Uuid {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| Uuid::try_parse(text.trim()).ok())
        .unwrap_or(Uuid::nil())
}

/// Whether an index written under boot `then` may be trusted now after an unclean stop: only if the machine did not go down
/// meanwhile, because sled's flush does not survive a power cut.
pub fn is_same_boot(then: Uuid, now: Uuid) -> bool {
    !now.is_nil() && then == now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let checkpoint = Checkpoint {
            disk: DiskId(Uuid::from_u128(1)),
            boot: Uuid::from_u128(2),
            lineage: Uuid::from_u128(3),
            generation: 1 << 40,
            position: Position { segment: 4, offset: 5 },
            clean: true,
        };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for bit in 0..LENGTH * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&bytes), None, "bit {bit}");
        }
        for length in 0..LENGTH {
            assert_eq!(Checkpoint::decode(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn an_unknown_boot_is_never_the_same() {
        assert!(is_same_boot(Uuid::from_u128(1), Uuid::from_u128(1)));
        assert!(!is_same_boot(Uuid::from_u128(1), Uuid::from_u128(2)));
        assert!(!is_same_boot(Uuid::nil(), Uuid::nil()));
    }
}
