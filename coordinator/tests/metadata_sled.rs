//! The metadata engine on disk: what a restart finds, whatever became of the index, the process or the machine before.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod metadata_support;

use coordinator::metadata::sled::SledMetadata;
use coordinator::metadata::{Batch, Expect, FullDisks, Metadata, Reserve, Serves};
use metadata_support::{
    CLUSTER, Dir, copy_tree, everything, files, index_was_kept, mark_index, put, remove_tree, wait_until_free,
};
use protocol::{ClusterId, ErrorKind, SystemClock};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Rounds of puts and deletes over a few hundred keys, so that tables, index and log all hold some.
async fn fill(engine: &SledMetadata, rounds: std::ops::Range<u32>) {
    for round in rounds {
        let mut batch = Batch::new();
        for n in 0..20 {
            let key = format!("key/{:04}", (round * 7 + n * 13) % 400);
            if (round + n) % 5 == 0 {
                batch.delete(key)
            } else {
                batch.put(key, format!("{round}/{n}").repeat(20))
            };
        }
        engine.commit(batch).await.unwrap();
    }
}

fn on_another_boot(dir: &mut Dir) {
    static BOOTS: AtomicU64 = AtomicU64::new(1);
    dir.settings.boot = Some(format!("boot {}", BOOTS.fetch_add(1, Ordering::Relaxed)));
}

fn overwrite(path: &Path, content: &[u8]) {
    std::fs::File::create(path).unwrap().write_all(content).unwrap();
}

fn flip_byte(path: &Path, at: u64) {
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x55]).unwrap();
}

#[tokio::test]
async fn a_stopped_engine_opens_as_it_was() {
    let dir = Dir::new().with_small_tables();
    let engine = dir.open();
    fill(&engine, 0..50).await;
    let (before, last) = (everything(&engine).await, put(&engine, "last", "1").await);
    engine.stop().await.unwrap();
    engine.stop().await.unwrap();
    assert_eq!(engine.commit(Batch::new().put("a", "1").clone()).await.unwrap_err().kind, ErrorKind::Unavailable);
    drop(engine);
    mark_index(&dir);

    let engine = dir.open();
    assert!(index_was_kept(&dir));
    assert!(put(&engine, "last", "2").await > last, "revisions go on");
    engine.commit(Batch::new().delete("last").clone()).await.unwrap();
    assert_eq!(everything(&engine).await, before);
}

#[tokio::test]
async fn an_engine_that_was_dropped_opens_as_it_was() {
    for small in [false, true] {
        let dir = if small { Dir::new().with_small_tables() } else { Dir::new() };
        let mut before = Vec::new();
        for round in 0..5 {
            let engine = dir.open();
            assert_eq!(everything(&engine).await, before, "round {round}");
            fill(&engine, round * 10..round * 10 + 10).await;
            before = everything(&engine).await;
            drop(engine);
            wait_until_free(&dir).await;
        }
    }
}

/// Fault matrix 11 and 14: after a power cut the index is not trusted, and the log has all that was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_moment_loses_nothing_acknowledged() {
    let mut dir = Dir::new().with_small_tables();
    on_another_boot(&mut dir);
    let engine = Arc::new(dir.open());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writer = {
        let (engine, acknowledged) = (Arc::clone(&engine), Arc::clone(&acknowledged));
        async move {
            for n in 1..=600 {
                let mut batch = Batch::new();
                batch.put("pair/a", n.to_string()).put("pair/b", n.to_string()).put(format!("n/{n:05}"), "");
                engine.commit(batch).await.unwrap();
                acknowledged.store(n, Ordering::SeqCst);
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "it must run beside the copies, and is awaited")]
    let writer = tokio::spawn(writer);
    for number in 0..12 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let sure = acknowledged.load(Ordering::SeqCst);
        let mut copy = dir.crashed_copy(number);
        on_another_boot(&mut copy);
        let found = copy.open();
        let pair = found.scan(b"pair/", b"pair0", 9).await.unwrap();
        let newest: u64 =
            pair.first().map_or(0, |(_, entry)| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
        assert!(newest >= sure, "copy {number}: {newest}, acknowledged {sure}");
        assert!(pair.windows(2).all(|two| two[0].1 == two[1].1), "copy {number}: half a batch");
        assert_eq!(found.scan(b"n/", b"n0", 4096).await.unwrap().len() as u64, newest, "copy {number}: a hole");
    }
    writer.await.unwrap();
}

