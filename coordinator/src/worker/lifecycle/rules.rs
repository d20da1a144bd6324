//! What a bucket's lifecycle rules say of one version, marker or upload at a moment. Pure; who acts on it is in [`super`].
//!
//! What it keeps true:
//! - Days are whole days of UTC, as S3 counts them: what is due after n days is due at the first midnight after n times 24 hours. Where
//!   several rules say something, the one that takes away first wins.
//! - What is of a class already is not moved there, and neither is a marker, nor what is smaller than [`MOVED_BYTES_MIN`] where the rule
//!   says nothing of sizes.

use crate::metadata::records::{LifecycleRule, RuleFilter, StorageClass};
use std::collections::BTreeMap;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// What is smaller is moved only by rules whose filter has a size. So S3 does for `STANDARD_IA` under both values of
/// `x-amz-transition-default-minimum-object-size`: the one that varies makes an exception of its archives alone.
const MOVED_BYTES_MIN: u64 = 128 << 10;

/// A version or marker among the others of its key.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    /// Its key.
    pub(super) key: &'a str,
    /// Whether it is a marker.
    pub(super) is_marker: bool,
    /// Bytes.
    pub(super) size: u64,
    /// When it was made.
    pub(super) modified_ms: u64,
    /// Its storage class.
    pub(super) class: StorageClass,
    /// When another took its place, and how many came between that and it; `None`: it is the newest.
    pub(super) succeeded: Option<Succeeded>,
}

/// What came after a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Succeeded {
    /// When the next newer one was made.
    pub(super) at_ms: u64,
    /// Versions and markers that are newer than it, but not the newest.
    pub(super) newer: u32,
}

/// What is to become of a version or marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Kept,
    /// The object is deleted, as a client would.
    Deleted,
    /// The marker goes, if there is nothing below it.
    UnlessHiding,
    /// It goes for good.
    Removed,
}

/// Where a version is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// To which class.
    pub(super) class: StorageClass,
    /// Why, for people.
    pub(super) reason: String,
}

/// Whether any of the rules asks for anything that looks at versions.
pub(super) fn look_at_versions(rules: &[LifecycleRule]) -> bool {
    rules.iter().any(|rule| {
        let expires = rule.expire_days.is_some() || rule.expire_at_ms.is_some() || rule.expire_markers;
        let moves = !rule.transitions.is_empty() || !rule.noncurrent_transitions.is_empty();
        rule.enabled && (expires || moves || rule.noncurrent_days.is_some())
    })
}

/// Whether any of the rules asks for anything of uploads.
pub(super) fn look_at_uploads(rules: &[LifecycleRule]) -> bool {
    rules.iter().any(|rule| rule.enabled && rule.abort_uploads_days.is_some())
}

/// What the rules whose filters let `tags` pass say of `subject`.
pub(super) fn fate(
    rules: &[LifecycleRule],
    subject: &Subject<'_>,
    tags: &BTreeMap<String, String>,
    now_ms: u64,
) -> Fate {
    let fates = rules.iter().filter(|rule| rule.enabled && passes(&rule.filter, subject, tags));
    fates.map(|rule| fate_by(rule, subject, now_ms)).find(|fate| *fate != Fate::Kept).unwrap_or(Fate::Kept)
}

/// Where the rules whose filters let `tags` pass want `subject` moved, as long as it stays.
pub(super) fn moved(
    rules: &[LifecycleRule],
    subject: &Subject<'_>,
    tags: &BTreeMap<String, String>,
    now_ms: u64,
) -> Option<Move> {
    let passing = rules.iter().filter(|rule| rule.enabled && passes(&rule.filter, subject, tags));
    passing.filter_map(|rule| moved_by(rule, subject, now_ms)).next()
}

/// Whether what becomes of `subject` depends on its tags.
pub(super) fn asks_for_tags(rules: &[LifecycleRule], subject: &Subject<'_>, now_ms: u64) -> bool {
    let tagged = rules.iter().filter(|rule| rule.enabled && !rule.filter.tags.is_empty());
    tagged
        .filter(|rule| passes(&rule.filter, subject, &rule.filter.tags))
        .any(|rule| fate_by(rule, subject, now_ms) != Fate::Kept || moved_by(rule, subject, now_ms).is_some())
}

