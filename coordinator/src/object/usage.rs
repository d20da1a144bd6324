//! How full buckets with a quota are, and that no more goes into one than fits
//! (`docs/decisions/0063-quotas-count-and-then-watch.md`).
//!
//! What it keeps true:
//! - A bucket without a quota costs nothing here: no record, no memory, no lookup.
//! - What is published through this process counts from the moment it is let in, until a count that began later has it. So writers that
//!   race through one process do not exceed a quota together.
//! - It errs on the side of refusing, and for no longer than until the next count: that of a bucket which refused comes first.

use super::Objects;
use super::name::BucketName;
use super::refused::Refused;
use crate::metadata::keys;
use crate::metadata::records::{Quota, Record, UsageRecord};
use crate::names;
use protocol::Result;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Moments for which a bucket's additions are remembered apart; beyond them the oldest two are one.
const MOMENTS_MAX: usize = 64;
/// Additions within so many milliseconds are one moment's.
const MOMENT_MS: u64 = 1_000;

/// What was let into buckets with a quota since they were counted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    added: HashMap<BucketName, VecDeque<Added>>,
    /// Buckets that refused, and are to be counted soon.
    pressed: BTreeSet<BucketName>,
}

/// What came in one moment.
#[derive(Clone, Copy, Debug)]
struct Added {
    /// When the last of it came.
    at_ms: u64,
    bytes: u64,
    objects: u64,
}

/// Room that a version takes; given back when this is dropped, unless the version was published.
#[derive(Debug)]
pub struct Room {
    usage: Usage,
    bucket: BucketName,
    bytes: u64,
    taken: bool,
}

impl Room {
    /// The version was published: it counts.
    pub fn keep(mut self) {
        self.taken = true;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.taken {
            self.usage.give_back(&self.bucket, self.bytes);
        }
    }
}

impl Objects {
    /// Room for a version of `bytes` in a bucket; `None` where there is no quota. `OverQuota` with the numbers if it does not fit.
    pub(super) async fn take_room(
        &self,
        bucket: &BucketName,
        quota: Option<Quota>,
        bytes: u64,
    ) -> Result<Option<Room>> {
        let Some(quota) = quota else { return Ok(None) };
        let counted = self.counted_usage(bucket).await?;
        self.usage.take(bucket, quota, &counted, bytes, self.clock.now_ms()).map(Some)
    }

    /// `OverQuota` if a version of `bytes` does not fit now; whoever comes to publish it takes its room.
    pub(super) async fn require_room(&self, bucket: &BucketName, quota: Option<Quota>, bytes: u64) -> Result<()> {
        let Some(quota) = quota else { return Ok(()) };
        let counted = self.counted_usage(bucket).await?;
        self.usage.shared().require(bucket, quota, &counted, bytes)
    }

    async fn counted_usage(&self, bucket: &BucketName) -> Result<UsageRecord> {
        let entry = self.metadata.get(&keys::usage(bucket.as_str())).await?;
        Ok(entry.map(|entry| UsageRecord::decode(&entry.value)).transpose()?.unwrap_or_default())
    }
}

impl Shared {
    fn require(&mut self, bucket: &BucketName, quota: Quota, counted: &UsageRecord, bytes: u64) -> Result<()> {
        let since = self.added.get(bucket).into_iter().flatten().filter(|added| added.at_ms >= counted.began_ms);
        let (used_bytes, used_objects) = since.fold((counted.bytes, counted.objects), |(bytes, objects), added| {
            (bytes.saturating_add(added.bytes), objects.saturating_add(added.objects))
        });
        let name = bucket.as_str();
        let over = match quota {
            Quota { bytes: Some(most), .. } if used_bytes.saturating_add(bytes) > most => {
                format!("bucket '{name}' may hold {most} bytes; it holds {used_bytes}, and {bytes} more do not fit")
            }
            Quota { objects: Some(most), .. } if used_objects >= most => {
                format!("bucket '{name}' may hold {most} versions, and holds {used_objects}")
            }
            _ => return Ok(()),
        };
        self.pressed.insert(bucket.clone());
        metrics::counter!(names::REQUESTS_LIMITED_TOTAL, "limit" => "quota").increment(1);
        Err(Refused::OverQuota.error(over))
    }
}

impl Usage {
    fn take(&self, bucket: &BucketName, quota: Quota, counted: &UsageRecord, bytes: u64, now_ms: u64) -> Result<Room> {
        let mut shared = self.shared();
        shared.require(bucket, quota, counted, bytes)?;
        let added = shared.added.entry(bucket.clone()).or_default();
        added.retain(|added| added.at_ms >= counted.began_ms);
        add(added, Added { at_ms: now_ms, bytes, objects: 1 });
        Ok(Room { usage: self.clone(), bucket: bucket.clone(), bytes, taken: false })
    }

