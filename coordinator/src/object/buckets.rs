//! Lists the buckets, with those of older catalogs that have objects and no record of their own.
//!
//! What it keeps true: a page costs a look or two for each bucket on it, however many objects a bucket has.

use super::Objects;
use super::name::BucketName;
use crate::metadata::keys;
use crate::metadata::records::BucketRecord;
use protocol::Result;

/// The most buckets in one page.
pub const BUCKETS_LIMIT_MAX: usize = 1_000;

/// A page of buckets.
#[derive(Clone, Debug)]
pub struct BucketPage {
    /// In the order of their names.
    pub buckets: Vec<(BucketName, BucketRecord)>,
    /// Whether there are more after the last.
    pub more: bool,
}

impl Objects {
    /// Buckets whose names start with `prefix` and come after `after`, `limit` of them at most.
    pub async fn buckets(&self, prefix: &str, after: Option<&BucketName>, limit: usize) -> Result<BucketPage> {
        let limit = limit.clamp(1, BUCKETS_LIMIT_MAX);
        let mut page = BucketPage { buckets: Vec::new(), more: false };
        let mut passed = after.cloned();
        while let Some(name) = self.next_bucket(prefix, passed.as_ref()).await? {
            if let Some(record) = self.bucket(&name).await? {
                if page.buckets.len() == limit {
                    page.more = true;
                    break;
                }
                page.buckets.push((name.clone(), record));
            }
            passed = Some(name);
        }
        Ok(page)
    }

    /// The first name after `after` that has a record, or an object, or is there from the start.
    async fn next_bucket(&self, prefix: &str, after: Option<&BucketName>) -> Result<Option<BucketName>> {
        let mut range = keys::buckets(prefix);
        let mut objects = keys::objects_of_buckets(prefix);
        if let Some(after) = after {
            range.from = range.from.max(keys::after(&keys::bucket(after.as_str())));
            objects.from = objects.from.max(keys::objects(after.as_str(), "").to);
        }
        let mut names = Vec::new();
        for (key, _) in self.metadata.scan(&range.from, &range.to, 1).await? {
            names.push(BucketName::parse(keys::parse_bucket(&key)?)?);
        }
        for (key, _) in self.metadata.scan(&objects.from, &objects.to, 1).await? {
            names.push(BucketName::parse(keys::parse_object(&key)?.0)?);
        }
        let is_next = |name: &BucketName| name.as_str().starts_with(prefix) && after.is_none_or(|after| name > after);
        names.extend(BucketName::built_in().filter(is_next));
        Ok(names.into_iter().min())
    }
}
