//! Memory for bytes on their way (law 10): what is held counts for as long as it is held, whoever has gone meanwhile.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use bytes::Bytes;
use coordinator::code::Code;
use coordinator::dialect::representation::{ObjectPieces, pieces_of};
use coordinator::metadata::records::{VersionRecord, Versioning};
use coordinator::object::{
    Attributes, BodyMessage, BucketName, Condition, MissingBucket, ObjectName, Objects, PutTarget, Version,
    VersionSelector, body_channel, whole_body,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;
use testing::sim::body::{BLOCK_BYTES, TestBody};
use testing::sim::cluster::{Cluster, Plants};
use testing::sim::runtime::simulate;
use tokio::time::{Instant, sleep};

const NODES: usize = 4;
/// A node takes so long for a call that batches are still under way when the client has gone.
const SLOW: Duration = Duration::from_millis(800);

fn name(key: &str) -> ObjectName {
    ObjectName::new(BucketName::files(), key).unwrap()
}

fn target(key: &str) -> PutTarget {
    PutTarget {
        name: name(key),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::new(),
        condition: Condition::None,
        md5: None,
        attributes: Attributes::default(),
        missing_bucket: MissingBucket::Make(Versioning::Enabled),
    }
}

fn held(objects: &Objects) -> (usize, usize) {
    (objects.budget.held_and_most().0, objects.read_budget.held_and_most().0)
}

fn play(test: impl AsyncFnOnce(&Cluster, &Objects)) {
    let ((), panics) = simulate(async move {
        let cluster = Cluster::new(7, NODES, Plants::default());
        let process = cluster.coordinator().await;
        test(&cluster, &process.objects).await;
    });
    assert!(panics.is_empty(), "{panics:#?}");
}

#[test]
fn an_upload_that_breaks_off_holds_its_memory_until_its_batches_have_ended() {
    play(async |cluster, objects| {
        let (before, _) = held(objects);
        cluster.nodes().iter().for_each(|node| node.set_slow(SLOW));
        let (sender, body) = body_channel();
        let storing = objects.clone();
        let put = objects.tasks.spawn(async move { storing.put(Code::REPLICATION, body).await });
        let data = TestBody::new(3, 60 * BLOCK_BYTES).data;
        for piece in data.chunks(BLOCK_BYTES) {
            sender.send(BodyMessage::Piece(data.slice_ref(piece))).await.unwrap();
        }
        sleep(SLOW / 8).await;
        assert!(held(objects).0 > before, "it holds its allowance");
        drop(sender);
        put.await.unwrap().unwrap_err();
        assert!(held(objects).0 > before, "its batches are still under way");
        cluster.nodes().iter().for_each(|node| node.set_slow(Duration::ZERO));
        sleep(Duration::from_secs(30)).await;
        assert_eq!(held(objects).0, before);
    });
}

/// Alike bytes are never cut before the longest chunk.
fn content(bytes: usize) -> Bytes {
    Bytes::from(vec![7; bytes])
}

async fn stored(objects: &Objects, key: &str, bytes: usize) -> VersionRecord {
    objects.put(Code::REPLICATION, whole_body(content(bytes), target(key)).await).await.unwrap();
    match objects.resolve(&name(key), VersionSelector::Latest).await.unwrap() {
        Version::Found(version) => *version,
        _ => panic!("it was put"),
    }
}

#[test]
fn a_chunk_that_is_read_alone_counts_unless_it_is_small() {
    play(async |_, objects| {
        for (key, bytes, counts) in [("small", 60 << 10, false), ("large", 100 << 10, true)] {
            let version = stored(objects, key, bytes).await;
            assert_eq!(version.chunk_count, 1, "{key}");
            let mut reader = objects.open(&name(key), &version, 0..version.size).await.unwrap();
            assert_eq!(reader.next().await.unwrap().unwrap(), content(bytes));
            assert_eq!(held(objects).1 >= bytes, counts, "{key}");
            drop(reader);
            assert_eq!(held(objects).1, 0);
        }
    });
}

/// Clients that take long are many times as many as have room at once; so were those that hold a connection and read nothing at all.
#[test]
fn clients_that_take_long_keep_nobody_waiting() {
    const CLIENTS: usize = 200;
    play(async |_, objects| {
        let data = TestBody::new(5, 3 << 20).data;
        objects.put(Code::REPLICATION, whole_body(data.clone(), target("large")).await).await.unwrap();
        let version = match objects.resolve(&name("large"), VersionSelector::Latest).await.unwrap() {
            Version::Found(version) => *version,
            _ => panic!("it was put"),
        };
        assert!(version.chunk_count > 4 && objects.read_budget.held_and_most().1 < CLIENTS * (512 << 10));
        let began = Instant::now();
        let begins = (0..CLIENTS).map(async |_| {
            let pieces = pieces_of(objects, &name("large"), &version, 0..version.size).await.ok().unwrap();
            let ObjectPieces::Stream(mut rest) = pieces else { panic!("all at once") };
            (rest.next().await.unwrap().unwrap().to_vec(), rest)
        });
        let mut begun = join_all(begins).await;
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert!(held(objects).1 <= objects.read_budget.held_and_most().1);
        // Half of them read nothing any more. The others take a piece now and then, and get all of them, in order.
        let gone = begun.split_off(CLIENTS / 2);
        let reads = begun.into_iter().enumerate().map(async |(number, (mut all, mut rest))| {
            while let Some(piece) = rest.next().await {
                all.extend_from_slice(&piece.unwrap());
                sleep(Duration::from_millis(50 * number as u64)).await;
            }
            assert!(all == data, "{number}");
        });
        join_all(reads).await;
        drop(gone);
        // What was being read ahead for them comes to its end first.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(held(objects).1, 0);
    });
}

async fn bytes_of(objects: &Objects, key: &str) -> Vec<u8> {
    let Version::Found(version) = objects.resolve(&name(key), VersionSelector::Latest).await.unwrap() else {
        panic!("{key} was put")
    };
    let mut reader = objects.open(&name(key), &version, 0..version.size).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

/// Many times as many as have room at once; some break off, and some stop where they are until the others are done. Each ends with its own bytes.
#[test]
fn uploads_that_take_long_keep_nobody_waiting() {
    const CLIENTS: usize = 150;
    const PIECE_BYTES: usize = 8 << 10;
    play(async |_, objects| {
        let (before, most) = objects.budget.held_and_most();
        assert!(most - before < CLIENTS * (256 << 10));
        let bodies: Vec<Bytes> =
            (0..CLIENTS).map(|number| TestBody::new(number as u64, 300_000 + 1_000 * number).data).collect();
        let (hold, held_back) = tokio::sync::watch::channel(false);
        let uploads = bodies.iter().enumerate().map(async |(number, data)| {
            let (sender, body) = body_channel();
            let send = async {
                for (at, piece) in data.chunks(PIECE_BYTES).enumerate() {
                    sleep(Duration::from_millis(400)).await;
                    if number % 7 == 1 && at == 20 {
                        held_back.clone().wait_for(|done| *done).await.unwrap();
                    }
                    if number % 7 == 2 && at == 25 {
                        return drop(sender);
                    }
                    sender.send(BodyMessage::Piece(data.slice_ref(piece))).await.unwrap();
                }
                sender.send(BodyMessage::End(Box::new(target(&number.to_string())))).await.unwrap();
            };
            tokio::join!(objects.put(Code::REPLICATION, body), send).0
        });
        let others = async {
            sleep(Duration::from_secs(6)).await;
            let began = Instant::now();
            let data = TestBody::new(9_999, 3 << 20).data;
            objects.put(Code::REPLICATION, whole_body(data.clone(), target("fast")).await).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
            assert!(bytes_of(objects, "fast").await == data);
            sleep(Duration::from_secs(60)).await;
            hold.send(true).unwrap();
        };
        let (done, ()) = tokio::join!(join_all(uploads), others);
        // What stragglers hold counts until they have ended.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(held(objects).0, before);
        for (number, (done, data)) in done.into_iter().zip(&bodies).enumerate() {
            assert_eq!(done.is_err(), number % 7 == 2, "{number}");
            if let Ok(done) = done {
                assert_eq!((done.size, done.sha256), (data.len() as u64, Some(protocol::sha256(data))), "{number}");
                assert!(bytes_of(objects, &number.to_string()).await == *data, "{number}");
            }
        }
    });
}

#[test]
fn what_a_client_has_not_taken_yet_counts() {
    play(async |_, objects| {
        let bytes = 100 << 10;
        let version = stored(objects, "large", bytes).await;
        let pieces = pieces_of(objects, &name("large"), &version, 0..version.size).await.ok().unwrap();
        let ObjectPieces::Stream(mut rest) = pieces else { panic!("all at once, and no longer counted") };
        assert!(held(objects).1 >= bytes);
        assert_eq!(rest.next().await.unwrap().unwrap(), content(bytes));
        assert!(held(objects).1 >= bytes, "until the client asks for more");
        assert!(rest.next().await.is_none());
        assert_eq!(held(objects).1, 0);
    });
}