/// Whether an upload of `key` that was begun then is to be aborted. It has no size and no tags yet, so only prefixes say which.
pub(super) fn is_upload_over(rules: &[LifecycleRule], key: &str, initiated_ms: u64, now_ms: u64) -> bool {
    rules.iter().any(|rule| {
        let days = rule.abort_uploads_days.filter(|_| rule.enabled && key.starts_with(&rule.filter.prefix));
        days.is_some_and(|days| due_ms(initiated_ms, days) <= now_ms)
    })
}

fn passes(filter: &RuleFilter, subject: &Subject<'_>, tags: &BTreeMap<String, String>) -> bool {
    let sizes_pass = subject.is_marker
        || filter.larger_than.is_none_or(|bytes| subject.size > bytes)
            && filter.smaller_than.is_none_or(|bytes| subject.size < bytes);
    let has = |(name, value): (&String, &String)| tags.get(name) == Some(value);
    subject.key.starts_with(&filter.prefix) && sizes_pass && filter.tags.iter().all(has)
}

fn fate_by(rule: &LifecycleRule, subject: &Subject<'_>, now_ms: u64) -> Fate {
    if let Some(succeeded) = subject.succeeded {
        let is_due = rule.noncurrent_days.is_some_and(|days| due_ms(succeeded.at_ms, days) <= now_ms);
        let is_kept = succeeded.newer < rule.noncurrent_kept.unwrap_or(0);
        return if is_due && !is_kept { Fate::Removed } else { Fate::Kept };
    }
    let is_due = rule.expire_days.is_some_and(|days| due_ms(subject.modified_ms, days) <= now_ms)
        || rule.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms && subject.modified_ms < at_ms);
    match subject.is_marker {
        true if rule.expire_markers || is_due => Fate::UnlessHiding,
        false if is_due => Fate::Deleted,
        _ => Fate::Kept,
    }
}

fn moved_by(rule: &LifecycleRule, subject: &Subject<'_>, now_ms: u64) -> Option<Move> {
    let has_sizes = rule.filter.larger_than.is_some() || rule.filter.smaller_than.is_some();
    if subject.is_marker || !has_sizes && subject.size < MOVED_BYTES_MIN {
        return None;
    }
    let to = |class, why: String| {
        let reason = format!("lifecycle rule '{}': {why}", rule.id);
        (class != subject.class).then_some(Move { class, reason })
    };
    if let Some(succeeded) = subject.succeeded {
        return rule.noncurrent_transitions.iter().find_map(|transition| {
            let is_due = due_ms(succeeded.at_ms, transition.days) <= now_ms;
            let is_kept = succeeded.newer < transition.kept.unwrap_or(0);
            if is_due && !is_kept {
                to(transition.class, format!("{} noncurrent", told(transition.days)))
            } else {
                None
            }
        });
    }
    rule.transitions.iter().find_map(|transition| match (transition.days, transition.at_ms) {
        (Some(days), _) if due_ms(subject.modified_ms, days) <= now_ms => {
            to(transition.class, format!("{} old", told(days)))
        }
        // As S3 has it, what is made after the date is moved, too. A rule that deletes spares that (`fate_by`).
        (_, Some(at_ms)) if at_ms <= now_ms => to(transition.class, "its date has come".to_owned()),
        _ => None,
    })
}

fn told(days: u32) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