/// Fault matrix 39: the index is a cache (I13).
#[tokio::test]
async fn a_deleted_index_is_made_anew() {
    let dir = Dir::new().with_small_tables();
    for stopped in [true, false] {
        let engine = dir.open();
        fill(&engine, 0..30).await;
        let before = everything(&engine).await;
        if stopped {
            engine.stop().await.unwrap();
        }
        drop(engine);
        wait_until_free(&dir).await;
        remove_tree(&dir.index());
        let engine = dir.open();
        assert_eq!(everything(&engine).await, before);
        drop(engine);
        wait_until_free(&dir).await;
    }
}

/// Fault matrix 41: a damaged index costs a rebuild, never an answer.
#[tokio::test]
async fn a_damaged_index_never_gives_a_wrong_answer() {
    let dir = Dir::new().with_small_tables();
    let engine = dir.open();
    fill(&engine, 0..60).await;
    let before = everything(&engine).await;
    engine.stop().await.unwrap();
    drop(engine);
    let mut random = Random(11);
    let mut noticed = 0;
    for number in 0..25 {
        let copy = dir.crashed_copy(number);
        let targets: Vec<_> = files(&copy.index()).into_iter().filter(|path| length(path) > 0).collect();
        for _ in 0..=random.below(8) {
            let target = &targets[random.below(targets.len() as u64) as usize];
            flip_byte(target, random.below(length(target)));
        }
        noticed += check_after_damage(&copy, &before).await;
    }
    assert!(noticed > 0, "no damage was met: the test says nothing");
    for (number, what) in ["cut", "emptied", "garbage"].into_iter().enumerate() {
        let copy = dir.crashed_copy(100 + number);
        for path in files(&copy.index()) {
            match what {
                "cut" => std::fs::File::options().write(true).open(&path).unwrap().set_len(length(&path) / 2).unwrap(),
                "emptied" => overwrite(&path, b""),
                _ => overwrite(&path, &[0xa7; 4096]),
            }
        }
        assert_eq!(check_after_damage(&copy, &before).await, 1, "{what}");
    }
}

/// 1 if damage was noticed. That is when it is met: at the open, or by a read, which then fails until a restart; never by wrong bytes.
async fn check_after_damage(dir: &Dir, before: &[(bytes::Bytes, coordinator::metadata::Entry)]) -> usize {
    mark_index(dir);
    let engine = dir.open();
    let mut failed = false;
    for (key, entry) in before {
        match engine.get(key).await {
            Ok(found) => assert_eq!(found.as_ref(), Some(entry)),
            Err(error) => {
                assert!(matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Corrupt), "{error}");
                failed = true;
            }
        }
    }
    if failed {
        let refused = engine.commit(Batch::new().put("a", "1").clone()).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Unavailable);
        drop(engine);
        wait_until_free(dir).await;
        assert_eq!(everything(&dir.open()).await, before);
    }
    usize::from(failed || !index_was_kept(dir))
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Numbers that look random and are the same every time (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Fault matrix 40.
#[tokio::test]
async fn an_older_index_put_back_is_noticed() {
    let dir = Dir::new().with_small_tables();
    let engine = dir.open();
    fill(&engine, 0..10).await;
    engine.stop().await.unwrap();
    drop(engine);
    let old = dir.sub(1);
    copy_tree(&dir.index(), &old.index());
    let engine = dir.open();
    fill(&engine, 10..30).await;
    let before = everything(&engine).await;
    engine.stop().await.unwrap();
    drop(engine);
    remove_tree(&dir.index());
    copy_tree(&old.index(), &dir.index());
    mark_index(&dir);
    let engine = dir.open();
    assert!(!index_was_kept(&dir));
    assert_eq!(everything(&engine).await, before);
}

#[tokio::test]
async fn only_an_index_that_was_closed_in_order_is_trusted_after_a_reboot() {
    let mut dir = Dir::new().with_small_tables();
    on_another_boot(&mut dir);
    let engine = dir.open();
    fill(&engine, 0..20).await;
    let before = everything(&engine).await;
    let mut cut = dir.crashed_copy(1);
    engine.stop().await.unwrap();
    drop(engine);
    mark_index(&dir);
    mark_index(&cut);
    on_another_boot(&mut dir);
    on_another_boot(&mut cut);
    assert_eq!(everything(&dir.open()).await, before);
    assert!(index_was_kept(&dir), "it was closed in order");
    assert_eq!(everything(&cut.open()).await, before);
    assert!(!index_was_kept(&cut), "it was not");
}

#[tokio::test]
async fn a_damaged_or_missing_checkpoint_costs_a_rebuild() {
    let dir = Dir::new().with_small_tables();
    let engine = dir.open();
    fill(&engine, 0..20).await;
    let before = everything(&engine).await;
    engine.stop().await.unwrap();
    drop(engine);
    for at in (0..length(&dir.checkpoint())).step_by(7) {
        let copy = dir.crashed_copy(at as usize);
        flip_byte(&copy.checkpoint(), at);
        mark_index(&copy);
        assert_eq!(everything(&copy.open()).await, before, "byte {at}");
        assert!(!index_was_kept(&copy), "byte {at}");
    }
    segments::durable::remove_file(dir.checkpoint()).unwrap();
    assert_eq!(everything(&dir.open()).await, before);
}

/// A log cut anywhere gives the state after some prefix of the commits.
#[tokio::test]
async fn a_torn_tail_costs_only_the_groups_in_it() {
    let dir = Dir::new();
    let engine = dir.open();
    for n in 1..=40u32 {
        engine
            .commit(Batch::new().put("last", n.to_string()).put(format!("n/{n:04}"), "x".repeat(300)).clone())
            .await
            .unwrap();
    }
    let segment = dir.segments().pop().unwrap();
    let (name, used) = (segment.file_name().unwrap().to_owned(), 40 * 480);
    let mut random = Random(5);
    for number in 0..20 {
        let mut copy = dir.crashed_copy(number);
        on_another_boot(&mut copy);
        let torn = std::fs::File::options().write(true).open(copy.path.join("log").join(&name)).unwrap();
        torn.set_len(random.below(used)).unwrap();
        let found = copy.open();
        let last = found.get(b"last").await.unwrap();
        let last: usize = last.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
        assert_eq!(found.scan(b"n/", b"n0", 100).await.unwrap().len(), last);
        put(&found, "after", "1").await;
        found.stop().await.unwrap();
        drop(found);
        remove_tree(&copy.index());
        assert_eq!(everything(&copy.open()).await.len(), if last == 0 { 1 } else { last + 2 }, "it goes on from there");
    }
}

/// Fault matrix 42: a group that was committed and cannot be read is never passed over in silence.
#[tokio::test]
async fn a_log_that_does_not_give_the_whole_state_is_refused() {
    let dir = Dir::new();
    let engine = dir.open();
    for n in 0..20 {
        put(&engine, &format!("n/{n:04}"), "some value").await;
    }
    let before = everything(&engine).await;
    engine.stop().await.unwrap();
    drop(engine);
    flip_byte(&dir.segments()[0], 1000);
    let engine = dir.open();
    assert_eq!(everything(&engine).await, before, "the index still has it");
    engine.stop().await.unwrap();
    drop(engine);
    remove_tree(&dir.index());
    for _ in 0..2 {
        let refused = dir.try_open().unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Corrupt);
        assert!(refused.message.contains("are missing or damaged"), "{refused}");
    }
}

