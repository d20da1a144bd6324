//! A put is judged before its bytes are stored, so that one that is refused leaves nothing behind.
//!
//! What it keeps true: whatever is refused here the commit would refuse, too. What is let through here is judged again where it is
//! published ([`super::publish`]): others may have come meanwhile.

use super::Objects;
use super::condition::Condition;
use super::incoming::SHORT_BYTES_MAX;
use super::lock::require_object_lock;
use super::publish::PutTarget;
use crate::metadata::records::BucketRecord;
use protocol::Result;

impl Objects {
    /// Refuses a put that could not be published as things are, for doors that know the name before the body comes, and perhaps its
    /// length. A short body is let through: it is judged at its end, of which nothing is stored before; a connection on which it was
    /// left unread would be lost.
    ///
    /// Refuses `NoSuchBucket`, `NoObjectLock`, `OverQuota` and `ConditionFailed`.
    pub async fn require_coming(&self, target: &PutTarget, announced_bytes: Option<u64>) -> Result<()> {
        match announced_bytes {
            Some(bytes) if bytes <= SHORT_BYTES_MAX as u64 => Ok(()),
            bytes => self.require_put(target, bytes.unwrap_or(0)).await,
        }
    }

    /// Refuses a put of `bytes` that could not be published as things are.
    pub(super) async fn require_put(&self, target: &PutTarget, bytes: u64) -> Result<()> {
        let name = &target.name;
        let seen = self.see_bucket(name.bucket()).await?;
        let now_ms = self.clock.now_ms();
        let bucket = seen.or_make(name.bucket(), target.missing_bucket, &target.attributes.owner, now_ms)?;
        target.require_lock(&bucket)?;
        self.require_room(name.bucket(), bucket.quota, bytes).await?;
        if target.condition == Condition::None {
            return Ok(());
        }
        let found = self.object_entry(name).await?;
        self.require(&target.condition, name, found.map(|(record, _)| record).as_ref()).await
    }
}

impl PutTarget {
    /// `NoObjectLock` if the version is to be locked in a bucket that has no locks.
    pub(super) fn require_lock(&self, bucket: &BucketRecord) -> Result<()> {
        match self.attributes.retention.is_some() || self.attributes.legal_hold == Some(true) {
            true => require_object_lock(bucket),
            false => Ok(()),
        }
    }
}
