//! Why a verb refused, where an error's kind does not say enough for a dialect to choose its words.
//!
//! What it keeps true: it rides in the error as its source, so whoever does not ask for it loses nothing.

use protocol::{Error, ErrorKind};
use std::fmt;

/// A reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such bucket.
    NoSuchBucket,
    /// There is such a bucket already.
    BucketExists,
    /// There is something in the bucket.
    BucketNotEmpty,
    /// There is no such object.
    NoSuchKey,
    /// There is no such version.
    NoSuchVersion,
    /// The version that is named is a delete marker, of which nothing can be said.
    Marker,
    /// What the caller demanded does not hold.
    ConditionFailed,
    /// The version is locked by its retention or a legal hold.
    Locked,
    /// The bucket was made without object lock.
    NoObjectLock,
    /// The bucket has a quota, and is full.
    OverQuota,
    /// The bucket's settings do not go together.
    BucketSettings,
    /// There is no such open upload.
    NoSuchUpload,
    /// A part that is named was not uploaded, or is not the one that is meant.
    InvalidPart,
    /// The parts are not named in ascending order.
    PartOrder,
    /// A part other than the last is too small.
    PartTooSmall,
    /// No part is named.
    PartsMissing,
    /// The bytes are not those that were announced.
    ContentDiffers,
    /// Each shard has a node of its own, and there are not as many.
    TooFewNodes,
    /// There are not as many bytes as were announced.
    SizeDiffers,
}

impl Refused {
    /// The reason in `error`, if it has one.
    pub fn of(error: &Error) -> Option<Refused> {
        error.source.as_ref()?.downcast_ref().copied()
    }

    /// The error that says so.
    pub fn error(self, message: impl Into<String>) -> Error {
        Error::caused(self.kind(), message, self)
    }

    fn kind(self) -> ErrorKind {
        match self {
            Refused::NoSuchBucket | Refused::NoSuchKey | Refused::NoSuchVersion | Refused::NoSuchUpload => {
                ErrorKind::NotFound
            }
            Refused::BucketExists | Refused::BucketNotEmpty | Refused::ConditionFailed => ErrorKind::Conflict,
            Refused::Locked | Refused::OverQuota => ErrorKind::Denied,
            Refused::TooFewNodes => ErrorKind::Unavailable,
            Refused::Marker
            | Refused::NoObjectLock
            | Refused::BucketSettings
            | Refused::InvalidPart
            | Refused::PartOrder
            | Refused::PartTooSmall
            | Refused::PartsMissing
            | Refused::ContentDiffers
            | Refused::SizeDiffers => ErrorKind::Invalid,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::NoSuchBucket => "no such bucket",
            Refused::BucketExists => "the bucket exists",
            Refused::BucketNotEmpty => "the bucket is not empty",
            Refused::NoSuchKey => "no such object",
            Refused::NoSuchVersion => "no such version",
            Refused::Marker => "the version is a delete marker",
            Refused::ConditionFailed => "a condition does not hold",
            Refused::Locked => "the version is locked",
            Refused::NoObjectLock => "the bucket has no object lock",
            Refused::OverQuota => "the bucket is full",
            Refused::BucketSettings => "the bucket's settings do not go together",
            Refused::NoSuchUpload => "no such upload",
            Refused::InvalidPart => "a part is not the one that is meant",
            Refused::PartOrder => "the parts are not in order",
            Refused::PartTooSmall => "a part is too small",
            Refused::PartsMissing => "no part is named",
            Refused::ContentDiffers => "the bytes are not those that were announced",
            Refused::TooFewNodes => "there are too few nodes",
            Refused::SizeDiffers => "there are not as many bytes as were announced",
        })
    }
}

impl std::error::Error for Refused {}
