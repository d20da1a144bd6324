//! What a signature of version 4 speaks for, where authentication is on: headers that nobody signed are refused, and what a presigned URL
//! carries in its query counts as headers.

use super::{all, refused, send, text, told};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::{Clock, SystemClock};
use reqwest::Method;
use serde_json::json;
use testing::real::{Client, Cluster, Payload, Plan, Reply, Signer, encode, hmac, random_bytes, sha256};

const NOT_SIGNED: &str = "There were headers present in the request which were not signed";

/// The S3 door of a cluster, and a key that may do anything there.
struct Door {
    _cluster: Cluster,
    client: Client,
    host: String,
    signer: Signer,
}

impl Door {
    async fn open() -> Door {
        let mut cluster = Cluster::lay_out(Plan::new().coordinator_flag("--auth", "on")).await;
        cluster.start_with_keys().await;
        let policy = json!([{ "buckets": ["*"], "actions": ["read", "write", "list", "delete", "admin"] }]);
        let key = cluster.make_key(json!({ "policy": policy })).await;
        let text = |name: &str| key[name].as_str().expect("a fresh key shows itself").to_owned();
        let signer = Signer { id: text("access_key_id"), secret: text("secret_access_key") };
        let host = format!("127.0.0.1:{}", cluster.s3_port());
        let door = Door { client: cluster.s3(), _cluster: cluster, host, signer };
        door.signed(Method::PUT, "/mine", &[], "").await.expect(200);
        door
    }

    /// A request that is signed in its header, and has more headers than that.
    async fn signed(&self, method: Method, path: &str, added: &[(&str, &str)], body: &str) -> Reply {
        let request = self.signer.request(&self.client, &format!("http://{}", self.host), method, path, "", body);
        self.client.send(added.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// A presigned URL, without its host, of these parameters and signed headers.
    fn url(&self, region: &str, method: &Method, path: &str, query: &[(&str, &str)], head: &[(&str, &str)]) -> String {
        let moment = process::timestamp::rfc3339_ms(SystemClock.now_ms());
        let digits: String = moment.chars().filter(char::is_ascii_alphanumeric).collect();
        let (day, time) = (&digits[..8], format!("{}Z", &digits[..15]));
        let scope = format!("{day}/{region}/s3/aws4_request");
        let mut head: Vec<(&str, &str)> = head.iter().copied().chain([("host", self.host.as_str())]).collect();
        head.sort_unstable();
        let names = head.iter().map(|(name, _)| *name).collect::<Vec<&str>>().join(";");
        let credential = format!("{}/{scope}", self.signer.id);
        let own = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &time),
            ("X-Amz-Expires", "600"),
            ("X-Amz-SignedHeaders", &names),
        ];
        let spelled =
            |(name, value): &(&str, &str)| format!("{}={}", encode(name.as_bytes()), encode(value.as_bytes()));
        let mut parameters: Vec<String> = query.iter().chain(&own).map(spelled).collect();
        parameters.sort_unstable();
        let parameters = parameters.join("&");
        let lines: String = head.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{method}\n{path}\n{parameters}\n{lines}\n{names}\nUNSIGNED-PAYLOAD");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let secret = format!("AWS4{}", self.signer.secret).into_bytes();
        let key = scope.split('/').fold(secret, |key, word| hmac(&key, word.as_bytes()));
        format!("{path}?{parameters}&X-Amz-Signature={}", hex::encode(hmac(&key, to_sign.as_bytes())))
    }

