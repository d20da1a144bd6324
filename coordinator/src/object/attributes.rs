//! What a writer says of a version besides its bytes, and how a version is called on the wire.

use crate::metadata::records::{Checksum, Headers, ObjectRecord, Retention, StorageClass, VersionId, VersionRecord};
use protocol::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// What a writer says of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The id of the access key that writes it; empty if none does.
    pub owner: String,
    /// Headers that are given back as they came.
    pub headers: Headers,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its checksum, which whoever read the bytes has verified or computed.
    pub checksum: Option<Checksum>,
    /// Until when it is kept; `None` leaves it to the bucket's default.
    pub retention: Option<Retention>,
    /// Whether it is kept until somebody says otherwise; `None` says nothing.
    pub legal_hold: Option<bool>,
    /// Its storage class.
    pub storage_class: StorageClass,
    /// Whether that follows its size and how much it is read.
    pub tiered: bool,
}

/// What S3 calls a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VersionName {
    /// The one that was made while the bucket kept no versions.
    Null,
    /// The one with this id.
    Id(VersionId),
}

impl VersionName {
    /// What `version` is called.
    pub fn of(version: &VersionRecord) -> VersionName {
        if version.is_null { VersionName::Null } else { VersionName::Id(version.id) }
    }

    /// What the newest version of a name is called.
    pub fn newest(object: &ObjectRecord) -> VersionName {
        if object.null_number == Some(object.number) { VersionName::Null } else { VersionName::Id(object.current) }
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionName::Null => f.write_str("null"),
            VersionName::Id(id) => id.fmt(f),
        }
    }
}

impl FromStr for VersionName {
    type Err = Error;

    fn from_str(text: &str) -> Result<VersionName> {
        if text == "null" {
            return Ok(VersionName::Null);
        }
        let id =
            Uuid::try_parse(text).map_err(|_| Error::invalid(format!("{text:?} is no version id: a UUID or null")))?;
        Ok(VersionName::Id(VersionId(id)))
    }
}
