//! A bucket's settings: versioning, tags, CORS.

use super::bucket::bucket_of;
use super::fault::{bad_request, custom, fault, invalid, not_implemented, of_verb};
use super::tags::{self, BUCKET_TAGS_MAX};
use crate::dialect::Door;
use crate::metadata::records::{BucketRecord, CorsRule, Versioning};
use hyper::StatusCode;
use hyper::header::HeaderName;
use s3s::dto::{
    BucketVersioningStatus, CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, PutBucketCorsInput, PutBucketCorsOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

/// The most rules of a bucket.
const CORS_RULES_MAX: usize = 100;
/// The methods that rules may allow.
pub const CORS_METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// GetBucketVersioning. A bucket that never kept versions says nothing.
pub async fn versioning(
    door: &Door,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let (_, record) = bucket_of(door, &request, &request.input.bucket).await?;
    let status = match record.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { mfa_delete: None, status }))
}

/// PutBucketVersioning.
pub async fn set_versioning(
    door: &Door,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let wanted = &request.input.versioning_configuration;
    if wanted.mfa_delete.as_ref().is_some_and(|mfa| mfa.as_str() == "Enabled") {
        return Err(not_implemented("MfaDelete"));
    }
    let versioning = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some("Enabled") => Versioning::Enabled,
        Some("Suspended") => Versioning::Suspended,
        _ => {
            return Err(custom(
                "IllegalVersioningConfigurationException",
                StatusCode::BAD_REQUEST,
                "The Versioning element must be specified: Enabled or Suspended",
            ));
        }
    };
    let change = move |record: &mut BucketRecord| {
        record.versioning = versioning;
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// GetBucketTagging.
pub async fn bucket_tags(
    door: &Door,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let (_, record) = bucket_of(door, &request, &request.input.bucket).await?;
    match record.tags.is_empty() {
        true => Err(custom("NoSuchTagSet", StatusCode::NOT_FOUND, "The TagSet does not exist")),
        false => Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tags::set(&record.tags) })),
    }
}

/// PutBucketTagging.
pub async fn set_bucket_tags(
    door: &Door,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let tags = tags::of_set(request.input.tagging.tag_set, BUCKET_TAGS_MAX)?;
    let change = move |record: &mut BucketRecord| {
        record.tags.clone_from(&tags);
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    let mut response = S3Response::new(PutBucketTaggingOutput::default());
    response.extensions.insert(StatusCode::NO_CONTENT);
    Ok(response)
}

/// DeleteBucketTagging.
pub async fn forget_bucket_tags(
    door: &Door,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let change = |record: &mut BucketRecord| {
        record.tags.clear();
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

/// GetBucketCors.
pub async fn cors(door: &Door, request: S3Request<GetBucketCorsInput>) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let (_, record) = bucket_of(door, &request, &request.input.bucket).await?;
    if record.cors.is_empty() {
        return Err(fault(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist"));
    }
    let rule = |rule: &CorsRule| CORSRule {
        allowed_headers: some(&rule.headers),
        allowed_methods: rule.methods.clone(),
        allowed_origins: rule.origins.clone(),
        expose_headers: some(&rule.exposed),
        id: rule.id.clone(),
        max_age_seconds: rule.max_age_s.and_then(|seconds| i32::try_from(seconds).ok()),
    };
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(record.cors.iter().map(rule).collect()) }))
}

fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// PutBucketCors.
pub async fn set_cors(
    door: &Door,
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let rules = request.input.cors_configuration.cors_rules;
    if rules.is_empty() || rules.len() > CORS_RULES_MAX {
        return Err(fault(
            S3ErrorCode::MalformedXML,
            format!("a CORS configuration has from 1 to {CORS_RULES_MAX} rules"),
        ));
    }
    let rules = rules.into_iter().map(cors_rule).collect::<S3Result<Vec<CorsRule>>>()?;
    let change = move |record: &mut BucketRecord| {
        record.cors.clone_from(&rules);
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

fn cors_rule(rule: CORSRule) -> S3Result<CorsRule> {
    if let Some(method) = rule.allowed_methods.iter().find(|method| !CORS_METHODS.contains(&method.as_str())) {
        return Err(bad_request(format!(
            "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
        )));
    }
    let headers = rule.allowed_headers.unwrap_or_default();
    if let Some(name) = rule.allowed_origins.iter().chain(&headers).find(|name| name.matches('*').count() > 1) {
        return Err(bad_request(format!("\"{name}\" can not have more than one wildcard.")));
    }
    let exposed = rule.expose_headers.unwrap_or_default();
    let is_name = |name: &&String| HeaderName::from_bytes(name.replace('*', "-").as_bytes()).is_ok();
    if let Some(name) = headers.iter().chain(&exposed).find(|name| !is_name(name)) {
        return Err(bad_request(format!("\"{name}\" contains invalid character.")));
    }
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(fault(S3ErrorCode::MalformedXML, "a CORS rule needs AllowedMethod and AllowedOrigin"));
    }
    let max_age_s = rule.max_age_seconds.map(u32::try_from).transpose();
    Ok(CorsRule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers,
        exposed,
        max_age_s: max_age_s.map_err(|_| invalid("MaxAgeSeconds must not be negative"))?,
    })
}

/// DeleteBucketCors.
pub async fn forget_cors(
    door: &Door,
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let change = |record: &mut BucketRecord| {
        record.cors.clear();
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}