    /// Has a presigned URL of these parameters used with these headers, none of which is signed.
    async fn presigned(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        head: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        send(&self.client, method.clone(), &self.url("us-east-1", &method, path, query, &[]), head, body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.signed(Method::GET, path, &[], "").await
    }
}

fn not_signed(reply: &Reply, header: &str) {
    refused(reply, 403, "AccessDenied");
    assert!(text(reply).contains(NOT_SIGNED), "{}", text(reply));
    assert_eq!(all(&text(reply), "HeadersNotSigned"), [header]);
    assert!(!reply.headers.contains_key("x-holdfast-element"));
}

#[tokio::test]
async fn headers_that_nobody_signed_are_refused() {
    let door = Door::open().await;
    door.signed(Method::PUT, "/mine/secret", &[], "secret").await.expect(200);
    let copied = door.presigned(Method::PUT, "/mine/x", &[], &[("x-amz-copy-source", "/mine/secret")], "").await;
    not_signed(&copied, "x-amz-copy-source");
    let named = door.signed(Method::PUT, "/mine/x", &[("x-amz-meta-a", "1")], "x").await;
    not_signed(&named, "x-amz-meta-a");
    let bypass = [("x-amz-bypass-governance-retention", "true")];
    not_signed(&door.presigned(Method::DELETE, "/mine/secret", &[], &bypass, "").await, bypass[0].0);
    not_signed(&door.signed(Method::DELETE, "/mine/secret", &bypass, "").await, bypass[0].0);
    refused(&door.get("/mine/x").await, 404, "NoSuchKey");
    assert_eq!(door.get("/mine/secret").await.expect(200).body, "secret");

    let head = [("x-amz-meta-a", "1")];
    let url = door.url("us-east-1", &Method::PUT, "/mine/x", &[], &head);
    send(&door.client, Method::PUT, &url, &head, "x").await.expect(200);
    assert_eq!(door.get("/mine/x").await.expect(200).header("x-amz-meta-a"), "1");
    let digest = sha256(b"y");
    let hashed = [("x-amz-content-sha256", digest.as_str())];
    door.presigned(Method::PUT, "/mine/y", &[], &hashed, "y").await.expect(200);
    door.presigned(Method::PUT, "/mine/y", &[], &[("content-type", "a/b")], "y").await.expect(200);
    let anonymous = send(&door.client, Method::GET, "/mine/x", &[("x-amz-meta-a", "1")], "").await;
    assert!(!text(&anonymous).contains(NOT_SIGNED), "who signs nothing has signed no header");
}

#[tokio::test]
async fn what_a_presigned_url_carries_counts_as_headers() {
    let door = Door::open().await;
    let carried = [
        ("X-Amz-Meta-B", "b c+d"),
        ("x-amz-meta-a", "1"),
        ("x-amz-tagging", "t=1"),
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-id", "PutObject"),
    ];
    let (put, path) = (Method::PUT, "/mine/x");
    refused(&door.presigned(put.clone(), path, &carried, &[], "other").await, 400, "BadDigest");
    door.presigned(put.clone(), path, &carried, &[("x-amz-meta-a", "1")], "123456789").await.expect(200);
    let got = door.get(path).await.expect(200);
    assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), ("1", "b c+d"));
    assert_eq!(got.header("x-amz-tagging-count"), "1");
    let copied =
        door.presigned(put.clone(), "/mine/copy", &[("x-amz-copy-source", "/mine/x")], &[], "").await.expect(200);
    assert_eq!(all(&text(&copied), "ETag").len(), 1);
    assert_eq!(door.get("/mine/copy").await.expect(200).body, "123456789");
    let differs = door.presigned(put.clone(), path, &carried, &[("x-amz-meta-a", "2")], "123456789").await;
    refused(&differs, 400, "InvalidRequest");
    for (name, value, code) in [
        ("x-amz-acl", "public-read", "NotImplemented"),
        ("x-amz-storage-class", "GLACIER", "NotImplemented"),
        ("x-amz-checksum-sha512", "AA==", "NotImplemented"),
        ("x-amz-sdk-checksum-algorithm", "MD4", "InvalidRequest"),
    ] {
        assert_eq!(told(&door.presigned(put.clone(), "/mine/z", &[(name, value)], &[], "z").await).1, code, "{name}");
    }
    refused(&door.get("/mine/z").await, 404, "NoSuchKey");
}

#[tokio::test]
async fn any_region_that_can_be_spelled_is_taken_and_the_others_are_told_which() {
    let door = Door::open().await;
    door.signed(Method::PUT, "/mine/x", &[], "x").await.expect(200);
    for region in ["us-east-1", "eu-central-003", "auto"] {
        door.client.get(&door.url(region, &Method::GET, "/mine/x", &[], &[])).await.expect(200);
    }
    for region in ["US", "my_region", "dc1.example"] {
        let reply = door.client.get(&door.url(region, &Method::GET, "/mine/x", &[], &[])).await;
        refused(&reply, 400, "AuthorizationQueryParametersError");
        assert_eq!(all(&text(&reply), "Region"), ["us-east-1"], "{region}: clients sign again for this one");
    }
}

