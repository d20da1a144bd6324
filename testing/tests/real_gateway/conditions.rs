//! Conditional reads and writes by MD5 (contract, Collisions; RFC 9110, 13).

use super::{delete, etag, put};
use reqwest::Method;
use testing::real::{Client, Cluster, sha256};

const X: &str = "/s3/conditions/x";

async fn put_if(client: &Client, header: &str, value: &str, data: &[u8]) -> u16 {
    client.send(client.request(Method::PUT, X).header(header, value).body(data.to_vec())).await.status
}

#[tokio::test]
async fn conditional_reads() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    put(&client, X, b"content").await;
    let (tag, other) = (etag(b"content"), etag(b"other"));
    let modified = client.get(X).await.header("last-modified").to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("{other}, {tag}"), "*".to_owned()] {
        let reply = client.get_with(X, &[("if-none-match", &known)]).await.expect(304);
        assert_eq!((reply.body.len(), reply.header("etag")), (0, tag.as_str()), "{known}");
    }
    client.get_with(X, &[("if-none-match", &other)]).await.expect(200);
    client.get_with(X, &[("if-modified-since", &modified)]).await.expect(304);
    client.get_with(X, &[("if-match", &tag)]).await.expect(200);
    client.get_with(X, &[("if-match", &other)]).await.expect(412);
    client.get_with(X, &[("if-match", &format!("\"{}\"", sha256(b"content")))]).await.expect(412);
    let fresh = client.get_with(X, &[("range", "bytes=0-1"), ("if-range", &tag)]).await.expect(206);
    assert_eq!(fresh.body, "co");
    client.get_with(X, &[("range", "bytes=0-1"), ("if-range", &other)]).await.expect(200);
    let kept = client.request(reqwest::Method::PUT, X).header("cache-control", "max-age=60").body("content");
    client.send(kept).await.expect(200);
    let known = client.get_with(X, &[("if-none-match", &tag)]).await.expect(304);
    assert_eq!(known.header("cache-control"), "max-age=60", "how long it may be kept on");
}

#[tokio::test]
async fn conditional_writes() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    assert_eq!(put_if(&client, "if-match", "*", b"none yet").await, 412);
    assert_eq!(put_if(&client, "if-none-match", "*", b"one").await, 200);
    assert_eq!(put_if(&client, "if-none-match", "*", b"two").await, 412);
    assert_eq!(put_if(&client, "if-match", &etag(b"two"), b"two").await, 412);
    for none in ["\"none of ours\"", "", " ,"] {
        assert_eq!(put_if(&client, "if-match", none, b"two").await, 412, "{none:?}");
    }
    assert_eq!(put_if(&client, "if-match", &format!("{}, {}", etag(b"zero"), etag(b"one")), b"two").await, 200);
    assert_eq!(put_if(&client, "if-match", &etag(b"one"), b"three").await, 412);
    assert_eq!(put_if(&client, "if-match", &etag(b"two"), b"three").await, 200);
    assert_eq!(put_if(&client, "if-unmodified-since", "Wed, 21 Oct 1998 07:28:00 GMT", b"four").await, 412);
    delete(&client, X).await.expect(200);
    assert_eq!(put_if(&client, "if-match", &etag(b"three"), b"four").await, 412);
    assert_eq!(put_if(&client, "if-none-match", "*", b"four").await, 200);
    let history = client.get(&format!("{X}?versions")).await.expect(200).json();
    assert_eq!(history["versions"].as_array().map(Vec::len), Some(5), "refused writes take no number: {history}");
}

#[tokio::test]
async fn what_came_by_form_is_matched_by_its_md5_or_if_it_is_long_by_its_sha256() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let s3 = cluster.s3();
    let long = vec![7; 100_000];
    let by_sha256 = format!("\"{}\"", sha256(&long));
    for (body, shown, on_s3, other) in [
        (&b"one"[..], etag(b"one"), etag(b"one"), etag(b"other")),
        (&long, by_sha256.clone(), format!("{}-1\"", &by_sha256[..33]), etag(&long)),
    ] {
        client.upload("by form", body).await;
        assert_eq!(client.get("/s3/files/by%20form").await.header("etag"), shown);
        assert_eq!(s3.get("/files/by%20form").await.expect(200).header("etag"), on_s3);
        let put_if = async |tag: &str| {
            let request = client.request(Method::PUT, "/s3/files/by%20form").header("if-match", tag);
            client.send(request.body("two")).await.status
        };
        assert_eq!(put_if(&other).await, 412);
        assert_eq!(put_if(&shown).await, 200);
        assert_eq!(put_if(&shown).await, 412);
    }
}

#[tokio::test]
async fn conditional_deletes() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let id = put(&client, X, b"one").await.json()["versionId"].as_str().expect("a version id").to_owned();
    let delete_if =
        async |path: &str, tag: &str| client.send(client.request(Method::DELETE, path).header("if-match", tag)).await;
    delete_if(X, &etag(b"two")).await.expect_error(412, "Precondition Failed");
    let by_id = format!("{X}?versionId={id}");
    delete_if(&by_id, &etag(b"two")).await.expect_error(412, "Precondition Failed");
    assert_eq!(client.get(X).await.expect(200).body, "one");
    delete_if(X, &etag(b"one")).await.expect(200);
    delete_if(&by_id, &etag(b"one")).await.expect(200);
    client.get(&by_id).await.expect(404);
}
