//! Reads everything back and holds it against the ledger (faults 4.4, checks 1, 2 and 4).
//!
//! What must hold, for every key:
//! 1. an acknowledged upload is there under its version, bit-exact (law 1);
//! 2. versions are unique, rise, and rise with real time (law 7);
//! 3. a version that no upload was told of is what an upload of unknown outcome sent, whole, and once (law 3);
//! 4. every acknowledged delete left its marker;
//! 5. latest and listing agree with the newest entry of the history.

use super::body::{body_of, digest_of};
use super::client::Client;
use super::ledger::{Attempt, Ledger, Outcome, Verb};
use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use std::collections::BTreeMap;

/// Keys that are read back at the same time.
const KEYS_AT_ONCE: usize = 4;

/// What was read back.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadBack {
    /// Versions downloaded and compared.
    pub versions: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Reads back all that `ledger` knows. No write may be under way. Panics at the first thing that is not as it must be.
pub async fn read_back(client: &Client, ledger: &Ledger) -> ReadBack {
    ledger.assert_none_wrong();
    let listed = client.names("load/").await;
    let keys = ledger.names();
    let stray: Vec<&String> = listed.iter().filter(|name| !keys.contains(name)).collect();
    assert!(stray.is_empty(), "names that nobody uploaded are listed: {stray:?}");
    let checks = keys.iter().map(|key| check_key(client, ledger, key, listed.contains(key)));
    let parts: Vec<ReadBack> = stream::iter(checks).buffer_unordered(KEYS_AT_ONCE).collect().await;
    parts.into_iter().fold(ReadBack::default(), |sum, part| ReadBack {
        versions: sum.versions + part.versions,
        bytes: sum.bytes + part.bytes,
    })
}

async fn check_key(client: &Client, ledger: &Ledger, key: &str, listed: bool) -> ReadBack {
    let attempts = ledger.attempts(key);
    let stored = stored_versions(key, &attempts);
    let may_exist = attempts
        .iter()
        .any(|attempt| attempt.verb == Verb::Put && matches!(attempt.outcome, Outcome::Stored(_) | Outcome::Unknown));
    if stored.is_empty() && client.download(key, None).await.status == 404 && !may_exist {
        assert!(!listed, "{key} is listed, but no upload of it succeeded");
        return ReadBack::default();
    }
    let history = match stored.is_empty() {
        // An upload of unknown outcome may not have happened.
        true if client.get(&format!("/versions?filename={}", super::encode(key.as_bytes()))).await.status == 404 => {
            return ReadBack::default();
        }
        _ => client.versions(key).await,
    };
    let numbers: Vec<u64> =
        history.iter().map(|entry| entry["version"].as_u64().expect("a version has a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{key}: versions do not rise: {numbers:?}");
    check_real_time(key, &attempts);
    check_history(ledger, key, &attempts, &stored, &history);
    check_markers(key, &attempts, &history);
    check_last(key, &attempts, &history);
    let last_is_live = history.last().is_some_and(|entry| entry["deleted"] == false);
    assert_eq!(listed, last_is_live, "{key}: the listing must agree with the newest of {history:#?}");
    let latest = client.download(key, None).await;
    assert_eq!(latest.status, if last_is_live { 200 } else { 404 }, "{key}: latest: {latest}");
    let mut done = ReadBack::default();
    for (version, n) in &stored {
        let reply = client.download(key, Some(*version)).await.expect(200);
        assert!(reply.body == body_of(ledger.seed, key, *n), "{key} version {version} is not what upload {n} sent");
        if numbers.last() == Some(version) {
            assert!(latest.body == reply.body, "{key}: latest is not version {version}");
        }
        done = ReadBack { versions: done.versions + 1, bytes: done.bytes + reply.body.len() };
    }
    done
}

/// Version → attempt; no two attempts were told the same.
fn stored_versions(key: &str, attempts: &[Attempt]) -> BTreeMap<u64, u64> {
    let mut stored = BTreeMap::new();
    for (n, attempt) in attempts.iter().enumerate() {
        if let Outcome::Stored(version) = attempt.outcome
            && let Some(other) = stored.insert(version, n as u64)
        {
            panic!("{key}: uploads {other} and {n} were both told version {version}");
        }
    }
    stored
}

fn check_real_time(key: &str, attempts: &[Attempt]) {
    let version = |attempt: &Attempt| match attempt.outcome {
        Outcome::Stored(version) => Some(version),
        _ => None,
    };
    for (n, later) in attempts.iter().enumerate() {
        let Some(later_version) = version(later) else { continue };
        for (m, earlier) in attempts[..n].iter().enumerate() {
            if let (Some(earlier_version), Some(ended)) = (version(earlier), earlier.ended)
                && ended < later.begun
            {
                let rises = earlier_version < later_version;
                assert!(rises, "{key}: upload {m} ended as {earlier_version} before {n} began as {later_version}");
            }
        }
    }
}

fn check_history(ledger: &Ledger, key: &str, attempts: &[Attempt], stored: &BTreeMap<u64, u64>, history: &[Value]) {
    let unknown = |(n, attempt): (usize, &Attempt)| {
        (attempt.verb == Verb::Put && attempt.outcome == Outcome::Unknown)
            .then(|| digest_of(ledger.seed, key, n as u64))
    };
    let mut unknown: Vec<String> = attempts.iter().enumerate().filter_map(unknown).collect();
    let mut found = 0;
    for entry in history.iter().filter(|entry| entry["deleted"] == false) {
        let (version, digest) =
            (entry["version"].as_u64().expect("a number"), entry["sha256"].as_str().expect("a digest"));
        match stored.get(&version) {
            Some(n) => {
                found += 1;
                assert_eq!(digest, digest_of(ledger.seed, key, *n), "{key} version {version} has another digest");
            }
            None => {
                let at = unknown.iter().position(|candidate| candidate == digest);
                let at = at.unwrap_or_else(|| {
                    panic!("{key}: version {version} is of no upload that may have happened: {entry}")
                });
                unknown.swap_remove(at);
            }
        }
    }
    assert_eq!(found, stored.len(), "{key}: of versions {stored:?} some are missing in {history:#?}");
}

fn check_markers(key: &str, attempts: &[Attempt], history: &[Value]) {
    let deletes =
        |outcome| attempts.iter().filter(|attempt| attempt.verb == Verb::Delete && attempt.outcome == outcome).count();
    let markers = history.iter().filter(|entry| entry["deleted"] == true).count();
    let (sure, unsure) = (deletes(Outcome::Deleted), deletes(Outcome::Unknown));
    assert!(
        (sure..=sure + unsure).contains(&markers),
        "{key}: {markers} markers of {sure} to {} deletes",
        sure + unsure
    );
}

/// If the last attempt began after all others had ended, it decides what is there.
fn check_last(key: &str, attempts: &[Attempt], history: &[Value]) {
    let Some((last, others)) = attempts.split_last() else { return };
    let alone = others
        .iter()
        .all(|other| other.ended.is_some_and(|ended| ended < last.begun) && other.outcome != Outcome::Unknown);
    let newest = history.last().expect("a key with versions has a history");
    match last.outcome {
        Outcome::Stored(version) if alone => assert_eq!(newest["version"], version, "{key}: newest is {newest}"),
        Outcome::Deleted | Outcome::NothingToDelete if alone => assert_eq!(newest["deleted"], true, "{key}: {newest}"),
        _ => {}
    }
}