    /// Asks for a count of this bucket before others.
    pub fn press(&self, bucket: &BucketName) {
        self.shared().pressed.insert(bucket.clone());
    }

    /// A bucket that is to be counted before others: the next one after `last`, so that each has its turn.
    pub fn next_pressed(&self, last: Option<&BucketName>) -> Option<BucketName> {
        let pressed = &mut self.shared().pressed;
        let next = last.and_then(|last| pressed.range((Bound::Excluded(last), Bound::Unbounded)).next());
        let next = next.or_else(|| pressed.first()).cloned()?;
        pressed.take(&next)
    }

    /// Forgets what a count that began then has, or may have.
    pub fn counted(&self, bucket: &BucketName, began_ms: u64) {
        let mut shared = self.shared();
        if let Some(added) = shared.added.get_mut(bucket) {
            added.retain(|added| added.at_ms >= began_ms);
            if added.is_empty() {
                shared.added.remove(bucket);
            }
        }
    }

    fn give_back(&self, bucket: &BucketName, bytes: u64) {
        let mut shared = self.shared();
        if let Some(last) = shared.added.get_mut(bucket).and_then(VecDeque::back_mut) {
            last.bytes = last.bytes.saturating_sub(bytes);
            last.objects = last.objects.saturating_sub(1);
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(moments: &mut VecDeque<Added>, more: Added) {
    match moments.back_mut() {
        Some(last) if more.at_ms.saturating_sub(last.at_ms) < MOMENT_MS => {
            last.at_ms = last.at_ms.max(more.at_ms);
            last.bytes = last.bytes.saturating_add(more.bytes);
            last.objects = last.objects.saturating_add(more.objects);
        }
        _ => moments.push_back(more),
    }
    if moments.len() > MOMENTS_MAX
        && let Some(oldest) = moments.pop_front()
        && let Some(next) = moments.front_mut()
    {
        next.bytes = next.bytes.saturating_add(oldest.bytes);
        next.objects = next.objects.saturating_add(oldest.objects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> BucketName {
        BucketName::parse("buc").unwrap()
    }

    fn take(usage: &Usage, quota: Quota, counted: &UsageRecord, bytes: u64, now_ms: u64) -> Result<Room> {
        usage.take(&bucket(), quota, counted, bytes, now_ms)
    }

    const BYTES: Quota = Quota { bytes: Some(100), objects: None };

    #[test]
    fn no_more_is_let_in_than_fits_and_what_failed_is_given_back() {
        let usage = Usage::default();
        let counted = UsageRecord { bytes: 40, objects: 1, began_ms: 5, ended_ms: 6 };
        let first = take(&usage, BYTES, &counted, 50, 10).unwrap();
        let refused = take(&usage, BYTES, &counted, 11, 10).unwrap_err();
        assert_eq!(Refused::of(&refused), Some(Refused::OverQuota));
        assert!(refused.message.contains("holds 90"), "{refused}");
        assert_eq!((usage.next_pressed(None), usage.next_pressed(None)), (Some(bucket()), None));
        drop(first);
        take(&usage, BYTES, &counted, 60, 10).unwrap().keep();
        assert!(take(&usage, BYTES, &counted, 1, 10).is_err());
    }

    #[test]
    fn what_a_later_count_has_counts_once() {
        let usage = Usage::default();
        take(&usage, BYTES, &UsageRecord::default(), 60, 1_000).unwrap().keep();
        take(&usage, BYTES, &UsageRecord::default(), 30, 5_000).unwrap().keep();
        // It began between the two: the second may be in it, and counts anyway until the next one.
        let counted = UsageRecord { bytes: 60, objects: 1, began_ms: 4_000, ended_ms: 6_000 };
        assert!(take(&usage, BYTES, &counted, 11, 7_000).is_err());
        take(&usage, BYTES, &counted, 10, 7_000).unwrap().keep();
        usage.counted(&bucket(), 9_000);
        let counted = UsageRecord { bytes: 20, objects: 1, began_ms: 9_000, ended_ms: 9_500 };
        take(&usage, BYTES, &counted, 80, 9_600).unwrap().keep();
    }

    #[test]
    fn versions_are_counted_too_and_memory_is_bounded() {
        let usage = Usage::default();
        let quota = Quota { bytes: None, objects: Some(1_000) };
        for number in 0..1_000 {
            take(&usage, quota, &UsageRecord::default(), 0, number * 2 * MOMENT_MS).unwrap().keep();
        }
        let refused = take(&usage, quota, &UsageRecord::default(), 0, 0).unwrap_err();
        assert!(refused.message.contains("1000 versions"), "{refused}");
        assert!(usage.shared().added[&bucket()].len() <= MOMENTS_MAX);
    }
}
