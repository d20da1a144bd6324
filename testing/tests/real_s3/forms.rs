//! Forms that browsers post, with a policy.

use super::{B, make_bucket, one, refused, send};
use reqwest::Method;
use testing::real::{Client, Cluster};

/// `{"expiration":"2999-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},["starts-with","$key","form/"],["content-length-range",1,100],["starts-with","$success_action_status",""],["starts-with","$Content-Type",""]]}`
const POLICY: &str = "eyJleHBpcmF0aW9uIjoiMjk5OS0wMS0wMVQwMDowMDowMFoiLCJjb25kaXRpb25zIjpbeyJidWNrZXQiOiJidWNrZXQifSxbInN0YXJ0cy13aXRoIiwiJGtleSIsImZvcm0vIl0sWyJjb250ZW50LWxlbmd0aC1yYW5nZSIsMSwxMDBdLFsic3RhcnRzLXdpdGgiLCIkc3VjY2Vzc19hY3Rpb25fc3RhdHVzIiwiIl0sWyJzdGFydHMtd2l0aCIsIiRDb250ZW50LVR5cGUiLCIiXV19";

async fn post(client: &Client, fields: &[(&str, &str)], file: &str) -> super::Reply {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.txt\"\r\nContent-Type: text/plain\r\n\r\n";
    body += &format!("{file}\r\n--edge--\r\n");
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
