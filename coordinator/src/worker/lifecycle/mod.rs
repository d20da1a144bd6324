//! Lifecycle: does what buckets' rules say as time goes by: deletes objects, removes older versions and markers that hide nothing, aborts
//! uploads that nobody completes. What is to be stored as another class it puts up for that (the worker [`super::transition`]).
//!
//! What it keeps true:
//! - It does nothing that a client could not do: each of its deeds is a verb, with a condition that what it was judged by is still so,
//!   and what is locked stays. What the verbs commit checks the lease (law 9).
//! - As in S3, what goes for good is not moved before, and what a marker hides is.
//! - A pass walks through every bucket that has rules; how far it has come is a record, so that the next process goes on there. A page
//!   takes bounded memory, however many versions a key has.
//! - Days are days of `Clock`; a wrong clock deletes too early or too late, as it would anywhere.

mod rules;

use super::{Pass, Progress, Work, Worker};
use crate::metadata::records::{BucketRecord, LifecycleRule, Versioning};
use crate::object::{
    BucketName, Condition, DeleteMode, DeleteRequest, Found, ListUploadsRequest, ListVersionsRequest, ListedVersion,
    ObjectName, Objects, Refused, RemoveRequest, UploadMarker, VersionMarker, VersionName, Wanted,
};
use async_trait::async_trait;
use protocol::{ErrorKind, Result};
use rules::{Fate, Move, Subject, Succeeded};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The worker's name.
pub const LIFECYCLE: &str = "lifecycle";
/// From one pass to the next: what is due at midnight goes within the hour.
pub const LIFECYCLE_EVERY: Duration = Duration::from_secs(60 * 60);
/// Versions or uploads looked at in one step.
const LISTED_MAX: usize = 100;
/// Buckets looked at in one step.
const BUCKETS_MAX: usize = 64;
/// The position is saved at least this often.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Between a bucket and a key in a saved position; neither holds one.
const BETWEEN: char = '\0';

/// The worker.
pub struct Lifecycle {
    interval: Duration,
    /// The pass under way, with what was not saved yet.
    pass: Option<(Pass, Instant)>,
    stretch: Option<Stretch>,
}

/// A bucket that is being walked through.
struct Stretch {
    bucket: BucketName,
    rules: Vec<LifecycleRule>,
    versioning: Versioning,
    /// Where the next page of uploads begins; `None`: they are done.
    uploads: Option<Option<UploadMarker>>,
    after_key: Option<String>,
    after_version: Option<VersionMarker>,
    /// The version that was looked at last,
    last: Option<Last>,
    /// and the key before its own, which is done with.
    done_key: Option<String>,
}

/// A version as the next older one of its key sees it.
struct Last {
    key: String,
    modified_ms: u64,
    /// How many of its key came before it.
    newer: u32,
}

impl Lifecycle {
    /// Begins a pass `interval` after the last one ended.
    pub fn new(interval: Duration) -> Lifecycle {
        Lifecycle { interval, pass: None, stretch: None }
    }
}

#[async_trait]
impl Worker for Lifecycle {
    fn name(&self) -> &'static str {
        LIFECYCLE
    }

    /// What it deletes is kept for the trash window, as what clients delete.
    fn needs_all_nodes(&self) -> bool {
        false
    }

    async fn step(&mut self, work: &Work) -> Result<Progress> {
        let (mut pass, saved) = match self.pass.take() {
            Some(under_way) => under_way,
            None => (Pass::read(work, LIFECYCLE).await?, Instant::now()),
        };
        if !pass.is_under_way() {
            self.stretch = None;
            if pass.is_due(work, self.interval).await? {
                pass.begin(work).await?;
            }
            return Ok(Progress::Idle);
        }
        let stretch = match self.stretch.take() {
            Some(stretch) => Some(stretch),
            None => next_stretch(work, &mut pass).await?,
        };
        let Some(mut stretch) = stretch else {
            pass.finish(work).await?;
            return Ok(Progress::Idle);
        };
        let objects = work.fenced();
        // What is ordered is done as it stands now; a bucket that is gone has no rules.
        let record = objects.bucket(&stretch.bucket).await?.unwrap_or_default();
        (stretch.rules, stretch.versioning) = (record.lifecycle, record.versioning);
        let (seen, is_done) = match stretch.uploads.take() {
            Some(after) => (stretch.look_at_uploads(&objects, after, &mut pass).await?, false),
            None => stretch.look_at_versions(&objects, &mut pass).await?,
        };
        if let Some(position) = stretch.position(is_done) {
            pass.record.position = position.into_bytes();
        }
        let must_save = is_done || saved.elapsed() >= SAVE_EVERY;
        if must_save && !pass.save(work).await? {
            return Ok(Progress::Idle);
        }
        self.stretch = (!is_done).then_some(stretch);
        self.pass = Some((pass, if must_save { Instant::now() } else { saved }));
        Ok(Progress::Did { items: seen, bytes: 0 })
    }
}

