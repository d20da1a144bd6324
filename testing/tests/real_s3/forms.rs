//! Forms that browsers post, with a policy.

use super::{B, make_bucket, one, refused, send};
use reqwest::Method;
use testing::real::{Client, Cluster, RawConnection};

/// `{"expiration":"2999-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},["starts-with","$key","form/"],["content-length-range",1,100],["starts-with","$success_action_status",""],["starts-with","$Content-Type",""]]}`
const POLICY: &str = "eyJleHBpcmF0aW9uIjoiMjk5OS0wMS0wMVQwMDowMDowMFoiLCJjb25kaXRpb25zIjpbeyJidWNrZXQiOiJidWNrZXQifSxbInN0YXJ0cy13aXRoIiwiJGtleSIsImZvcm0vIl0sWyJjb250ZW50LWxlbmd0aC1yYW5nZSIsMSwxMDBdLFsic3RhcnRzLXdpdGgiLCIkc3VjY2Vzc19hY3Rpb25fc3RhdHVzIiwiIl0sWyJzdGFydHMtd2l0aCIsIiRDb250ZW50LVR5cGUiLCIiXV19";

fn form(fields: &[(&str, &str)], file: &str) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.txt\"\r\nContent-Type: text/plain\r\n\r\n";
    body + &format!("{file}\r\n--edge--\r\n")
}

async fn post(client: &Client, fields: &[(&str, &str)], file: &str) -> super::Reply {
    let body = form(fields, file);
    send(client, Method::POST, B, &[("content-type", "multipart/form-data; boundary=edge")], body).await
}

#[tokio::test]
async fn a_form_that_keeps_its_policy_is_stored() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let fields = [("key", "form/x"), ("policy", POLICY), ("x-amz-signature", "any"), ("success_action_status", "201")];
    let stored = post(&client, &fields, "meow").await.expect(201);
    assert_eq!(one(&stored, "Key"), "form/x");
    assert_eq!(client.get(&format!("{B}/form/x")).await.expect(200).body, "meow");
    let again = post(&client, &fields[..2], "again").await.expect(204);
    let got = client.get(&format!("{B}/form/x")).await.expect(200);
    assert_eq!(again.header("etag"), got.header("etag"));
    assert!(again.header("location").ends_with("/bucket/form/x"), "{}", again.header("location"));
    post(&client, &[("key", "form/${filename}"), ("policy", POLICY)], "named").await.expect(204);
    assert_eq!(client.get(&format!("{B}/form/cat.txt")).await.expect(200).body, "named");
    assert_eq!(client.get(&format!("{B}/form/x")).await.expect(200).body, "again");
}

#[tokio::test]
async fn a_form_that_breaks_its_policy_is_not() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let key = async |key: &str, file: &str| post(&client, &[("key", key), ("policy", POLICY)], file).await;
    refused(&key("elsewhere/x", "meow").await, 403, "AccessDenied");
    refused(&key("form/x", &"m".repeat(101)).await, 400, "EntityTooLarge");
    refused(&key("form/x", "").await, 400, "EntityTooSmall");
    let unknown = [("key", "form/x"), ("policy", POLICY), ("x-amz-meta-a", "not in the policy")];
    refused(&post(&client, &unknown, "meow").await, 403, "AccessDenied");
    put_nothing(&client).await;
}

async fn put_nothing(client: &Client) {
    refused(&client.get(&format!("{B}/form/x")).await, 404, "NoSuchKey");
}

#[tokio::test]
async fn who_posted_a_form_is_told_the_key_of_its_file() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let key = ("key", "form/${filename}");
    let stored = post(&client, &[key, ("policy", POLICY), ("success_action_status", "201")], "meow").await.expect(201);
    let got = client.get(&format!("{B}/form/cat.txt")).await.expect(200);
    assert_eq!((one(&stored, "Key").as_str(), one(&stored, "Bucket").as_str()), ("form/cat.txt", "bucket"));
    assert_eq!(one(&stored, "Location"), stored.header("location"));
    assert_eq!(one(&stored, "Location"), format!("http://127.0.0.1:{}{B}/form/cat.txt", cluster.s3_port()));
    assert_eq!(one(&stored, "ETag").replace("&quot;", "\""), got.header("etag"));
    // No policy, so that the form may say where to go.
    let moved = raw_post(&cluster, &[key, ("success_action_redirect", "http://127.0.0.1:1/done?a=1")], "meow").await;
    let etag = got.header("etag").replace('"', "%22");
    let page = format!("http://127.0.0.1:1/done?a=1&bucket=bucket&key=form%2Fcat.txt&etag={etag}");
    assert_eq!(moved, (303, page));
    let nowhere = [("key", "form/none"), ("success_action_redirect", "not a page")];
    assert_eq!(raw_post(&cluster, &nowhere, "meow").await.0, 400);
    client.get(&format!("{B}/form/none")).await.expect(404);
}

#[tokio::test]
async fn a_form_s_checksum_that_cannot_be_verified_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let reply = post(&client, &[("key", "form/x"), ("x-amz-checksum-sha512", "AA==")], "meow").await;
    refused(&reply, 501, "NotImplemented");
    put_nothing(&client).await;
}

/// The status and the location of an answer, which is not followed.
async fn raw_post(cluster: &Cluster, fields: &[(&str, &str)], file: &str) -> (u16, String) {
    let body = form(fields, file);
    let head = format!(
        "POST {B} HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=edge\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = RawConnection::open(cluster.s3_port()).await;
    connection.send(head + &body).await;
    let reply = connection.reply().await.expect("an answer");
    let location = reply.head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default();
    (reply.status, location.to_owned())
}

/// The file goes to the library in pieces: it counts what comes with the last field as fields.
#[tokio::test]
async fn a_form_s_file_may_be_large() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for bytes in [261_000, 262_145, 300_000, 16 << 20] {
        let file = "x".repeat(bytes);
        post(&client, &[("key", "form/x")], &file).await.expect(204);
        assert!(client.get(&format!("{B}/form/x")).await.expect(200).body == file, "{bytes}");
    }
    refused(&post(&client, &[("key", "form/y")], &"x".repeat((16 << 20) + 1)).await, 400, "EntityTooLarge");
    client.get(&format!("{B}/form/y")).await.expect(404);
}

#[tokio::test]
async fn what_a_form_asks_for_and_is_not_done_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for (name, value) in [
        ("acl", "public-read"),
        ("acl", "junk"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-server-side-encryption", "AES256"),
    ] {
        refused(&post(&client, &[("key", "form/x"), (name, value)], "meow").await, 501, "NotImplemented");
    }
    put_nothing(&client).await;
    post(&client, &[("key", "form/x"), ("acl", "private"), ("x-amz-tagging", "a=b")], "meow").await.expect(204);
    let tags = client.get(&format!("{B}/form/x?tagging")).await.expect(200);
    assert_eq!((one(&tags, "Key").as_str(), one(&tags, "Value").as_str()), ("a", "b"));
}
