//! Whether a version may go, and how its lock may change.
//!
//! What it keeps true: a lock is judged against the version record that the same commit checks to be unchanged.

use super::refused::Refused;
use crate::metadata::records::{BucketRecord, DefaultRetention, Retention, RetentionMode, VersionRecord};
use protocol::{Error, Result};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// What S3 counts as a year.
const YEAR_DAYS: u64 = 365;

/// Refuses `Locked` while the version is kept. `bypass` lifts what [`RetentionMode::Governance`] keeps, and nothing else.
pub(super) fn require_unlocked(version: &VersionRecord, now_ms: u64, bypass: bool) -> Result<()> {
    if version.is_held() {
        return Err(locked(version, "under a legal hold"));
    }
    match version.retention {
        Some(Retention { mode: RetentionMode::Compliance, until_ms }) if until_ms > now_ms => {
            Err(locked(version, "retained in compliance mode"))
        }
        Some(Retention { mode: RetentionMode::Governance, until_ms }) if until_ms > now_ms && !bypass => {
            Err(locked(version, "retained in governance mode"))
        }
        _ => Ok(()),
    }
}

/// Refuses a change of a retention that makes it weaker, unless it has passed or may be lifted.
pub(super) fn require_retention_change(
    version: &VersionRecord,
    wanted: Option<Retention>,
    now_ms: u64,
    bypass: bool,
) -> Result<()> {
    let Some(current) = version.retention.filter(|current| current.until_ms > now_ms) else { return Ok(()) };
    let is_longer = wanted.is_some_and(|wanted| wanted.mode == current.mode && wanted.until_ms >= current.until_ms);
    match current.mode {
        _ if is_longer => Ok(()),
        RetentionMode::Governance if bypass => Ok(()),
        RetentionMode::Governance => Err(locked(version, "retained in governance mode")),
        RetentionMode::Compliance => Err(locked(version, "retained in compliance mode")),
    }
}

/// The retention of a new version: the writer's own, or the bucket's default.
pub(super) fn retention_of_new(bucket: &BucketRecord, wanted: Option<Retention>, now_ms: u64) -> Option<Retention> {
    let default = bucket.object_lock.and_then(|lock| lock.default);
    wanted.or_else(|| default.map(|default| Retention { mode: default.mode, until_ms: now_ms + length_ms(default) }))
}

/// Refuses a lock in a bucket that was made without.
pub(super) fn require_object_lock(bucket: &BucketRecord) -> Result<()> {
    match bucket.object_lock {
        Some(_) => Ok(()),
        None => Err(Refused::NoObjectLock.error("the bucket was made without object lock")),
    }
}

fn length_ms(default: DefaultRetention) -> u64 {
    let days = u64::from(default.days.unwrap_or(0)) + YEAR_DAYS * u64::from(default.years.unwrap_or(0));
    DAY_MS * days
}

fn locked(version: &VersionRecord, how: &str) -> Error {
    Refused::Locked.error(format!("version {} is {how}", version.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::ObjectLock;

    fn kept(retention: Option<Retention>, held: bool) -> VersionRecord {
        VersionRecord { retention, legal_hold: Some(held), ..super::super::marker::sample() }
    }

    #[test]
    fn what_is_locked_stays_and_a_lock_only_grows() {
        use RetentionMode::{Compliance, Governance};
        let until = |mode, until_ms| Some(Retention { mode, until_ms });
        // Retention, hold, bypass, at 100: may it go, and may its retention end?
        for (retention, hold, bypass, goes, ends) in [
            (None, false, false, true, true),
            (None, true, true, false, true),
            (until(Governance, 101), false, false, false, false),
            (until(Governance, 101), false, true, true, true),
            (until(Compliance, 101), false, true, false, false),
            (until(Compliance, 100), false, false, true, true),
            (until(Governance, 100), true, true, false, true),
        ] {
            let version = kept(retention, hold);
            assert_eq!(require_unlocked(&version, 100, bypass).is_ok(), goes, "{retention:?} {hold} {bypass}");
            let change = require_retention_change(&version, None, 100, bypass);
            assert_eq!(change.is_ok(), ends, "{retention:?} {hold} {bypass}");
        }
        let compliance = kept(until(Compliance, 200), false);
        assert!(require_retention_change(&compliance, until(Compliance, 200), 100, false).is_ok());
        assert!(require_retention_change(&compliance, until(Compliance, 199), 100, true).is_err());
        assert!(require_retention_change(&compliance, until(Governance, 300), 100, true).is_err());
    }

    #[test]
    fn a_bucket_has_a_default_and_the_writer_the_last_word() {
        let mode = RetentionMode::Governance;
        let default = Some(DefaultRetention { mode, days: None, years: Some(2) });
        let bucket = BucketRecord { object_lock: Some(ObjectLock { default }), ..BucketRecord::default() };
        let until_ms = 5 + 730 * 86_400_000;
        assert_eq!(retention_of_new(&bucket, None, 5), Some(Retention { mode, until_ms }));
        let own = Some(Retention { mode: RetentionMode::Compliance, until_ms: 7 });
        assert_eq!(retention_of_new(&bucket, own, 5), own);
        assert_eq!(retention_of_new(&BucketRecord::default(), None, 5), None);
        assert!(require_object_lock(&bucket).is_ok() && require_object_lock(&BucketRecord::default()).is_err());
    }
}
