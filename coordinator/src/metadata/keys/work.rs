//! Keys of workers and of what they are asked for.

use super::{KeyRange, join, last_id, name, starting_with, strip};
use bytes::Bytes;
use protocol::Result;
use uuid::Uuid;

const LEASE: &[u8] = b"lease/";
const BEAT: &[u8] = b"beat/";
const WORKER: &[u8] = b"worker/";
const WANTED: &[u8] = b"wanted/";
const VERIFY: &[u8] = b"verify/";
const FINDING: &[u8] = b"finding/";

/// Who does a kind of work.
pub fn lease(lease: &str) -> Bytes {
    join(&[LEASE, name(lease)])
}

/// That it still does.
pub fn beat(lease: &str) -> Bytes {
    join(&[BEAT, name(lease)])
}

/// How far a worker has come.
pub fn worker(worker: &str) -> Bytes {
    join(&[WORKER, name(worker)])
}

/// A pass of a worker that is wanted.
pub fn wanted(worker: &str, id: Uuid) -> Bytes {
    join(&[WANTED, name(worker), b"/", id.as_bytes()])
}

/// All passes of a worker that are wanted.
pub fn wanted_of(worker: &str) -> KeyRange {
    starting_with(join(&[WANTED, name(worker), b"/"]))
}

/// A verification.
pub fn verify(id: Uuid) -> Bytes {
    join(&[VERIFY, id.as_bytes()])
}

/// All verifications, the oldest first.
pub fn verifies() -> KeyRange {
    starting_with(Bytes::from_static(VERIFY))
}

/// The id in a [`verify`] key.
pub fn parse_verify(key: &[u8]) -> Result<Uuid> {
    last_id(key, strip(key, VERIFY)?)
}

/// Finding `number` of a verification.
pub fn finding(id: Uuid, number: u64) -> Bytes {
    join(&[FINDING, id.as_bytes(), b"/", &number.to_be_bytes()])
}

/// The findings of a verification from `number` on.
pub fn findings_from(id: Uuid, number: u64) -> KeyRange {
    KeyRange { from: finding(id, number), to: starting_with(join(&[FINDING, id.as_bytes(), b"/"])).to }
}
