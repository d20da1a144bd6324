//! Real processes are killed, frozen, filled, swapped and damaged under load, and everything acknowledged is read back.

#![expect(clippy::disallowed_methods, reason = "removes data behind the backs of processes it started")]

mod damage;
mod disks;
mod fsync;
mod full;
mod harness;
mod identity;
mod kills;
mod limits;
mod losses;
mod network;
mod outages;
mod power;
mod shutdown;

use std::time::Duration;
use testing::real::{Cluster, Ledger, read_back};

/// How long a number of writes may take, on a slow machine with a debug build.
const PROGRESS_WAIT: Duration = Duration::from_secs(30);

/// Reads everything back, and sees to it that this meant something.
async fn all_is_there(cluster: &Cluster, ledger: &Ledger, versions_min: usize) {
    let read = read_back(&cluster.client(), ledger).await;
    println!("read back {} versions, {} bytes", read.versions, read.bytes);
    assert!(
        read.versions >= versions_min,
        "only {} versions were acknowledged: the test has tested nothing",
        read.versions
    );
}

/// How often a test is to do what it does, where a longer run asks for more.
fn number_from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
