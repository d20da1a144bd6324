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