#[tokio::test]
async fn a_whole_object_in_one_chunk_is_taken_unless_the_chunk_is_signed() {
    let door = Door::open().await;
    let base = format!("http://{}", door.host);
    let data = random_bytes(5, 3 << 20);
    let send = async |path: &str, head: &[(&str, &str)], payload: Payload<'_>, body: &[u8]| {
        door.client
            .send(door.signer.request_of(&door.client, &base, (Method::PUT, path, ""), head, payload, body))
            .await
    };
    let framed = |crc: u32| {
        let trailer = format!("\r\n0\r\nx-amz-checksum-crc32:{}\r\n\r\n", STANDARD.encode(crc.to_be_bytes()));
        [format!("{:x}\r\n", data.len()).as_bytes(), &data, trailer.as_bytes()].concat()
    };
    let crc = crc32fast::hash(&data);
    let head = [("x-amz-trailer", "x-amz-checksum-crc32")];
    let unsigned = Payload::Unsigned("STREAMING-UNSIGNED-PAYLOAD-TRAILER", data.len());
    send("/mine/a", &head, unsigned, &framed(crc)).await.expect(200);
    assert!(door.get("/mine/a").await.expect(200).body == data);
    refused(&send("/mine/b", &head, unsigned, &framed(crc ^ 1)).await, 400, "BadDigest");
    let longer = Payload::Unsigned("STREAMING-UNSIGNED-PAYLOAD-TRAILER", data.len() + 1);
    refused(&send("/mine/b", &head, longer, &framed(crc)).await, 400, "IncompleteBody");
    for bytes in [64 << 10, 1 << 20] {
        send("/mine/c", &[], Payload::Chunks(bytes), &data).await.expect(200);
        assert!(door.get("/mine/c").await.expect(200).body == data, "{bytes}");
    }
    // The library would hold all of it before it looks at its signature.
    let (target, payload) = ((Method::PUT, "/mine/b", ""), Payload::Chunks(3 << 20));
    let longer = door.signer.request_of(&door.client, &base, target, &[], payload, &data[..(1 << 20) + 1]);
    match door.client.try_send(longer).await {
        Ok(reply) => drop(refused(&reply, 400, "InvalidRequest")),
        // It was refused before all of it was sent.
        Err(failure) => assert!(failure.reason.contains("body"), "{}", failure.reason),
    }
    refused(&door.get("/mine/b").await, 404, "NoSuchKey");
}

/// A form of these fields, and a file.
fn form(fields: &[(&str, String)]) -> String {
    let field = |(name, value): &(&str, String)| {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    format!(
        "{fields}--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cat.txt\"\r\n\r\nmeow\r\n--edge--\r\n"
    )
}

#[tokio::test]
async fn a_form_is_good_for_as_long_as_its_policy_says() {
    let door = Door::open().await;
    let post = async |path: &str, conditions: &[serde_json::Value], minutes_ago: u64| {
        let fields = door.signer.form_of(conditions, SystemClock.now_ms() - minutes_ago * 60_000);
        let fields: Vec<(&str, String)> = [("key", "form".to_owned())].into_iter().chain(fields).collect();
        send(&door.client, Method::POST, path, &[("content-type", "multipart/form-data; boundary=edge")], form(&fields))
            .await
    };
    let of_bucket = [json!({ "bucket": "mine" }), json!({ "key": "form" })];
    post("/mine", &of_bucket, 60).await.expect(204);
    assert_eq!(door.get("/mine/form").await.expect(200).body, "meow");
    refused(&post("/mine", &of_bucket[1..], 1).await, 403, "AccessDenied");
    // The key is judged as it will be.
    let judged = async |key: &str, condition: serde_json::Value| {
        let fields = door.signer.form_of(&[json!({ "bucket": "mine" }), condition], SystemClock.now_ms());
        let fields: Vec<(&str, String)> = [("key", key.to_owned())].into_iter().chain(fields).collect();
        send(
            &door.client,
            Method::POST,
            "/mine",
            &[("content-type", "multipart/form-data; boundary=edge")],
            form(&fields),
        )
        .await
    };
    judged("up/${filename}", json!({ "key": "up/cat.txt" })).await.expect(204);
    assert_eq!(door.get("/mine/up/cat.txt").await.expect(200).body, "meow");
    refused(&judged("${filename}", json!(["starts-with", "$key", "$"])).await, 403, "AccessDenied");
}

#[tokio::test]
async fn a_copy_is_of_the_owner_s_it_was_meant_for() {
    let door = Door::open().await;
    door.signed(Method::PUT, "/mine/x", &[], "x").await.expect(200);
    let copy = async |owner: &str| {
        let base = format!("http://{}", door.host);
        let head = [("x-amz-copy-source", "/mine/x"), ("x-amz-source-expected-bucket-owner", owner)];
        let target = (Method::PUT, "/mine/copy", "");
        door.client.send(door.signer.request_of(&door.client, &base, target, &head, Payload::Hashed, b"")).await
    };
    refused(&copy("somebody-else").await, 403, "AccessDenied");
    copy(&door.signer.id).await.expect(200);
    let listed = door.get("/mine").await.expect(200);
    let owners = all(&text(&listed), "ID");
    assert!(owners.len() == 2 && owners.iter().all(|owner| *owner == door.signer.id), "{owners:?}");
}
