//! The client against a real HTTP server: what goes over the wire, joined or streamed, and how long it waits.

use super::wire::deadline;
use super::{Connections, HttpNode, JOINED_PUT_BYTES_MAX, REQUEST_BYTES_MAX, cut};
use crate::nodes::{REQUEST_ID, Refused};
use bytes::Bytes;
use protocol::{
    ChunkId, ClusterFile, ClusterId, CopyOrder, ErrorKind, FrameDecoder, Node, SHARD_BYTES_MAX, Shard, ShardCopy,
    ShardHead, ShardId, decode_ids, encode_heads, encode_outcomes, routes,
};
use server::{Answer, Asked, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

mod joining;
mod server;

fn cluster() -> ClusterFile {
    ClusterFile { cluster: ClusterId(Uuid::from_u128(7)), secret: "s".repeat(40) }
}

fn http_node(url: &str) -> Arc<HttpNode> {
    let connections = Connections::new(&cluster(), TaskTracker::new(), Handle::current()).unwrap();
    Arc::new(HttpNode::new(url, &connections).unwrap())
}

fn shard(n: u128, length: usize) -> Shard {
    let data: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(n as u8)).collect();
    Shard::new(ShardId { chunk: ChunkId(Uuid::from_u128(n)), index: 1 }, data.into())
}

/// The shards of a put, single or batch, checked as a node checks them.
fn stored(asked: &Asked) -> Vec<Shard> {
    if let Some(id) = asked.path.strip_prefix("/shards/") {
        let crc = routes::crc_from_text(asked.header(routes::HEADER_CRC).unwrap()).unwrap();
        let shard = Shard { id: id.parse().unwrap(), crc, data: asked.body.clone() };
        shard.verify().unwrap();
        return vec![shard];
    }
    assert_eq!(asked.path, routes::SHARDS_BATCH);
    let mut decoder = FrameDecoder::default();
    decoder.push(&asked.body);
    let mut shards = Vec::new();
    while let Some(shard) = decoder.next_shard().unwrap() {
        shard.verify().unwrap();
        shards.push(shard);
    }
    decoder.finish().unwrap();
    shards
}

fn outcomes(asked: &Asked) -> Answer {
    let shards = stored(asked);
    let good = vec![Ok(()); shards.len()];
    let body = if asked.method == "PUT" { Bytes::new() } else { encode_outcomes(&good) };
    Answer::ok(body)
}

fn with_crc(body: Bytes) -> Answer {
    let crc = routes::crc_to_text(crc32fast::hash(&body));
    Answer::ok(body).header(routes::HEADER_CRC, &crc)
}

#[tokio::test]
async fn a_put_carries_its_bytes_checksum_secret_and_request_id() {
    let server = Server::start(|asked| async move { outcomes(&asked) }).await;
    let node = http_node(&server.url);
    let small = shard(1, 4096);
    let put = REQUEST_ID.scope("req-1".into(), node.put(vec![small.clone()]));
    assert_eq!(put.await.unwrap(), [Ok(())]);
    assert_eq!(node.put(vec![shard(2, 0)]).await.unwrap(), [Ok(())], "an empty shard");
    let asked = server.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.clone()), ("PUT", format!("/shards/{}", small.id)));
    assert_eq!(asked[0].header(routes::HEADER_SECRET), Some(cluster().secret.as_str()));
    assert_eq!(asked[0].header(routes::HEADER_CLUSTER), Some(cluster().cluster.to_string().as_str()));
    assert_eq!(asked[0].header(routes::HEADER_REQUEST), Some("req-1"));
    assert_eq!(stored(&asked[0])[0].data, small.data);
    assert_eq!(asked[1].header(routes::HEADER_REQUEST), None);
}

#[tokio::test]
async fn a_batch_of_any_size_arrives_whole_and_in_order() {
    let server = Server::start(|asked| async move { outcomes(&asked) }).await;
    let node = http_node(&server.url);
    let small: Vec<Shard> = (0..20).map(|n| shard(n, 100 * n as usize)).collect();
    let large: Vec<Shard> = (0..6).map(|n| shard(n, if n % 2 == 0 { 300_000 } else { 10 })).collect();
    let many: Vec<Shard> = (0..600).map(|n| shard(n, 1)).collect();
    for shards in [small, large, many, vec![shard(1, SHARD_BYTES_MAX)]] {
        let before = server.asked().len();
        assert_eq!(node.put(shards.clone()).await.unwrap(), vec![Ok(()); shards.len()]);
        let found: Vec<Shard> = server.asked()[before..].iter().flat_map(stored).collect();
        let ids = |shards: &[Shard]| shards.iter().map(|shard| (shard.id, shard.crc)).collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&shards));
    }
    assert!(server.asked().iter().all(|asked| asked.header("content-length").is_some()), "none is sent chunked");
}

