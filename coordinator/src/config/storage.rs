//! How chunks are encoded: the codes behind the storage classes.
//!
//! What it keeps true: a code that could not survive the loss of a node, or that would leave no index for shards stored anew, is refused.

use crate::code::Code;
use clap::Args;
use process::settings::bytes;

/// The most shards of a chunk: a shard's index is a byte, and each shard stored anew elsewhere takes another one.
const SHARDS_MAX: usize = 32;

/// What `strategy=ec` and `STANDARD_IA` stand for.
#[derive(Clone, Debug, Args)]
pub struct Storage {
    /// Code of what is stored with strategy=ec or as STANDARD_IA: data shards + parity shards, each on a node of its own
    #[arg(long, env = "HOLDFAST_EC", value_name = "K+M", value_parser = code, default_value = "4+2")]
    pub ec: Code,

    /// Code to take instead while there are too few nodes for --ec; without it such writes are refused
    #[arg(long, env = "HOLDFAST_EC_FALLBACK", value_name = "K+M", value_parser = code)]
    pub ec_fallback: Option<Code>,

    /// With strategy=auto, the smallest object that is erasure-coded
    #[arg(long, env = "HOLDFAST_AUTO_EC_BYTES", value_name = "BYTES", value_parser = bytes, default_value = "1MiB")]
    pub auto_ec_bytes: u64,

    /// With strategy=auto, smaller objects are erasure-coded, too, when they are so many seconds old and hardly read
    #[arg(long, env = "HOLDFAST_COLD_AFTER_S", value_name = "SECONDS", default_value_t = 2_592_000)]
    pub cold_after_s: u64,

    /// With strategy=auto, what is read so often is kept in copies; reads of the last days count
    #[arg(long, env = "HOLDFAST_HOT_READS", value_name = "READS", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub hot_reads: u32,

    /// A read counts for half after so many seconds
    #[arg(long, env = "HOLDFAST_HEAT_HALF_LIFE_S", value_name = "SECONDS", default_value_t = 86_400,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub heat_half_life_s: u64,

    /// Seconds between two looks at what was stored with strategy=auto
    #[arg(long, env = "HOLDFAST_TIERING_INTERVAL_S", value_name = "SECONDS", default_value_t = 900)]
    pub tiering_interval_s: u64,
}

fn code(text: &str) -> Result<Code, String> {
    text.parse().map_err(|error: protocol::Error| error.message)
}

impl Storage {
    /// The first thing that cannot work, in words for the operator.
    pub(super) fn mistake(&self) -> Option<String> {
        let given = [("--ec", Some(self.ec)), ("--ec-fallback", self.ec_fallback)];
        let given = given.into_iter().filter_map(|(flag, code)| Some((flag, code?)));
        for (flag, code) in given {
            if code.data < 2 || code.parity < 1 || code.shards() > SHARDS_MAX {
                return Some(format!(
                    "{flag} {code}: must have 2 data shards and 1 parity shard at least, and {SHARDS_MAX} shards at most"
                ));
            }
        }
        let fallback = self.ec_fallback.filter(|fallback| fallback.shards() >= self.ec.shards())?;
        Some(format!("--ec-fallback {fallback}: must have fewer shards than --ec {}", self.ec))
    }
}
