//! What must hold of documents: a version is, byte by byte, a document that was written, or what a change made of the very version
//! before it; a change that names a version takes effect on none that is called otherwise.
//!
//! A change names no operation in the version it makes: it keeps what was said of the one before. So it is known by what it made.

use super::view::bucket_and_key;
use super::{Asked, Ended, Moment, OpId, Oracle, Published, State};
use crate::sim::body::TestBody;
use crate::sim::document::FieldChanges;
use coordinator::metadata::records::{ETag, VersionRecord};
use coordinator::object::{DOCUMENTS_BUCKET, PutDone, Refused};
use protocol::{Error, ErrorKind};
use sha2::{Digest, Sha256};

/// Whether `key` is a document's.
pub(super) fn is_document(key: &str) -> bool {
    bucket_and_key(key).0 == DOCUMENTS_BUCKET
}

/// Whether the chunks of a version are these bytes, each of them as its digest says: parts of two documents are neither.
pub(super) fn is_made_of(version: &VersionRecord, bytes: &[u8]) -> bool {
    let mut start = 0;
    let entries = version.chunks.named_here().unwrap_or_default();
    let is_right = entries.iter().all(|entry| {
        let chunk = bytes.get(start..entry.end as usize);
        start = entry.end as usize;
        chunk.is_some_and(|chunk| *Sha256::digest(chunk) == entry.sha256)
    });
    is_right && start == bytes.len()
}

impl Oracle {
    /// A change of a document is about to be sent.
    pub fn change_begins(&self, key: &str, changes: &FieldChanges, if_match: Option<ETag>) -> OpId {
        self.begins(key, Asked::Change { changes: changes.clone(), if_match, became: None })
    }

    /// It ended.
    pub fn change_ends(&self, op: OpId, ended: &Ended<PutDone>) {
        if let Ended::Answered(Err(error)) = ended {
            let mut state = self.state();
            if let Err(what) = state.may_be_refused(op, error) {
                state.violated(&self.world, format!("change {op} ended {error:?}: {what}"));
            }
        }
        if matches!(ended, Ended::Answered(Ok(_))) {
            self.state().counts.changes_done += 1;
        }
        self.put_ends(op, ended);
    }
}

impl State {
    /// What an operation put, or what it made of what was there.
    pub(super) fn body(&self, op: OpId) -> Option<&TestBody> {
        match &self.operations[op].asked {
            Asked::Put { body, .. } => Some(body),
            Asked::Change { became, .. } => became.as_ref(),
            Asked::Delete { .. } | Asked::Remove { .. } | Asked::Bucket => None,
        }
    }

    /// The change that made this version of the one before.
    pub(super) fn change_that_made(
        &mut self,
        key: &str,
        version: &VersionRecord,
        before: Moment,
    ) -> Result<OpId, String> {
        let number = version.number;
        let base = before.live.and_then(|number| self.published.get(&(key.to_owned(), number)).copied());
        let Some(base) = base else { return Err(format!("law 3: number {number} of {key} is a change of nothing")) };
        let text = self.body(base.op).map(|body| String::from_utf8_lossy(&body.data).into_owned());
        let text = text.expect("what was published has a body");
        let made = |op: OpId| {
            let operation = &self.operations[op];
            let Asked::Change { changes, became: None, .. } = &operation.asked else { return None };
            if operation.key != key || operation.refused {
                return None;
            }
            let text = changes.applied_to(&text).into_iter().find(|text| is_made_of(version, text.as_bytes()))?;
            Some((op, text))
        };
        let Some((op, text)) = (0..self.operations.len()).find_map(made) else {
            return Err(format!(
                "law 3: number {number} of {key} is no document that was written, and no change of {base:?} made it"
            ));
        };
        let Asked::Change { if_match, became, .. } = &mut self.operations[op].asked else { unreachable!("just seen") };
        *became = Some(TestBody::of(0, text.into_bytes()));
        match if_match {
            Some(wanted) if *wanted != base.etag => {
                Err(format!("change {op} was made of {base:?}, and asked for one that is called {wanted:?}"))
            }
            _ => Ok(op),
        }
    }

    /// A change may be told to come again; anything else must be true of a moment while it was under way.
    fn may_be_refused(&self, op: OpId, error: &Error) -> Result<(), &'static str> {
        let operation = &self.operations[op];
        let Asked::Change { changes, if_match, .. } = &operation.asked else { unreachable!("a change ended") };
        let window = self.moments_since(&operation.key, operation.began);
        let live = |moment: &Moment| -> Option<Published> {
            self.published.get(&(operation.key.clone(), moment.live?)).copied()
        };
        match (Refused::of(error), error.kind) {
            (Some(Refused::NoSuchKey), _) => {
                window.iter().any(|moment| moment.live.is_none()).then_some(()).ok_or("there was one all the time")
            }
            (Some(Refused::ConditionFailed), _) => {
                let differs = |moment: &Moment| live(moment).is_some_and(|base| Some(base.etag) != *if_match);
                let is_true = if_match.is_some() && window.iter().any(differs);
                is_true.then_some(()).ok_or("it was as it was asked for all the time")
            }
            (_, ErrorKind::Invalid) => {
                let is_of_one_code =
                    |moment: &Moment| live(moment).is_some_and(|base| !matches!(base.etag, ETag::Parts(..)));
                let is_true = changes.hot_only && window.iter().any(is_of_one_code);
                is_true.then_some(()).ok_or("it can be changed so")
            }
            // That there is no such bucket is judged as of any put.
            (Some(Refused::NoSuchBucket), _) => Ok(()),
            (_, ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Unknown) => Ok(()),
            _ => Err("no change ends so"),
        }
    }
}
