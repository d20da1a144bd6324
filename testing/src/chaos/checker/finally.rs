//! Rule 7: the versions of a key, as told when no write is under way any more.

use super::{Key, Outcome, Read};
use crate::chaos::history::{Answer, VersionLine};

pub(super) fn check(key: &Key, note: &mut dyn FnMut(&'static str, String)) {
    for read in &key.reads {
        if let Answer::History { versions } = &read.answer {
            check_versions(key, read, versions, note);
        }
    }
}

fn check_versions(key: &Key, read: &Read, versions: &[VersionLine], note: &mut dyn FnMut(&'static str, String)) {
    if versions.windows(2).any(|pair| pair[0].version >= pair[1].version) {
        note("numbers", format!("op {}: the versions told do not rise", read.op));
    }
    let purged = key.effective().any(|delete| delete.purge && delete.invoked < read.returned);
    for (put, version) in key.stored().filter(|(put, _)| put.returned < read.invoked) {
        let told = versions.iter().find(|line| line.version == version);
        match told {
            Some(line) if line.sha256.as_ref() != Some(&put.sha256) => {
                note("bytes", format!("op {}: version {version} is not told as upload #{} sent it", read.op, put.n));
            }
            None if !purged => note("lost", format!("op {}: version {version} is not told", read.op)),
            _ => {}
        }
    }
    // Each upload of unknown outcome may be one of the others, once.
    let mut unknown: Vec<&str> =
        key.puts.iter().filter(|put| put.outcome == Outcome::Unknown).map(|put| put.sha256.as_str()).collect();
    let others = versions.iter().filter(|line| key.stored().all(|(_, version)| version != line.version));
    for line in others {
        let Some(sha256) = &line.sha256 else { continue };
        match unknown.iter().position(|candidate| candidate == sha256) {
            Some(at) => drop(unknown.swap_remove(at)),
            None => note(
                "bytes",
                format!("op {}: version {} is of no upload that may have happened", read.op, line.version),
            ),
        }
    }
    let markers = versions.iter().filter(|line| line.sha256.is_none()).count();
    let deletes = |outcome| key.deletes.iter().filter(|delete| !delete.purge && delete.outcome == outcome).count();
    let (sure, unsure) = (deletes(Outcome::Done), deletes(Outcome::Unknown));
    if !purged && !(sure..=sure + unsure).contains(&markers) {
        note("end", format!("op {}: {markers} markers of {sure} to {} deletes", read.op, sure + unsure));
    }
}
