//! Lists of objects, buckets and versions: what was asked is echoed, pages follow one another, names are spelled as asked for.

use super::{B, all, make_bucket, one, put, refused, text};
use testing::real::{Client, Cluster};

async fn filled(client: &Client, keys: &[&str]) {
    make_bucket(client).await;
    for key in keys {
        put(client, &format!("{B}/{key}"), "x").await.expect(200);
    }
}

async fn keys(client: &Client, query: &str) -> Vec<String> {
    all(&text(&client.get(&format!("{B}?{query}")).await.expect(200)), "Key")
}

#[tokio::test]
async fn pages_follow_one_another() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    filled(&client, &["a", "d/1", "d/2", "e", "f/x"]).await;
    for (page, next) in [("list-type=2&", "continuation-token"), ("", "marker")] {
        let (mut seen, mut query) = (Vec::new(), String::new());
        loop {
            let reply = client.get(&format!("{B}?{page}delimiter=/&max-keys=1{query}")).await.expect(200);
            let text = text(&reply);
            seen.extend(all(&text, "Key"));
            seen.extend(all(&text, "CommonPrefixes"));
            if one(&reply, "IsTruncated") == "false" {
                break;
            }
            let token = all(&text, "NextContinuationToken").into_iter().chain(all(&text, "NextMarker")).next();
            query = format!("&{next}={}", token.expect("a page that is cut says where the next begins"));
        }
        assert_eq!(seen, ["a", "<Prefix>d/</Prefix>", "e", "<Prefix>f/</Prefix>"], "{page}");
    }
    assert_eq!(
        keys(&client, "list-type=2&prefix=d/&start-after=a").await,
        ["d/1", "d/2"],
        "StartAfter outside the prefix"
    );
    assert_eq!(keys(&client, "list-type=2&prefix=d/&start-after=z").await, [""; 0]);
    assert_eq!(keys(&client, "list-type=2&prefix=d/&start-after=d/1").await, ["d/2"]);
    assert_eq!(keys(&client, "marker=e").await, ["f/x"]);
}

#[tokio::test]
async fn what_was_asked_is_echoed() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    filled(&client, &["a%20b/c%2Bd"]).await;
    let query =
        "list-type=2&encoding-type=url&prefix=a%20b/&start-after=a%2B&delimiter=%2B&fetch-owner=true&max-keys=7";
    let reply = client.get(&format!("{B}?{query}")).await.expect(200);
    for (element, value) in [
        ("Name", "bucket"),
        ("StartAfter", "a%2B"),
        ("Delimiter", "%2B"),
        ("MaxKeys", "7"),
        ("KeyCount", "1"),
        ("EncodingType", "url"),
    ] {
        assert_eq!(one(&reply, element), value);
    }
    assert_eq!(all(&text(&reply), "Prefix"), ["a%20b/", "a%20b/c%2B"], "a slash stays a slash");
    let plain = client.get(&format!("{B}?list-type=2&fetch-owner=true")).await.expect(200);
    assert_eq!((one(&plain, "Key").as_str(), one(&plain, "ID").as_str()), ("a b/c+d", "holdfast"));
    let without = client.get(&format!("{B}?list-type=2")).await.expect(200);
    assert!(all(&text(&without), "Owner").is_empty());
    let none = client.get(&format!("{B}?list-type=2&max-keys=0")).await.expect(200);
    assert_eq!((one(&none, "KeyCount").as_str(), one(&none, "IsTruncated").as_str()), ("0", "false"));
    let marked = client.get(&format!("{B}?marker=a&max-keys=5000")).await.expect(200);
    assert_eq!((one(&marked, "Marker").as_str(), one(&marked, "MaxKeys").as_str()), ("a", "1000"));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    refused(&client.get(&format!("{B}?list-type=2")).await, 404, "NoSuchBucket");
    make_bucket(&client).await;
    for query in [
        "max-keys=-1",
        "max-keys=many",
        "encoding-type=xml",
        "list-type=2&continuation-token=%21",
        "versions&version-id-marker=null",
        "versions&key-marker=a&version-id-marker=nonsense",
    ] {
        refused(&client.get(&format!("{B}?{query}")).await, 400, "InvalidArgument");
    }
}

#[tokio::test]
async fn buckets_are_listed_in_pages() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    for name in ["/ccc", "/aaa", "/bbb"] {
        put(&client, name, "").await.expect(200);
    }
    let whole = client.get("/").await.expect(200);
    let names: Vec<String> = all(&text(&whole), "Name");
    assert!(["aaa", "bbb", "ccc"].iter().all(|name| names.iter().any(|found| found == name)), "{names:?}");
    let first = client.get("/?max-buckets=2&prefix=").await.expect(200);
    assert_eq!(all(&text(&first), "Name").len(), 2);
    let token = one(&first, "ContinuationToken");
    let second = client.get(&format!("/?continuation-token={token}")).await.expect(200);
    assert_eq!(all(&text(&first), "Name").len() + all(&text(&second), "Name").len(), names.len());
}
