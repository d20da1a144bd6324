//! Keys of what changes how versions are stored as time goes by.

use super::{HEAT, KeyRange, TRANSITION, join, last_id, starting_with, strip};
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
}
