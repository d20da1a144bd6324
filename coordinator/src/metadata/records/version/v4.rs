//! The fourth layout: versions whose class may change.

use super::v1::VersionState;
use super::v2::ChunkList;
use super::v3;
use crate::metadata::codec::Migrate;
use crate::metadata::records::{Checksum, ETag, Headers, Retention, Sha256, StorageClass, VersionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Its id.
    pub id: VersionId,
    /// Its number, from 1.
    pub number: u64,
    /// When it was made.
    pub created_ms: u64,
    /// What it is.
    pub state: VersionState,
    /// Whether S3 calls it `null`: it was made while its bucket kept no versions.
    pub is_null: bool,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the bytes; `None` for a marker, and for what was put together from parts, whose bytes nobody saw in one piece.
    #[serde(with = "serde_bytes")]
    pub sha256: Option<Sha256>,
    /// Its ETag.
    pub etag: ETag,
    /// Media type.
    pub content_type: String,
    /// What the client said about it.
    pub metadata: BTreeMap<String, String>,
    /// What it is made of.
    pub chunks: ChunkList,
    /// How many chunks.
    pub chunk_count: u64,
    /// Plain bytes of the chunks that the previous version has, too.
    pub shared_bytes: u64,
    /// Bytes stored for it and not for others before it, one copy counted.
    pub stored_bytes: u64,
    /// The id of the access key that made it; empty if none did.
    pub owner: String,
    /// Headers that are given back as they came.
    pub headers: Headers,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its checksum, if the client sent one or asked for one.
    pub checksum: Option<Checksum>,
    /// Until when it is kept, whatever happens.
    pub retention: Option<Retention>,
    /// Whether it is kept until somebody says otherwise; `None` if nobody ever said, which clients are told apart from "not any more".
    pub legal_hold: Option<bool>,
    /// Its storage class.
    pub storage_class: StorageClass,
    /// Whether its class follows its size and how much it is read (strategy `auto`).
    pub tiered: bool,
    /// Under which id its pages, its references and its list of parts stand: its own, until its class was changed.
    pub manifest: VersionId,
    /// Of how many parts it was put together; what is known of each is in a record of its own.
    pub parts: Option<u16>,
}

impl VersionRecord {
    /// Its ETag as S3 prints it, without quotes.
    pub fn etag_text(&self) -> String {
        self.etag.text(self.sha256.as_ref())
    }

    /// Whether it is kept by a legal hold.
    pub fn is_held(&self) -> bool {
        self.legal_hold == Some(true)
    }
}

impl Migrate for VersionRecord {
    const NAME: &'static str = "version record";
    const TYPE: u8 = 2;
    const VERSION: u8 = 4;
    type Previous = v3::VersionRecord;

    fn migrate(previous: v3::VersionRecord) -> VersionRecord {
        VersionRecord {
            id: previous.id,
            number: previous.number,
            created_ms: previous.created_ms,
            state: previous.state,
            is_null: previous.is_null,
            size: previous.size,
            sha256: previous.sha256,
            etag: previous.etag,
            content_type: previous.content_type,
            metadata: previous.metadata,
            chunks: previous.chunks,
            chunk_count: previous.chunk_count,
            shared_bytes: previous.shared_bytes,
            stored_bytes: previous.stored_bytes,
            owner: previous.owner,
            headers: previous.headers,
            tags: previous.tags,
            checksum: previous.checksum,
            retention: previous.retention,
            legal_hold: previous.legal_hold,
            storage_class: previous.storage_class,
            tiered: false,
            manifest: previous.id,
            parts: previous.parts,
        }
    }
}
