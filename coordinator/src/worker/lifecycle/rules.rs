//! What a bucket's lifecycle rules say of one version, marker or upload at a moment. Pure; who acts on it is in [`super`].
//!
//! What it keeps true: days are whole days of UTC, as S3 counts them: what is due after n days is due at the first midnight after n times
//! 24 hours. Where several rules say something, the one that takes away first wins.

use crate::metadata::records::{LifecycleRule, RuleFilter};
use std::collections::BTreeMap;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

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

/// Whether any of the rules asks for anything that looks at versions.
pub(super) fn look_at_versions(rules: &[LifecycleRule]) -> bool {
    rules.iter().any(|rule| {
        let expires = rule.expire_days.is_some() || rule.expire_at_ms.is_some() || rule.expire_markers;
        rule.enabled && (expires || rule.noncurrent_days.is_some())
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

/// Whether what becomes of `subject` depends on its tags.
pub(super) fn asks_for_tags(rules: &[LifecycleRule], subject: &Subject<'_>, now_ms: u64) -> bool {
    let tagged = rules.iter().filter(|rule| rule.enabled && !rule.filter.tags.is_empty());
    tagged
        .filter(|rule| passes(&rule.filter, subject, &rule.filter.tags))
        .any(|rule| fate_by(rule, subject, now_ms) != Fate::Kept)
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

fn due_ms(since_ms: u64, days: u32) -> u64 {
    since_ms.saturating_add(u64::from(days) * DAY_MS).div_ceil(DAY_MS).saturating_mul(DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 100 * DAY_MS + DAY_MS / 2;

    fn rule() -> LifecycleRule {
        LifecycleRule { enabled: true, ..LifecycleRule::default() }
    }

    fn newest(key: &str, size: u64) -> Subject<'_> {
        Subject { key, is_marker: false, size, modified_ms: NOON, succeeded: None }
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
}
