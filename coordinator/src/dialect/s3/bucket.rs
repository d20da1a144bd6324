//! Buckets: made, looked at, listed, deleted.

use super::access::may;
use super::fault::{fault, invalid, not_implemented, of_verb};
use super::heads::{expected_owner, owner_id, refuse_not_done, text};
use super::incoming::Overheard;
use super::read::bucket_name;
use super::route::trace;
use super::tags;
use super::times::timestamp;
use crate::dialect::Door;
use crate::identity::Action;
use crate::metadata::records::{BucketRecord, Versioning};
use crate::object::{BucketName, NewBucket, Refused};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use s3s::dto::{
    Bucket, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput,
    GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, Owner,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

/// Where everything is: there is one region, and this is what S3 calls the one without a name.
pub const REGION: &str = "us-east-1";
/// The most buckets in one answer.
const BUCKETS_MAX: usize = 10_000;
/// Buckets asked for at a time.
const BUCKETS_PAGE: usize = 1_000;

/// Whose something is, as lists say it.
pub fn owner(owner: &str) -> Owner {
    let id = owner_id(owner);
    Owner { display_name: Some(id.clone()), id: Some(id) }
}

/// The bucket of a request and its record; refused where the request is meant for another owner's.
pub async fn bucket_of<T>(door: &Door, request: &S3Request<T>, name: &str) -> S3Result<(BucketName, BucketRecord)> {
    let name = bucket_name(name)?;
    let record = door.objects.require_bucket(&name).await.map_err(of_verb)?;
    expected_owner(&request.headers, &record.owner)?;
    Ok((name, record))
}

/// CreateBucket.
pub async fn create(door: &Door, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
    let name = bucket_name(&request.input.bucket)?;
    refuse_reserved(name.as_str())?;
    refuse_not_done(&request.headers)?;
    match text(&request.headers, "x-amz-object-ownership").as_deref() {
        None | Some("BucketOwnerEnforced") => {}
        Some(other) => return Err(not_implemented(&format!("the object ownership {other}"))),
    }
    if let Some(configuration) = &request.input.create_bucket_configuration
        && (configuration.bucket.is_some() || configuration.location.is_some())
    {
        return Err(not_implemented("a directory bucket"));
    }
    let principal = trace(&request.extensions).principal();
    // The library passes over the tags in the document.
    let document = request.extensions.get::<Overheard>().map_or(Some(Bytes::new()), Overheard::heard);
    let too_big = || fault(S3ErrorCode::MaxMessageLengthExceeded, "Your request was too big.");
    let new = NewBucket {
        tags: tags::of_configuration(&document.ok_or_else(too_big)?)?,
        owner: principal.owner().to_owned(),
        versioning: Versioning::Off,
        object_lock: request.input.object_lock_enabled_for_bucket.unwrap_or(false),
    };
    match door.objects.create_bucket(&name, new).await {
        Ok(_) => {}
        Err(error) if Refused::of(&error) == Some(Refused::BucketExists) => {
            let record = door.objects.bucket(&name).await.map_err(of_verb)?;
            return Err(match record.is_some_and(|record| record.owner == principal.owner()) {
                true => fault(
                    S3ErrorCode::BucketAlreadyOwnedByYou,
                    "Your previous request to create the named bucket succeeded and you already own it.",
                ),
                false => of_verb(error),
            });
        }
        Err(error) => return Err(of_verb(error)),
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", name.as_str())) }))
}

/// Names that S3 keeps for itself, and those that begin or end with a hyphen.
fn refuse_reserved(name: &str) -> S3Result<()> {
    let starts = ["-", "xn--", "sthree-", "amzn-s3-demo-"].iter().any(|start| name.starts_with(start));
    let ends = ["-", "-s3alias", "--ol-s3", "--x-s3", "--table-s3"].iter().any(|end| name.ends_with(end));
    match starts || ends {
        true => Err(fault(S3ErrorCode::InvalidBucketName, "The specified bucket is not valid.")),
        false => Ok(()),
    }
}

/// HeadBucket.
pub async fn head(door: &Door, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    bucket_of(door, &request, &request.input.bucket).await?;
    let region = s3s::region::Region::new(REGION.into()).ok().map(|region| region.to_string());
    Ok(S3Response::new(HeadBucketOutput { bucket_region: region, ..HeadBucketOutput::default() }))
}

/// DeleteBucket.
pub async fn delete(door: &Door, request: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    door.objects.delete_bucket(&name).await.map_err(of_verb)?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// GetBucketLocation.
pub async fn location(
    door: &Door,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    bucket_of(door, &request, &request.input.bucket).await?;
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

/// ListBuckets: those that the key may list.
pub async fn list(door: &Door, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let input = request.input;
    let principal = trace(&request.extensions).principal();
    let most = match input.max_buckets {
        None => BUCKETS_MAX,
        Some(most) => usize::try_from(most)
            .ok()
            .filter(|most| (1..=BUCKETS_MAX).contains(most))
            .ok_or_else(|| invalid(format!("max-buckets must be from 1 to {BUCKETS_MAX}")))?,
    };
    let mut after = input.continuation_token.as_deref().map(bucket_in_token).transpose()?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let mut buckets = Vec::new();
    let more = loop {
        let page = door.objects.buckets(&prefix, after.as_ref(), BUCKETS_PAGE).await.map_err(of_verb)?;
        let mut full = false;
        for (name, record) in page.buckets {
            if buckets.len() == most {
                full = true;
                break;
            }
            if may(door, &principal, Action::List, name.as_str(), false).await.is_ok() {
                buckets.push(Bucket {
                    bucket_region: Some(REGION.to_owned()),
                    creation_date: Some(timestamp(record.created_ms)),
                    name: Some(name.as_str().to_owned()),
                });
            }
            after = Some(name);
        }
        if full || !page.more {
            break full;
        }
    };
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token: after.filter(|_| more).map(|name| URL_SAFE_NO_PAD.encode(name.as_str())),
        owner: Some(owner(principal.owner())),
        prefix: input.prefix,
    }))
}

fn bucket_in_token(token: &str) -> S3Result<BucketName> {
    let name =
        URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| BucketName::parse(&String::from_utf8(name).ok()?).ok());
    name.ok_or_else(|| invalid("The continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_s3_keeps_are_refused() {
        for name in ["-a-b", "a-b-", "xn--abc", "abc-s3alias"] {
            assert!(refuse_reserved(name).is_err(), "{name}");
        }
        assert!(refuse_reserved("a-b").is_ok());
    }
}
