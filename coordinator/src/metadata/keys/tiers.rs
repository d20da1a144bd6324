//! Keys of what changes how versions are stored as time goes by, and of what that saves.

use super::{HEAT, KeyRange, SAVINGS, TRANSITION, after, join, last_id, name, starting_with, strip, text};
use crate::metadata::records::VersionId;
use bytes::Bytes;
use protocol::Result;

/// That a version is to be stored otherwise.
pub fn transition(version: VersionId) -> Bytes {
    join(&[TRANSITION, version.0.as_bytes()])
}

/// All versions that are to be stored otherwise, the oldest first.
pub fn transitions() -> KeyRange {
    starting_with(Bytes::from_static(TRANSITION))
}

/// The version in a [`transition`] key.
pub fn parse_transition(key: &[u8]) -> Result<VersionId> {
    Ok(VersionId(last_id(key, strip(key, TRANSITION)?)?))
}

/// How much a version is read.
pub fn heat(version: VersionId) -> Bytes {
    join(&[HEAT, version.0.as_bytes()])
}

/// Of all versions of which that is known.
pub fn heats() -> KeyRange {
    starting_with(Bytes::from_static(HEAT))
}

/// The version in a [`heat`] key.
pub fn parse_heat(key: &[u8]) -> Result<VersionId> {
    Ok(VersionId(last_id(key, strip(key, HEAT)?)?))
}

/// What a bucket holds, and what that takes.
pub fn savings(bucket: &str) -> Bytes {
    join(&[SAVINGS, name(bucket)])
}

/// The same of the buckets whose names come after `bucket`; of all of them after the empty name, which is no bucket's.
pub fn savings_after(bucket: &str) -> KeyRange {
    KeyRange { from: after(&savings(bucket)), to: starting_with(Bytes::from_static(SAVINGS)).to }
}

/// The bucket in a [`savings`] key.
pub fn parse_savings(key: &[u8]) -> Result<&str> {
    text(key, strip(key, SAVINGS)?)
}

/// What all buckets hold together.
pub fn savings_of_all() -> Bytes {
    Bytes::from_static(b"savings")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn keys_round_trip() {
        let version = VersionId(Uuid::from_u128(7));
        assert_eq!(parse_transition(&transition(version)).unwrap(), version);
        assert_eq!(parse_heat(&heat(version)).unwrap(), version);
        assert!(parse_heat(&transition(version)).is_err());
        assert!((transitions().from..transitions().to).contains(&transition(version)));
        assert!((heats().from..heats().to).contains(&heat(version)));
    }

    #[test]
    fn the_savings_of_buckets_come_one_after_the_other_and_those_of_all_apart() {
        assert_eq!(parse_savings(&savings("b")).unwrap(), "b");
        let holds = |after: &str, key: &Bytes| (savings_after(after).from..savings_after(after).to).contains(key);
        assert!(holds("", &savings("b")) && holds("a", &savings("b")) && holds("b", &savings("b-c")));
        assert!(!holds("b", &savings("b")) && !holds("", &savings_of_all()));
    }
}