fn due_ms(since_ms: u64, days: u32) -> u64 {
    since_ms.saturating_add(u64::from(days) * DAY_MS).div_ceil(DAY_MS).saturating_mul(DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::{NoncurrentTransition, Transition};

    const NOON: u64 = 100 * DAY_MS + DAY_MS / 2;

    fn rule() -> LifecycleRule {
        LifecycleRule { enabled: true, ..LifecycleRule::default() }
    }

    fn newest(key: &str, size: u64) -> Subject<'_> {
        Subject { key, is_marker: false, size, modified_ms: NOON, class: StorageClass::Standard, succeeded: None }
    }

    fn fate_at(rules: &[LifecycleRule], subject: &Subject<'_>, now_ms: u64) -> Fate {
        fate(rules, subject, &BTreeMap::new(), now_ms)
    }

    #[test]
    fn days_end_at_midnight() {
        let rules = [LifecycleRule { expire_days: Some(2), ..rule() }];
        let midnight = 103 * DAY_MS;
        assert_eq!(fate_at(&rules, &newest("k", 1), NOON + 2 * DAY_MS), Fate::Kept);
        assert_eq!(fate_at(&rules, &newest("k", 1), midnight - 1), Fate::Kept);
        assert_eq!(fate_at(&rules, &newest("k", 1), midnight), Fate::Deleted);
        let off = [LifecycleRule { enabled: false, ..rules[0].clone() }];
        assert_eq!(fate_at(&off, &newest("k", 1), u64::MAX), Fate::Kept);
        assert!(look_at_versions(&rules) && !look_at_versions(&off));
    }

    #[test]
    fn a_date_is_for_what_was_made_before_it() {
        let rules = [LifecycleRule { expire_at_ms: Some(NOON + 5), ..rule() }];
        assert_eq!(fate_at(&rules, &newest("k", 1), NOON + 4), Fate::Kept);
        assert_eq!(fate_at(&rules, &newest("k", 1), NOON + 5), Fate::Deleted);
        let later = Subject { modified_ms: NOON + 5, ..newest("k", 1) };
        assert_eq!(fate_at(&rules, &later, NOON + 6), Fate::Kept);
    }

    #[test]
    fn filters_ask_for_prefix_size_and_tags() {
        let tags = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let filter = RuleFilter { prefix: "log/".to_owned(), tags, larger_than: Some(9), smaller_than: Some(20) };
        let rules = [LifecycleRule { expire_days: Some(1), filter, ..rule() }];
        let (late, both) =
            (u64::MAX, BTreeMap::from([("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()))));
        for (key, size, fits) in [("log/x", 10, true), ("log/x", 9, false), ("log/x", 20, false), ("lo", 10, false)] {
            let subject = newest(key, size);
            assert_eq!(asks_for_tags(&rules, &subject, late), fits);
            assert_eq!(fate(&rules, &subject, &both, late) == Fate::Deleted, fits, "{key} {size}");
            assert_eq!(fate_at(&rules, &subject, late), Fate::Kept);
        }
        assert!(!asks_for_tags(&rules, &newest("log/x", 10), NOON), "what is not due needs no look at its tags");
    }

    #[test]
    fn older_versions_go_by_when_they_were_succeeded_save_for_the_newest_of_them() {
        let rules = [LifecycleRule { noncurrent_days: Some(1), noncurrent_kept: Some(2), ..rule() }];
        let older = |newer| Subject { succeeded: Some(Succeeded { at_ms: NOON, newer }), ..newest("k", 1) };
        for (newer, expected) in [(0, Fate::Kept), (1, Fate::Kept), (2, Fate::Removed)] {
            assert_eq!(fate_at(&rules, &older(newer), NOON + 2 * DAY_MS), expected);
        }
        assert_eq!(fate_at(&rules, &older(2), NOON + DAY_MS), Fate::Kept);
        assert_eq!(fate_at(&rules, &newest("k", 1), u64::MAX), Fate::Kept);
    }

    #[test]
    fn markers_that_hide_nothing_go_and_uploads_by_their_age() {
        let marker = Subject { is_marker: true, ..newest("k", 0) };
        let markers = [LifecycleRule { expire_markers: true, ..rule() }];
        assert_eq!(fate_at(&markers, &marker, NOON), Fate::UnlessHiding);
        assert_eq!(fate_at(&markers, &newest("k", 1), u64::MAX), Fate::Kept);
        let uploads = [LifecycleRule { abort_uploads_days: Some(1), ..rule() }];
        assert!(look_at_uploads(&uploads) && !look_at_versions(&uploads) && !look_at_uploads(&markers));
        assert!(is_upload_over(&uploads, "k", NOON, 102 * DAY_MS));
        assert!(!is_upload_over(&uploads, "k", NOON, 102 * DAY_MS - 1));
    }

    const IA: StorageClass = StorageClass::StandardIa;

    fn after_days(days: u32) -> LifecycleRule {
        let transitions = vec![Transition { days: Some(days), at_ms: None, class: IA }];
        LifecycleRule { id: "r".to_owned(), transitions, ..rule() }
    }

    fn reason_at(rules: &[LifecycleRule], subject: &Subject<'_>, now_ms: u64) -> Option<String> {
        let moved = moved(rules, subject, &BTreeMap::new(), now_ms)?;
        assert_eq!(moved.class, IA);
        Some(moved.reason)
    }

    #[test]
    fn versions_move_when_they_are_due_and_once() {
        let rules = [after_days(30)];
        let due = 131 * DAY_MS;
        assert!(look_at_versions(&rules) && !look_at_uploads(&rules));
        assert_eq!(reason_at(&rules, &newest("k", MOVED_BYTES_MIN), due - 1), None);
        let reason = reason_at(&rules, &newest("k", MOVED_BYTES_MIN), due);
        assert_eq!(reason.as_deref(), Some("lifecycle rule 'r': 30 days old"));
        let there = Subject { class: IA, ..newest("k", MOVED_BYTES_MIN) };
        assert_eq!(reason_at(&rules, &there, due), None);
        let marker = Subject { is_marker: true, ..newest("k", MOVED_BYTES_MIN) };
        assert_eq!(reason_at(&rules, &marker, due), None);
        let off = [LifecycleRule { enabled: false, ..after_days(30) }];
        assert_eq!(reason_at(&off, &newest("k", MOVED_BYTES_MIN), due), None);
        assert_eq!(reason_at(&[after_days(0)], &newest("k", MOVED_BYTES_MIN), 101 * DAY_MS - 1), None);
        assert!(reason_at(&[after_days(0)], &newest("k", MOVED_BYTES_MIN), 101 * DAY_MS).is_some());
        let older = Subject { succeeded: Some(Succeeded { at_ms: NOON, newer: 0 }), ..newest("k", MOVED_BYTES_MIN) };
        assert_eq!(reason_at(&rules, &older, u64::MAX), None);
    }

    #[test]
    fn a_date_moves_what_was_made_after_it_too() {
        let transitions = vec![Transition { days: None, at_ms: Some(101 * DAY_MS), class: IA }];
        let rules = [LifecycleRule { transitions, ..rule() }];
        assert_eq!(reason_at(&rules, &newest("k", MOVED_BYTES_MIN), 101 * DAY_MS - 1), None);
        let reason = reason_at(&rules, &newest("k", MOVED_BYTES_MIN), 101 * DAY_MS);
        assert_eq!(reason.as_deref(), Some("lifecycle rule '': its date has come"));
        let later = Subject { modified_ms: 105 * DAY_MS, ..newest("k", MOVED_BYTES_MIN) };
        assert!(reason_at(&rules, &later, 105 * DAY_MS).is_some());
    }

    #[test]
    fn what_is_small_stays_unless_the_rule_speaks_of_sizes() {
        assert_eq!(reason_at(&[after_days(1)], &newest("k", MOVED_BYTES_MIN - 1), u64::MAX), None);
        for filter in [
            RuleFilter { larger_than: Some(9), ..RuleFilter::default() },
            RuleFilter { smaller_than: Some(1 << 30), ..RuleFilter::default() },
        ] {
            let rules = [LifecycleRule { filter, ..after_days(1) }];
            assert!(reason_at(&rules, &newest("k", 10), u64::MAX).is_some());
        }
        let larger = RuleFilter { larger_than: Some(9), ..RuleFilter::default() };
        assert_eq!(reason_at(&[LifecycleRule { filter: larger, ..after_days(1) }], &newest("k", 9), u64::MAX), None);
    }

    #[test]
    fn older_versions_move_by_when_they_were_succeeded_save_for_the_newest_of_them() {
        let transition = NoncurrentTransition { days: 1, kept: Some(2), class: IA };
        let rules = [LifecycleRule { noncurrent_transitions: vec![transition], ..rule() }];
        let older = |newer| {
            let succeeded = Some(Succeeded { at_ms: NOON, newer });
            Subject { succeeded, modified_ms: 0, ..newest("k", MOVED_BYTES_MIN) }
        };
        assert!(look_at_versions(&rules));
        assert_eq!(reason_at(&rules, &older(1), u64::MAX), None);
        assert_eq!(reason_at(&rules, &older(2), NOON + DAY_MS), None);
        let reason = reason_at(&rules, &older(2), NOON + 2 * DAY_MS);
        assert_eq!(reason.as_deref(), Some("lifecycle rule '': 1 day noncurrent"));
        assert_eq!(reason_at(&rules, &newest("k", MOVED_BYTES_MIN), u64::MAX), None);
    }

    #[test]
    fn what_is_moved_by_its_tags_has_them_looked_at_until_it_is() {
        let tags = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let filter = RuleFilter { tags: tags.clone(), ..RuleFilter::default() };
        let rules = [LifecycleRule { filter, ..after_days(1) }];
        let subject = newest("k", MOVED_BYTES_MIN);
        assert!(!asks_for_tags(&rules, &subject, NOON) && asks_for_tags(&rules, &subject, u64::MAX));
        assert!(!asks_for_tags(&rules, &Subject { class: IA, ..subject.clone() }, u64::MAX));
        assert!(!asks_for_tags(&rules, &newest("k", 1), u64::MAX));
        assert_eq!(reason_at(&rules, &subject, u64::MAX), None);
        assert!(moved(&rules, &subject, &tags, u64::MAX).is_some());
    }
}
