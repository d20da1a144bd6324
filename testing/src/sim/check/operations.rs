//! What must hold of every answer at the moment it is given.

use super::{Asked, Moment, Operation, Oracle, State};
use crate::sim::body::TestBody;
use crate::sim::client::uploads::is_of_parts;
use coordinator::metadata::records::VersionId;
use coordinator::metadata::records::VersionRecord;
use coordinator::object::{Condition, DeleteMode, Deleted, PutDone, Refused};
use protocol::{Error, ErrorKind, Result};

/// The place of an operation in the order in which they began.
pub type OpId = usize;

/// How a request ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// The coordinator answered.
    Answered(Result<T>),
    /// The coordinator died first.
    Died,
}

/// What a read found.
#[derive(Debug)]
pub enum Got {
    /// A version, and the bytes that were read of it.
    Version(Box<VersionRecord>, Vec<u8>),
    /// No object of that name.
    NoObject,
    /// No such version.
    NoVersion,
}

impl Oracle {
    /// A put is about to be sent.
    pub fn put_begins(&self, key: &str, body: &TestBody, condition: &Condition) -> OpId {
        self.begins(key, Asked::Put { body: body.clone(), condition: condition.clone() })
    }

    /// A delete is about to be sent.
    pub fn delete_begins(&self, key: &str, mode: DeleteMode) -> OpId {
        self.begins(key, Asked::Delete { mode })
    }

    /// A removal of one version is about to be sent.
    pub fn remove_begins(&self, key: &str, version: VersionId) -> OpId {
        let number = self.state().numbers.get(&version).copied().unwrap_or(0);
        self.begins(key, Asked::Remove { number })
    }

    pub(super) fn begins(&self, key: &str, asked: Asked) -> OpId {
        let mut state = self.state();
        let acknowledged = state.acknowledged.range((key.to_owned(), 0)..=(key.to_owned(), u64::MAX));
        let acknowledged_before = acknowledged.last().map_or(0, |((_, number), _)| *number);
        let (op, began) = (state.operations.len(), state.sequence);
        self.world.tell(|| format!("op {op} {key} begins"));
        let key = key.to_owned();
        state.operations.push(Operation { key, asked, began, acknowledged_before, refused: false, landed: None });
        op
    }

    /// A read or a listing is about to be sent; give the number back at its end.
    pub fn read_begins(&self) -> u64 {
        self.state().sequence
    }

    /// A put ended.
    pub fn put_ends(&self, op: OpId, ended: &Ended<PutDone>) {
        self.world.tell(|| format!("op {op} put {}", told(ended, |done| format!("number {}", done.number))));
        match ended {
            Ended::Answered(Ok(done)) => self.put_acknowledged(op, done),
            Ended::Answered(Err(error)) if error.kind != ErrorKind::Unknown => {
                self.state().counts.puts_refused += 1;
                self.refused(op, error);
            }
            Ended::Answered(Err(_)) | Ended::Died => self.state().counts.puts_unknown += 1,
        }
    }

    /// I9: only what certainly did not happen, and never will, may be refused.
    fn refused(&self, op: OpId, error: &Error) {
        let mut state = self.state();
        state.operations[op].refused = true;
        if let Some(landed) = state.operations[op].landed {
            let what = format!("law 3: operation {op} was refused ({error}), and it is visible: {landed:?}");
            state.violated(&self.world, what);
        }
        let operation = &state.operations[op];
        if Refused::of(error) == Some(Refused::NoSuchBucket)
            && !state.bucket_was(&operation.key, operation.began, false)
        {
            let what = format!("operation {op} was refused ({error}), and the bucket was there all the time");
            state.violated(&self.world, what);
        }
        if error.kind == ErrorKind::Corrupt {
            state.violated(&self.world, format!("operation {op} met corruption: {error}"));
        }
    }

    pub(super) fn put_acknowledged(&self, op: OpId, done: &PutDone) {
        let mut state = self.state();
        state.counts.puts_done += 1;
        let operation = state.operations[op].clone();
        let landed = operation.landed;
        let published = landed.map(|(number, _, _)| (number, state.published[&(operation.key.clone(), number)]));
        let Some((number, _)) = published.filter(|(_, is)| is.shown == done.number && is.id == done.version) else {
            let what =
                format!("law 1: operation {op} was acknowledged as {done:?}, but what was committed is {landed:?}");
            return state.violated(&self.world, what);
        };
        if number <= operation.acknowledged_before {
            let what = format!("law 7: {number} of {} after {}", operation.key, operation.acknowledged_before);
            state.violated(&self.world, what);
        }
        let body = state.body(op).expect("what was published has a body");
        // What is put together from parts is hashed by nobody; its readers are.
        let is_right = done.sha256.map_or(is_of_parts(done.etag), |sha256| sha256 == body.sha256);
        if !is_right || done.size != body.data.len() as u64 {
            state.violated(&self.world, format!("law 6: operation {op} was acknowledged as other bytes: {done:?}"));
        }
        state.counts.chunks_reused += u64::from(done.stored_bytes == 0 && done.size > 0);
        state.acknowledged.insert((operation.key.clone(), number), op);
        let moment = state.moment(&operation.key);
        let gone = moment.purged_through >= number || state.is_removed(&operation.key, number, &moment);
        drop(state);
        if !gone {
            self.durable_at_acknowledgement(&operation.key, done);
        }
    }

