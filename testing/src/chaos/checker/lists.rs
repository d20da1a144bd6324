//! Rule 6: what a list must hold and must not.

use super::{Key, List, Outcome};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(list: &List, keys: &BTreeMap<String, Key>, note: &mut dyn FnMut(&'static str, String)) {
    let listed: BTreeSet<&str> = list.names.iter().map(String::as_str).collect();
    if listed.len() != list.names.len() {
        note("lists", format!("op {}: a name is listed twice", list.op));
    }
    for name in listed.iter().filter(|name| !keys.contains_key(**name)) {
        note("lists", format!("op {}: {name} is listed, which nobody uploaded", list.op));
    }
    for (name, key) in keys.iter().filter(|(name, _)| name.starts_with(&list.prefix)) {
        match listed.contains(name.as_str()) {
            true if !may_be_there(key, list) => {
                note("lists", format!("op {}: {name} is listed, and cannot be there", list.op));
            }
            false if !key.may_be_absent(list.invoked, list.returned) => {
                note("lists", format!("op {}: {name} is not listed, and must be there", list.op));
            }
            _ => {}
        }
    }
}

/// Whether some upload may be in effect while the list is made: asked for before it was answered, not refused, and not surely taken by a
/// delete in between.
fn may_be_there(key: &Key, list: &List) -> bool {
    key.puts.iter().any(|put| {
        let surely_deleted = key.deletes.iter().any(|delete| {
            delete.outcome == Outcome::Done && put.returned < delete.invoked && delete.returned < list.invoked
        });
        put.outcome != Outcome::Refused && put.invoked < list.returned && !surely_deleted
    })
}
