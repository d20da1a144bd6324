//! Object lock: of a bucket, and the retention and legal hold of a version.

use super::access::may;
use super::bucket::bucket_of;
use super::fault::{custom, fault, invalid, of_verb};
use super::heads::checked_retention;
use super::read::{found_for, object_name, version_name};
use super::route::trace;
use super::target::Target;
use super::times::{ms_of, timestamp};
use crate::dialect::Door;
use crate::identity::Action;
use crate::metadata::records::{BucketRecord, DefaultRetention, ObjectLock, RetentionMode, Versioning};
use crate::object::Refused;
use hyper::StatusCode;
use s3s::dto::{
    DefaultRetention as ShownDefault, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectRetentionInput,
    GetObjectRetentionOutput, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule, PutObjectLegalHoldInput,
    PutObjectLegalHoldOutput, PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
    PutObjectRetentionInput, PutObjectRetentionOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

/// The longest default retention, in days: a hundred years.
const DAYS_MAX: i32 = 36_500;
/// The same in years.
const YEARS_MAX: i32 = 100;

fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
        RetentionMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
    }
}

/// GetObjectLockConfiguration.
pub async fn of_bucket(
    door: &Door,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let (_, record) = bucket_of(door, &request, &request.input.bucket).await?;
    let Some(lock) = record.object_lock else {
        return Err(custom(
            "ObjectLockConfigurationNotFoundError",
            StatusCode::NOT_FOUND,
            "Object Lock configuration does not exist for this bucket",
        ));
    };
    let number = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    let rule = lock.default.map(|default| ObjectLockRule {
        default_retention: Some(ShownDefault {
            days: number(default.days),
            mode: Some(ObjectLockRetentionMode::from_static(mode_name(default.mode))),
            years: number(default.years),
        }),
    });
    let enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    let configuration = ObjectLockConfiguration { object_lock_enabled: enabled, rule };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) }))
}

/// PutObjectLockConfiguration.
pub async fn set_of_bucket(
    door: &Door,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let malformed = |why: &'static str| fault(S3ErrorCode::MalformedXML, why);
    let wanted =
        request.input.object_lock_configuration.ok_or_else(|| malformed("ObjectLockConfiguration is missing"))?;
    if wanted.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some("Enabled") {
        return Err(malformed("ObjectLockEnabled must be Enabled"));
    }
    let default = match wanted.rule {
        None => None,
        Some(rule) => {
            Some(default_of(rule.default_retention.ok_or_else(|| malformed("DefaultRetention is missing"))?)?)
        }
    };
    let change = move |record: &mut BucketRecord| {
        if record.versioning != Versioning::Enabled {
            return Err(
                Refused::BucketSettings.error("Versioning must be 'Enabled' on the bucket to apply an Object Lock")
            );
        }
        record.object_lock = Some(ObjectLock { default });
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn default_of(wanted: ShownDefault) -> S3Result<DefaultRetention> {
    let malformed = |why: &'static str| fault(S3ErrorCode::MalformedXML, why);
    let mode = match wanted.mode.as_ref().map(ObjectLockRetentionMode::as_str) {
        Some("GOVERNANCE") => RetentionMode::Governance,
        Some("COMPLIANCE") => RetentionMode::Compliance,
        _ => return Err(malformed("Mode must be GOVERNANCE or COMPLIANCE")),
    };
    let number = |number: i32, most: i32| {
        u32::try_from(number).ok().filter(|_| (1..=most).contains(&number)).ok_or_else(|| {
            custom(
                "InvalidRetentionPeriod",
                StatusCode::BAD_REQUEST,
                format!("Default retention period must be a positive integer value, at most {most}"),
            )
        })
    };
    match (wanted.days, wanted.years) {
        (Some(days), None) => Ok(DefaultRetention { mode, days: Some(number(days, DAYS_MAX)?), years: None }),
        (None, Some(years)) => Ok(DefaultRetention { mode, days: None, years: Some(number(years, YEARS_MAX)?) }),
        _ => Err(malformed("DefaultRetention has Days or Years, and not both")),
    }
}

/// The version that a request is about must be in a bucket with object lock, or the question makes no sense.
async fn require_lock<T>(door: &Door, request: &S3Request<T>, bucket: &str) -> S3Result<()> {
    let (_, record) = bucket_of(door, request, bucket).await?;
    match record.object_lock {
        Some(_) => Ok(()),
        None => Err(fault(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration")),
    }
}

fn no_configuration() -> S3Error {
    custom(
        "NoSuchObjectLockConfiguration",
        StatusCode::NOT_FOUND,
        "The specified object does not have a ObjectLock configuration",
    )
}

/// GetObjectRetention.
pub async fn retention(
    door: &Door,
    request: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    require_lock(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let (version, _) = found_for(door, &request, &name, request.input.version_id.as_deref()).await?;
    let retention = version.retention.ok_or_else(no_configuration)?;
    let shown = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(mode_name(retention.mode))),
        retain_until_date: Some(timestamp(retention.until_ms)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(shown) }))
}

/// PutObjectRetention. An empty one lifts what there is, if that may be lifted.
pub async fn set_retention(
    door: &Door,
    request: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    require_lock(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let input = &request.input;
    let wanted = input.retention.clone().unwrap_or_default();
    let retention = match (wanted.mode, wanted.retain_until_date) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let until_ms = ms_of(&until).ok_or_else(|| invalid("The retain until date must be in the future!"))?;
            if ![ObjectLockRetentionMode::GOVERNANCE, ObjectLockRetentionMode::COMPLIANCE].contains(&mode.as_str()) {
                return Err(fault(S3ErrorCode::MalformedXML, "Mode must be GOVERNANCE or COMPLIANCE"));
            }
            Some(checked_retention(mode.as_str(), until_ms, door.objects.clock.now_ms())?)
        }
        _ => return Err(fault(S3ErrorCode::MalformedXML, "Mode and RetainUntilDate go together")),
    };
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    if bypass {
        may(door, &trace(&request.extensions).principal(), Action::Admin, &input.bucket, false).await?;
    }
    let version = input.version_id.as_deref().map(version_name).transpose()?;
    door.objects.set_retention(&name, version, retention, bypass).await.map_err(of_verb)?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

/// GetObjectLegalHold.
pub async fn legal_hold(
    door: &Door,
    request: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    require_lock(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let (version, _) = found_for(door, &request, &name, request.input.version_id.as_deref()).await?;
    let held = version.legal_hold.ok_or_else(no_configuration)?;
    let status = if held { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF };
    let hold = ObjectLockLegalHold { status: Some(ObjectLockLegalHoldStatus::from_static(status)) };
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(hold) }))
}

/// PutObjectLegalHold.
pub async fn set_legal_hold(
    door: &Door,
    request: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    require_lock(door, &request, &request.input.bucket).await?;
    let name = object_name(&target(&request))?;
    let status = request.input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref());
    let held = match status.map(ObjectLockLegalHoldStatus::as_str) {
        Some("ON") => true,
        Some("OFF") => false,
        _ => return Err(fault(S3ErrorCode::MalformedXML, "Status must be ON or OFF")),
    };
    let version = request.input.version_id.as_deref().map(version_name).transpose()?;
    door.objects.set_legal_hold(&name, version, held).await.map_err(of_verb)?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

/// What a request is about.
pub fn target<T>(request: &S3Request<T>) -> Target {
    request.extensions.get::<Target>().cloned().unwrap_or_default()
}
