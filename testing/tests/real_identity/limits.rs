//! How much is taken of whom.

use super::{client_with, plan, start};
use reqwest::Method;
use testing::real::{Client, Plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hundred_and_first_request_of_a_minute_is_told_when_to_come_again() {
    // The cluster's own tests ask more than once, and one address asks for all of them.
    let cluster = Plan::new().coordinator_flag("--rate-per-ip", "100").start().await;
    let client = cluster.client();
    let mut refused = None;
    for _ in 0..101 {
        let reply = client.get("/files").await;
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
        reply.expect(200);
    }
    let refused = refused.expect("no more than 100 are taken in a minute").expect_error(429, "Too Many Requests");
    let seconds: u64 = refused.header("retry-after").parse().expect("a number of seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    client.get("/health").await.expect(200);
    let metrics = client.get("/metrics").await.expect(200);
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(text.contains(r#"requests_limited_total{limit="address"} 1"#), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_is_a_request_like_any_other() {
    let plan = Plan::new().coordinator_flag("--rate-per-ip", "100").coordinator_flag("--cors-origin", "*");
    let cluster = plan.start().await;
    let client = cluster.client();
    let preflight = async || {
        let request = client.request(Method::OPTIONS, "/files").header("origin", "https://page.example");
        client.send(request.header("access-control-request-method", "GET")).await
    };
    let mut refused = None;
    for _ in 0..101 {
        let reply = preflight().await;
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
        reply.expect(204);
    }
    let refused = refused.expect("no more than 100 are taken in a minute").expect_error(429, "Too Many Requests");
    // The page learns why.
    assert_eq!(refused.header("access-control-allow-origin"), "*");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_a_limit_of_its_own_and_loopback_has_none_of_its_own() {
    let cluster = start(plan().coordinator_flag("--rate-per-key", "150")).await;
    let (client, _) = client_with(&cluster, "files", &["list"]).await;
    let mut statuses = Vec::new();
    for _ in 0..151 {
        statuses.push(client.get("/files").await.status);
    }
    // A refill in between lets one or two more through than 150.
    assert!(statuses[..150].iter().all(|status| *status == 200), "{statuses:?}");
    let stranger = Client::new(&cluster.coordinator.url());
    for _ in 0..150 {
        stranger.get("/files").await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_long_are_refused() {
    let cluster = Plan::new().start().await;
    let client = cluster.client();
    let long = "x".repeat(20_000);
    client.get_with("/files", &[("x-long", long.as_str())]).await.expect(431);
    client.get_with("/files", &[("x-long", &long[..8_000])]).await.expect(200);
}
