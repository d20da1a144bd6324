//! D4: pages of other origins, by configuration.

use reqwest::Method;
use testing::real::{Client, Cluster, Plan, Reply};

const ORIGIN: &str = "https://app.example";

async fn preflight(client: &Client, path: &str, origin: &str) -> Reply {
    let request = client.request(Method::OPTIONS, path).header("origin", origin);
    let request = request.header("access-control-request-method", "PUT");
    client.send(request.header("access-control-request-headers", "authorization, x-amz-meta-who")).await
}

#[tokio::test]
async fn without_the_flag_no_answer_says_a_word_about_origins() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let refused = preflight(&client, "/buckets/b-1/objects/k", ORIGIN).await.expect(405);
    let plain = client.get_with("/health", &[("origin", ORIGIN)]).await.expect(200);
    for reply in [refused, plain] {
        let told = reply.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
        assert!(!told, "{:?}", reply.headers);
    }
}

#[tokio::test]
async fn named_origins_may_use_every_native_door() {
    let cluster = Plan::new().coordinator_flag("--cors-origin", ORIGIN).start().await;
    let client = cluster.client();
    for path in ["/buckets/b-1/objects/k", "/s3/b-1/k", "/upload", "/objects", "/no/such/path"] {
        let reply = preflight(&client, path, ORIGIN).await.expect(204);
        assert_eq!(reply.header("access-control-allow-origin"), ORIGIN, "{path}");
        assert!(reply.header("access-control-allow-methods").contains("PUT"), "{path}");
        assert_eq!(reply.header("access-control-allow-headers"), "authorization, x-amz-meta-who");
        assert_eq!(reply.header("vary"), "Origin");
        preflight(&client, path, "https://evil.example").await.expect(if path.starts_with("/no") { 404 } else { 405 });
    }
    let put = client.request(Method::PUT, "/buckets/b-1/objects/k").header("origin", ORIGIN).body("x");
    let stored = client.send(put).await.expect(201);
    assert_eq!(stored.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(stored.header("access-control-expose-headers"), "*");
    // Errors are seen by the page, too.
    let missing = client.get_with("/buckets/b-1/objects/none", &[("origin", ORIGIN)]).await.expect(404);
    assert_eq!(missing.header("access-control-allow-origin"), ORIGIN);
    let other = client.get_with("/buckets/b-1/objects/k", &[("origin", "https://evil.example")]).await.expect(200);
    assert_eq!((other.header("access-control-allow-origin"), other.header("vary")), ("", "Origin"));
}

#[tokio::test]
async fn any_origin_may_where_that_is_asked_for_and_a_key_is_still_needed() {
    let cluster = super::with_keys(Plan::new().coordinator_flag("--cors-origin", "*")).await;
    let stranger = Client::new(&cluster.coordinator.url());
    let reply = preflight(&stranger, "/buckets/b-1/objects/k", "https://any.example").await.expect(204);
    assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), ("*", ""));
    let refused = stranger.get_with("/buckets", &[("origin", "https://any.example")]).await.expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), "*");
    cluster.client().get_with("/buckets", &[("origin", "https://any.example")]).await.expect(200);
}
