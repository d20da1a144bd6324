//! What went wrong, in S3's words: one table for the verbs' errors, one for bodies that do not come as they should.

use crate::names;
use crate::object::Refused;
use hyper::StatusCode;
use hyper::http::header::{HeaderMap, RETRY_AFTER};
use metrics::counter;
use protocol::{Error, ErrorKind};
use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;
use std::fmt;

/// An error with this code and message.
pub fn fault(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, message)
}

/// An error whose code s3s does not know, with its status.
pub fn custom(code: &'static str, status: StatusCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    let mut fault = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    fault.set_status_code(status);
    fault
}

/// 400: an argument is wrong, and the message says how.
pub fn invalid(message: impl Into<Cow<'static, str>>) -> S3Error {
    fault(S3ErrorCode::InvalidArgument, message)
}

/// 400: the request as a whole is wrong.
pub fn bad_request(message: impl Into<Cow<'static, str>>) -> S3Error {
    fault(S3ErrorCode::InvalidRequest, message)
}

/// 501: what S3 has and this server has not, yet.
pub fn not_implemented(what: &str) -> S3Error {
    fault(S3ErrorCode::NotImplemented, format!("{what} is not implemented here"))
}

/// 503: come again.
pub fn slow_down(retry_after_s: u64) -> S3Error {
    let mut fault = fault(S3ErrorCode::SlowDown, "Please reduce your request rate.");
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, retry_after_s.into());
    fault.set_headers(headers);
    fault
}

/// What a verb's error is to a client of S3.
pub fn of_verb(error: Error) -> S3Error {
    let code = match Refused::of(&error) {
        // S3 knows no quotas; this is what other servers that do answer.
        Some(Refused::OverQuota) => return custom("QuotaExceeded", StatusCode::FORBIDDEN, error.message),
        Some(refused) => of_refusal(refused),
        None => match error.kind {
            ErrorKind::NotFound => S3ErrorCode::NoSuchKey,
            ErrorKind::Invalid => S3ErrorCode::InvalidArgument,
            ErrorKind::Conflict => S3ErrorCode::OperationAborted,
            ErrorKind::Denied => S3ErrorCode::AccessDenied,
            ErrorKind::Unavailable => S3ErrorCode::ServiceUnavailable,
            // Whether it happened is not known; a client repeats what is answered 500.
            ErrorKind::Unknown | ErrorKind::Corrupt => S3ErrorCode::InternalError,
            ErrorKind::Full => {
                return custom("InsufficientStorage", StatusCode::INSUFFICIENT_STORAGE, error.message);
            }
        },
    };
    fault(code, error.message)
}

fn of_refusal(refused: Refused) -> S3ErrorCode {
    match refused {
        Refused::NoSuchBucket => S3ErrorCode::NoSuchBucket,
        Refused::BucketExists => S3ErrorCode::BucketAlreadyExists,
        Refused::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
        Refused::NoSuchKey => S3ErrorCode::NoSuchKey,
        Refused::NoSuchVersion => S3ErrorCode::NoSuchVersion,
        Refused::Marker => S3ErrorCode::MethodNotAllowed,
        Refused::ConditionFailed => S3ErrorCode::PreconditionFailed,
        Refused::Locked | Refused::OverQuota => S3ErrorCode::AccessDenied,
        Refused::NoObjectLock | Refused::SizeDiffers => S3ErrorCode::InvalidRequest,
        Refused::BucketSettings => S3ErrorCode::InvalidBucketState,
        Refused::NoSuchUpload => S3ErrorCode::NoSuchUpload,
        Refused::InvalidPart => S3ErrorCode::InvalidPart,
        Refused::PartOrder => S3ErrorCode::InvalidPartOrder,
        Refused::PartTooSmall => S3ErrorCode::EntityTooSmall,
        Refused::PartsMissing => S3ErrorCode::MalformedXML,
        Refused::ContentDiffers => S3ErrorCode::BadDigest,
        Refused::TooFewNodes => S3ErrorCode::ServiceUnavailable,
    }
}

/// Why a body did not come as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It brought nothing for so many seconds.
    StoodStill(u64),
    /// The connection broke.
    Broken(String),
    /// Its chunks are not framed as they should be.
    Framing(&'static str),
    /// It ended before it was all there, or went on after.
    Incomplete,
    /// Its SHA-256 is not the one in `x-amz-content-sha256`.
    Sha256,
    /// It is not what its MD5 or its checksum, of which this is told, says.
    Digest(String),
    /// It is a document with a CDATA section.
    Cdata,
    /// The signature of one of its chunks, or of its trailer, is wrong.
    Signature,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyFault::StoodStill(seconds) => write!(f, "next to nothing of the body arrived for {seconds} s"),
            BodyFault::Broken(why) => write!(f, "the body broke off: {why}"),
            BodyFault::Framing(why) => write!(f, "the body's chunks are malformed: {why}"),
            BodyFault::Incomplete => {
                f.write_str("You did not provide the number of bytes specified by the Content-Length HTTP header")
            }
            BodyFault::Sha256 => {
                f.write_str("The provided 'x-amz-content-sha256' header does not match what was computed.")
            }
            BodyFault::Digest(why) => f.write_str(why),
            BodyFault::Cdata => {
                f.write_str("The XML you provided has a CDATA section, which is not taken: escape its text instead")
            }
            BodyFault::Signature => f.write_str("The signature of a chunk does not match"),
        }
    }
}

