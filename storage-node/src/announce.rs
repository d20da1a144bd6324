//! Tells coordinators where this node is: a node joins by starting, and is found again where it moved to.
//!
//! What it keeps true:
//! - A coordinator that is away is asked again, later and later, up to [`EVERY`]; one that knows the node is told again that often.
//! - What a coordinator answers is logged when it changes, not every time.

use crate::peer::Peers;
use protocol::ErrorKind;
use std::time::Duration;
use tokio::time::sleep;

/// Time between two announcements.
pub const EVERY: Duration = Duration::from_secs(30);
/// After a first failure it waits so long; after each further one twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Announces `url` to `coordinator` until it is dropped.
pub async fn announce(peers: Peers, coordinator: String, url: String) {
    let mut told: Option<ErrorKind> = None;
    let mut known = false;
    let mut pause = RETRY_FIRST;
    loop {
        let outcome = peers.announce(&coordinator, &url).await;
        let failure = outcome.as_ref().err().map(|error| error.kind);
        match &outcome {
            Ok(()) if !known => tracing::info!(coordinator, url, "the coordinator knows this node"),
            Err(error) if failure != told => {
                tracing::warn!(target: "degradation", %error, "the coordinator does not take this node; it is asked again");
            }
            Ok(()) | Err(_) => {}
        }
        (known, told) = (outcome.is_ok(), failure);
        let rest = if known { EVERY } else { pause };
        pause = if known { RETRY_FIRST } else { (2 * pause).min(EVERY) };
        sleep(rest).await;
    }
}
