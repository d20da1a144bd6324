//! The contract of `Metadata`, one case per sentence, run against every engine. `MemoryMetadata` is the specification.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

mod metadata_support;

use bytes::Bytes;
use coordinator::metadata::memory::MemoryMetadata;
use coordinator::metadata::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, Entry, Expect, KEY_BYTES_MAX, Metadata, SCAN_ENTRIES_MAX,
    VALUE_BYTES_MAX,
};
use metadata_support::{Dir, put};
use protocol::ErrorKind;
use std::sync::Arc;

type Engine = Arc<dyn Metadata>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    every_case(async || Arc::new(MemoryMetadata::new()) as Engine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sled_keeps_the_contract() {
    let dir = Dir::new();
    let opened = std::cell::Cell::new(0);
    every_case(async || {
        opened.set(opened.get() + 1);
        Arc::new(dir.sub(opened.get()).open()) as Engine
    })
    .await;
}

/// The same with a memtable of a few entries, so that nearly every read meets the index and a move under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sled_keeps_the_contract_while_it_moves_entries() {
    let dir = Dir::new();
    let opened = std::cell::Cell::new(0);
    every_case(async || {
        opened.set(opened.get() + 1);
        Arc::new(dir.sub(opened.get()).with_small_tables().open()) as Engine
    })
    .await;
}

/// Each case gets an engine of its own, empty.
async fn every_case(fresh: impl AsyncFn() -> Engine) {
    a_put_is_read_back(fresh().await).await;
    an_absent_check_holds_only_for_what_is_absent(fresh().await).await;
    a_revision_check_holds_only_for_the_last_put(fresh().await).await;
    a_present_check_holds_for_any_revision(fresh().await).await;
    a_failed_check_leaves_nothing_of_the_batch(fresh().await).await;
    checks_alone_are_answered_and_change_nothing(fresh().await).await;
    an_empty_batch_is_fine(fresh().await).await;
    deletes_are_idempotent_and_scans_do_not_show_them(fresh().await).await;
    revisions_rise_and_are_never_reused(fresh().await).await;
    the_puts_of_a_batch_share_a_revision(fresh().await).await;
    scans_are_ordered_bounded_and_half_open(fresh().await).await;
    bounds_are_refused_and_the_longest_accepted(fresh().await).await;
    a_key_changed_twice_in_a_batch_is_refused(fresh().await).await;
    values_are_bytes_of_any_kind(fresh().await).await;
    a_commit_is_seen_as_soon_as_it_is_answered(fresh().await).await;
    of_racing_commits_exactly_one_wins(fresh().await).await;
    no_increment_is_lost(fresh().await).await;
    readers_never_see_half_a_batch(fresh().await).await;
}