    /// Law 1, looked up in the nodes' own state.
    fn durable_at_acknowledgement(&self, key: &str, done: &PutDone) {
        let Some(version) = self.view.version(key, done.number) else {
            return self.violated(format!("law 1: number {} of {key} was acknowledged and has no record", done.number));
        };
        if let Err(what) = self.whole(&version) {
            return self.violated(format!("law 1: number {} of {key} was acknowledged, but {what}", done.number));
        }
        for entry in self.view.entries(&version).unwrap_or_default() {
            let Some(record) = self.view.chunk(entry.chunk) else { continue };
            let durable = self.view.durable_on(entry.chunk, &record).len();
            // Chunks of a document may be encoded in two ways; what each of them survives can be compared.
            let survives = durable.saturating_sub(usize::from(record.code.data));
            if durable < self.view.quorum(&record) || survives < done.receipt.survives as usize {
                self.violated(format!(
                    "law 1: number {} of {key} was acknowledged to survive {} losses, and chunk {} of {} is durable on {durable} nodes",
                    done.number, done.receipt.survives, entry.chunk, record.code
                ));
            }
        }
    }

    /// A delete ended.
    pub fn delete_ends(&self, op: OpId, ended: &Ended<Deleted>) {
        self.world.tell(|| format!("op {op} delete {}", told(ended, |deleted| format!("{deleted:?}"))));
        let mut state = self.state();
        let operation = state.operations[op].clone();
        let Asked::Delete { mode } = operation.asked else { unreachable!("a delete ended") };
        let window = state.moments_since(&operation.key, operation.began);
        let gone = |moment: &Moment| match mode {
            DeleteMode::Mark | DeleteMode::MarkAlways => moment.live.is_none(),
            DeleteMode::Purge => moment.purged,
        };
        let fits = match ended {
            Ended::Answered(Ok(Deleted::Done)) => window.iter().skip(1).any(gone),
            Ended::Answered(Ok(Deleted::Nothing)) => window.iter().any(gone),
            Ended::Answered(Err(error)) if error.kind != ErrorKind::Unknown => {
                state.operations[op].refused = true;
                match Refused::of(error) {
                    Some(Refused::NoSuchBucket) => state.bucket_was(&operation.key, operation.began, false),
                    _ => error.kind == ErrorKind::Unavailable || error.kind == ErrorKind::Full,
                }
            }
            Ended::Answered(Err(_)) | Ended::Died => true,
        };
        if matches!(ended, Ended::Answered(Ok(_))) {
            state.counts.deletes_done += 1;
        }
        // What found nothing takes nothing away.
        state.operations[op].refused |= matches!(ended, Ended::Answered(Ok(Deleted::Nothing)));
        if !fits {
            let what = format!("law 7: delete {op} of {} ended {ended:?} within {window:?}", operation.key);
            state.violated(&self.world, what);
        }
        state.check_deletes(&operation.key).into_iter().for_each(|what| state.violated(&self.world, what));
    }
}

impl Oracle {
    /// A removal of one version ended.
    pub fn remove_ends(&self, op: OpId, ended: &Ended<Deleted>) {
        self.world.tell(|| format!("op {op} remove {}", told(ended, |deleted| format!("{deleted:?}"))));
        let mut state = self.state();
        let operation = state.operations[op].clone();
        let Asked::Remove { number } = operation.asked else { unreachable!("a removal ended") };
        let window = state.moments_since(&operation.key, operation.began);
        let gone =
            |moment: &Moment| moment.purged_through >= number || state.is_removed(&operation.key, number, moment);
        let fits = match ended {
            Ended::Answered(Ok(Deleted::Done)) => window.iter().skip(1).any(gone),
            Ended::Answered(Ok(Deleted::Nothing)) => window.iter().any(gone),
            Ended::Answered(Err(error)) => {
                matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Full | ErrorKind::Unknown)
            }
            Ended::Died => true,
        };
        state.counts.removals_done += u64::from(matches!(ended, Ended::Answered(Ok(Deleted::Done))));
        if !fits {
            let what = format!("law 7: removal {op} of {} {number} ended {ended:?}, {window:?}", operation.key);
            state.violated(&self.world, what);
        }
    }
}

pub(super) fn told<T>(ended: &Ended<T>, done: impl FnOnce(&T) -> String) -> String {
    match ended {
        Ended::Answered(Ok(answer)) => done(answer),
        Ended::Answered(Err(error)) => format!("{}: {error}", error.kind.as_str()),
        Ended::Died => "died".to_owned(),
    }
}

impl State {
    /// A delete takes effect once at most.
    fn check_deletes(&self, key: &str) -> Option<String> {
        let asked = |operation: &&Operation| {
            let takes_away = matches!(operation.asked, Asked::Delete { .. } | Asked::Remove { .. });
            operation.key == key && !operation.refused && takes_away
        };
        let asked = self.operations.iter().filter(asked).count();
        let moments = self.keys.get(key)?;
        let happened = moments.iter().filter(|moment| moment.live.is_none()).count();
        (happened > asked).then(|| format!("{happened} deletes of {key} happened, {asked} may have: {moments:?}"))
    }
}
