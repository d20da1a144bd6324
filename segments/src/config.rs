//! What the owner of a log decides.

use crate::disk::BLOCK_BYTES;
use crate::mutation::Mutation;
use crate::record::Kind;
use crate::segment::{FIRST_OFFSET, FOOTER_BYTES};
use protocol::{Error, Result};

/// Settings of one log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The label `log` of its metrics and the field `log` of its log lines.
    pub name: &'static str,
    /// Length of a segment file, preallocated; a multiple of 4,096. No record may be longer than what fits one segment.
    pub segment_bytes: u64,
    /// Ordinary appends are refused when a new segment would leave less than this free on the disk.
    pub free_floor_bytes: u64,
    /// The kinds whose payload recovery hands to the owner.
    pub payload_kinds: Vec<Kind>,
    /// A planted bug, for the tests that must find it.
    #[cfg(feature = "sim")]
    pub mutation: Option<Mutation>,
}

/// The shortest segment accepted; tests use it.
const SEGMENT_BYTES_MIN: u64 = 2 * BLOCK_BYTES;
/// The longest: offsets are 32 bits.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            name: "log",
            segment_bytes: 64 << 20,
            free_floor_bytes: 0,
            payload_kinds: Vec::new(),
            #[cfg(feature = "sim")]
            mutation: None,
        }
    }
}

impl LogConfig {
    /// `Invalid` unless a log can work so.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.segment_bytes.is_multiple_of(BLOCK_BYTES)
            || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes)
        {
            return Err(Error::invalid(format!(
                "segment_bytes is {}, must be a multiple of {BLOCK_BYTES} from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}",
                self.segment_bytes
            )));
        }
        Ok(())
    }

    /// The offset that records may fill a segment up to: the footer has its place behind it.
    pub(crate) fn records_end_max(&self) -> u64 {
        self.segment_bytes - FOOTER_BYTES
    }

    /// Room for records in an empty segment.
    pub(crate) fn segment_room(&self) -> u64 {
        self.records_end_max() - FIRST_OFFSET
    }

    /// Whether this bug was planted.
    pub(crate) fn planted(&self, mutation: Mutation) -> bool {
        self.mutation() == Some(mutation)
    }

    /// The planted bug, if there is one.
    #[cfg(feature = "sim")]
    pub(crate) fn mutation(&self) -> Option<Mutation> {
        self.mutation
    }

    /// None in what is shipped.
    #[cfg(not(feature = "sim"))]
    pub(crate) fn mutation(&self) -> Option<Mutation> {
        None
    }
}