async fn text(engine: &Engine, key: &str) -> Option<String> {
    let entry = engine.get(key.as_bytes()).await.unwrap();
    entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn keys(engine: &Engine, from: &str, to: &str, limit: usize) -> Vec<String> {
    let found = engine.scan(from.as_bytes(), to.as_bytes(), limit).await.unwrap();
    found.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

async fn kind_of(engine: &Engine, batch: &Batch) -> ErrorKind {
    engine.commit(batch.clone()).await.unwrap_err().kind
}

async fn a_put_is_read_back(engine: Engine) {
    assert_eq!(engine.get(b"a").await.unwrap(), None);
    put(&*engine, "a", "1").await;
    assert_eq!(text(&engine, "a").await.as_deref(), Some("1"));
    assert_eq!(text(&engine, "aa").await, None);
    put(&*engine, "a", "2").await;
    assert_eq!(text(&engine, "a").await.as_deref(), Some("2"));
}

async fn an_absent_check_holds_only_for_what_is_absent(engine: Engine) {
    let mut batch = Batch::new();
    batch.check("a", Expect::Absent).put("a", "1");
    engine.commit(batch.clone()).await.unwrap();
    let refused = engine.commit(batch.clone()).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    assert!(refused.message.contains('a'), "the message names the key: {refused}");
    engine.commit(Batch::new().delete("a").clone()).await.unwrap();
    engine.commit(batch).await.unwrap();
}

async fn a_revision_check_holds_only_for_the_last_put(engine: Engine) {
    let first = put(&*engine, "a", "1").await;
    let second = put(&*engine, "a", "2").await;
    let with = |revision| Batch::new().check("a", Expect::Revision(revision)).put("a", "3").clone();
    for wrong in [0, first, second + 1, u64::MAX] {
        assert_eq!(kind_of(&engine, &with(wrong)).await, ErrorKind::Conflict, "revision {wrong}");
    }
    engine.commit(with(second)).await.unwrap();
    assert_eq!(kind_of(&engine, &with(second)).await, ErrorKind::Conflict);
    engine.commit(Batch::new().delete("a").clone()).await.unwrap();
    let last = Batch::new().check("a", Expect::Revision(second)).clone();
    assert_eq!(kind_of(&engine, &last).await, ErrorKind::Conflict, "what is deleted has no revision");
}

async fn a_present_check_holds_for_any_revision(engine: Engine) {
    let batch = Batch::new().check("a", Expect::Present).put("a", "x").clone();
    assert_eq!(kind_of(&engine, &batch).await, ErrorKind::Conflict);
    put(&*engine, "a", "1").await;
    engine.commit(batch.clone()).await.unwrap();
    engine.commit(batch.clone()).await.unwrap();
    engine.commit(Batch::new().delete("a").clone()).await.unwrap();
    assert_eq!(kind_of(&engine, &batch).await, ErrorKind::Conflict);
}

async fn a_failed_check_leaves_nothing_of_the_batch(engine: Engine) {
    put(&*engine, "kept", "1").await;
    let seen = engine.get(b"kept").await.unwrap();
    let mut batch = Batch::new();
    batch.check("other", Expect::Absent).check("kept", Expect::Absent);
    batch.put("new", "x").put("other", "x").delete("kept");
    assert_eq!(kind_of(&engine, &batch).await, ErrorKind::Conflict);
    assert_eq!(keys(&engine, "", "z", 10).await, ["kept"]);
    assert_eq!(engine.get(b"kept").await.unwrap(), seen);
}

async fn checks_alone_are_answered_and_change_nothing(engine: Engine) {
    let revision = put(&*engine, "a", "1").await;
    engine.commit(Batch::new().check("a", Expect::Revision(revision)).clone()).await.unwrap();
    engine.commit(Batch::new().check("b", Expect::Absent).clone()).await.unwrap();
    assert_eq!(kind_of(&engine, Batch::new().check("b", Expect::Revision(1))).await, ErrorKind::Conflict);
    assert_eq!(engine.get(b"a").await.unwrap().unwrap().revision, revision);
}

async fn an_empty_batch_is_fine(engine: Engine) {
    engine.commit(Batch::new()).await.unwrap();
    assert_eq!(keys(&engine, "", "z", 10).await, Vec::<String>::new());
}

async fn deletes_are_idempotent_and_scans_do_not_show_them(engine: Engine) {
    for key in ["a", "b", "c"] {
        put(&*engine, key, "1").await;
    }
    engine.commit(Batch::new().delete("b").delete("never").clone()).await.unwrap();
    engine.commit(Batch::new().delete("b").clone()).await.unwrap();
    assert_eq!(engine.get(b"b").await.unwrap(), None);
    assert_eq!(keys(&engine, "", "z", 10).await, ["a", "c"]);
    assert_eq!(keys(&engine, "", "z", 2).await, ["a", "c"], "what is deleted does not count against the limit");
}

async fn revisions_rise_and_are_never_reused(engine: Engine) {
    let mut last = 0;
    for round in 0..20 {
        let revision = put(&*engine, "a", "same bytes").await;
        assert!(revision > last, "round {round}: {revision} after {last}");
        last = revision;
        if round % 3 == 0 {
            engine.commit(Batch::new().delete("a").clone()).await.unwrap();
        }
        let other = put(&*engine, "b", "1").await;
        assert!(other > last);
        last = other;
    }
}

async fn the_puts_of_a_batch_share_a_revision(engine: Engine) {
    put(&*engine, "a", "0").await;
    engine.commit(Batch::new().put("a", "1").put("b", "1").clone()).await.unwrap();
    let (a, b) = (engine.get(b"a").await.unwrap().unwrap(), engine.get(b"b").await.unwrap().unwrap());
    assert_eq!(a.revision, b.revision);
}

async fn scans_are_ordered_bounded_and_half_open(engine: Engine) {
    for key in ["b", "a", "c", "aa", "a\0", "d"] {
        put(&*engine, key, key).await;
    }
    assert_eq!(keys(&engine, "", "z", 10).await, ["a", "a\0", "aa", "b", "c", "d"]);
    assert_eq!(keys(&engine, "a", "c", 10).await, ["a", "a\0", "aa", "b"], "the end is not part of a range");
    assert_eq!(keys(&engine, "a\0", "z", 2).await, ["a\0", "aa"]);
    assert_eq!(keys(&engine, "d", "z", 10).await, ["d"]);
    for (from, to, limit) in [("a", "z", 0), ("c", "c", 5), ("c", "a", 5), ("e", "z", 5)] {
        assert_eq!(keys(&engine, from, to, limit).await, Vec::<String>::new(), "{from}..{to} limit {limit}");
    }
    let found = engine.scan(b"b", b"c", 5).await.unwrap();
    assert_eq!(found[0].1, engine.get(b"b").await.unwrap().unwrap(), "a scan gives what a get gives");
}

async fn bounds_are_refused_and_the_longest_accepted(engine: Engine) {
    let (longest_key, longest_value) = (vec![b'k'; KEY_BYTES_MAX], vec![7; VALUE_BYTES_MAX]);
    engine.commit(Batch::new().put(longest_key.clone(), longest_value.clone()).clone()).await.unwrap();
    assert_eq!(engine.get(&longest_key).await.unwrap().unwrap().value, longest_value);

    let mut many = Batch::new();
    (0..BATCH_OPERATIONS_MAX).for_each(|n| {
        many.put(n.to_be_bytes().to_vec(), "v");
    });
    engine.commit(many.clone()).await.unwrap();
    many.check("one more", Expect::Absent);
    let mut heavy = Batch::new();
    (0..=BATCH_BYTES_MAX / VALUE_BYTES_MAX).for_each(|n| {
        heavy.put(n.to_be_bytes().to_vec(), vec![0; VALUE_BYTES_MAX]);
    });
    let long_key = [longest_key.as_slice(), b"k"].concat();
    let refused = [
        many,
        heavy,
        Batch::new().put(long_key.clone(), "v").clone(),
        Batch::new().delete(long_key.clone()).clone(),
        Batch::new().check(long_key.clone(), Expect::Absent).clone(),
        Batch::new().put("", "v").clone(),
        Batch::new().put("long", vec![0; VALUE_BYTES_MAX + 1]).clone(),
    ];
    for batch in &refused {
        assert_eq!(kind_of(&engine, batch).await, ErrorKind::Invalid);
    }
    assert_eq!(engine.get(&long_key).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(engine.get(b"").await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(engine.scan(b"", b"z", SCAN_ENTRIES_MAX + 1).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(engine.scan(b"", b"\xff", SCAN_ENTRIES_MAX).await.unwrap().len(), BATCH_OPERATIONS_MAX + 1);
}

async fn a_key_changed_twice_in_a_batch_is_refused(engine: Engine) {
    assert_eq!(kind_of(&engine, Batch::new().put("a", "1").put("a", "2")).await, ErrorKind::Invalid);
    assert_eq!(kind_of(&engine, Batch::new().put("a", "1").delete("a")).await, ErrorKind::Invalid);
    assert_eq!(engine.get(b"a").await.unwrap(), None);
}

async fn values_are_bytes_of_any_kind(engine: Engine) {
    let key = Bytes::from_static(b"\xff\x00\xfe");
    engine.commit(Batch::new().put(key.clone(), Bytes::new()).clone()).await.unwrap();
    let entry = engine.get(&key).await.unwrap().unwrap();
    assert_eq!(entry.value, Bytes::new());
    assert_eq!(engine.scan(b"\xff", b"\xff\xff", 9).await.unwrap(), [(key, entry)]);
}

async fn a_commit_is_seen_as_soon_as_it_is_answered(engine: Engine) {
    for n in 0..200 {
        let (key, value) = (format!("k{}", n % 7), format!("{n}"));
        put(&*engine, &key, &value).await;
        assert_eq!(text(&engine, &key).await, Some(value));
        let listed = keys(&engine, &key, &format!("{key}\0"), 1).await;
        assert_eq!(listed, [key]);
    }
}

async fn of_racing_commits_exactly_one_wins(engine: Engine) {
    for round in 0..10 {
        let key = format!("race{round}");
        let racers = (0..16).map(|racer| {
            let (engine, key) = (Arc::clone(&engine), key.clone());
            async move {
                let mut batch = Batch::new();
                batch.check(key.clone(), Expect::Absent).put(key, format!("{racer}"));
                batch.put(format!("won/{round}/{racer}"), "");
                engine.commit(batch).await.map(|()| racer)
            }
        });
        let outcomes = futures_util::future::join_all(racers).await;
        let winners: Vec<i32> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let losers = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        losers.for_each(|error| assert_eq!(error.kind, ErrorKind::Conflict));
        assert_eq!(text(&engine, &key).await, Some(winners[0].to_string()));
        let traces = keys(&engine, &format!("won/{round}/"), &format!("won/{round}0"), 99).await;
        assert_eq!(traces, [format!("won/{round}/{}", winners[0])], "a batch that lost left nothing");
    }
}

async fn no_increment_is_lost(engine: Engine) {
    put(&*engine, "counter", "0").await;
    let adders = (0..8).map(|_| {
        let engine = Arc::clone(&engine);
        async move {
            for _ in 0..25 {
                while !increment(&engine).await {}
            }
        }
    });
    futures_util::future::join_all(adders).await;
    assert_eq!(text(&engine, "counter").await.as_deref(), Some("200"));
}

async fn increment(engine: &Engine) -> bool {
    let Entry { value, revision } = engine.get(b"counter").await.unwrap().unwrap();
    let next = std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap() + 1;
    let mut batch = Batch::new();
    batch.check("counter", Expect::Revision(revision)).put("counter", next.to_string());
    match engine.commit(batch).await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Conflict);
            false
        }
    }
}

async fn readers_never_see_half_a_batch(engine: Engine) {
    let writer = {
        let engine = Arc::clone(&engine);
        async move {
            for n in 0..300 {
                let mut batch = Batch::new();
                for key in ["pair/a", "pair/b", "pair/c"] {
                    if n % 5 == 4 {
                        batch.delete(key)
                    } else {
                        batch.put(key, n.to_string())
                    };
                }
                engine.commit(batch).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    };
    let reader = {
        let engine = Arc::clone(&engine);
        async move {
            for _ in 0..300 {
                let seen = engine.scan(b"pair/", b"pair0", 9).await.unwrap();
                assert!(seen.is_empty() || seen.len() == 3, "{seen:?}");
                assert!(seen.windows(2).all(|two| two[0].1 == two[1].1), "{seen:?}");
                tokio::task::yield_now().await;
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "both must run at once, and both are awaited")]
    let tasks = (tokio::spawn(writer), tokio::spawn(reader));
    tasks.0.await.unwrap();
    tasks.1.await.unwrap();
}
