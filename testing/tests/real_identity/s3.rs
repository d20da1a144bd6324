//! Keys at the S3 door: every operation without a key, with a wrong one, with one that may not, and with one that may.

use super::{client_with, plan, post, start};
use reqwest::Method;
use serde_json::{Value, json};
use testing::real::{Client, Cluster, Reply, Signer};

/// Every operation that the door has, but copies and forms: method, path, query, body. `/mine` is somebody's bucket, with the object `a`.
const OPERATIONS: [(&str, &str, &str, &str); 40] = [
    ("GET", "/", "", ""),
    ("PUT", "/fresh", "", ""),
    ("HEAD", "/mine", "", ""),
    ("GET", "/mine", "", ""),
    ("GET", "/mine", "list-type=2", ""),
    ("GET", "/mine", "versions=", ""),
    ("GET", "/mine", "uploads=", ""),
    ("GET", "/mine", "location=", ""),
    ("GET", "/mine", "versioning=", ""),
    ("PUT", "/mine", "versioning=", "<VersioningConfiguration/>"),
    ("GET", "/mine", "tagging=", ""),
    ("PUT", "/mine", "tagging=", "<Tagging><TagSet/></Tagging>"),
    ("DELETE", "/mine", "tagging=", ""),
    ("GET", "/mine", "cors=", ""),
    ("PUT", "/mine", "cors=", "<CORSConfiguration/>"),
    ("DELETE", "/mine", "cors=", ""),
    ("GET", "/mine", "lifecycle=", ""),
    ("PUT", "/mine", "lifecycle=", "<LifecycleConfiguration/>"),
    ("DELETE", "/mine", "lifecycle=", ""),
    ("GET", "/mine", "object-lock=", ""),
    ("PUT", "/mine", "object-lock=", "<ObjectLockConfiguration/>"),
    ("POST", "/mine", "delete=", "<Delete><Object><Key>a</Key></Object></Delete>"),
    ("PUT", "/mine/b", "", "b"),
    ("GET", "/mine/a", "", ""),
    ("HEAD", "/mine/a", "", ""),
    ("GET", "/mine/a", "attributes=", ""),
    ("GET", "/mine/a", "tagging=", ""),
    ("PUT", "/mine/a", "tagging=", "<Tagging><TagSet/></Tagging>"),
    ("GET", "/mine/a", "retention=", ""),
    ("DELETE", "/mine/a", "tagging=", ""),
    ("PUT", "/mine/a", "retention=", "<Retention/>"),
    ("GET", "/mine/a", "legal-hold=", ""),
    ("PUT", "/mine/a", "legal-hold=", "<LegalHold><Status>ON</Status></LegalHold>"),
    ("POST", "/mine/a", "uploads=", ""),
    ("PUT", "/mine/a", "partNumber=1&uploadId=00000000-0000-0000-0000-000000000000", "p"),
    ("GET", "/mine/a", "uploadId=00000000-0000-0000-0000-000000000000", ""),
    ("POST", "/mine/a", "uploadId=00000000-0000-0000-0000-000000000000", "<CompleteMultipartUpload/>"),
    ("DELETE", "/mine/a", "uploadId=00000000-0000-0000-0000-000000000000", ""),
    ("DELETE", "/mine/a", "", ""),
    ("DELETE", "/mine", "", ""),
];

/// The S3 door of a cluster, as this key sees it.
struct Door {
    client: Client,
    base: String,
    signer: Signer,
}

impl Door {
    fn of(cluster: &Cluster, key: &Value) -> Door {
        let text = |name: &str| key[name].as_str().expect("a fresh key shows itself").to_owned();
        let signer = Signer { id: text("access_key_id"), secret: text("secret_access_key") };
        Door { client: cluster.s3(), base: format!("http://127.0.0.1:{}", cluster.s3_port()), signer }
    }

    async fn send(&self, (method, path, query, body): (&str, &str, &str, &str)) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.signer.request(&self.client, &self.base, method, path, query, body);
        self.client.send(request).await
    }
}

async fn unsigned(client: &Client, (method, path, query, body): (&str, &str, &str, &str)) -> Reply {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    client.send(client.request(method, &format!("{path}?{query}")).body(body.to_owned())).await
}