/// The bucket with rules at or after the position.
async fn next_stretch(work: &Work, pass: &mut Pass) -> Result<Option<Stretch>> {
    let position = String::from_utf8_lossy(&pass.record.position).into_owned();
    let (bucket, key) = position.split_once(BETWEEN).unwrap_or((&position, ""));
    if !key.is_empty() {
        let bucket = BucketName::parse(bucket)?;
        if let Some(record) = work.objects.bucket(&bucket).await? {
            let after_key = Some(key.to_owned());
            return Ok(Some(Stretch { uploads: None, after_key, ..Stretch::of(bucket, record) }));
        }
    }
    let mut after = if bucket.is_empty() { None } else { Some(BucketName::parse(bucket)?) };
    loop {
        let page = work.objects.buckets("", after.as_ref(), BUCKETS_MAX).await?;
        after = page.buckets.last().map(|(name, _)| name.clone());
        let asks = |rules: &[LifecycleRule]| rules::look_at_uploads(rules) || rules::look_at_versions(rules);
        let mut found = page.buckets.into_iter().filter(|(_, record)| asks(&record.lifecycle));
        if let Some((name, record)) = found.next() {
            return Ok(Some(Stretch::of(name, record)));
        }
        if !page.more {
            return Ok(None);
        }
    }
}

impl Stretch {
    fn of(bucket: BucketName, record: BucketRecord) -> Stretch {
        Stretch {
            bucket,
            rules: record.lifecycle,
            versioning: record.versioning,
            uploads: Some(None),
            after_key: None,
            after_version: None,
            last: None,
            done_key: None,
        }
    }

    /// Where another process would go on, if that is further than where this one began: behind the bucket, or behind a key of it.
    fn position(&self, is_done: bool) -> Option<String> {
        let key = match (is_done, &self.done_key) {
            (true, _) => "",
            (false, Some(key)) => key,
            (false, None) => return None,
        };
        Some(format!("{}{BETWEEN}{key}", self.bucket.as_str()))
    }

    async fn look_at_uploads(
        &mut self,
        objects: &Objects,
        after: Option<UploadMarker>,
        pass: &mut Pass,
    ) -> Result<u64> {
        if !rules::look_at_uploads(&self.rules) {
            return Ok(0);
        }
        let (bucket, now_ms) = (self.bucket.clone(), objects.clock.now_ms());
        let request = ListUploadsRequest { bucket, prefix: String::new(), delimiter: None, after, limit: LISTED_MAX };
        let page = objects.list_uploads(&request).await?;
        let seen = page.uploads.len() as u64;
        for listed in page.uploads {
            if !rules::is_upload_over(&self.rules, &listed.key, listed.record.initiated_ms, now_ms) {
                continue;
            }
            let name = ObjectName::new(self.bucket.clone(), listed.key)?;
            if is_done_now(objects.abort_upload(&name, listed.upload).await.map(|()| true))? {
                pass.count("uploads_aborted", 1);
            }
        }
        self.uploads = page.more.then_some(page.last);
        Ok(seen)
    }

    /// How many versions were looked at, and whether they were the last.
    async fn look_at_versions(&mut self, objects: &Objects, pass: &mut Pass) -> Result<(u64, bool)> {
        if !rules::look_at_versions(&self.rules) {
            return Ok((0, true));
        }
        let request = ListVersionsRequest {
            bucket: self.bucket.clone(),
            prefix: String::new(),
            delimiter: None,
            after_key: self.after_key.take(),
            after_version: self.after_version.take(),
            limit: LISTED_MAX,
        };
        let page = objects.list_versions(&request).await?;
        for version in &page.entries {
            let before = match self.last.take() {
                Some(last) if last.key == version.key => Some(last),
                Some(last) => {
                    self.done_key = Some(last.key);
                    None
                }
                None => None,
            };
            let newer = before.as_ref().map_or(0, |before| before.newer + 1);
            let succeeded =
                before.map(|before| Succeeded { at_ms: before.modified_ms, newer: newer.saturating_sub(1) });
            self.judge(objects, version, succeeded.filter(|_| !version.is_newest), pass).await?;
            self.last = Some(Last { key: version.key.clone(), modified_ms: version.modified_ms, newer });
        }
        (self.after_key, self.after_version) = match page.last {
            Some((key, version)) => (Some(key), version),
            None => (None, None),
        };
        Ok((page.entries.len() as u64, !page.more))
    }

