//! The harness must be able to fail (faults 4.6): what was done behind the ledger's back is found when everything is read back.

use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use testing::real::{Client, Cluster, Ledger, Outcome, Verb, body_of, read_back};

#[tokio::test]
async fn what_the_ledger_does_not_know_is_found() {
    let cluster = Cluster::start().await;
    let client = cluster.client();

    let ledger = two_uploads(&client, "load/stray").await;
    client.upload("load/nobody's", b"content").await;
    assert!(is_noticed(&client, &ledger).await, "a file that nobody uploaded");
    client.send(client.delete_request("load/nobody's", true)).await.expect(200);
    purge(&client, "load/stray").await;

    let ledger = two_uploads(&client, "load/overwritten").await;
    client.upload("load/overwritten", b"somebody else's").await;
    assert!(is_noticed(&client, &ledger).await, "a version that nobody uploaded");
    purge(&client, "load/overwritten").await;

    let ledger = two_uploads(&client, "load/deleted").await;
    client.delete("load/deleted").await;
    assert!(is_noticed(&client, &ledger).await, "a delete that nobody asked for");
    purge(&client, "load/deleted").await;

    let ledger = two_uploads(&client, "load/purged").await;
    purge(&client, "load/purged").await;
    assert!(is_noticed(&client, &ledger).await, "acknowledged versions that are gone");
}

#[tokio::test]
async fn what_clients_were_told_is_held_against_itself() {
    let cluster = Cluster::start().await;
    let client = cluster.client();

    let ledger = two_uploads(&client, "load/twice").await;
    let n = ledger.begin("load/twice", Verb::Put);
    ledger.end("load/twice", n, Outcome::Stored(1));
    assert!(is_noticed(&client, &ledger).await, "one version for two uploads");
    purge(&client, "load/twice").await;

    let ledger = two_uploads(&client, "load/refused").await;
    let n = ledger.begin("load/refused", Verb::Put);
    client.upload("load/refused", &body_of(ledger.seed, "load/refused", n)).await;
    ledger.end("load/refused", n, Outcome::Refused);
    assert!(is_noticed(&client, &ledger).await, "a refused upload that is visible");
    let unknown = Ledger::new(ledger.seed);
    for attempt in ledger.attempts("load/refused") {
        let n = unknown.begin("load/refused", attempt.verb);
        let outcome = if attempt.outcome == Outcome::Refused { Outcome::Unknown } else { attempt.outcome };
        unknown.end("load/refused", n, outcome);
    }
    assert!(!is_noticed(&client, &unknown).await, "an upload of unknown outcome may be visible");
    purge(&client, "load/refused").await;
}

/// A ledger of two acknowledged uploads, which reads back well.
async fn two_uploads(client: &Client, key: &str) -> Ledger {
    let ledger = Ledger::new(7);
    for _ in 0..2 {
        let n = ledger.begin(key, Verb::Put);
        let reply = client.upload(key, &body_of(ledger.seed, key, n)).await;
        ledger.end(key, n, Outcome::Stored(reply["version"].as_u64().expect("a number")));
    }
    assert_eq!(read_back(client, &ledger).await.versions, 2);
    ledger
}

async fn is_noticed(client: &Client, ledger: &Ledger) -> bool {
    AssertUnwindSafe(read_back(client, ledger)).catch_unwind().await.is_err()
}

async fn purge(client: &Client, key: &str) {
    client.send(client.delete_request(key, true)).await.expect(200);
}
