//! What Holdfast says of itself (issue: receipts asked again, explain, events; contract C13), against real processes.

#![expect(clippy::disallowed_methods, reason = "empties the disk of a node that it killed")]

mod events;
mod explain;
mod receipt;
mod savings;
mod usage;
mod verify;

use std::time::Duration;
use testing::real::{Client, encode, eventually};

/// Waits until every chunk of a file is on three nodes: on a busy machine the last replica may come after the reply.
async fn settled(client: &Client, name: &str) {
    let path = format!("/receipt?filename={}", encode(name.as_bytes()));
    eventually("three copies of everything", Duration::from_secs(20), || async {
        let receipt = client.get(&path).await.expect(200).json();
        if receipt["receipt"]["copies"] == 3 { Ok(()) } else { Err(receipt.to_string()) }
    })
    .await;
}