impl std::error::Error for BodyFault {}

impl BodyFault {
    /// What the client is told.
    pub fn told(&self) -> S3Error {
        let code = match self {
            BodyFault::StoodStill(_) => S3ErrorCode::RequestTimeout,
            BodyFault::Broken(_) | BodyFault::Incomplete => S3ErrorCode::IncompleteBody,
            BodyFault::Framing(_) => S3ErrorCode::InvalidRequest,
            BodyFault::Sha256 => {
                return custom("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST, self.to_string());
            }
            BodyFault::Digest(_) => S3ErrorCode::BadDigest,
            BodyFault::Cdata => S3ErrorCode::MalformedXML,
            BodyFault::Signature => S3ErrorCode::SignatureDoesNotMatch,
        };
        fault(code, self.to_string())
    }

    /// What became of a body whose stream ended with this error. The library's own errors have private types: their text tells.
    pub fn of_stream(error: &(dyn std::error::Error + Send + Sync + 'static)) -> BodyFault {
        if let Some(fault) = error.downcast_ref::<BodyFault>() {
            return fault.clone();
        }
        let text = error.to_string();
        let says = |part: &str| text.contains(part);
        match () {
            () if says("SignatureMismatch") => BodyFault::Signature,
            () if says("Sha256Mismatch") => BodyFault::Sha256,
            () if says("next to nothing of the body arrived") => BodyFault::StoodStill(0),
            () if says("LengthMismatch") || says("Incomplete") => BodyFault::Incomplete,
            () if says("FormatError") || says("TooLarge") || says("TooMany") => {
                BodyFault::Framing("see the signature's version 4")
            }
            () => BodyFault::Broken(text),
        }
    }
}

/// Counts a refusal by one of the limits.
pub fn limited(limit: &'static str) {
    counter!(names::REQUESTS_LIMITED_TOTAL, "limit" => limit).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        let status = |kind| of_verb(Error::new(kind, "why")).status_code().map(|status| status.as_u16());
        let statuses: Vec<Option<u16>> = ErrorKind::ALL.into_iter().map(status).collect();
        assert_eq!(statuses, [404, 409, 400, 403, 503, 500, 507, 500].map(Some));
    }

    #[test]
    fn every_refusal_has_s3_s_name() {
        for (refused, code, status) in [
            (Refused::NoSuchBucket, "NoSuchBucket", 404),
            (Refused::BucketExists, "BucketAlreadyExists", 409),
            (Refused::BucketNotEmpty, "BucketNotEmpty", 409),
            (Refused::NoSuchKey, "NoSuchKey", 404),
            (Refused::NoSuchVersion, "NoSuchVersion", 404),
            (Refused::Marker, "MethodNotAllowed", 405),
            (Refused::ConditionFailed, "PreconditionFailed", 412),
            (Refused::Locked, "AccessDenied", 403),
            (Refused::OverQuota, "QuotaExceeded", 403),
            (Refused::NoObjectLock, "InvalidRequest", 400),
            (Refused::BucketSettings, "InvalidBucketState", 409),
            (Refused::ContentDiffers, "BadDigest", 400),
            (Refused::SizeDiffers, "InvalidRequest", 400),
            (Refused::NoSuchUpload, "NoSuchUpload", 404),
            (Refused::InvalidPart, "InvalidPart", 400),
            (Refused::PartOrder, "InvalidPartOrder", 400),
            (Refused::PartTooSmall, "EntityTooSmall", 400),
            (Refused::PartsMissing, "MalformedXML", 400),
        ] {
            let fault = of_verb(refused.error("why"));
            assert_eq!((fault.code().as_str(), fault.status_code().unwrap().as_u16()), (code, status));
        }
    }

    #[test]
    fn the_library_s_body_errors_are_known_by_their_text() {
        let of = |text: &str| BodyFault::of_stream(std::io::Error::other(text).as_ref_error()).told();
        for (text, code) in [
            ("AwsChunkedStreamError: SignatureMismatch", "SignatureDoesNotMatch"),
            ("UploadStreamError: Sha256Mismatch", "XAmzContentSHA256Mismatch"),
            ("UploadStreamError: LengthMismatch", "IncompleteBody"),
            ("AwsChunkedStreamError: FormatError", "InvalidRequest"),
            ("connection reset", "IncompleteBody"),
        ] {
            assert_eq!(of(text).code().as_str(), code, "{text}");
        }
    }

    trait AsRefError {
        fn as_ref_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static);
    }

    impl AsRefError for std::io::Error {
        fn as_ref_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }
    }
}