fn is_denied(operation: (&str, &str, &str, &str), reply: &Reply, code: &str) {
    let text = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status, 403, "{operation:?}: {text}");
    assert!(operation.0 == "HEAD" || text.contains(&format!("<Code>{code}</Code>")), "{operation:?}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_is_done_without_a_key_that_may() {
    let cluster = start(plan()).await;
    let policy = json!([{ "buckets": ["*"], "actions": ["read", "write", "list", "delete", "admin"] }]);
    let owner = Door::of(&cluster, &cluster.make_key(json!({ "policy": policy })).await);
    let stranger = Door::of(&cluster, &cluster.make_key(json!({ "policy": policy })).await);
    let (_, key) = client_with(&cluster, "elsewhere", &["read", "write", "list", "delete"]).await;
    let powerless = Door::of(&cluster, &key);
    let mut wrong = Door::of(&cluster, &key);
    wrong.signer.secret.push('x');
    owner.send(("PUT", "/mine", "", "")).await.expect(200);
    owner.send(("PUT", "/mine/a", "", "a")).await.expect(200);

    let nobody = cluster.s3();
    for operation in OPERATIONS {
        is_denied(operation, &unsigned(&nobody, operation).await, "AccessDenied");
        is_denied(operation, &wrong.send(operation).await, "SignatureDoesNotMatch");
        // Whoever may list anything is shown the buckets that it may list, and `fresh` is not of its pattern.
        if operation.1 != "/" {
            is_denied(operation, &powerless.send(operation).await, "AccessDenied");
        }
        if operation.1.starts_with("/mine") {
            is_denied(operation, &stranger.send(operation).await, "AccessDenied");
        }
    }
    for (path, query) in [("/mine/c", ""), ("/mine/a", "?partNumber=1&uploadId=00000000-0000-0000-0000-000000000000")] {
        let copy = nobody.request(Method::PUT, &format!("{path}{query}")).header("x-amz-copy-source", "/mine/a");
        is_denied(("PUT", path, query, "a copy"), &nobody.send(copy).await, "AccessDenied");
    }
    let form = "--edge\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nb\r\n\
                --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b\"\r\n\r\nb\r\n--edge--\r\n";
    let form =
        nobody.request(Method::POST, "/mine").header("content-type", "multipart/form-data; boundary=edge").body(form);
    is_denied(("POST", "/mine", "", "a form"), &nobody.send(form).await, "AccessDenied");
    let listed = stranger.send(("GET", "/", "", "")).await.expect(200);
    assert!(!String::from_utf8_lossy(&listed.body).contains("mine"), "another's bucket is not even listed");
    assert_eq!(owner.send(("GET", "/mine/a", "", "")).await.expect(200).body, "a", "nothing of all that was done");
    owner.send(("GET", "/mine/b", "", "")).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_the_same_at_both_doors_and_goes_at_both() {
    let cluster = start(plan()).await;
    let (native, key) = client_with(&cluster, "*", &["read", "write", "list", "delete"]).await;
    let door = Door::of(&cluster, &key);
    door.send(("PUT", "/mine", "", "")).await.expect(200);
    door.send(("PUT", "/mine/a", "", "one")).await.expect(200);
    assert_eq!(native.get("/s3/mine/a").await.expect(200).body, "one");
    let admin = cluster.client();
    admin.send(admin.request(Method::PUT, "/admin/buckets/mine/public-read")).await.expect(200);
    assert_eq!(unsigned(&cluster.s3(), ("GET", "/mine/a", "", "")).await.expect(200).body, "one");
    unsigned(&cluster.s3(), ("GET", "/mine", "", "")).await.expect(403);
    // Whether there is such a key, those hear who may list.
    unsigned(&cluster.s3(), ("GET", "/mine/none", "", "")).await.expect(403);
    let (_, reads) = client_with(&cluster, "mine", &["read"]).await;
    for query in ["", "tagging=", "attributes=", "retention=", "legal-hold="] {
        let operation = ("GET", "/mine/none", query, "");
        is_denied(operation, &Door::of(&cluster, &reads).send(operation).await, "AccessDenied");
    }
    door.send(("GET", "/mine/none", "", "")).await.expect(404);

    let id = key["id"].as_str().unwrap();
    post(&admin, &format!("/admin/keys/{id}/disable"), json!({})).await.expect(200);
    is_denied(("GET", "/mine", "", ""), &door.send(("GET", "/mine", "", "")).await, "InvalidAccessKeyId");
    native.get("/s3/mine").await.expect(401);
}
