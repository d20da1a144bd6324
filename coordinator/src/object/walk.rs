//! Walks through the names of a bucket in their order, and past whole directories in one step.
//!
//! What it keeps true: what is behind a common prefix is passed by seeking to the key after it, never by reading it; so a page of a
//! listing costs what it shows, however much lies behind. How much is read at once follows from how much of the last read was looked
//! at: a run of directories costs one read of [`WINDOW_MIN`] entries each, a run of plain names one entry each.

use super::Objects;
use super::name::BucketName;
use crate::metadata::records::{ObjectRecord, ObjectState, Record};
use crate::metadata::{Entry, keys};
use bytes::Bytes;
use protocol::Result;
use std::collections::VecDeque;

/// Entries read at once at least,
const WINDOW_MIN: usize = 16;
/// and at most.
const WINDOW_MAX: usize = 1_000;

/// What is walked through.
#[derive(Clone, Debug)]
pub(super) struct Route<'a> {
    pub(super) bucket: &'a BucketName,
    /// Names that start so.
    pub(super) prefix: &'a str,
    /// Names that have this after the prefix are one step together.
    pub(super) delimiter: Option<&'a str>,
    /// Names and common prefixes after this one, in byte order.
    pub(super) after: Option<&'a str>,
    /// Whether names that are deleted are passed over.
    pub(super) live_only: bool,
    /// How many steps are wanted.
    pub(super) steps: usize,
}

/// One step.
pub(super) enum Step {
    /// A name.
    Name(String, Box<ObjectRecord>),
    /// All names that start so.
    Prefix(String),
}

/// A walk under way.
pub(super) struct Walk<'a> {
    objects: &'a Objects,
    route: Route<'a>,
    from: Bytes,
    to: Bytes,
    ahead: VecDeque<(Bytes, Entry)>,
    window: usize,
    /// Entries of the last read that were looked at.
    looked_at: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn begin(objects: &'a Objects, route: Route<'a>) -> Walk<'a> {
        let range = keys::objects(route.bucket.as_str(), route.prefix);
        let from = match route.after {
            Some(after) => range.from.max(keys::after(&keys::object(route.bucket.as_str(), after))),
            None => range.from,
        };
        let window = route.steps.saturating_add(1).clamp(WINDOW_MIN, WINDOW_MAX);
        Walk { objects, route, from, to: range.to, ahead: VecDeque::new(), window, looked_at: window }
    }

    /// The next step; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        loop {
            let Some((key, entry)) = self.next_entry().await? else { return Ok(None) };
            let record = ObjectRecord::decode(&entry.value)?;
            let is_wanted = match record.state {
                ObjectState::Live => true,
                ObjectState::Deleted => !self.route.live_only,
                ObjectState::Purged => false,
            };
            if !is_wanted {
                continue;
            }
            let (_, name) = keys::parse_object(&key)?;
            let Some(common) = self.common_prefix(name) else {
                return Ok(Some(Step::Name(name.to_owned(), Box::new(record))));
            };
            let common = common.to_owned();
            self.seek_past(&common);
            // What the caller has seen already; it stopped somewhere within.
            if self.route.after.is_none_or(|after| common.as_str() > after) {
                return Ok(Some(Step::Prefix(common)));
            }
        }
    }

    async fn next_entry(&mut self) -> Result<Option<(Bytes, Entry)>> {
        if self.ahead.is_empty() {
            self.window = (2 * self.looked_at).clamp(WINDOW_MIN, WINDOW_MAX).min(self.window.saturating_mul(2));
            let read = self.objects.metadata.scan(&self.from, &self.to, self.window).await?;
            self.from = match read.last() {
                Some((last, _)) if read.len() == self.window => keys::after(last),
                _ => self.to.clone(),
            };
            self.ahead = read.into();
            self.looked_at = 0;
        }
        self.looked_at += 1;
        Ok(self.ahead.pop_front())
    }

    fn common_prefix<'n>(&self, name: &'n str) -> Option<&'n str> {
        let delimiter = self.route.delimiter.filter(|delimiter| !delimiter.is_empty())?;
        let rest = name.get(self.route.prefix.len()..)?;
        let at = rest.find(delimiter)?;
        Some(&name[..self.route.prefix.len() + at + delimiter.len()])
    }

    fn seek_past(&mut self, common: &str) {
        let beyond = keys::objects(self.route.bucket.as_str(), common).to;
        while self.ahead.front().is_some_and(|(key, _)| *key < beyond) {
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() {
            self.from = self.from.clone().max(beyond).min(self.to.clone());
        }
    }
}
