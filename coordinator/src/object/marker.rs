//! Markers: what stands for a deleted object in the history of its key.

use crate::metadata::records::{
    ChunkList, ETag, Headers, ObjectRecord, ObjectState, StorageClass, VersionId, VersionRecord, VersionState,
};
use std::collections::BTreeMap;

/// A marker that says that the name was deleted at `now_ms`.
pub(super) fn marker(id: VersionId, number: u64, is_null: bool, owner: &str, now_ms: u64) -> VersionRecord {
    VersionRecord {
        id,
        number,
        created_ms: now_ms,
        state: VersionState::Marker,
        is_null,
        size: 0,
        sha256: None,
        etag: ETag::None,
        content_type: String::new(),
        metadata: BTreeMap::new(),
        chunks: ChunkList::Inline(Vec::new()),
        chunk_count: 0,
        shared_bytes: 0,
        stored_bytes: 0,
        owner: owner.to_owned(),
        headers: Headers::default(),
        tags: BTreeMap::new(),
        checksum: None,
        retention: None,
        legal_hold: None,
        storage_class: StorageClass::Standard,
        tiered: false,
        manifest: id,
        parts: None,
    }
}

/// The record of a key whose newest version is `newest`; `before` is what it was, if it was.
pub(super) fn standing_for(before: Option<&ObjectRecord>, newest: &VersionRecord) -> ObjectRecord {
    ObjectRecord {
        current: newest.id,
        number: newest.number,
        last_number: before.map_or(0, |before| before.last_number).max(newest.number),
        purged_through: before.map_or(0, |before| before.purged_through),
        state: match newest.state {
            VersionState::Live => ObjectState::Live,
            VersionState::Marker => ObjectState::Deleted,
        },
        size: newest.size,
        sha256: newest.sha256,
        modified_ms: newest.created_ms,
        content_type: newest.content_type.clone(),
        chunks: newest.chunk_count,
        etag: newest.etag,
        storage_class: newest.storage_class,
        null_number: match newest.is_null {
            true => Some(newest.number),
            false => before.and_then(|before| before.null_number),
        },
        checksum: newest.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
    }
}

/// Any version, for a test that cares about two of its fields.
#[cfg(test)]
pub(crate) fn sample() -> VersionRecord {
    marker(VersionId(uuid::Uuid::from_u128(7)), 1, false, "", 1)
}
