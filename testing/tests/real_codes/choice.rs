//! Who chooses how an object is stored: the request, its bucket, its size; and what the cluster can hold.

use super::{chunks, plan, upload};
use reqwest::Method;
use serde_json::json;
use testing::real::{Client, Cluster, Reply, random_bytes};

const TOO_FEW: &str = "Service unavailable: Insufficient EC nodes (need 6)";

async fn codes(client: &Client, name: &str) -> Vec<String> {
    let found = chunks(client, name).await;
    let mut codes: Vec<String> =
        found.iter().map(|chunk| chunk["code"].as_str().unwrap_or_default().to_owned()).collect();
    codes.dedup();
    codes
}

async fn s3(cluster: &Cluster, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    let client = cluster.s3();
    let request = client.request(method, path).body(body);
    client.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_hold_no_4_2_and_say_so() {
    let cluster = plan(4, "600").start().await;
    let client = cluster.client();
    let refusal = upload(&client, "a", "ec", b"six nodes").await.expect_error(503, TOO_FEW);
    assert!(
        refusal.json()["detail"].as_str().is_some_and(|detail| detail.contains("strategy=replication")),
        "{refusal}"
    );
    for path in ["/s3/bucket/a?strategy=ec", "/buckets/bucket/objects/a?strategy=ec"] {
        client.send(client.request(Method::PUT, path).body("x")).await.expect_error(503, TOO_FEW);
    }
    for strategy in ["", "EC", "field_hybrid"] {
        upload(&client, "a", strategy, b"x").await.expect_error(422, "Invalid strategy");
    }
    assert!(client.names("").await.is_empty(), "a refusal leaves no trace");
    // What is left to the cluster is stored as it can be.
    let told = upload(&client, "b", "auto", &random_bytes(1, 2 << 20)).await.expect(201).json();
    assert_eq!(told["strategy"], "replication");
    assert_eq!(codes(&client, "b").await, ["1+2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_fits_stands_in_where_the_operator_wants_it() {
    let cluster = plan(4, "600").coordinator_flag("--ec-fallback", "2+1").start().await;
    let client = cluster.client();
    let data = random_bytes(1, 300_001);
    upload(&client, "a", "ec", &data).await.expect(201);
    assert_eq!(codes(&client, "a").await, ["2+1"]);
    assert!(client.download("a", None).await.expect(200).body == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_and_the_size_choose_where_the_request_does_not() {
    let cluster = plan(6, "600").start().await;
    let client = cluster.client();
    let (small, large) = (random_bytes(1, 2_000), random_bytes(2, 2 << 20));
    upload(&client, "small", "auto", &small).await.expect(201);
    upload(&client, "large", "auto", &large).await.expect(201);
    assert_eq!(
        (codes(&client, "small").await, codes(&client, "large").await),
        (vec!["1+2".into()], vec!["4+2".into()])
    );

    let settings = "/admin/buckets/files";
    let set = async |strategy: serde_json::Value| {
        client.send(client.request(Method::POST, settings).body(json!({ "strategy": strategy }).to_string())).await
    };
    set(json!("field_hybrid")).await.expect(400);
    assert_eq!(set(json!("ec")).await.expect(200).json()["strategy"], "ec");
    client.upload("of the bucket", &random_bytes(3, 50_000)).await;
    assert_eq!(codes(&client, "of the bucket").await, ["4+2"]);
    upload(&client, "of the request", "replication", &random_bytes(4, 50_000)).await.expect(201);
    assert_eq!(codes(&client, "of the request").await, ["1+2"]);
    assert_eq!(set(json!(null)).await.expect(200).json()["strategy"], "replication");
    // The same bytes under another code are other chunks, and both are read.
    client.upload("again", &large).await;
    assert_eq!(codes(&client, "again").await, ["1+2"]);
    for name in ["large", "again"] {
        assert!(client.download(name, None).await.expect(200).body == large, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storage_class_of_s3_is_the_code_and_is_echoed() {
    let cluster = plan(6, "600").start().await;
    let ia = [("x-amz-storage-class", "STANDARD_IA")];
    let put = async |path: &str, headers: &[(&str, &str)]| {
        s3(&cluster, Method::PUT, path, headers, b"content".to_vec()).await
    };
    s3(&cluster, Method::PUT, "/bucket", &[], Vec::new()).await.expect(200);
    put("/bucket/cold", &ia).await.expect(200);
    put("/bucket/warm", &[("x-amz-storage-class", "STANDARD")]).await.expect(200);
    for (class, status, code) in [("COLD", 400, "InvalidStorageClass"), ("GLACIER", 501, "NotImplemented")] {
        let reply = put("/bucket/x", &[("x-amz-storage-class", class)]).await.expect(status);
        assert!(String::from_utf8_lossy(&reply.body).contains(&format!("<Code>{code}</Code>")), "{class}");
    }
    let client = cluster.s3();
    for reply in [client.head("/bucket/cold").await.expect(200), client.get("/bucket/cold").await.expect(200)] {
        assert_eq!(reply.header("x-amz-storage-class"), "STANDARD_IA");
    }
    assert_eq!(client.get("/bucket/cold").await.body, "content");
    assert!(!client.head("/bucket/warm").await.expect(200).headers.contains_key("x-amz-storage-class"), "as S3");
    for path in ["/bucket?list-type=2", "/bucket?versions"] {
        let list = String::from_utf8_lossy(&client.get(path).await.expect(200).body).into_owned();
        assert!(list.contains("STANDARD_IA") && list.contains("<StorageClass>STANDARD</StorageClass>"), "{list}");
    }
    // A copy is stored as its request says, not as its source is.
    let copy = |class: &'static str| [("x-amz-copy-source", "/bucket/cold"), ("x-amz-storage-class", class)];
    s3(&cluster, Method::PUT, "/bucket/cold", &copy("STANDARD"), Vec::new()).await.expect(200);
    assert!(!client.head("/bucket/cold").await.expect(200).headers.contains_key("x-amz-storage-class"));
    s3(&cluster, Method::PUT, "/bucket/copy", &copy("STANDARD_IA"), Vec::new()).await.expect(200);
    assert_eq!(client.head("/bucket/copy").await.expect(200).header("x-amz-storage-class"), "STANDARD_IA");
    let explained = "/admin/explain?bucket=bucket&key=";
    for (key, code) in [("cold", "1+2"), ("copy", "4+2")] {
        let page = cluster.client().get(&format!("{explained}{key}")).await.expect(200).json();
        assert_eq!(page["chunks"][0]["code"], code, "{key}");
    }
    assert_eq!(client.get("/bucket/copy").await.body, "content");

    // The parts of an upload are stored as it was begun.
    let begun = s3(&cluster, Method::POST, "/bucket/parts?uploads", &ia, Vec::new()).await.expect(200);
    let begun = String::from_utf8_lossy(&begun.body).into_owned();
    let upload = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("it has an id");
    let path = format!("/bucket/parts?partNumber=1&uploadId={upload}");
    let part = s3(&cluster, Method::PUT, &path, &[], random_bytes(5, 100_000)).await.expect(200);
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag")
    );
    let path = format!("/bucket/parts?uploadId={upload}");
    s3(&cluster, Method::POST, &path, &[], document.into_bytes()).await.expect(200);
    assert_eq!(client.head("/bucket/parts").await.expect(200).header("x-amz-storage-class"), "STANDARD_IA");
    assert!(client.get("/bucket/parts").await.expect(200).body == random_bytes(5, 100_000));
    let page = cluster.client().get(&format!("{explained}parts")).await.expect(200).json();
    assert_eq!(page["chunks"][0]["code"], "4+2");
}
