//! What must hold of uploads in parts: an acknowledged part is there to be put together until its upload is closed; an upload is closed
//! once, by a completion, which makes it visible whole, or by an abortion, after which it never is.

use super::{Asked, Ended, OPERATION, OpId, Oracle, State};
use crate::sim::body::TestBody;
use crate::sim::client::uploads::{Begun, as_put};
use coordinator::metadata::records::{BucketRecord, BucketState, VersionRecord};
use coordinator::metadata::{Batch, keys};
use coordinator::object::{CompletedUpload, CopyDone, PartDone, Refused};
use protocol::ErrorKind;

/// An upload, and the sequence number at which it was closed.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    bucket: String,
    closed: Option<u64>,
}

impl Oracle {
    /// A part ended.
    pub fn part_ends(&self, op: OpId, number: u16, ended: &Ended<PartDone>) {
        self.world.tell(|| format!("op {op} part {number} {ended:?}"));
        let mut state = self.state();
        match ended {
            Ended::Answered(Ok(_)) => state.counts.parts_done += 1,
            Ended::Answered(Err(error)) if error.kind == ErrorKind::Corrupt => {
                state.violated(&self.world, format!("operation {op} met corruption: {error}"));
            }
            Ended::Answered(Err(_)) | Ended::Died => {}
        }
    }

    /// A completion ended. What failed may be tried again, so only what is closed is refused for ever.
    pub fn completion_ends(&self, op: OpId, ended: &Ended<CompletedUpload>) {
        self.world.tell(|| format!("op {op} completion {ended:?}"));
        let error = match ended {
            Ended::Answered(Ok(done)) => {
                self.state().counts.uploads_completed += 1;
                return self.put_acknowledged(op, &as_put(done));
            }
            Ended::Answered(Err(error)) => error,
            Ended::Died => return self.state().counts.puts_unknown += 1,
        };
        let mut state = self.state();
        match Refused::of(error) {
            // A clock that jumps a day ahead takes away what says that it was completed.
            Some(Refused::NoSuchUpload) => state.operations[op].refused |= state.operations[op].landed.is_none(),
            Some(Refused::ConditionFailed) => state.counts.puts_refused += 1,
            // A bucket takes its uploads with it.
            Some(Refused::NoSuchBucket) if is_gone(&state, op) => {
                state.operations[op].refused |= state.operations[op].landed.is_none();
            }
            Some(refused) => {
                let what = format!("law 1: operation {op} named what was acknowledged, and heard {refused:?}: {error}");
                state.violated(&self.world, what);
            }
            None if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Unknown) => {
                state.counts.puts_unknown += 1;
            }
            None => state.violated(&self.world, format!("a completion of operation {op} ended {error:?}")),
        }
    }

    /// An abortion ended: after it the upload never becomes visible.
    pub fn abortion_ends(&self, op: OpId, ended: &Ended<()>) {
        self.world.tell(|| format!("op {op} abortion {ended:?}"));
        let mut state = self.state();
        let Ended::Answered(Ok(())) = ended else { return };
        state.counts.uploads_aborted += 1;
        state.operations[op].refused = true;
        if let Some(landed) = state.operations[op].landed {
            let what = format!("law 3: operation {op} was aborted, and it is visible: {landed:?}");
            state.violated(&self.world, what);
        }
    }

    /// A copy ended.
    pub fn copy_ends(&self, op: OpId, ended: &Ended<CopyDone>) {
        match ended {
            Ended::Answered(Ok(done)) => {
                self.state().counts.copies_done += 1;
                self.put_ends(op, &Ended::Answered(Ok(done.put.clone())));
            }
            Ended::Answered(Err(error)) => {
                let error = match Refused::of(error) {
                    Some(refused) => refused.error(error.message.clone()),
                    None => protocol::Error::new(error.kind, error.message.clone()),
                };
                self.put_ends(op, &Ended::Answered(Err(error)));
            }
            Ended::Died => self.put_ends(op, &Ended::Died),
        }
    }

    /// A client leaves an upload open, all of whose parts were acknowledged.
    pub fn leaves_open(&self, begun: Begun) {
        self.state().left_open.push(begun);
    }

    /// Uploads that were left open, which are not looked after any more.
    pub fn left_open(&self) -> Vec<Begun> {
        std::mem::take(&mut self.state().left_open)
    }

    /// What a version was put as.
    pub fn body_of(&self, version: &VersionRecord) -> Option<TestBody> {
        let op: OpId = version.metadata.get(OPERATION)?.parse().ok()?;
        match &self.state().operations.get(op)?.asked {
            Asked::Put { body, .. } => Some(body.clone()),
            _ => None,
        }
    }

    /// A commit opened or closed uploads, perhaps.
    pub(super) fn uploads_changed(&self, batch: &Batch) {
        let all = keys::every_upload();
        let within = |key: &&bytes::Bytes| (&all.from..&all.to).contains(key);
        let parse = |key| keys::parse_upload(key).expect("a key of that range");
        let mut state = self.state();
        for (bucket, _, upload) in batch.puts.iter().map(|(key, _)| key).filter(within).map(|key| parse(key)) {
            if !state.uploads.contains_key(&upload) {
                state.sequence += 1;
                state.uploads.insert(upload, Upload { bucket: bucket.to_owned(), closed: None });
            }
        }
        for (bucket, _, id) in batch.deletes.iter().filter(within).map(|key| parse(key)) {
            let left = state.left_open.iter().position(|begun| begun.upload == id);
            if left.map(|place| state.left_open.swap_remove(place)).is_some() {
                state.counts.uploads_gone_with_buckets += 1;
                let key = keys::bucket(bucket);
                let goes = batch.deletes.contains(&key) || batch.puts.iter().any(|(put, _)| *put == key);
                let record: Option<BucketRecord> = self.view.record(&key);
                if !goes && record.is_none_or(|record| record.state != BucketState::Deleting) {
                    state.violated(&self.world, format!("upload {id} was closed, and nobody asked for it"));
                }
            }
            state.sequence += 1;
            let closed = state.sequence;
            let before = state.uploads.get_mut(&id).map(|upload| upload.closed.replace(closed));
            if before != Some(None) {
                state.violated(&self.world, format!("upload {id} was closed twice, or never opened: {before:?}"));
            }
        }
    }
}

/// Whether the bucket of an operation was not there at some time since it began.
fn is_gone(state: &State, op: OpId) -> bool {
    let operation = &state.operations[op];
    state.bucket_was(&operation.key, operation.began, false)
}

impl State {
    /// Whether an upload is open in a bucket.
    pub(super) fn has_upload(&self, bucket: &str) -> bool {
        self.uploads.values().any(|upload| upload.bucket == bucket && upload.closed.is_none())
    }
}
