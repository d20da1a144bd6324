//! Rule 3: versions are unique and rise with real time; and a delete finds nothing only where there may be nothing.

use super::{Key, Outcome};
use std::collections::BTreeMap;

pub(super) fn check(key: &Key, note: &mut dyn FnMut(&'static str, String)) {
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    for (put, version) in key.stored() {
        if let Some(other) = told.insert(version, put.n) {
            note("numbers", format!("uploads #{other} and #{} were both told version {version}", put.n));
        }
    }
    // By time of return; the highest version of all that returned before an upload was asked for must be below its own.
    let mut by_return: Vec<_> = key.stored().collect();
    by_return.sort_by_key(|(put, _)| put.returned);
    let mut highest = Vec::with_capacity(by_return.len());
    for (put, version) in &by_return {
        let before: u64 = highest.last().map_or(0, |(_, version)| *version);
        highest.push((put.returned, before.max(*version)));
    }
    for (put, version) in key.stored() {
        let earlier = highest.partition_point(|(returned, _)| *returned < put.invoked);
        let before = if earlier == 0 { 0 } else { highest[earlier - 1].1 };
        if before >= version {
            note(
                "numbers",
                format!("upload #{} was told version {version}, after version {before} was acknowledged", put.n),
            );
        }
    }
    for delete in key.deletes.iter().filter(|delete| delete.outcome == Outcome::Nothing) {
        if !key.may_be_absent(delete.invoked, delete.returned) {
            note("absent", format!("a delete at {} found nothing, after an acknowledged upload", delete.invoked));
        }
    }
}
