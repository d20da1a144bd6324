//! DeleteObject and DeleteObjects.
//!
//! What it keeps true: in a list each key has an outcome of its own; a list of more than a thousand is refused as a whole, and so is one
//! of which nothing is promised: a bit that flips on the way would delete another key.

use super::access::may;
use super::bucket::bucket_of;
use super::fault::{bad_request, fault, invalid, not_implemented, of_verb};
use super::heads::{list, matched};
use super::promise::Promise;
use super::read::version_name;
use super::route::trace;
use super::times::ms_of;
use super::write::missing_or;
use crate::dialect::Door;
use crate::identity::Action;
use crate::metadata::records::Versioning;
use crate::names;
use crate::object::{
    BucketName, Condition, ContentTag, DeleteMode, DeleteRequest, Deleted, ObjectName, RemoveRequest, VersionName,
    Wanted,
};
use hyper::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use hyper::http::Extensions;
use metrics::counter;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

/// The most keys in a list.
const KEYS_MAX: usize = 1_000;

/// What became of a key.
#[derive(Default)]
struct Outcome {
    /// The version or marker that was asked for by name, or made.
    version: Option<VersionName>,
    /// Whether that is a marker.
    marker: bool,
}

/// What goes.
struct Doomed {
    name: ObjectName,
    version: Option<VersionName>,
    condition: Condition,
}

/// Who deletes, and how.
struct Hand {
    owner: String,
    bypass_governance: bool,
}

/// DeleteObject.
pub async fn one(door: &Door, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let (bucket, record) = bucket_of(door, &request, &request.input.bucket).await?;
    let hand = hand(door, &request.extensions, &bucket, request.input.bypass_governance_retention).await?;
    let input = &request.input;
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
        if request.headers.contains_key(&name) {
            return Err(not_implemented(&format!("a delete with {name}")));
        }
    }
    let tags = list(&request.headers, "if-match");
    let condition =
        condition(tags.as_deref().map(matched), input.if_match_last_modified_time.as_ref(), input.if_match_size)?;
    let doomed = Doomed {
        name: ObjectName::new(bucket, input.key.clone()).map_err(of_verb)?,
        version: input.version_id.as_deref().map(version_name).transpose()?,
        condition,
    };
    let outcome = delete(door, &doomed, &hand).await?;
    let shown = outcome.version.filter(|_| doomed.version.is_some() || record.versioning != Versioning::Off);
    let output = DeleteObjectOutput {
        delete_marker: outcome.marker.then_some(true),
        request_charged: None,
        version_id: shown.map(|version| version.to_string()),
    };
    Ok(S3Response::new(output))
}

/// DeleteObjects.
pub async fn many(door: &Door, request: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let (bucket, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let hand = hand(door, &request.extensions, &bucket, request.input.bypass_governance_retention).await?;
    if !Promise::of(&request.headers)?.says_something() {
        return Err(bad_request("Missing required header for this request: Content-MD5"));
    }
    let wanted = request.input.delete;
    if wanted.objects.is_empty() || wanted.objects.len() > KEYS_MAX {
        return Err(fault(
            S3ErrorCode::MalformedXML,
            format!("{} keys: a list has from 1 to {KEYS_MAX}", wanted.objects.len()),
        ));
    }
    let quiet = wanted.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in wanted.objects {
        let (key, version_id) = (object.key.clone(), object.version_id.clone());
        match one_of_many(door, &bucket, object, &hand).await {
            Ok(_) if quiet => {}
            Ok(outcome) => deleted.push(line(key, version_id, &outcome)),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(key),
                message: error.message().map(str::to_owned),
                version_id,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None }))
}

async fn one_of_many(door: &Door, bucket: &BucketName, object: ObjectIdentifier, hand: &Hand) -> S3Result<Outcome> {
    let tags = object.e_tag.map(|tag| matched(tag.value()));
    let doomed = Doomed {
        name: ObjectName::new(bucket.clone(), object.key).map_err(of_verb)?,
        version: object.version_id.as_deref().map(version_name).transpose()?,
        condition: condition(tags, object.last_modified_time.as_ref(), object.size)?,
    };
    delete(door, &doomed, hand).await
}

fn line(key: String, version_id: Option<String>, outcome: &Outcome) -> DeletedObject {
    let marker = outcome.version.filter(|_| outcome.marker).map(|version| version.to_string());
    DeletedObject {
        delete_marker: outcome.marker.then_some(true),
        delete_marker_version_id: marker,
        key: Some(key),
        version_id,
    }
}

async fn hand(door: &Door, known: &Extensions, bucket: &BucketName, bypass: Option<bool>) -> S3Result<Hand> {
    let principal = trace(known).principal();
    let bypass_governance = bypass.unwrap_or(false);
    if bypass_governance {
        may(door, &principal, Action::Admin, bucket.as_str(), false).await?;
    }
    Ok(Hand { owner: principal.owner().to_owned(), bypass_governance })
}

/// What a delete demands of the key.
fn condition(tags: Option<Vec<ContentTag>>, modified: Option<&Timestamp>, size: Option<i64>) -> S3Result<Condition> {
    let size = size.map(u64::try_from).transpose().map_err(|_| invalid("x-amz-if-match-size must not be negative"))?;
    // A time that nothing here can have is a condition all the same.
    let modified_s = modified.map(|time| ms_of(time).map_or(u64::MAX, |ms| ms / 1_000));
    Ok(match (tags, modified_s, size) {
        (None, None, None) => Condition::None,
        (tags, modified_s, size) => Condition::Is(Wanted { contents: tags.unwrap_or_default(), modified_s, size }),
    })
}

async fn delete(door: &Door, doomed: &Doomed, hand: &Hand) -> S3Result<Outcome> {
    let outcome = match doomed.version {
        None => mark(door, doomed, hand).await,
        Some(version) => remove(door, doomed, version, hand).await,
    };
    match outcome {
        Ok(outcome) => {
            counter!(names::FILE_DELETIONS_TOTAL).increment(1);
            Ok(outcome)
        }
        Err(error) => Err(missing_or(door, &doomed.name, &doomed.condition, error).await),
    }
}

async fn mark(door: &Door, doomed: &Doomed, hand: &Hand) -> Result<Outcome, S3Error> {
    let request =
        DeleteRequest { mode: DeleteMode::MarkAlways, condition: doomed.condition.clone(), owner: hand.owner.clone() };
    let done = door.objects.delete_as(&doomed.name, &request).await.map_err(of_verb)?;
    Ok(Outcome { version: done.marker, marker: done.marker.is_some() })
}

async fn remove(door: &Door, doomed: &Doomed, version: VersionName, hand: &Hand) -> Result<Outcome, S3Error> {
    let request = RemoveRequest {
        version,
        condition: doomed.condition.clone(),
        bypass_governance: hand.bypass_governance,
        unless_newest: false,
    };
    let done = door.objects.remove_as(&doomed.name, &request).await.map_err(of_verb)?;
    // Whatever was not there is as gone as what was.
    Ok(Outcome { version: Some(version), marker: done.deleted == Deleted::Done && done.was_marker })
}
