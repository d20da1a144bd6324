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

/// So many failures in a row, of about 15 s, are nothing to be told of by those that log errors only.
const QUIET_FAILURES: u32 = 5;

/// Announces `url` to `coordinator` until it is dropped.
pub async fn announce(peers: Peers, coordinator: String, url: String) {
    let mut told: Option<ErrorKind> = None;
    let mut known = false;
    let mut failures = 0;
    let mut pause = RETRY_FIRST;
    loop {
        let outcome = peers.announce(&coordinator, &url).await;
        let failure = outcome.as_ref().err().map(|error| error.kind);
        match &outcome {
            Ok(()) if !known => tracing::info!(coordinator, url, "the coordinator knows this node"),
            // Where all are started together, some are there before the coordinator is.
            Err(error) if error.kind == ErrorKind::Unavailable && failures < QUIET_FAILURES => {
                tracing::info!(%error, "the coordinator does not answer yet; it is asked again");
            }
            Err(error) if failure != told => {
                tracing::warn!(target: "degradation", %error, "the coordinator does not take this node; it is asked again");
            }
            Ok(()) | Err(_) => {}
        }
        failures = if outcome.is_ok() { 0 } else { failures + 1 };
        let is_quiet = failure == Some(ErrorKind::Unavailable) && failures <= QUIET_FAILURES;
        (known, told) = (outcome.is_ok(), failure.filter(|_| !is_quiet));
        let rest = if known { EVERY } else { pause };
        pause = if known { RETRY_FIRST } else { (2 * pause).min(EVERY) };
        sleep(rest).await;
    }
}
