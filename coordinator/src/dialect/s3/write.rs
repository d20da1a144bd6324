//! PutObject, and what all bodies that become bytes of an object have in common: they are counted, hashed, bounded, and compared with
//! what was promised of them before anything of them can be seen.

use super::fault::{BodyFault, fault, of_verb};
use super::heads::{described, expected_owner, is_failed_condition, write_condition};
use super::incoming::Trailers;
use super::promise::{Promise, kind, printed, spelled};
use super::read::object_name;
use super::route::trace;
use super::target::Target;
use crate::dialect::{Door, with_request_id};
use crate::metadata::records::{Checksum, Strategy, Versioning};
use crate::names;
use crate::object::{
    BodyMessage, Condition, Found, MissingBucket, ObjectName, PutDone, PutTarget, Receipt, VersionName, body_channel,
    joined,
};
use futures_util::stream::StreamExt;
use hyper::HeaderMap;
use hyper::header::{CONTENT_LENGTH, ETAG, HeaderValue};
use metrics::counter;
use protocol::Error;
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders};
use tokio::sync::mpsc::Sender;

/// Where answers to writes tell how durable what was written is.
const DURABILITY: &str = "x-holdfast-durability";
const UNSENDABLE: &str = "a header of the answer cannot be sent";
/// The most bytes of one put, and of one part.
const PUT_BYTES_MAX: u64 = 5 << 30;

/// Answers `PUT /bucket/key`.
pub async fn answer(door: &Door, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
    let name = object_name(&request.extensions.get::<Target>().cloned().unwrap_or_default())?;
    let headers = std::mem::take(&mut request.headers);
    let principal = trace(&request.extensions).principal();
    let length = body_length(door, &headers)?;
    let trailers = AnyTrailers::of(&request);
    let body = StreamingBlob::from(request.input);
    let (done, checksum) = store(door, name, &headers, principal.owner(), (body, length, trailers)).await?;
    Ok(S3Response::with_headers(Body::empty(), answer_head(&done, checksum.as_ref())?))
}

/// Stores a body as what its head says. The body comes with its length and its trailers.
pub async fn store(
    door: &Door,
    name: ObjectName,
    headers: &HeaderMap,
    owner: &str,
    (body, length, trailers): (StreamingBlob, u64, AnyTrailers),
) -> S3Result<(PutDone, Option<Checksum>)> {
    let described = described(headers, owner, door.objects.clock.now_ms())?;
    let bucket = door.objects.require_bucket(name.bucket()).await.map_err(of_verb)?;
    expected_owner(headers, &bucket.owner)?;
    let promise = Promise::of(headers)?;
    let mut target = PutTarget {
        name: name.clone(),
        content_type: described.content_type,
        metadata: described.metadata,
        condition: write_condition(headers)?,
        md5: promise.md5,
        attributes: described.attributes,
        missing_bucket: MissingBucket::Refuse,
    };
    let asked = described.class.map(Strategy::from);
    let storage = door.objects.storage_of(name.bucket(), asked, Some(length)).await.map_err(of_verb)?;
    storage.describe(&mut target.attributes);
    let condition = target.condition.clone();
    if let Err(error) = door.objects.require_coming(&target, Some(length)).await {
        return Err(missing_or(door, &name, &condition, of_verb(error)).await);
    }
    let (sender, pieces) = body_channel();
    let objects = door.objects.clone();
    let put = async move { objects.put_with_md5(storage.code, pieces).await };
    let put = door.objects.tasks.spawn_here(with_request_id(put));
    let done = match (Coming { body, promise, length, trailers }).pump(&sender).await {
        Ok(checksum) => {
            target.attributes.checksum.clone_from(&checksum);
            // If this cannot be sent, the put has ended and says why.
            drop(sender.send(BodyMessage::End(Box::new(target))).await);
            joined(put).await.map(|done| (done, checksum)).map_err(of_verb)
        }
        Err(Stopped::Here(fault)) => Err(fault),
        Err(Stopped::PutEnded) => Err(of_verb(joined(put).await.err().unwrap_or_else(ended_early))),
    };
    match done {
        Ok(done) => {
            counter!(names::FILE_UPLOADS_TOTAL).increment(1);
            Ok(done)
        }
        Err(fault) => Err(missing_or(door, &name, &condition, fault).await),
    }
}

/// The put ended although its body had not.
pub fn ended_early() -> Error {
    Error::unavailable("the put ended before its body did")
}

