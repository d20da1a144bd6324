//! Which fields of a document are hot: by configuration, and by what is seen to change.
//!
//! What it keeps true:
//! - Memory is bounded: so many keys and collections, so many fields of each; what was written longest ago is forgotten first.
//! - A decision never changes what a document says, only how it is stored; so what is seen need not survive this process, and each
//!   coordinator may see something else. What is hot in the version before stays so until it is seen to be quiet.
//! - Each decision has a reason with its numbers.

use super::json::Member;
use super::split::HotNames;
use crate::config::{HOT_FIELDS, HOT_FIELDS_MAX};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A field with a longer value is not made hot by what is seen: three copies cost twice what a code does.
const HOT_VALUE_BYTES_MAX: usize = 1 << 10;
/// What is seen makes no more of a document hot than one byte in so many.
const COLD_SHARE_MIN: usize = 4;
/// Keys of which the last writes are known.
const KEYS_MAX: usize = 512;
/// Collections of which they are.
const COLLECTIONS_MAX: usize = 128;
/// Fields of a key whose values are told apart.
const FIELDS_MAX: usize = 256;
/// Fields of a key or collection whose changes are counted.
const CHANGING_MAX: usize = 64;
/// The longest name of such a field, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The last writes of a key that count, and how many are needed for a verdict.
const KEY_WINDOW: Window = Window { writes_max: 8, writes_min: 4 };
/// The same of a collection.
const COLLECTION_WINDOW: Window = Window { writes_max: 32, writes_min: 16 };

/// Why a field is hot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// The settings say so.
    Configured,
    /// It is hot in the version before, and was not seen to be quiet.
    WasHot,
    /// It changed in so many of the last so many writes of its key.
    KeyChanges {
        /// Writes that changed it.
        changed: u32,
        /// Writes in all.
        of: u32,
    },
    /// It changed in so many of the last so many writes of keys of its collection.
    CollectionChanges {
        /// Writes that changed it.
        changed: u32,
        /// Writes in all.
        of: u32,
    },
}

impl Reason {
    fn is_observed(self) -> bool {
        matches!(self, Reason::KeyChanges { .. } | Reason::CollectionChanges { .. })
    }

    /// Whether a field of this length may be hot for this reason.
    fn allows(self, member: &Member<'_>) -> bool {
        !self.is_observed() || member.value.len() <= HOT_VALUE_BYTES_MAX
    }
}

/// A field and why it is hot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HotField {
    /// The key, or the collection: a key's start up to its last `:` or `/`.
    pub name: String,
    /// The field.
    pub field: String,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
}

/// What is known of hot fields. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HotFields {
    configured: Arc<BTreeSet<String>>,
    hasher: RandomState,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    writes: u64,
    keys: BTreeMap<String, KeySeen>,
    collections: BTreeMap<String, Changes>,
}

/// What was seen of a key.
#[derive(Debug, Default)]
struct KeySeen {
    /// Hashes of names and of the values they had last.
    values: HashMap<u64, u64>,
    changes: Changes,
}

/// Which of the last writes changed which fields.
#[derive(Debug, Default)]
struct Changes {
    /// When the last of them was.
    at: u64,
    writes: u32,
    /// The newest write is the lowest bit.
    fields: BTreeMap<String, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    writes_max: u32,
    writes_min: u32,
}

impl Default for HotFields {
    fn default() -> HotFields {
        HotFields::new(HOT_FIELDS.map(str::to_owned))
    }
}

impl HotFields {
    /// With these configured.
    pub fn new(configured: impl IntoIterator<Item = String>) -> HotFields {
        let configured = Arc::new(configured.into_iter().collect());
        HotFields { configured, hasher: RandomState::new(), seen: Arc::default() }
    }

    /// Those that are configured.
    pub fn configured(&self) -> impl Iterator<Item = &str> {
        self.configured.iter().map(String::as_str)
    }