#[tokio::test]
async fn a_directory_is_used_by_one_process_of_its_own_cluster() {
    let dir = Dir::new();
    let engine = dir.open();
    put(&engine, "a", "1").await;
    assert_eq!(dir.try_open().unwrap_err().kind, ErrorKind::Conflict);
    engine.stop().await.unwrap();
    drop(engine);
    let other = ClusterId(Uuid::from_u128(8));
    assert_ne!(other, CLUSTER);
    let refused = SledMetadata::open(&dir.path, other, Arc::new(SystemClock), dir.settings.clone()).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Denied);
    segments::durable::remove_file(dir.path.join("identity")).unwrap();
    assert_eq!(dir.try_open().unwrap_err().kind, ErrorKind::Denied, "a log without an identity is not taken over");
}

/// Any number of deletes that leave a marker leaves room for purges and collections.
#[tokio::test]
async fn on_a_full_disk_what_frees_nothing_leaves_room_for_what_does() {
    let mut dir = Dir::new();
    dir.settings.table_entries_max = 8;
    let engine = dir.open();
    put(&engine, "a", "1").await;
    engine.stop().await.unwrap();
    drop(engine);
    dir.settings.free_floor_bytes = 1 << 60;
    let engine = dir.open();
    let commit = async |n: usize, reserve| {
        let mut batch = Batch::new();
        batch.put(format!("k{n}"), "v").use_reserve(reserve);
        engine.commit(batch).await.map_err(|error| error.kind)
    };
    assert_eq!(commit(0, Reserve::None).await, Err(ErrorKind::Full));
    let mut markers = 0;
    while commit(markers, Reserve::Half).await.is_ok() {
        markers += 1;
        assert!(markers < 1_000, "they end");
    }
    assert!(markers > 8, "{markers}");
    for purge in 0..4 {
        commit(10_000 + purge, Reserve::All).await.unwrap();
    }
}

