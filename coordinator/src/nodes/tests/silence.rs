//! Silence: since when a node is asked in vain.

use super::{fail, id, probed, read, recover};
use protocol::ClusterId;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn silence_begins_when_a_node_is_asked_in_vain() {
    let (nodes, fakes) = probed(&["n1"]).await;
    let member = nodes.member(&id("n1")).unwrap();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(member.silent_for(), Duration::ZERO, "nobody asked it");
    fail(&fakes[0]);
    nodes.probe_all().await;
    sleep(Duration::from_secs(5)).await;
    assert!(read(&member).await.is_err());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(member.silent_for().as_secs(), 10, "since the first of them");
    recover(&fakes[0]);
    read(&member).await.unwrap();
    assert_eq!(member.silent_for(), Duration::ZERO);
    fakes[0].set(|fake| fake.health.cluster = ClusterId(Uuid::from_u128(8)));
    nodes.probe_all().await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(member.silent_for().as_secs(), 5, "one that is not who it should be answers in vain");
}
