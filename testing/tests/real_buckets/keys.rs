//! E2, E4: who may do what at the bucket door, where keys are asked for.

use super::{create, delete, put, refused, with_keys};
use serde_json::{Value, json};
use testing::real::{Client, Cluster, Plan};

async fn key(cluster: &Cluster, wanted: Value) -> Client {
    let key = cluster.make_key(wanted).await;
    Client::new(&cluster.coordinator.url()).with_key(key["api_key"].as_str().expect("a key"))
}

fn names(page: &Value) -> Vec<&str> {
    let buckets = page["buckets"].as_array().expect("buckets are listed").iter();
    buckets.map(|bucket| bucket["bucket_name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn a_bucket_is_its_maker_s_and_everybody_sees_only_what_they_may() {
    let cluster = with_keys(Plan::new()).await;
    let (admin, stranger) = (cluster.client(), Client::new(&cluster.coordinator.url()));
    let ann = key(&cluster, json!({"name": "ann"})).await;
    let bob = key(&cluster, json!({"name": "bob"})).await;
    let reader = key(
        &cluster,
        json!({"name": "reader", "policy": [{"buckets": ["ann*"], "actions": ["read"], "any_owner": true}]}),
    )
    .await;

    let made = create(&ann, "ann-1").await.expect(201).json();
    assert!(made["owner"].as_str().is_some_and(|owner| !owner.is_empty()), "{made}");
    // It springs into being as its writer's.
    put(&ann, "/buckets/ann-2/objects/k", b"ann's").await;
    assert_eq!(ann.get("/buckets/ann-2").await.expect(200).json()["owner"], made["owner"]);
    create(&bob, "bob-1").await.expect(201);

    refused(create(&bob, "ann-1").await, 409, "Bucket already exists");
    refused(create(&reader, "ann-3").await, 403, "Forbidden");
    for path in ["/buckets/ann-2", "/buckets/ann-2/objects", "/buckets/ann-2/objects/k", "/objects?bucket=ann-2"] {
        refused(bob.get(path).await, 403, "Forbidden");
        refused(stranger.get(path).await, 401, "Unauthorized");
        ann.get(path).await.expect(200);
    }
    refused(delete(&bob, "/buckets/ann-2/objects/k").await, 403, "Forbidden");
    refused(delete(&bob, "/buckets/ann-1").await, 403, "Forbidden");
    assert_eq!(reader.get("/buckets/ann-2/objects/k").await.expect(200).body, "ann's");
    for path in ["/buckets/ann-2/objects", "/buckets/ann-2/objects/", "/buckets", "/objects"] {
        refused(reader.get(path).await, 403, "Forbidden");
    }
    reader.get("/s3/ann-2/").await.expect(403);

    assert_eq!(names(&ann.get("/buckets").await.expect(200).json()), ["ann-1", "ann-2", "documents", "files"]);
    assert_eq!(names(&bob.get("/buckets").await.expect(200).json()), ["bob-1", "documents", "files"]);
    assert_eq!(
        names(&admin.get("/buckets").await.expect(200).json()),
        ["ann-1", "ann-2", "bob-1", "documents", "files"]
    );
    assert_eq!(bob.get("/objects").await.expect(200).json(), json!([]));
    assert_eq!(ann.get("/objects").await.expect(200).json().as_array().map(Vec::len), Some(1));
}