/// Fault matrix 22: nothing half committed, reads go on, and commits do when there is room again.
#[tokio::test]
async fn a_full_disk_refuses_commits_and_serves_reads() {
    let mut dir = Dir::new();
    let engine = dir.open();
    put(&engine, "a", "1").await;
    engine.stop().await.unwrap();
    drop(engine);
    let floor = std::mem::replace(&mut dir.settings.free_floor_bytes, 1 << 60);
    let engine = dir.open();
    let mut batch = Batch::new();
    batch.check("a", Expect::Revision(1)).put("a", "2").put("b", "2");
    for _ in 0..3 {
        assert_eq!(engine.commit(batch.clone()).await.unwrap_err().kind, ErrorKind::Full);
    }
    assert!(matches!(engine.serves(), Serves::DeletesOnly(FullDisks::Coordinators, _)), "{:?}", engine.serves());
    assert_eq!(engine.serves().require_commits().unwrap_err().kind, ErrorKind::Full);
    assert_eq!(&engine.get(b"a").await.unwrap().unwrap().value[..], b"1");
    assert_eq!(engine.get(b"b").await.unwrap(), None);
    // What makes room does not need room; and what was grouped with it is still refused.
    let mut delete = Batch::new();
    delete.check("a", Expect::Revision(1)).delete("a").put("garbage", "a").reclaim();
    let (made_room, refused) = tokio::join!(engine.commit(delete.clone()), engine.commit(batch.clone()));
    made_room.unwrap();
    assert!(
        matches!(engine.serves(), Serves::DeletesOnly(FullDisks::Coordinators, _)),
        "that a delete found room says nothing of others"
    );
    assert_eq!(engine.commit(delete).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(matches!(refused.unwrap_err().kind, ErrorKind::Full | ErrorKind::Conflict));
    engine.stop().await.unwrap();
    drop(engine);
    dir.settings.free_floor_bytes = floor;
    let engine = dir.open();
    let left: Vec<_> = everything(&engine).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["garbage"]);
    put(&engine, "b", "2").await;
    assert_eq!(engine.serves(), Serves::All);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fsync_answers_for_many_commits() {
    let dir = Dir::new();
    let engine = Arc::new(dir.open());
    let writers = (0..64).map(|writer| {
        let engine = Arc::clone(&engine);
        async move {
            for n in 0..20 {
                put(&*engine, &format!("w{writer}/{n}"), "value").await;
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let before = everything(&*engine).await;
    assert_eq!(before.len(), 64 * 20);
    engine.stop().await.unwrap();
    drop(engine);
    let checkpoint = std::fs::read_to_string(dir.checkpoint()).unwrap();
    let checkpoint: serde_json::Value = serde_json::from_str(checkpoint.lines().next().unwrap()).unwrap();
    let groups = checkpoint["sequence"].as_u64().unwrap();
    assert!(groups < 64 * 20 / 4, "{groups} groups for {} commits", 64 * 20);
    assert_eq!(checkpoint["revision"].as_u64(), Some(64 * 20));
    remove_tree(&dir.index());
    assert_eq!(everything(&dir.open()).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_bound_the_log_and_lose_nothing() {
    let dir = Dir::new().with_small_tables().with_short_log();
    let engine = dir.open();
    fill(&engine, 0..100).await;
    engine.commit(Batch::new().put("kept/early", "1").put("gone/early", "1").clone()).await.unwrap();
    engine.commit(Batch::new().delete("gone/early").clone()).await.unwrap();
    let mut longest = 0;
    let mut random = Random(3);
    for round in 0..12 {
        fill(&engine, 100 + round * 40..100 + round * 40 + 20 + random.below(20) as u32).await;
        longest = longest.max(dir.segments().len());
        let before = everything(&engine).await;
        let mut copy = dir.crashed_copy(round as usize);
        on_another_boot(&mut copy);
        let found = copy.open();
        assert_eq!(everything(&found).await, before, "round {round}");
        assert!(found.get(b"kept/early").await.unwrap().is_some());
        remove_tree(&copy.path);
    }
    let first = dir.segments()[0].file_name().unwrap().to_owned();
    assert_ne!(first, Dir::new().open_and_name_first_segment().await, "segments were removed");
    assert!(longest < 60, "{longest} segments of 16 KiB for about 400 entries");
    let before = everything(&engine).await;
    engine.stop().await.unwrap();
    drop(engine);
    remove_tree(&dir.index());
    assert_eq!(everything(&dir.open()).await, before);
}

impl Dir {
    async fn open_and_name_first_segment(self) -> std::ffi::OsString {
        let engine = self.open();
        put(&engine, "a", "1").await;
        self.segments()[0].file_name().unwrap().to_owned()
    }
}
