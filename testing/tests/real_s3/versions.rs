//! Versions, markers and null versions, and their locks.

use super::{B, all, delete, make_bucket, one, put, refused, send, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use testing::real::{Client, Cluster, md5};

const X: &str = "/bucket/x";

async fn set_versioning(client: &Client, status: &str) {
    let document = format!(
        "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></VersioningConfiguration>"
    );
    put(client, &format!("{B}?versioning"), document).await.expect(200);
}

#[tokio::test]
async fn markers_hide_and_versions_stay() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    assert!(all(&text(&client.get(&format!("{B}?versioning")).await.expect(200)), "Status").is_empty());
    put(&client, X, "null").await.expect(200);
    set_versioning(&client, "Enabled").await;
    let first = put(&client, X, "one").await.expect(200).header("x-amz-version-id").to_owned();
    let marked = delete(&client, X).await.expect(204);
    assert_eq!(marked.header("x-amz-delete-marker"), "true");
    let marker = marked.header("x-amz-version-id").to_owned();
    let hidden = client.get(X).await;
    refused(&hidden, 404, "NoSuchKey");
    assert_eq!((hidden.header("x-amz-delete-marker"), hidden.header("x-amz-version-id")), ("true", marker.as_str()));
    let by_name = client.get(&format!("{X}?versionId={marker}")).await;
    refused(&by_name, 405, "MethodNotAllowed");
    assert_eq!((by_name.header("allow"), by_name.header("x-amz-delete-marker")), ("DELETE", "true"));
    assert_eq!(client.get(&format!("{X}?versionId={first}")).await.expect(200).body, "one");
    assert_eq!(client.get(&format!("{X}?versionId=null")).await.expect(200).body, "null");
    refused(&client.get(&format!("{X}?versionId=nonsense")).await, 400, "InvalidArgument");
    refused(&client.get(&format!("{X}?versionId={}", first.replace(&first[..4], "ffff"))).await, 404, "NoSuchVersion");
    let listed = client.get(&format!("{B}?versions")).await.expect(200);
    let (mut found, mut expected) = (all(&text(&listed), "VersionId"), [first.as_str(), "null", marker.as_str()]);
    found.sort();
    expected.sort_unstable();
    assert_eq!(found, expected, "versions and markers");
    let unmarked = delete(&client, &format!("{X}?versionId={marker}")).await.expect(204);
    assert_eq!(
        (unmarked.header("x-amz-delete-marker"), unmarked.header("x-amz-version-id")),
        ("true", marker.as_str())
    );
    assert_eq!(client.get(X).await.expect(200).body, "one");
    set_versioning(&client, "Suspended").await;
    assert_eq!(put(&client, X, "null again").await.expect(200).header("x-amz-version-id"), "null");
    assert_eq!(client.get(X).await.expect(200).header("x-amz-version-id"), "null");
    let page = client.get(&format!("{B}?versions&max-keys=1")).await.expect(200);
    let (key, version) = (one(&page, "NextKeyMarker"), one(&page, "NextVersionIdMarker"));
    let rest = client.get(&format!("{B}?versions&key-marker={key}&version-id-marker={version}")).await.expect(200);
    assert_eq!(all(&text(&rest), "VersionId"), [first.as_str()]);
    refused(&delete(&client, B).await, 409, "BucketNotEmpty");
    for version in [first.as_str(), "null"] {
        delete(&client, &format!("{X}?versionId={version}")).await.expect(204);
    }
    delete(&client, B).await.expect(204);
    refused(&client.get(&format!("{B}?list-type=2")).await, 404, "NoSuchBucket");
}

#[tokio::test]
async fn many_keys_go_at_once() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for key in ["a", "b", "c&amp;d"] {
        put(&client, &format!("{B}/{}", key.replace("&amp;", "%26")), "x").await.expect(200);
    }
    let list = |keys: &[&str], rest: &str| {
        let keys: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
        format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rest}{keys}</Delete>")
    };
    let path = format!("{B}?delete");
    let post = async |document: String| {
        let md5 = STANDARD.encode(hex::decode(md5(document.as_bytes())).unwrap());
        send(&client, Method::POST, &path, &[("content-md5", md5.as_str())], document).await
    };
    let unsaid = send(&client, Method::POST, &path, &[], list(&["a"], "")).await;
    refused(&unsaid, 400, "InvalidRequest");
    let demand = |what: &str| format!("<Delete><Object><Key>a</Key>{what}</Object></Delete>");
    let old = post(demand("<LastModifiedTime>Fri, 01 Jan 1960 00:00:00 GMT</LastModifiedTime>")).await.expect(200);
    assert_eq!(one(&old, "Code"), "PreconditionFailed");
    let none = post(demand("<ETag></ETag>")).await.expect(200);
    assert_eq!(one(&none, "Code"), "PreconditionFailed");
    let any = post(demand("<ETag>*</ETag>")).await.expect(200);
    assert_eq!(all(&text(&any), "Deleted").len(), 1, "{}", text(&any));
    put(&client, &format!("{B}/a"), "x").await.expect(200);
    let done = post(list(&["a", "never was"], "")).await.expect(200);
    assert_eq!(all(&text(&done), "Key"), ["a", "never was"]);
    let quiet = post(list(&["b", "c&amp;d", ""], "<Quiet>true</Quiet>")).await.expect(200);
    assert_eq!(all(&text(&quiet), "Deleted").len(), 0);
    assert_eq!(all(&text(&quiet), "Error").len(), 1, "a key without a name is an error of its own: {}", text(&quiet));
    let many: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&post(list(&many, "")).await, 400, "MalformedXML");
    refused(&post("<Delete><Object>".to_owned()).await, 400, "MalformedXML");
    post(list(&many[..1_000], "")).await.expect(200);
    delete(&client, B).await.expect(204);
}

#[tokio::test]
async fn locked_versions_stay() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    send(&client, Method::PUT, B, &[("x-amz-bucket-object-lock-enabled", "true")], "").await.expect(200);
    let until = "2999-01-01T00:00:00Z";
    let lock = [("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", until)];
    let version = send(&client, Method::PUT, X, &lock, "kept").await.expect(200).header("x-amz-version-id").to_owned();
    let head = client.head(X).await.expect(200);
    assert_eq!(head.header("x-amz-object-lock-mode"), "GOVERNANCE");
    assert!(head.header("x-amz-object-lock-retain-until-date").starts_with("2999-01-01T00:00:00"));
    let named = format!("{X}?versionId={version}");
    refused(&delete(&client, &named).await, 403, "AccessDenied");
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    put(&client, &format!("{X}?legal-hold"), "<LegalHold><Status>ON</Status></LegalHold>").await.expect(200);
    refused(&send(&client, Method::DELETE, &named, &bypass, "").await, 403, "AccessDenied");
    assert_eq!(one(&client.get(&format!("{X}?legal-hold")).await.expect(200), "Status"), "ON");
    put(&client, &format!("{X}?legal-hold"), "<LegalHold><Status>OFF</Status></LegalHold>").await.expect(200);
    let earlier =
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2998-01-01T00:00:00Z</RetainUntilDate></Retention>";
    refused(&put(&client, &format!("{X}?retention"), earlier).await, 403, "AccessDenied");
    delete(&client, X).await.expect(204);
    send(&client, Method::DELETE, &named, &bypass, "").await.expect(204);
    refused(&send(&client, Method::PUT, X, &lock[..1], "x").await, 400, "InvalidArgument");
    put(&client, "/unlocked", "").await.expect(200);
    refused(&send(&client, Method::PUT, "/unlocked/x", &lock, "x").await, 400, "InvalidRequest");
}
