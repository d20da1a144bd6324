//! Conditional downloads and uploads (A9; RFC 9110, 13).

use testing::real::{Client, Cluster, sha256};

const X: &str = "/download?filename=x";

#[tokio::test]
async fn conditional_downloads() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    client.upload("x", b"content").await;
    let etag = format!("\"{}\"", sha256(b"content"));
    let other = format!("\"{}\"", sha256(b"other"));
    let modified = client.get(X).await.header("last-modified").to_owned();

    for known in [etag.clone(), format!("W/{etag}"), format!("{other}, {etag}"), "*".to_owned()] {
        let reply = client.get_with(X, &[("if-none-match", &known)]).await.expect(304);
        assert_eq!(reply.body, "", "{known}");
        assert_eq!(reply.header("etag"), etag, "{known}");
    }
    assert_eq!(client.get_with(X, &[("if-none-match", &other)]).await.expect(200).body, "content");
    client.get_with(X, &[("if-modified-since", &modified)]).await.expect(304);
    client.get_with(X, &[("if-none-match", &other), ("if-modified-since", &modified)]).await.expect(200);

    client.get_with(X, &[("if-match", &etag)]).await.expect(200);
    client.get_with(X, &[("if-match", "*")]).await.expect(200);
    client.get_with(X, &[("if-match", &other)]).await.expect(412);
    client.get_with(X, &[("if-unmodified-since", &modified)]).await.expect(200);
    client.get_with(X, &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")]).await.expect(412);

    let fresh = client.get_with(X, &[("range", "bytes=0-1"), ("if-range", &etag)]).await.expect(206);
    assert_eq!(fresh.body, "co");
    let stale = client.get_with(X, &[("range", "bytes=0-1"), ("if-range", &other)]).await.expect(200);
    assert_eq!(stale.body, "content");
}

#[tokio::test]
async fn conditional_uploads() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    assert_eq!(upload_if(&client, "if-match", "*", b"none yet").await, 412);
    assert_eq!(upload_if(&client, "if-none-match", "*", b"one").await, 201);
    assert_eq!(upload_if(&client, "if-none-match", "*", b"two").await, 412);
    let etag = |data: &[u8]| format!("\"{}\"", sha256(data));
    assert_eq!(upload_if(&client, "if-match", &etag(b"two"), b"two").await, 412);
    assert_eq!(upload_if(&client, "if-match", "\"not one of ours\"", b"two").await, 412);
    assert_eq!(upload_if(&client, "if-match", &etag(b"one"), b"two").await, 201);
    assert_eq!(upload_if(&client, "if-match", &etag(b"one"), b"three").await, 412);
    assert_eq!(upload_if(&client, "if-match", "*", b"three").await, 201);
    client.delete("x").await;
    assert_eq!(upload_if(&client, "if-match", &etag(b"three"), b"four").await, 412);
    assert_eq!(upload_if(&client, "if-none-match", "*", b"four").await, 201);
    // Refused uploads take no number: three versions, a marker, a version.
    let versions = client.versions("x").await;
    let numbers: Vec<u64> = versions.iter().filter_map(|version| version["version"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "{versions:?}");
}

async fn upload_if(client: &Client, header: &str, value: &str, data: &[u8]) -> u16 {
    client.send(client.upload_request("x", data).header(header, value)).await.status
}