#[tokio::test]
async fn a_stalled_node_costs_a_deadline_and_what_no_one_waits_for_is_not_sent() {
    let server = Server::start(|_| std::future::pending()).await;
    let node = http_node(&server.url);
    let began = Instant::now();
    let (put, got, health) = tokio::join!(node.put(vec![shard(1, 100)]), node.get(shard(1, 0).id), node.health());
    for error in [put.unwrap_err(), got.unwrap_err(), health.unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("no answer within 2000 ms"), "{error}");
        assert!(error.source.is_none());
    }
    assert!((1900..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_too() {
    let server = Server::start(|_| async { with_crc(vec![1; 1000].into()).cut_after(10) }).await;
    let began = Instant::now();
    let error = http_node(&server.url).get(shard(1, 0).id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!((1900..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[test]
fn deadlines_grow_with_the_bytes() {
    assert_eq!(deadline(0), Duration::from_secs(2));
    assert_eq!(deadline(8 << 20), Duration::from_secs(10));
    assert!(deadline(u64::MAX) > deadline(1));
}

#[tokio::test]
async fn a_refused_connection_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let node = http_node(&url);
    let put = node.put(vec![shard(1, 10)]).await.unwrap_err();
    for error in [node.health().await.unwrap_err(), put] {
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.source.unwrap().is::<Refused>());
        assert_eq!(error.message, format!("node {url}: connection refused"));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_once_more_with_the_whole_body() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let server = Server::start(move |asked| {
        let broken = seen.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move { if broken { Answer::hang_up() } else { outcomes(&asked) } }
    })
    .await;
    let node = http_node(&server.url);
    let large: Vec<Shard> = (0..3).map(|n| shard(n, 500_000)).collect();
    for shards in [vec![shard(9, 5000)], large] {
        assert_eq!(node.put(shards.clone()).await.unwrap(), vec![Ok(()); shards.len()]);
        let asked = server.asked();
        let [.., first, second] = asked.as_slice() else { panic!("two requests") };
        assert_eq!(first.body, second.body);
        assert_eq!(
            stored(second).iter().map(|shard| shard.crc).collect::<Vec<_>>(),
            shards.iter().map(|s| s.crc).collect::<Vec<_>>()
        );
    }
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn wrong_bytes_are_corrupt_never_an_answer() {
    let right = Bytes::from(vec![7; 50_000]);
    let told = routes::crc_to_text(crc32fast::hash(&right));
    let body = right.clone();
    let server = Server::start(move |asked| {
        let (mut wrong, told) = (body.to_vec(), told.clone());
        async move {
            if asked.path.contains("-1") {
                wrong[40_000] ^= 1;
            }
            match asked.path.contains("-2") {
                true => Answer::ok(wrong.into()),
                false => Answer::ok(wrong.into()).header(routes::HEADER_CRC, &told),
            }
        }
    })
    .await;
    let node = http_node(&server.url);
    let id = |index| ShardId { chunk: ChunkId(Uuid::from_u128(1)), index };
    let kind = |result: protocol::Result<Bytes>| result.unwrap_err().kind;
    assert_eq!(kind(node.get(id(1)).await), ErrorKind::Corrupt, "a flipped bit");
    assert_eq!(kind(node.get(id(2)).await), ErrorKind::Corrupt, "no checksum");
    assert_eq!(node.get(id(0)).await.unwrap(), right);
}

#[tokio::test]
async fn a_refused_request_says_nothing_of_the_shards_it_was_about() {
    let server = Server::start(|asked| async move {
        if asked.path == routes::SHARDS_HEAD { Answer::status(404) } else { Answer::error(500, "corrupt", "no") }
    })
    .await;
    let node = http_node(&server.url);
    let id = shard(1, 0).id;
    assert_eq!(node.head(id).await.unwrap_err().kind, ErrorKind::Unavailable, "silence is not absence (faults S7)");
    let copy = ShardCopy { source: "http://n1:1".into(), shard: id, length: 7, crc: 7, content: None };
    assert_eq!(node.copy_from(id, &copy).await.unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn errors_keep_the_kind_the_node_gave_them() {
    let server = Server::start(|asked| async move {
        match asked.path.rsplit('-').next().unwrap() {
            "1" => Answer::error(404, "not_found", "no such shard"),
            "2" => Answer::error(500, "corrupt", "CRC32 differs"),
            "3" => Answer::status(503),
            "4" => Answer::status(507),
            "5" => Answer::error(200, "", &"x".repeat(9 << 20)),
            _ => Answer::status(418),
        }
    })
    .await;
    let node = http_node(&server.url);
    let kinds = [
        ErrorKind::NotFound,
        ErrorKind::Corrupt,
        ErrorKind::Unavailable,
        ErrorKind::Full,
        ErrorKind::Unavailable,
        ErrorKind::Invalid,
    ];
    for (index, wanted) in (1..).zip(kinds) {
        let error = node.get(ShardId { chunk: ChunkId(Uuid::nil()), index }).await.unwrap_err();
        assert_eq!(error.kind, wanted, "{index}: {error}");
        assert!(error.message.starts_with(&format!("node {}: ", server.url)), "{error}");
    }
    let error = node.get(ShardId { chunk: ChunkId(Uuid::nil()), index: 1 }).await.unwrap_err();
    assert!(error.message.ends_with("no such shard"), "{error}");
}

#[tokio::test]
async fn the_other_calls_speak_their_routes() {
    let server = Server::start(|asked| async move {
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", routes::SHARDS_HEAD) => {
                let head = |id| Ok(ShardHead { id, length: 1234, crc: 0xbeef });
                Answer::ok(encode_heads(&decode_ids(&asked.body).unwrap().into_iter().map(head).collect::<Vec<_>>()))
            }
            ("POST", routes::SHARDS_DELETE) => {
                let ids = decode_ids(&asked.body).unwrap();
                Answer::ok(encode_outcomes(&vec![Ok(()); ids.len()]))
            }
            ("GET", routes::SHARDS) => Answer::ok(r#"{"shards":[],"next":null}"#.into()),
            ("POST", routes::VERIFY) => {
                Answer::ok(r#"{"records":1,"bytes":2,"corrupt":[],"damaged_stretches":0,"next":null}"#.into())
            }
            ("POST", routes::SHARDS_COPY) => Answer::ok(encode_outcomes(&[Ok(())])),
            _ => Answer::ok("no json".into()),
        }
    })
    .await;
    let node = http_node(&server.url);
    let id = shard(1, 0).id;
    let head = node.head(id).await.unwrap();
    assert_eq!((head.id, head.length, head.crc), (id, 1234, 0xbeef));
    assert_eq!(node.delete(vec![id; 300]).await.unwrap().len(), 300);
    assert_eq!(node.list(Some(id), 10).await.unwrap().next, None);
    let cursor = protocol::VerifyCursor { segment: 3, offset: 4 };
    assert_eq!(node.verify(cursor, 1000).await.unwrap().bytes, 2);
    let source = "http://127.0.0.1:8083".to_owned();
    let copy = ShardCopy { source, shard: id, length: 3, crc: 7, content: None };
    node.copy_from(id, &copy).await.unwrap();
    assert_eq!(node.health().await.unwrap_err().kind, ErrorKind::Unavailable, "no JSON");
    let targets: Vec<String> = server.asked().iter().map(|asked| asked.target.clone()).collect();
    let wanted = [
        "/shards-head".to_owned(),
        "/shards-delete".to_owned(),
        "/shards-delete".to_owned(),
        format!("/shards?after={id}&limit=10"),
        "/verify?segment=3&offset=4&limit_bytes=1000".to_owned(),
        "/shards-copy".to_owned(),
        "/health".to_owned(),
    ];
    assert_eq!(targets, wanted);
    let health = server.asked().pop().unwrap();
    assert_eq!(
        health.header(routes::HEADER_SECRET),
        None,
        "health is open: no secret is shown to whoever listens there"
    );
}

/// HTTP workers have runtimes of their own; a connection made by one must not die with it.
#[test]
fn connections_outlive_the_runtime_that_used_them_first() {
    let main = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = main.block_on(Server::start(|asked| async move {
        if asked.method == "GET" { with_crc("bytes".into()) } else { outcomes(&asked) }
    }));
    let connections = Connections::new(&cluster(), TaskTracker::new(), main.handle().clone()).unwrap();
    let node = HttpNode::new(&server.url, &connections).unwrap();
    for n in 0..3 {
        let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let got = worker.block_on(async {
            node.put(vec![shard(n, 100)]).await.unwrap();
            node.get(shard(n, 0).id).await.unwrap()
        });
        assert_eq!(got, "bytes");
    }
    assert_eq!(server.connections(), 1, "one connection served all of them");
}

#[test]
fn a_long_put_is_cut_into_requests_of_bounded_size() {
    let shards: Vec<Shard> = (0..1000).map(|n| shard(n, if n % 100 == 0 { SHARD_BYTES_MAX } else { 1 })).collect();
    let parts = cut(&shards);
    assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), shards.len());
    for part in parts {
        assert!(part.len() <= 256 && part.iter().map(|shard| shard.data.len()).sum::<usize>() <= REQUEST_BYTES_MAX);
    }
    assert!(cut(&[]).is_empty());
}

#[tokio::test]
async fn a_url_that_is_no_base_is_refused() {
    let connections = Connections::new(&cluster(), TaskTracker::new(), Handle::current()).unwrap();
    for url in ["", "n1", "https://n1:1", "http://n1:1/base", "http://n1:1?x", "file:///etc/passwd"] {
        assert_eq!(HttpNode::new(url, &connections).err().map(|error| error.kind), Some(ErrorKind::Invalid), "{url}");
    }
}