    async fn judge(
        &self,
        objects: &Objects,
        version: &ListedVersion,
        succeeded: Option<Succeeded>,
        pass: &mut Pass,
    ) -> Result<()> {
        if !version.is_newest && succeeded.is_none() {
            // What came before it went while it was listed; the next pass sees it as it is then.
            return Ok(());
        }
        let name = ObjectName::new(self.bucket.clone(), version.key.as_str())?;
        let now_ms = objects.clock.now_ms();
        let ListedVersion { is_marker, size, modified_ms, storage_class: class, .. } = *version;
        let subject = Subject { key: &version.key, is_marker, size, modified_ms, class, succeeded };
        let tags = match rules::asks_for_tags(&self.rules, &subject, now_ms) {
            true => tags_of(objects, &name, version).await?,
            false => BTreeMap::new(),
        };
        let fate = rules::fate(&self.rules, &subject, &tags, now_ms);
        if (fate == Fate::Kept || fate == Fate::Deleted && self.only_hides(version))
            && let Some(to) = rules::moved(&self.rules, &subject, &tags, now_ms)
            && is_done_now(put_up(objects, &name, version, to).await)?
        {
            pass.count("transitions_ordered", 1);
        }
        let (what, outcome) = match fate {
            Fate::Kept => return Ok(()),
            Fate::Deleted => {
                let request = DeleteRequest { mode: DeleteMode::Mark, condition: still(version), owner: String::new() };
                ("objects_deleted", objects.delete_as(&name, &request).await.map(drop))
            }
            Fate::UnlessHiding if hides(objects, &name).await? => return Ok(()),
            Fate::UnlessHiding => ("markers_removed", remove(objects, &name, version).await),
            Fate::Removed => ("versions_removed", remove(objects, &name, version).await),
        };
        if is_done_now(outcome.map(|()| true))? {
            pass.count(what, 1);
        }
        Ok(())
    }

    /// Whether deleting the object leaves `version`, the newest, where it is, below a marker.
    fn only_hides(&self, version: &ListedVersion) -> bool {
        match self.versioning {
            Versioning::Off => false,
            Versioning::Enabled => true,
            Versioning::Suspended => version.version_name != VersionName::Null,
        }
    }
}

/// Whether a version was put up to be stored otherwise; not if it is already, or has gone since it was listed.
async fn put_up(objects: &Objects, name: &ObjectName, version: &ListedVersion, to: Move) -> Result<bool> {
    match objects.version_still(name, version.number, version.id).await? {
        Some(found) => objects.order_transition(name, &found, to.class, to.reason).await,
        None => Ok(false),
    }
}

async fn remove(objects: &Objects, name: &ObjectName, version: &ListedVersion) -> Result<()> {
    let request = RemoveRequest {
        // By its id, which names one version for ever; what S3 calls `null` may be another by now.
        version: VersionName::Id(version.id),
        condition: Condition::None,
        bypass_governance: false,
        unless_newest: !version.is_newest,
    };
    objects.remove_as(name, &request).await.map(drop)
}

/// That the newest version is the one that was judged: as old, a day at least, and as long.
fn still(version: &ListedVersion) -> Condition {
    let (modified_s, size) = (Some(version.modified_ms / 1_000), Some(version.size));
    Condition::Is(Wanted { contents: Vec::new(), modified_s, size })
}

/// Whether there is anything below the newest marker of a key.
async fn hides(objects: &Objects, name: &ObjectName) -> Result<bool> {
    Ok(objects.versions(name, 0, 2).await?.is_none_or(|page| page.entries.len() > 1))
}

async fn tags_of(objects: &Objects, name: &ObjectName, version: &ListedVersion) -> Result<BTreeMap<String, String>> {
    match objects.find(name, Some(version.version_name)).await? {
        Found::Version(version) => Ok(version.tags),
        _ => Ok(BTreeMap::new()),
    }
}

/// What was refused because it has changed, or is locked, is no failure of the worker. Nor is what finds no room: behind it may stand what makes
/// some.
fn is_done_now(outcome: Result<bool>) -> Result<bool> {
    match outcome {
        Ok(done) => Ok(done),
        Err(error) if Refused::of(&error).is_some() && error.kind != ErrorKind::Invalid => Ok(false),
        Err(error) if error.kind == ErrorKind::Full => Ok(false),
        Err(error) => Err(error),
    }
}