/// An If-Match for a key that does not exist is 404, not 412.
pub async fn missing_or(door: &Door, name: &ObjectName, condition: &Condition, fault: S3Error) -> S3Error {
    if !is_failed_condition(&fault) || !matches!(condition, Condition::Matches(_) | Condition::Is(_)) {
        return fault;
    }
    match door.objects.find(name, None).await {
        Ok(Found::NoKey | Found::Marker(_)) => {
            super::fault::fault(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
        }
        _ => fault,
    }
}

/// What an answer says of a version that was written.
pub fn answer_head(done: &PutDone, checksum: Option<&Checksum>) -> S3Result<HeaderMap> {
    let mut head = HeaderMap::new();
    let text = |text: String| HeaderValue::from_str(&text).map_err(|_| fault(S3ErrorCode::InternalError, UNSENDABLE));
    head.insert(ETAG, text(format!("\"{}\"", done.etag.text(done.sha256.as_ref())))?);
    if let Some(version) = shown_version(done.version_name, done.versioning) {
        head.insert("x-amz-version-id", text(version)?);
    }
    if let Some(checksum) = checksum {
        head.insert(spelled(checksum.algorithm).1, text(printed(checksum))?);
        head.insert("x-amz-checksum-type", HeaderValue::from_static(kind(checksum.kind)));
    }
    head.insert(DURABILITY, text(done.receipt.to_header())?);
    Ok(head)
}

/// An answer that tells how durable what was written is.
pub fn with_receipt<T>(output: T, receipt: &Receipt) -> S3Result<S3Response<T>> {
    let mut answer = S3Response::new(output);
    let told = HeaderValue::from_str(&receipt.to_header());
    answer.headers.insert(DURABILITY, told.map_err(|_| fault(S3ErrorCode::InternalError, UNSENDABLE))?);
    Ok(answer)
}

/// The version's id, where the bucket keeps versions.
pub fn shown_version(name: VersionName, versioning: Versioning) -> Option<String> {
    (versioning != Versioning::Off).then(|| name.to_string())
}

/// What is told of bytes without a length.
pub const NO_LENGTH: &str = "You must provide the Content-Length HTTP header.";

/// The length of a body's content, which the head must tell.
pub fn body_length(door: &Door, headers: &HeaderMap) -> S3Result<u64> {
    let number = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // Where the library unpacks chunks, the length of the content stands in a header of its own.
    let length = number("x-amz-decoded-content-length").or_else(|| number(CONTENT_LENGTH.as_str()));
    let length = length.ok_or_else(|| fault(S3ErrorCode::MissingContentLength, NO_LENGTH))?;
    let most = door.settings.upload_bytes_max.unwrap_or(u64::MAX).min(PUT_BYTES_MAX);
    match length > most {
        true => Err(fault(
            S3ErrorCode::EntityTooLarge,
            format!("Your proposed upload of {length} bytes exceeds the maximum allowed size of {most}"),
        )),
        false => Ok(length),
    }
}

/// Trailers, whoever unpacks the body.
pub enum AnyTrailers {
    /// The library does, and verifies them.
    Library(Option<TrailingHeaders>),
    /// This door does.
    Ours(Trailers),
}

impl AnyTrailers {
    /// The trailers of a request.
    pub fn of<T>(request: &S3Request<T>) -> AnyTrailers {
        match (&request.trailing_headers, request.extensions.get::<Trailers>()) {
            (None, Some(ours)) => AnyTrailers::Ours(ours.clone()),
            (library, _) => AnyTrailers::Library(library.clone()),
        }
    }

    fn take(&self) -> Option<HeaderMap> {
        match self {
            AnyTrailers::Library(trailers) => trailers.as_ref().and_then(TrailingHeaders::take),
            AnyTrailers::Ours(trailers) => trailers.take(),
        }
    }
}

/// A body that is coming, and what is known of it beforehand.
pub struct Coming {
    /// The body.
    pub body: StreamingBlob,
    /// What was promised of it.
    pub promise: Promise,
    /// Its length in bytes.
    pub length: u64,
    /// Its trailers.
    pub trailers: AnyTrailers,
}

/// Why a body did not come to its end.
pub enum Stopped {
    /// It is not as it should be: whoever waits for its end is not told of one, and publishes nothing.
    Here(S3Error),
    /// The put has ended, and says why.
    PutEnded,
}

impl From<S3Error> for Stopped {
    fn from(fault: S3Error) -> Stopped {
        Stopped::Here(fault)
    }
}

impl Coming {
    /// Passes the body on, all but its end. What comes back is its checksum, if it has one.
    pub async fn pump<T: Send>(mut self, sender: &Sender<BodyMessage<T>>) -> Result<Option<Checksum>, Stopped> {
        let mut checksummer = self.promise.checksummer();
        let mut bytes = 0;
        while let Some(piece) = self.body.next().await {
            let piece = piece.map_err(|error| BodyFault::of_stream(error.as_ref()).told())?;
            bytes += piece.len() as u64;
            if bytes > self.length {
                return Err(BodyFault::Incomplete.told().into());
            }
            if let Some(checksummer) = &mut checksummer {
                checksummer.update(&piece);
            }
            if sender.send(BodyMessage::Piece(piece)).await.is_err() {
                return Err(Stopped::PutEnded);
            }
        }
        counter!(names::DATA_TRANSFER_BYTES_TOTAL, "direction" => "in").increment(bytes);
        if bytes != self.length {
            return Err(BodyFault::Incomplete.told().into());
        }
        Ok(self.promise.kept(checksummer, self.trailers.take().as_ref())?)
    }
}
