//! The HTTP interface, on a real listener.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod rig;

use bytes::Bytes;
use process::metrics::Metrics;
use process::tls::{self, ClientConfig};
use protocol::{
    ClusterFile, ClusterId, Content, CopyOrder, DiskId, ErrorKind, FRAME_HEADER_BYTES, FrameDecoder, JournalAppended,
    JournalEntry, JournalMark, PutOutcome, Shard, ShardCopy, ShardHead, ShardId, ShardPage, VerifyReport, decode_heads,
    decode_outcomes, encode_frame_header, encode_ids, routes,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rig::{id, shard};
use segments::{RealDisk, Stamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage_node::committer::Committer;
use storage_node::http::{Service, ServiceParts, serve};
use storage_node::journal::{Journal, JournalConfig};
use storage_node::peer::Peers;
use storage_node::store::Store;
use uuid::Uuid;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Running {
    address: SocketAddr,
    client: Client,
    store: Arc<Store<RealDisk>>,
    dir: tempfile::TempDir,
}

fn cluster() -> ClusterFile {
    ClusterFile { cluster: ClusterId(Uuid::from_u128(1)), secret: SECRET.into() }
}

fn open_journal(dir: &Path) -> Journal<RealDisk> {
    let stamp = Stamp { cluster: cluster().cluster, log: DiskId(Uuid::from_u128(9)) };
    let config = JournalConfig { node: "n1".parse().unwrap(), stamp, segment_bytes: 1 << 20 };
    Journal::open(RealDisk::open(dir.join("journal")).unwrap(), config).unwrap()
}

fn trust() -> ClientConfig {
    tls::client(None).unwrap()
}

async fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(rig::open(dir.path()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = Service::new(ServiceParts {
        store: Arc::clone(&store),
        committer: Arc::new(Committer::start(Arc::clone(&store)).unwrap()),
        journal: Arc::new(open_journal(dir.path())),
        cluster: cluster(),
        peers: Peers::new(&cluster(), trust()).unwrap(),
        metrics: Metrics::install().unwrap(),
        in_flight_bytes: 40 << 20,
        body_timeout: Duration::from_secs(1),
    })
    .unwrap();
    actix_web::rt::spawn(serve(listener, service, 1, None).unwrap());
    Running {
        address,
        client: Client::builder().no_proxy().tls_backend_preconfigured(trust()).build().unwrap(),
        store,
        dir,
    }
}

impl Running {
    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .header(routes::HEADER_SECRET, SECRET)
            .header(routes::HEADER_CLUSTER, cluster().cluster.to_string())
    }

    async fn put(&self, shard: &Shard) -> Response {
        self.call(Method::PUT, &format!("/shards/{}", shard.id))
            .header(routes::HEADER_CRC, routes::crc_to_text(shard.crc))
            .body(shard.data.clone())
            .send()
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.call(Method::GET, path).send().await.unwrap()
    }
}

fn kind(response: &Response) -> Option<ErrorKind> {
    let name = response.headers().get(routes::HEADER_ERROR)?.to_str().unwrap().to_owned();
    ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == name)
}

async fn json<T: DeserializeOwned>(response: Response) -> T {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn crc(response: &Response) -> u32 {
    routes::crc_from_text(response.headers()[routes::HEADER_CRC].to_str().unwrap()).unwrap()
}

fn body(shards: &[Shard]) -> Vec<u8> {
    shards.iter().flat_map(|shard| [&encode_frame_header(shard)[..], &shard.data].concat()).collect()
}

#[actix_web::test]
async fn a_shard_goes_in_and_out_whole_or_in_part() {
    let node = start().await;
    for shard in [shard(1, 5000, 0), shard(2, 0, 0), shard(3, 60_000, 0)] {
        assert_eq!(node.put(&shard).await.status(), StatusCode::CREATED);
        assert_eq!(node.put(&shard).await.status(), StatusCode::CREATED, "the same again");
        let path = format!("/shards/{}", shard.id);
        for _ in 0..2 {
            let found = node.get(&path).await;
            assert_eq!(found.status(), StatusCode::OK);
            assert_eq!(crc(&found), shard.crc);
            assert_eq!(found.bytes().await.unwrap(), shard.data);
        }
        let head = node.call(Method::HEAD, &path).send().await.unwrap();
        assert_eq!((head.status(), crc(&head)), (StatusCode::OK, shard.crc));
        assert_eq!(head.headers()["content-length"].to_str().unwrap(), shard.data.len().to_string());
    }
    let path = format!("/shards/{}", id(1));
    let part = node.call(Method::GET, &path).header("range", "bytes=100-199").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 100-199/5000");
    let wanted = shard(1, 5000, 0).data.slice(100..200);
    assert_eq!(crc(&part), crc32fast::hash(&wanted));
    assert_eq!(part.bytes().await.unwrap(), wanted);
    let beyond = node.call(Method::GET, &path).header("range", "bytes=4999-5000").send().await.unwrap();
    assert_eq!((beyond.status(), kind(&beyond)), (StatusCode::RANGE_NOT_SATISFIABLE, Some(ErrorKind::Invalid)));
}

#[actix_web::test]
async fn conflicts_deletes_and_absences_are_told_apart() {
    let node = start().await;
    node.put(&shard(1, 10, 0)).await;
    let other = node.put(&shard(1, 10, 1)).await;
    assert_eq!((other.status(), kind(&other)), (StatusCode::CONFLICT, Some(ErrorKind::Conflict)));
    let path = format!("/shards/{}", id(1));
    assert_eq!(node.call(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let gone = node.get(&path).await;
    assert_eq!((gone.status(), kind(&gone)), (StatusCode::NOT_FOUND, Some(ErrorKind::NotFound)));
    let said: Value = json(gone).await;
    assert!(said["error"].as_str().unwrap().contains("no shard"), "{said}");
    assert_eq!(node.put(&shard(1, 10, 0)).await.status(), StatusCode::CONFLICT, "a late write");
    let nowhere = node.get("/nowhere").await;
    assert_eq!((nowhere.status(), kind(&nowhere)), (StatusCode::NOT_FOUND, Some(ErrorKind::NotFound)));
    assert!(json::<Value>(nowhere).await["error"].is_string());
    let patched = node.call(Method::PATCH, &path).send().await.unwrap();
    assert_eq!(patched.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[actix_web::test]
async fn without_the_secret_nothing_but_health_and_metrics_answers() {
    let node = start().await;
    let calls = [
        (Method::GET, format!("/shards/{}", id(1))),
        (Method::PUT, format!("/shards/{}", id(1))),
        (Method::HEAD, format!("/shards/{}", id(1))),
        (Method::DELETE, format!("/shards/{}", id(1))),
        (Method::GET, "/shards".into()),
        (Method::POST, "/shards-batch".into()),
        (Method::POST, "/shards-delete".into()),
        (Method::POST, "/verify?segment=0&offset=0&limit_bytes=1".into()),
        (Method::POST, routes::SHARDS_HEAD.into()),
        (Method::POST, routes::SHARDS_READ.into()),
        (Method::POST, routes::SHARDS_COPY.into()),
        (Method::GET, "/nowhere".into()),
        (Method::GET, "//health".into()),
    ];
    for (method, path) in calls {
        let bare = node.bare(method.clone(), &path).send().await.unwrap();
        assert_eq!((bare.status(), kind(&bare)), (StatusCode::FORBIDDEN, Some(ErrorKind::Denied)), "{method} {path}");
        let wrong =
            node.bare(method.clone(), &path).header(routes::HEADER_SECRET, "x".repeat(32)).send().await.unwrap();
        assert_eq!(wrong.status(), StatusCode::FORBIDDEN, "{method} {path}");
        let foreign = node
            .bare(method.clone(), &path)
            .header(routes::HEADER_SECRET, SECRET)
            .header(routes::HEADER_CLUSTER, Uuid::from_u128(9).to_string());
        assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
    let health: Value = json(node.bare(Method::GET, "/health").send().await.unwrap()).await;
    assert_eq!((health["node"].as_str(), health["status"].as_str()), (Some("n1"), Some("ok")), "{health}");
    assert_eq!(health["index"], "ok");
    let metrics = node.bare(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for name in ["http_requests_total{", "storage_used_bytes ", "process_resident_memory_bytes ", "storage_segments "] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert!(metrics.contains("endpoint=\"/shards/{id}\""), "{metrics}");
    assert!(!metrics.contains(&id(1).to_string()), "ids are never labels");
}

#[actix_web::test]
async fn bad_ids_and_queries_are_refused() {
    let node = start().await;
    let zeros = "0".repeat(32);
    for bad in ["..", "%2e%2e", "%2e%2e%2fidentity", "x", "%00", "%ff%fe", &zeros, &format!("{zeros}-256"), "a%2Fb-1"] {
        let found = node.get(&format!("/shards/{bad}")).await;
        // The client itself resolves dots, which then ask for another route without a shard.
        let resolved = bad == ".." || bad == "%2e%2e";
        let expected = if resolved { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
        assert_eq!(found.status(), expected, "{bad}");
        assert!(json::<Value>(found).await["error"].is_string());
    }
    for path in ["/shards?limit=0", "/shards?limit=1001", "/shards?limit=x", "/shards?after=x", "/shards?page=2"] {
        let found = node.get(path).await;
        assert_eq!((found.status(), kind(&found)), (StatusCode::BAD_REQUEST, Some(ErrorKind::Invalid)), "{path}");
    }
    for raw in ["/shards/../../etc/passwd", "/shards/%2e%2e%2f%2e%2e", "/shards/..", "/../identity"] {
        let answer = raw_request(&node, &format!("GET {raw} HTTP/1.1\r\n{}\r\n", auth()));
        assert!(answer.starts_with("HTTP/1.1 40"), "{raw}: {answer}");
    }
}

fn auth() -> String {
    format!(
        "host: n\r\nconnection: close\r\nx-holdfast-secret: {SECRET}\r\nx-holdfast-cluster: {}\r\n",
        cluster().cluster
    )
}

fn raw_request(node: &Running, text: &str) -> String {
    let mut stream = TcpStream::connect(node.address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Law 6: bytes are checked on every hop.
#[actix_web::test]
async fn a_body_that_does_not_match_its_crc_is_not_stored() {
    let node = start().await;
    let mut bad = shard(1, 1000, 0);
    bad.crc ^= 1;
    let refused = node.put(&bad).await;
    assert_eq!((refused.status(), kind(&refused)), (StatusCode::BAD_REQUEST, Some(ErrorKind::Invalid)));
    let none = node.call(Method::PUT, &format!("/shards/{}", id(1))).body("x").send().await.unwrap();
    assert_eq!(none.status(), StatusCode::BAD_REQUEST, "no CRC at all");
    assert_eq!(node.get(&format!("/shards/{}", id(1))).await.status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn a_batch_is_stored_shard_by_shard_or_refused_whole() {
    let node = start().await;
    let mut shards: Vec<_> = (0..50).map(|n| shard(n, n as usize * 40, 0)).collect();
    shards[7].crc ^= 1;
    node.put(&shard(9, 3, 1)).await;
    let answer = node.call(Method::POST, "/shards-batch").body(body(&shards)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let outcomes = decode_outcomes(&answer.bytes().await.unwrap(), 50).unwrap();
    for (n, outcome) in outcomes.iter().enumerate() {
        let expected = match n {
            7 => Err(ErrorKind::Corrupt),
            9 => Err(ErrorKind::Conflict),
            _ => Ok(()),
        };
        assert_eq!(*outcome, expected, "{n}");
    }
    let fresh = body(&[shard(100, 50, 0), shard(101, 50, 0)]);
    for cut in [1, FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + 49, fresh.len() - 1] {
        let answer = node.call(Method::POST, "/shards-batch").body(fresh[..cut].to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{cut}");
    }
    assert_eq!(node.store.get(id(100)).unwrap_err().kind, ErrorKind::NotFound, "nothing of a cut batch is stored");

    let ids = encode_ids(&[id(0), id(1), id(500)]);
    let answer = node.call(Method::POST, "/shards-delete").body(ids.clone()).send().await.unwrap();
    assert_eq!(decode_outcomes(&answer.bytes().await.unwrap(), 3).unwrap(), [Ok(()); 3]);
    let cut = node.call(Method::POST, "/shards-delete").body(ids.slice(1..)).send().await.unwrap();
    assert_eq!(cut.status(), StatusCode::BAD_REQUEST);
    let page: ShardPage = json(node.get(&format!("/shards?after={}&limit=3", id(3))).await).await;
    assert_eq!(page.shards.iter().map(|head| head.id).collect::<Vec<_>>(), [id(4), id(5), id(6)]);
    assert_eq!(page.next, Some(id(6)));
    let verify = node.call(Method::POST, "/verify?segment=0&offset=0&limit_bytes=1000000").send().await.unwrap();
    let report: VerifyReport = json(verify).await;
    assert_eq!((report.corrupt.len(), report.next), (0, None));
    assert!(report.records >= 50);
}

#[actix_web::test]
async fn bodies_are_bounded_in_length_memory_and_time() {
    let node = start().await;
    let long = node
        .call(Method::PUT, &format!("/shards/{}", id(1)))
        .header(routes::HEADER_CRC, "00000000")
        .body(vec![0; protocol::SHARD_BYTES_MAX + 1])
        .send()
        .await;
    // The node answers before it has read all of it, which a client may see as a broken connection.
    assert!(long.is_err() || long.unwrap().status() == StatusCode::PAYLOAD_TOO_LARGE);
    let mut stalled = Vec::new();
    for n in 0..5 {
        let mut stream = TcpStream::connect(node.address).unwrap();
        let head = format!("PUT /shards/{} HTTP/1.1\r\n{}x-holdfast-crc32: 00000000\r\n", id(n), auth());
        stream.write_all(format!("{head}content-length: {}\r\n\r\nabc", 8 << 20).as_bytes()).unwrap();
        stalled.push(stream);
    }
    actix_web::rt::time::sleep(Duration::from_millis(300)).await;
    let refused = node.put(&shard(9, 10, 0)).await;
    assert_eq!((refused.status(), kind(&refused)), (StatusCode::SERVICE_UNAVAILABLE, Some(ErrorKind::Unavailable)));
    let started = Instant::now();
    let answer = actix_web::rt::task::spawn_blocking(move || {
        let mut answer = String::new();
        stalled[0].read_to_string(&mut answer).ok();
        answer
    });
    let answer = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(5), "a stalled body is ended");
    actix_web::rt::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.put(&shard(9, 10, 0)).await.status(), StatusCode::CREATED, "its memory is given back");
}

/// Orders copies of `to`; what became of each.
async fn copied(to: &Running, orders: &[CopyOrder]) -> Vec<PutOutcome> {
    let body = serde_json::to_vec(orders).unwrap();
    let answer = to.call(Method::POST, routes::SHARDS_COPY).body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    decode_outcomes(&answer.bytes().await.unwrap(), orders.len()).unwrap()
}

fn order(from: &Running, shard: &Shard, id: ShardId) -> CopyOrder {
    let length = shard.data.len() as u32;
    let sha256 = ring::digest::digest(&ring::digest::SHA256, &shard.data).as_ref().try_into().unwrap();
    let content = Some(Content { sha256, length, compressed: false });
    let source = format!("http://{}", from.address);
    CopyOrder { id, copy: ShardCopy { source, shard: shard.id, length, crc: shard.crc, content } }
}

#[actix_web::test]
async fn shards_are_pulled_from_peers_and_checked_each_for_itself() {
    let (from, other, to) = (start().await, start().await, start().await);
    let (large, small) = (shard(1, 50_000, 0), shard(2, 10, 0));
    from.put(&large).await;
    other.put(&small).await;
    let good = order(&from, &large, large.id);
    let with = |id: ShardId, copy: ShardCopy| CopyOrder { id, copy };
    let copy = || good.copy.clone();
    let other_content = Content { sha256: [0; 32], ..copy().content.unwrap() };
    let orders = [
        good.clone(),
        order(&other, &small, small.id),
        with(id(3), ShardCopy { shard: id(3), ..copy() }),
        with(id(4), ShardCopy { source: "http://127.0.0.1:1".into(), ..copy() }),
        with(id(5), ShardCopy { source: "file:///etc/passwd".into(), ..copy() }),
        with(id(6), ShardCopy { crc: large.crc ^ 1, ..copy() }),
        with(id(7), ShardCopy { content: Some(other_content), ..copy() }),
        with(ShardId { index: 7, ..large.id }, copy()),
    ];
    use ErrorKind::{Conflict, Corrupt, Invalid, NotFound, Unavailable};
    let fine = || Ok(());
    let wanted = [fine(), fine(), Err(NotFound), Err(Unavailable), Err(Invalid), Err(Corrupt), Err(Corrupt), fine()];
    assert_eq!(copied(&to, &orders).await, wanted, "law 6");
    assert_eq!(copied(&to, &orders[..2]).await, [Ok(()), Ok(())], "what is there already is no conflict");
    assert_eq!(copied(&to, &[with(small.id, copy())]).await, [Err(Conflict)], "another's bytes are one");
    assert_eq!(to.store.get(large.id).unwrap(), large.data);
    assert_eq!(to.store.get(ShardId { index: 7, ..large.id }).unwrap(), large.data);
    assert_eq!(to.store.get(small.id).unwrap(), small.data);
    for n in 3..8 {
        assert!(to.store.get(id(n)).is_err(), "nothing unverified is stored");
    }
    for length in [49_999, 50_001] {
        let wrong = with(id(3), ShardCopy { length, ..copy() });
        assert!(copied(&to, &[wrong]).await[0].is_err(), "{length}");
        assert!(to.store.get(id(3)).is_err());
    }
}

#[actix_web::test]
async fn a_damaged_shard_costs_the_others_of_its_request_nothing() {
    let (from, to) = (start().await, start().await);
    let shards: Vec<Shard> = (1..=3).map(|n| shard(n, 40_000, 0)).collect();
    for shard in &shards {
        from.put(shard).await;
    }
    rig::damage(from.dir.path(), &shards[1].data);
    let orders: Vec<CopyOrder> = shards.iter().map(|shard| order(&from, shard, shard.id)).collect();
    assert_eq!(copied(&to, &orders).await, [Ok(()), Err(ErrorKind::Corrupt), Ok(())]);
    assert_eq!(to.store.get(shards[2].id).unwrap(), shards[2].data);
}

#[actix_web::test]
async fn many_shards_are_asked_for_at_once_and_what_would_be_too_much_is_refused() {
    let node = start().await;
    let shards = [1, 2].map(|n| shard(n, 50_000, 0));
    for shard in &shards {
        assert_eq!(node.put(shard).await.status(), StatusCode::CREATED);
    }
    let post = |path: &str, body: Bytes| node.call(Method::POST, path).body(body).send();
    let ids = [shards[0].id, id(9), shards[1].id];
    let heads = post(routes::SHARDS_HEAD, encode_ids(&ids)).await.unwrap().bytes().await.unwrap();
    let head = |shard: &Shard| Ok(ShardHead { id: shard.id, length: 50_000, crc: shard.crc });
    assert_eq!(decode_heads(&heads, &ids).unwrap(), [head(&shards[0]), Err(ErrorKind::NotFound), head(&shards[1])]);
    let read = post(routes::SHARDS_READ, encode_ids(&ids)).await.unwrap().bytes().await.unwrap();
    assert_eq!(read[..3], [0, ErrorKind::NotFound as u8, 0]);
    let mut decoder = FrameDecoder::default();
    decoder.push(&read[3..]);
    for shard in &shards {
        let found = decoder.next_shard().unwrap().unwrap();
        assert_eq!((found.id, found.data == shard.data), (shard.id, true));
    }
    decoder.finish().unwrap();
    let too_many_bytes = vec![shards[0].id; 700];
    assert_eq!(post(routes::SHARDS_READ, encode_ids(&too_many_bytes)).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let of = |length| CopyOrder { copy: ShardCopy { length, ..order(&node, &shards[0], id(8)).copy }, id: id(8) };
    for orders in [vec![of((8 << 20) + 1)], vec![of(1); 257], vec![of(8 << 20); 5]] {
        let body = serde_json::to_vec(&orders).unwrap();
        assert_eq!(post(routes::SHARDS_COPY, body.into()).await.unwrap().status(), StatusCode::BAD_REQUEST);
    }
}

#[actix_web::test]
async fn request_ids_come_back() {
    let node = start().await;
    let answer = node.call(Method::GET, "/shards").header(routes::HEADER_REQUEST, "r1,r2").send().await.unwrap();
    assert_eq!(answer.headers()[routes::HEADER_REQUEST], "r1,r2");
    let silly = Bytes::from(vec![b'x'; 5000]);
    let answer = node.call(Method::GET, "/shards").header(routes::HEADER_REQUEST, &silly[..]).send().await.unwrap();
    assert!(!answer.headers().contains_key(routes::HEADER_REQUEST));
}

#[actix_web::test]
async fn the_journal_is_appended_to_read_and_fenced_over_http() {
    let running = start().await;
    let claim = |epoch: u64, holder: u128| format!("epoch={epoch}&holder={}", Uuid::from_u128(holder));
    let bare = running.bare(Method::GET, "/journal").send().await.unwrap();
    assert_eq!(bare.status(), 403, "without the secret nothing is told");
    let claimed = running.call(Method::POST, &format!("/journal-claim?{}", claim(2, 1))).send().await.unwrap();
    assert_eq!(claimed.status(), 200);
    let lower = running.call(Method::POST, &format!("/journal-claim?{}", claim(1, 2))).send().await.unwrap();
    assert_eq!(lower.status(), 403);

    let entry = JournalEntry::new(JournalMark { epoch: 2, sequence: 1 }, 0, 1, b"", b"a group");
    let append = |query: String, body: Bytes| {
        running.call(Method::POST, &format!("/journal?{query}&anew=false")).body(body).send()
    };
    let refused = append(claim(1, 1), entry.frame().clone()).await.unwrap();
    assert_eq!(refused.status(), 403, "a lower epoch");
    let mut damaged = entry.frame().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(append(claim(2, 1), damaged.into()).await.unwrap().status(), 400, "bytes that do not match their CRC");
    let appended = append(claim(2, 1), entry.frame().clone()).await.unwrap().bytes().await.unwrap();
    let appended: JournalAppended = serde_json::from_slice(&appended).unwrap();
    assert_eq!((appended.through, appended.state.first, appended.state.last.sequence), (1, 1, 1));

    let read = running.call(Method::GET, "/journal-entries?from=1&limit_bytes=1").send().await.unwrap();
    assert!(read.headers().contains_key(routes::HEADER_CRC));
    assert_eq!(JournalEntry::decode_all(read.bytes().await.unwrap()).unwrap(), [entry]);
}