    /// Which fields of a document of so many bytes are to be hot; `before` are those of the version before.
    pub(super) fn choose(&self, key: &str, members: &[Member<'_>], bytes: usize, before: &HotNames) -> HotNames {
        let seen = self.seen();
        let mut wanted: Vec<(Reason, &Member<'_>)> = members
            .iter()
            .filter_map(|member| Some((self.reason(&seen, key, &member.name, before)?, member)))
            .collect();
        wanted.sort_by_key(|(reason, _)| *reason);
        let mut left = bytes / COLD_SHARE_MIN;
        let mut chosen = HotNames::new();
        for (reason, member) in wanted {
            let length = member.key.len() + member.value.len();
            let is_too_long = !reason.allows(member) || reason.is_observed() && length > left;
            if chosen.len() == HOT_FIELDS_MAX || is_too_long {
                continue;
            }
            left = left.saturating_sub(length);
            chosen.insert(member.name.clone().into_owned());
        }
        chosen
    }

    /// Whether a field is hot by itself, wherever it lies now.
    pub(super) fn is_hot(&self, key: &str, member: &Member<'_>) -> bool {
        self.reason(&self.seen(), key, &member.name, &HotNames::new()).is_some_and(|reason| reason.allows(member))
    }

    fn reason(&self, seen: &Seen, key: &str, name: &str, before: &HotNames) -> Option<Reason> {
        if self.configured.contains(name) {
            return Some(Reason::Configured);
        }
        let of_key = seen.keys.get(key).map(|seen| &seen.changes);
        if let Some((changed, of)) = of_key.and_then(|changes| changes.most(name, KEY_WINDOW)) {
            return Some(Reason::KeyChanges { changed, of });
        }
        let of_collection = collection(key).and_then(|collection| seen.collections.get(collection));
        if let Some((changed, of)) = of_collection.and_then(|changes| changes.most(name, COLLECTION_WINDOW)) {
            return Some(Reason::CollectionChanges { changed, of });
        }
        let is_quiet = of_key.is_some_and(|changes| changes.never(name, KEY_WINDOW));
        (before.contains(name) && !is_quiet).then_some(Reason::WasHot)
    }

    /// A write of these fields was acknowledged: of the whole document, or of these and no others.
    pub(super) fn observe(&self, key: &str, fields: &[(&str, &str)]) {
        let hashed: Vec<(u64, u64)> =
            fields.iter().map(|(name, value)| (self.hasher.hash_one(name), self.hasher.hash_one(value))).collect();
        let mut seen = self.seen();
        seen.writes += 1;
        let at = seen.writes;
        let is_known = seen.keys.contains_key(key);
        let of_key = seen.keys.entry(key.to_owned()).or_default();
        let mut changed = Vec::new();
        for ((name, _), (name_hash, value_hash)) in fields.iter().zip(hashed) {
            let room = of_key.values.len() < FIELDS_MAX || of_key.values.contains_key(&name_hash);
            if room && of_key.values.insert(name_hash, value_hash) != Some(value_hash) && is_known {
                changed.push(*name);
            }
        }
        of_key.changes.at = at;
        if is_known {
            of_key.changes.add(at, &changed, KEY_WINDOW);
            if let Some(collection) = collection(key) {
                let of_collection = seen.collections.entry(collection.to_owned()).or_default();
                of_collection.add(at, &changed, COLLECTION_WINDOW);
                forget_oldest(&mut seen.collections, COLLECTIONS_MAX, |changes| changes.at);
            }
        }
        forget_oldest(&mut seen.keys, KEYS_MAX, |seen| seen.changes.at);
    }

    /// The key is gone.
    pub(super) fn forget(&self, key: &str) {
        self.seen().keys.remove(key);
    }

    /// What is hot because it was seen to change: of collections, and of keys.
    pub fn observed(&self) -> (Vec<HotField>, Vec<HotField>) {
        let seen = self.seen();
        let hot = |of: &String, changes: &Changes, window, reason: fn(u32, u32) -> Reason| -> Vec<HotField> {
            let verdicts = changes.fields.keys().filter_map(|field| {
                let (changed, of_writes) = changes.most(field, window)?;
                Some(HotField { name: of.clone(), field: field.clone(), reason: reason(changed, of_writes) })
            });
            verdicts.collect()
        };
        let of_key = |changed, of| Reason::KeyChanges { changed, of };
        let of_collection = |changed, of| Reason::CollectionChanges { changed, of };
        let keys = seen.keys.iter().flat_map(|(key, seen)| hot(key, &seen.changes, KEY_WINDOW, of_key)).collect();
        let collections = seen.collections.iter();
        (collections.flat_map(|(name, changes)| hot(name, changes, COLLECTION_WINDOW, of_collection)).collect(), keys)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn add(&mut self, at: u64, changed: &[&str], window: Window) {
        self.at = at;
        self.writes = (self.writes + 1).min(window.writes_max);
        let kept = u32::MAX >> (u32::BITS - window.writes_max);
        self.fields.retain(|_, bits| {
            *bits = *bits << 1 & kept;
            *bits != 0
        });
        for name in changed.iter().filter(|name| name.len() <= NAME_BYTES_MAX) {
            if let Some(bits) = self.fields.get_mut(*name) {
                *bits |= 1;
            } else if self.fields.len() < CHANGING_MAX {
                self.fields.insert((*name).to_owned(), 1);
            }
        }
    }

    fn changed(&self, name: &str) -> u32 {
        self.fields.get(name).map_or(0, |bits| bits.count_ones())
    }

    /// In how many of how many writes it changed, if that is most of enough.
    fn most(&self, name: &str, window: Window) -> Option<(u32, u32)> {
        let changed = self.changed(name);
        (self.writes >= window.writes_min && 2 * changed > self.writes).then_some((changed, self.writes))
    }

    /// Whether it changed in none of a full window.
    fn never(&self, name: &str, window: Window) -> bool {
        self.writes == window.writes_max && self.changed(name) == 0
    }
}

/// What a key belongs to: its start up to its last `:` or `/`.
fn collection(key: &str) -> Option<&str> {
    key.rfind([':', '/']).map(|end| &key[..=end])
}

fn forget_oldest<T>(table: &mut BTreeMap<String, T>, most: usize, at: impl Fn(&T) -> u64) {
    if table.len() > most
        && let Some(oldest) = table.iter().min_by_key(|(_, seen)| at(seen)).map(|(name, _)| name.clone())
    {
        table.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::members;
    use super::*;

    fn write(hot: &HotFields, key: &str, n: usize) {
        let (n, note) = (n.to_string(), "a note that stays".repeat(10));
        hot.observe(key, &[("n", &n), ("note", &note)]);
    }

    fn chosen(hot: &HotFields, key: &str, before: &[&str]) -> Vec<String> {
        let text = format!(r#"{{"view_count":1,"n":1,"note":"{}"}}"#, "a note that stays".repeat(10));
        let before = before.iter().map(|name| (*name).to_owned()).collect();
        hot.choose(key, &members(&text), text.len(), &before).into_iter().collect()
    }

    #[test]
    fn what_changed_in_most_writes_of_a_key_becomes_hot_and_cools_when_it_is_quiet() {
        let hot = HotFields::default();
        assert_eq!(chosen(&hot, "user:1", &[]), ["view_count"]);
        for n in 0..=3 {
            write(&hot, "user:1", n);
            assert_eq!(chosen(&hot, "user:1", &[]), ["view_count"], "three changes are too few to tell");
        }
        write(&hot, "user:1", 4);
        assert_eq!(chosen(&hot, "user:1", &[]), ["n", "view_count"]);
        let (collections, keys) = hot.observed();
        let reason = Reason::KeyChanges { changed: 4, of: 4 };
        assert_eq!(keys, [HotField { name: "user:1".to_owned(), field: "n".to_owned(), reason }]);
        assert_eq!(collections, []);
        for _ in 0..7 {
            write(&hot, "user:1", 4);
        }
        assert_eq!(
            chosen(&hot, "user:1", &["n"]),
            ["n", "view_count"],
            "it is hot until it was quiet for a whole window"
        );
        assert_eq!(chosen(&hot, "user:1", &[]), ["view_count"]);
        write(&hot, "user:1", 4);
        assert_eq!(chosen(&hot, "user:1", &["n"]), ["view_count"]);
    }

    #[test]
    fn a_collection_learns_from_its_keys() {
        let hot = HotFields::default();
        for user in 0..16 {
            write(&hot, &format!("user:{user}"), 1);
            write(&hot, &format!("user:{user}"), 2);
        }
        assert_eq!(chosen(&hot, "user:99", &[]), ["n", "view_count"]);
        assert_eq!(chosen(&hot, "other:99", &[]), ["view_count"]);
        assert_eq!(hot.observed().0[0].reason, Reason::CollectionChanges { changed: 16, of: 16 });
    }

    #[test]
    fn what_is_large_is_not_made_hot_by_what_is_seen() {
        let hot = HotFields::new(Vec::new());
        let text = |n: usize| format!(r#"{{"big":"{}{n}","rest":"{}"}}"#, "x".repeat(2_000), "y".repeat(90_000));
        for n in 0..6 {
            let text = text(n);
            let fields: Vec<(&str, &str)> = vec![("big", &text[7..2_011])];
            hot.observe("k", &fields);
        }
        let text = text(9);
        let members = members(&text);
        assert!(hot.choose("k", &members, text.len(), &HotNames::new()).is_empty());
        assert!(!hot.is_hot("k", &members[0]), "an update that leaves it as it is would store it anew as copies");
    }

    #[test]
    fn memory_is_bounded() {
        let hot = HotFields::default();
        for key in 0..2 * KEYS_MAX {
            let names: Vec<String> = (0..2 * FIELDS_MAX).map(|n| format!("f{n}")).collect();
            for value in ["1", "2"] {
                let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value)).collect();
                hot.observe(&format!("c{key}:k"), &fields);
            }
        }
        let seen = hot.seen();
        assert!(seen.keys.len() <= KEYS_MAX && seen.collections.len() <= COLLECTIONS_MAX);
        assert!(
            seen.keys.values().all(|key| key.values.len() <= FIELDS_MAX && key.changes.fields.len() <= CHANGING_MAX)
        );
    }
}
