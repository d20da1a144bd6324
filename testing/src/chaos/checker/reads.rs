//! Rules 1, 2, 4 and 5: what a download may give.

use super::{Key, Outcome, Read};
use crate::chaos::history::Answer;
use std::collections::BTreeMap;

pub(super) fn check(key: &Key, origins: &BTreeMap<String, String>, note: &mut dyn FnMut(&'static str, String)) {
    let mut seen: BTreeMap<u64, &str> = BTreeMap::new();
    let mut latest_seen: Vec<(u64, u64)> = Vec::new();
    let mut reads: Vec<&Read> = key.reads.iter().collect();
    reads.sort_by_key(|read| read.returned);
    for read in reads {
        match &read.answer {
            Answer::Found { version, sha256, size, origin } => {
                if read.asked.is_some_and(|asked| asked != *version) {
                    note("bytes", format!("op {}: version {:?} was asked for, {version} came", read.op, read.asked));
                }
                if let Some(trouble) = wrong_bytes(key, read, *version, sha256) {
                    let from = origins.get(sha256).map_or("of no upload", String::as_str);
                    let told = origin.as_deref().unwrap_or_default();
                    note(
                        "bytes",
                        format!("op {}: version {version}, {size} bytes: {trouble}; they are {from} {told}", read.op),
                    );
                }
                if seen.insert(*version, sha256).is_some_and(|before| before != sha256) {
                    note("bytes", format!("op {}: version {version} has changed", read.op));
                }
                if read.asked.is_none() {
                    check_window(key, read, *version, &latest_seen, note);
                    latest_seen.push((read.returned, *version));
                }
                check_gone(key, read, *version, note);
            }
            Answer::Absent => check_absent(key, read, note),
            _ => {}
        }
    }
}

/// Why these bytes cannot be this version.
fn wrong_bytes(key: &Key, read: &Read, version: u64, sha256: &str) -> Option<String> {
    if let Some((put, _)) = key.stored().find(|(_, stored)| *stored == version) {
        return (put.sha256 != sha256).then(|| format!("not what upload #{} sent", put.n));
    }
    let may_be = key
        .puts
        .iter()
        .any(|put| put.sha256 == sha256 && put.outcome == Outcome::Unknown && put.invoked < read.returned);
    (!may_be).then(|| "of no upload that may have happened".to_owned())
}

/// Rule 4, below: what was acknowledged or read as latest before. Above: nothing can be read before it was asked for.
fn check_window(key: &Key, read: &Read, version: u64, seen: &[(u64, u64)], note: &mut dyn FnMut(&'static str, String)) {
    let acknowledged = key.newest_before(read.invoked).map_or(0, |(_, newest)| newest);
    let read_before = seen.iter().filter(|(returned, _)| *returned < read.invoked).map(|(_, version)| *version).max();
    let floor = acknowledged.max(read_before.unwrap_or(0));
    if version < floor {
        note("window", format!("op {}: the latest was version {version}, after version {floor}", read.op));
    }
    if let Some((put, _)) = key.stored().find(|(put, stored)| *stored == version && put.invoked > read.returned) {
        note("window", format!("op {}: version {version} was read before upload #{} was asked for", read.op, put.n));
    }
}

/// Rule 5: what an acknowledged delete took does not come back. A marker takes the latest, a purge takes every version.
fn check_gone(key: &Key, read: &Read, version: u64, note: &mut dyn FnMut(&'static str, String)) {
    let Some((put, _)) = key.stored().find(|(_, stored)| *stored == version) else { return };
    let taken = |delete: &&super::Delete| {
        delete.outcome == Outcome::Done
            && (delete.purge || read.asked.is_none())
            && put.returned < delete.invoked
            && delete.returned < read.invoked
    };
    if key.deletes.iter().any(|delete| taken(&delete)) {
        note("absent", format!("op {}: version {version} is back after it was deleted", read.op));
    }
}

fn check_absent(key: &Key, read: &Read, note: &mut dyn FnMut(&'static str, String)) {
    let Some(asked) = read.asked else {
        if !key.may_be_absent(read.invoked, read.returned) {
            let (put, version) = key.newest_before(read.invoked).expect("otherwise it may be absent");
            note(
                "lost",
                format!("op {}: nothing is there, after upload #{} was told version {version}", read.op, put.n),
            );
        }
        return;
    };
    let acknowledged = key.stored().find(|(put, version)| *version == asked && put.returned < read.invoked);
    let purged = key.effective().any(|delete| delete.purge && delete.invoked < read.returned);
    if let Some((put, _)) = acknowledged.filter(|_| !purged) {
        note("lost", format!("op {}: version {asked} is gone, which upload #{} was told", read.op, put.n));
    }
}
