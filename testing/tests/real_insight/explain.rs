//! `GET /admin/explain`: where a version lies and why, what failures do, and who shares it.

use super::settled;
use serde_json::{Value, json};
use std::time::Duration;
use testing::real::{Client, Cluster, Plan, encode, eventually, random_bytes};

async fn explain(client: &Client, query: &str) -> Value {
    client.get(&format!("/admin/explain?{query}")).await.expect(200).json()
}

#[tokio::test]
async fn every_chunk_is_explained_page_by_page() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let data = random_bytes(1, 12 << 20);
    let uploaded = client.upload("big.bin", &data).await;
    settled(&client, "big.bin").await;
    // The same bytes under another name, and a part of them.
    client.upload("twin.bin", &data).await;
    let mut after = 0;
    let mut end = 0;
    let mut chunks = 0;
    loop {
        let page = explain(&client, &format!("bucket=files&key=big.bin&limit=50&after={after}")).await;
        assert_eq!(
            page["writes"],
            json!({"nodes": 4, "answering": 4, "accepting": 4, "now": true,
            "after_one_failure": true, "after_two_failures": false})
        );
        for chunk in page["chunks"].as_array().expect("chunks are listed") {
            assert_eq!(chunk["offset"], end, "chunks follow one another");
            end += chunk["length"].as_u64().expect("a length");
            chunks += 1;
            let copies = chunk["copies"].as_array().expect("copies are listed");
            assert_eq!((copies.len(), &chunk["code"], &chunk["readable"]), (3, &"1+2".into(), &true.into()));
            for copy in copies {
                assert_eq!(
                    (&copy["answering"], &copy["health"], &copy["circuit"]),
                    (&true.into(), &"healthy".into(), &"CLOSED".into())
                );
                assert!(copy["rank"].as_u64().is_some_and(|rank| (1..=4).contains(&rank)), "{copy}");
                assert!(copy["reasons"].as_array().is_some_and(|reasons| reasons.len() >= 2), "{copy}");
            }
            let none = json!({"lost_by": [], "blocked_by": [], "more": false});
            assert_eq!((&chunk["one_failure"], &chunk["two_failures"]), (&none, &none));
            assert_eq!((&chunk["shared_with"]["versions"], &chunk["repair"]), (&1.into(), &json!(null)), "{chunk}");
        }
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!((end, uploaded["chunks"].as_u64()), (data.len() as u64, Some(chunks)));
    let tail = explain(&client, &format!("bucket=files&key=big.bin&after={}", data.len() - 1)).await;
    assert_eq!(tail["chunks"].as_array().map(Vec::len), Some(1), "an offset means the chunk that holds it");
    let beyond = explain(&client, "filename=big.bin&after=99999999999").await;
    assert_eq!(beyond["chunks"], json!([]));
    for bad in ["limit=0", "limit=1001", "after=x", "after=-1"] {
        client.get(&format!("/admin/explain?filename=big.bin&{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn a_chunk_that_is_short_says_what_would_lose_it() {
    let mut cluster = Plan::new().nodes(3).coordinator_flag("--probe-interval-s", "1").start().await;
    let client = cluster.client();
    cluster.node(3).kill();
    client.upload("short.txt", b"two copies only").await;
    let page = eventually("n3 is missed", Duration::from_secs(15), || async {
        let page = explain(&client, "filename=short.txt").await;
        if page["writes"]["answering"] == 2 { Ok(page) } else { Err(page["writes"].to_string()) }
    })
    .await;
    let chunk = &page["chunks"][0];
    assert_eq!(chunk["copies"].as_array().map(Vec::len), Some(2), "{chunk}");
    assert_eq!(chunk["one_failure"]["lost_by"], json!([]));
    let pair = chunk["two_failures"]["lost_by"][0].as_array().cloned().expect("a pair loses it");
    assert!(pair.contains(&"n1".into()) && pair.contains(&"n2".into()), "{chunk}");
    assert_eq!(chunk["repair"]["severity"], 1, "{chunk}");
    assert!(chunk["repair"]["reason"].as_str().is_some_and(|reason| reason.contains("short")), "{chunk}");
    assert_eq!((&page["writes"]["now"], &page["writes"]["after_one_failure"]), (&true.into(), &false.into()));
    cluster.node(2).kill();
    let chunk = eventually("the second node is missed, too", Duration::from_secs(15), || async {
        let chunk = explain(&client, "filename=short.txt").await["chunks"][0].clone();
        if chunk["one_failure"]["blocked_by"] == json!([["n1"]]) { Ok(chunk) } else { Err(chunk.to_string()) }
    })
    .await;
    assert_eq!(chunk["readable"], true);
}

#[tokio::test]
async fn people_get_a_page_in_which_a_name_is_a_name() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    let name = "<script>alert('x')</script>&\"\n.txt";
    client.upload(name, b"content").await;
    settled(&client, name).await;
    let path = format!("/admin/explain?filename={}", encode(name.as_bytes()));
    let page = client.get_with(&path, &[("accept", "text/html,*/*;q=0.8")]).await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{page}");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\\u{a}.txt"), "{text}");
    assert!(
        !text.contains("<script") && text.contains("chosen for a shard") && text.contains("still readable"),
        "{text}"
    );
    let json = client.get(&path).await.expect(200);
    assert_eq!(json.header("content-type"), "application/json");
}
