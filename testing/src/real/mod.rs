//! Real processes: a coordinator and storage nodes as children of the test, on free ports, in a directory of their own.
//!
//! What it keeps true:
//! - No process and no mount outlives its test, also when it panics: [`Cluster`] kills by pid and unmounts when it is dropped.
//! - Tests run side by side: a cluster holds a block of ports that no other test takes ([`Ports`]).
//! - Every wait has a bound, and what did not happen within it is said with the tails of the logs.
//! - A test that cannot run on this machine says so with [`skipped`]; it never passes in silence.

mod body;
mod certificates;
mod client;
mod cluster;
mod damage;
mod failing_calls;
mod form;
mod growth;
mod keys;
mod ledger;
mod limits;
mod load;
mod loop_disk;
mod ports;
mod programs;
mod proxy;
mod raw;
mod read_back;
mod server;
mod signing;
mod small_disk;

pub use body::{body_of, mix, random_bytes};
pub use certificates::{Authority, Certified};
pub use client::{Client, Failure, Reply, encode, md5, sha256};
pub use cluster::{Cluster, Plan, new_cluster_file};
pub use damage::{flip_bits, flip_bits_in, scan_for};
pub use failing_calls::FailingCalls;
pub use form::Form;
pub use ledger::{Ledger, Outcome, Trouble, Verb};
pub use limits::Limit;
pub use load::{Load, LoadPlan};
pub use loop_disk::LoopDisk;
pub use ports::Ports;
pub use programs::{bin_dir, program, python_tool, test_tool};
pub use proxy::{Proxy, Toxic, Valve};
pub use raw::{RawConnection, RawReply};
pub use read_back::{ReadBack, read_back};
pub use server::Server;
pub use signing::{Payload, Signer, hmac};
pub use small_disk::SmallDisk;

use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// How often a condition that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Says on the test's output that `test` did not run, and why; `scripts/check.sh` counts these lines.
pub fn skipped(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
}

/// Waits until `condition` gives a value; panics with `what` and the last reason if that takes longer than `within`.
pub async fn eventually<T, F>(what: &str, within: Duration, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + within;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(reason) if Instant::now() >= deadline => panic!("{what}: not within {within:?}: {reason}"),
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
