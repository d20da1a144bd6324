//! B4: earlier states can be read, by the id that their PUT was told.

use super::{delete, etag, put};
use testing::real::{Client, Cluster, Reply};

const PATH: &str = "/s3/versioned/dir/v.txt";

fn id_of(reply: &Reply) -> String {
    reply.json()["versionId"].as_str().expect("a version id").to_owned()
}

async fn version(client: &Client, id: &str) -> Reply {
    client.get(&format!("{PATH}?versionId={id}")).await
}

#[tokio::test]
async fn every_version_is_read_by_its_id_also_after_a_delete() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let mut ids = Vec::new();
    // More than one look of the search by id takes.
    for n in 0..40 {
        ids.push(id_of(&put(&client, PATH, format!("state {n}").as_bytes()).await));
    }
    delete(&client, PATH).await.expect(200);
    client.get(PATH).await.expect_error(404, "Not Found");
    delete(&client, PATH).await.expect_error(404, "Not Found");
    ids.push(id_of(&put(&client, PATH, b"state 40").await));
    for (n, id) in ids.iter().enumerate() {
        let reply = version(&client, id).await.expect(200);
        assert_eq!(reply.body, format!("state {n}"));
        assert_eq!(reply.header("x-holdfast-version-id"), id);
        assert_eq!(reply.header("etag"), etag(format!("state {n}").as_bytes()));
    }
    let history = client.get(&format!("{PATH}?versions")).await.expect(200).json();
    let versions = history["versions"].as_array().expect("versions are listed");
    assert_eq!(versions.len(), 42, "{history}");
    let marker = &versions[40];
    assert_eq!((&marker["is_delete_marker"], &marker["is_latest"]), (&true.into(), &false.into()));
    assert_eq!((&versions[41]["is_latest"], &versions[41]["version"]), (&true.into(), &42.into()));
    for (line, id) in versions.iter().filter(|line| line["is_delete_marker"] == false).zip(&ids) {
        assert_eq!(line["versionId"].as_str(), Some(id.as_str()));
        assert!(
            line["size"].as_u64() >= Some(7) && line["etag"].as_str().is_some_and(|etag| etag.len() == 32),
            "{line}"
        );
    }
    // By pages, and a marker is no object.
    let page = client.get(&format!("{PATH}?versions&limit=1&after=40")).await.expect(200).json();
    assert_eq!((&page["versions"][0]["version"], &page["next"]), (&41.into(), &41.into()));
    let marker_id = marker["versionId"].as_str().expect("a marker has an id");
    version(&client, marker_id).await.expect_error(404, "Not Found");
}

#[tokio::test]
async fn a_latest_delete_marker_is_the_latest() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    put(&client, PATH, b"one").await;
    delete(&client, PATH).await.expect(200);
    let history = client.get(&format!("{PATH}?versions")).await.expect(200).json();
    assert_eq!(
        (&history["versions"][1]["is_latest"], &history["versions"][0]["is_latest"]),
        (&true.into(), &false.into())
    );
}

#[tokio::test]
async fn ids_that_are_none_or_another_object_s_find_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    put(&client, PATH, b"one").await;
    let elsewhere = id_of(&put(&client, "/s3/versioned/other", b"two").await);
    version(&client, &elsewhere).await.expect_error(404, "Not Found");
    version(&client, "00000000-0000-0000-0000-000000000000").await.expect_error(404, "Not Found");
    version(&client, "null").await.expect_error(404, "Not Found");
    for bad in ["", "1", "x", "%ff", "..%2f..", "00000000-0000-0000-0000-00000000000"] {
        version(&client, bad).await.expect(400);
    }
    let put_by_id = client.request(reqwest::Method::PUT, &format!("{PATH}?versionId={elsewhere}")).body("x");
    client.send(put_by_id).await.expect_error(400, "Bad Request");
    assert_eq!(client.get(PATH).await.expect(200).body, "one");
}

async fn numbers(client: &Client) -> Vec<u64> {
    let history = client.get(&format!("{PATH}?versions")).await.expect(200).json();
    let versions = history["versions"].as_array().expect("versions are listed");
    versions.iter().map(|line| line["version"].as_u64().expect("a number")).collect()
}

async fn remove(client: &Client, id: &str) -> Reply {
    delete(client, &format!("{PATH}?versionId={id}")).await
}

#[tokio::test]
async fn one_version_is_removed_for_good_and_its_number_stays_used() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let mut ids = Vec::new();
    for n in 1..=4 {
        ids.push(id_of(&put(&client, PATH, format!("state {n}").as_bytes()).await));
    }
    remove(&client, &ids[1]).await.expect(200);
    remove(&client, &ids[1]).await.expect_error(404, "Not Found");
    version(&client, &ids[1]).await.expect_error(404, "Not Found");
    assert_eq!(client.get(PATH).await.expect(200).body, "state 4");
    assert_eq!(numbers(&client).await, [1, 3, 4]);
    // The newest goes: the one before it is the newest again, in every view.
    remove(&client, &ids[3]).await.expect(200);
    let latest = client.get(PATH).await.expect(200);
    assert_eq!((&latest.body[..], latest.header("x-holdfast-version-id")), (&b"state 3"[..], ids[2].as_str()));
    assert_eq!(latest.header("etag"), etag(b"state 3"));
    let listed = client.get("/s3/versioned").await.expect(200).json();
    assert_eq!((&listed["objects"][0]["version"], &listed["objects"][0]["size"]), (&3.into(), &7.into()));
    // A condition means what is there now.
    let stale = client.request(reqwest::Method::PUT, PATH).header("if-match", etag(b"state 4")).body("x");
    client.send(stale).await.expect(412);
    let fresh = client.request(reqwest::Method::PUT, PATH).header("if-match", etag(b"state 3")).body("state 5");
    assert_eq!(client.send(fresh).await.expect(200).json()["version"], 5, "no number is used twice");
    assert_eq!(numbers(&client).await, [1, 3, 5]);
    for bad in ["", "x", "%ff"] {
        remove(&client, bad).await.expect(400);
    }
}

#[tokio::test]
async fn a_marker_that_is_removed_gives_back_what_it_hid_and_the_last_version_leaves_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let id = id_of(&put(&client, PATH, b"hidden").await);
    delete(&client, PATH).await.expect(200);
    client.get(PATH).await.expect(404);
    let history = client.get(&format!("{PATH}?versions")).await.expect(200).json();
    let marker = history["versions"][1]["versionId"].as_str().expect("a marker has an id").to_owned();
    remove(&client, &marker).await.expect(200);
    assert_eq!(client.get(PATH).await.expect(200).body, "hidden");
    remove(&client, &id).await.expect(200);
    client.get(PATH).await.expect_error(404, "Not Found");
    client.get(&format!("{PATH}?versions")).await.expect_error(404, "Not Found");
    assert_eq!(client.get("/s3/versioned").await.expect(200).json()["count"], 0);
    assert_eq!(put(&client, PATH, b"anew").await.json()["version"], 3);
    assert_eq!(numbers(&client).await, [3]);
}
