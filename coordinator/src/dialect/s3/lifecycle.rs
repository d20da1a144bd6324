//! A bucket's lifecycle rules, as documents. What they do is done by a worker.
//!
//! What it keeps true: a rule that asks for what the workers do not do (a class that is not here) is refused, and so is the whole
//! document.

mod transitions;

use super::bucket::bucket_of;
use super::fault::{bad_request, fault, invalid, of_verb};
use super::tags::{self, OBJECT_TAGS_MAX};
use super::times::{ms_of, timestamp};
use crate::dialect::Door;
use crate::metadata::records::{BucketRecord, LifecycleRule as Rule, RuleFilter, TransitionMinimum};
use protocol::Clock;
use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, ExpirationStatus,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Tag,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use std::collections::BTreeSet;

/// The most versions that a rule keeps (AWS's `NoncurrentVersionExpiration`).
const KEPT_MAX: u32 = 100;
/// The most rules of a bucket.
const RULES_MAX: usize = 1_000;
const ID_CHARS_MAX: usize = 255;
const DAY_MS: u64 = 86_400_000;

/// GetBucketLifecycleConfiguration.
pub async fn get(
    door: &Door,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let (_, record) = bucket_of(door, &request, &request.input.bucket).await?;
    if record.lifecycle.is_empty() {
        return Err(fault(S3ErrorCode::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"));
    }
    let rules = record.lifecycle.iter().map(shown).collect();
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(rules),
        transition_default_minimum_object_size: transitions::shown_minimum(record.transition_minimum),
    }))
}

/// PutBucketLifecycleConfiguration.
pub async fn put(
    door: &Door,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let minimum = transitions::minimum(request.input.transition_default_minimum_object_size.as_ref())?;
    let rules = request.input.lifecycle_configuration.map(|configuration| configuration.rules).unwrap_or_default();
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(fault(
            S3ErrorCode::MalformedXML,
            format!("a lifecycle configuration has from 1 to {RULES_MAX} rules"),
        ));
    }
    let clock = &*door.objects.clock;
    let rules = rules.into_iter().map(|rule| taken(rule, clock)).collect::<S3Result<Vec<Rule>>>()?;
    let ids: BTreeSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    if ids.len() < rules.len() {
        return Err(invalid("Rule ID must be unique. Found same ID for more than one rule"));
    }
    let change = move |record: &mut BucketRecord| {
        record.lifecycle.clone_from(&rules);
        record.transition_minimum = minimum;
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput {
        transition_default_minimum_object_size: transitions::shown_minimum(minimum),
    }))
}

/// DeleteBucketLifecycle.
pub async fn forget(
    door: &Door,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let (name, _) = bucket_of(door, &request, &request.input.bucket).await?;
    let change = |record: &mut BucketRecord| {
        record.lifecycle.clear();
        record.transition_minimum = TransitionMinimum::default();
        Ok(())
    };
    door.objects.change_bucket(&name, change).await.map_err(of_verb)?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

fn taken(rule: LifecycleRule, clock: &dyn Clock) -> S3Result<Rule> {
    let enabled = match rule.status.as_str() {
        "Enabled" => true,
        "Disabled" => false,
        _ => return Err(fault(S3ErrorCode::MalformedXML, "Status must be Enabled or Disabled")),
    };
    let id = rule.id.filter(|id| !id.is_empty()).unwrap_or_else(|| clock.fresh_id().to_string());
    if id.chars().count() > ID_CHARS_MAX {
        return Err(invalid("ID length should not exceed allowed limit of 255"));
    }
    let prefix_outside = rule.filter.is_none() && rule.prefix.is_some();
    let expiration = rule.expiration.unwrap_or_default();
    let noncurrent = rule.noncurrent_version_expiration.unwrap_or_default();
    let aborted = rule.abort_incomplete_multipart_upload.unwrap_or_default();
    let taken = Rule {
        id,
        enabled,
        filter: filter(rule.filter, rule.prefix)?,
        prefix_outside,
        expire_days: days(expiration.days)?,
        expire_at_ms: expiration.date.as_ref().map(date).transpose()?,
        expire_markers: expiration.expired_object_delete_marker.unwrap_or(false),
        noncurrent_days: days(noncurrent.noncurrent_days)?,
        noncurrent_kept: kept(noncurrent.newer_noncurrent_versions)?,
        abort_uploads_days: days(aborted.days_after_initiation)?,
        transitions: transitions::taken(rule.transitions)?,
        noncurrent_transitions: transitions::taken_noncurrent(rule.noncurrent_version_transitions)?,
    };
    checked(taken)
}

fn checked(rule: Rule) -> S3Result<Rule> {
    let expirations = [rule.expire_days.is_some(), rule.expire_at_ms.is_some(), rule.expire_markers];
    if expirations.into_iter().filter(|given| *given).count() > 1 {
        return Err(fault(
            S3ErrorCode::MalformedXML,
            "only one of Days, Date and ExpiredObjectDeleteMarker goes in an Expiration",
        ));
    }
    if rule.expire_at_ms.is_some_and(|at_ms| at_ms % DAY_MS != 0) {
        return Err(invalid("'Date' must be at midnight GMT"));
    }
    if rule.noncurrent_kept.is_some() && rule.noncurrent_days.is_none() {
        return Err(fault(S3ErrorCode::MalformedXML, "NewerNoncurrentVersions needs NoncurrentDays"));
    }
    let acts = rule.expire_days.is_some()
        || rule.expire_at_ms.is_some()
        || rule.expire_markers
        || rule.noncurrent_days.is_some()
        || rule.abort_uploads_days.is_some()
        || !rule.transitions.is_empty()
        || !rule.noncurrent_transitions.is_empty();
    if !acts {
        return Err(bad_request("At least one action needs to be specified in a rule"));
    }
    if rule.expire_markers && !rule.filter.tags.is_empty() {
        return Err(bad_request("ExpiredObjectDeleteMarker cannot be specified with Tags"));
    }
    if rule.filter.larger_than.zip(rule.filter.smaller_than).is_some_and(|(larger, smaller)| larger >= smaller) {
        return Err(bad_request("ObjectSizeLessThan must be greater than ObjectSizeGreaterThan"));
    }
    if rule.abort_uploads_days.is_some() && (!rule.filter.tags.is_empty() || has_sizes(&rule.filter)) {
        return Err(bad_request("AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes"));
    }
    transitions::check(&rule)?;
    Ok(rule)
}

fn has_sizes(filter: &RuleFilter) -> bool {
    filter.larger_than.is_some() || filter.smaller_than.is_some()
}

fn days(days: Option<i32>) -> S3Result<Option<u32>> {
    let positive = |days: i32| u32::try_from(days).ok().filter(|days| *days > 0);
    days.map(|days| positive(days).ok_or_else(|| invalid("days and numbers of versions must be positive"))).transpose()
}

fn kept(versions: Option<i32>) -> S3Result<Option<u32>> {
    match days(versions)? {
        Some(versions) if versions > KEPT_MAX => Err(invalid("'NewerNoncurrentVersions' must be from 1 to 100")),
        versions => Ok(versions),
    }
}

fn date(date: &s3s::dto::Timestamp) -> S3Result<u64> {
    ms_of(date).ok_or_else(|| invalid("'Date' must be after 1969 and before 10000"))
}

fn size(size: Option<i64>) -> S3Result<Option<u64>> {
    size.map(u64::try_from).transpose().map_err(|_| invalid("object sizes must not be negative"))
}

/// No key begins with a prefix that holds a NUL.
fn plain(prefix: String) -> S3Result<String> {
    match prefix.contains('\0') {
        true => Err(invalid("a rule's prefix holds a NUL byte")),
        false => Ok(prefix),
    }
}

fn filter(filter: Option<LifecycleRuleFilter>, prefix: Option<String>) -> S3Result<RuleFilter> {
    let Some(filter) = filter else {
        let prefix = prefix.ok_or_else(|| fault(S3ErrorCode::MalformedXML, "a rule has a Filter or a Prefix"))?;
        return Ok(RuleFilter { prefix: plain(prefix)?, ..RuleFilter::default() });
    };
    if prefix.is_some() {
        return Err(fault(S3ErrorCode::MalformedXML, "a rule has a Prefix or a Filter, not both"));
    }
    let given = [
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
        filter.and.is_some(),
    ];
    if given.into_iter().filter(|given| *given).count() > 1 {
        return Err(fault(S3ErrorCode::MalformedXML, "conditions of a Filter go into And if there is more than one"));
    }
    if let Some(and) = &filter.and {
        let given = [and.prefix.is_some(), and.object_size_greater_than.is_some(), and.object_size_less_than.is_some()];
        let count = given.into_iter().filter(|given| *given).count() + and.tags.as_ref().map_or(0, Vec::len);
        if count < 2 {
            return Err(fault(S3ErrorCode::MalformedXML, "And has two conditions or more"));
        }
    }
    let and = filter.and.unwrap_or_default();
    let prefix = filter.prefix.or(and.prefix).unwrap_or_default();
    let tags: Vec<Tag> = filter.tag.into_iter().chain(and.tags.unwrap_or_default()).collect();
    Ok(RuleFilter {
        prefix: plain(prefix)?,
        tags: tags::of_set(tags, OBJECT_TAGS_MAX)?,
        larger_than: size(filter.object_size_greater_than.or(and.object_size_greater_than))?,
        smaller_than: size(filter.object_size_less_than.or(and.object_size_less_than))?,
    })
}

fn shown(rule: &Rule) -> LifecycleRule {
    let number = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    let expires = rule.expire_days.is_some() || rule.expire_at_ms.is_some() || rule.expire_markers;
    LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_uploads_days
            .map(|_| AbortIncompleteMultipartUpload { days_after_initiation: number(rule.abort_uploads_days) }),
        expiration: expires.then(|| LifecycleExpiration {
            date: rule.expire_at_ms.map(timestamp),
            days: number(rule.expire_days),
            expired_object_delete_marker: rule.expire_markers.then_some(true),
        }),
        filter: (!rule.prefix_outside).then(|| shown_filter(&rule.filter)),
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent_days.map(|_| NoncurrentVersionExpiration {
            newer_noncurrent_versions: number(rule.noncurrent_kept),
            noncurrent_days: number(rule.noncurrent_days),
        }),
        noncurrent_version_transitions: transitions::shown_noncurrent(&rule.noncurrent_transitions),
        prefix: rule.prefix_outside.then(|| rule.filter.prefix.clone()),
        status: ExpirationStatus::from_static(status),
        transitions: transitions::shown(&rule.transitions),
    }
}

fn shown_filter(filter: &RuleFilter) -> LifecycleRuleFilter {
    let number = |size: Option<u64>| size.and_then(|size| i64::try_from(size).ok());
    let mut tags = tags::set(&filter.tags);
    let conditions = usize::from(!filter.prefix.is_empty())
        + tags.len()
        + usize::from(filter.larger_than.is_some())
        + usize::from(filter.smaller_than.is_some());
    let mut shown = LifecycleRuleFilter::default();
    if conditions > 1 {
        shown.and = Some(LifecycleRuleAndOperator {
            object_size_greater_than: number(filter.larger_than),
            object_size_less_than: number(filter.smaller_than),
            prefix: (!filter.prefix.is_empty()).then(|| filter.prefix.clone()),
            tags: (!tags.is_empty()).then_some(tags),
        });
        return shown;
    }
    shown.tag = tags.pop();
    shown.object_size_greater_than = number(filter.larger_than);
    shown.object_size_less_than = number(filter.smaller_than);
    if shown.tag.is_none() && !has_sizes(filter) {
        shown.prefix = Some(filter.prefix.clone());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::SystemClock;
    use s3s::dto::{NoncurrentVersionTransition, Transition, TransitionStorageClass};

    fn rule() -> LifecycleRule {
        LifecycleRule {
            abort_incomplete_multipart_upload: None,
            expiration: Some(LifecycleExpiration { days: Some(3), ..LifecycleExpiration::default() }),
            filter: Some(LifecycleRuleFilter { prefix: Some("logs/".to_owned()), ..LifecycleRuleFilter::default() }),
            id: Some("r".to_owned()),
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            status: ExpirationStatus::from_static("Enabled"),
            transitions: None,
        }
    }

    fn code(rule: LifecycleRule) -> String {
        taken(rule, &SystemClock).map_or_else(|fault| fault.code().as_str().to_owned(), |_| "ok".to_owned())
    }

    #[test]
    fn a_rule_comes_back_as_it_was_given() {
        let given = rule();
        assert_eq!(shown(&taken(given.clone(), &SystemClock).unwrap()), given);
        let old = LifecycleRule { filter: None, prefix: Some("a".to_owned()), ..rule() };
        assert_eq!(shown(&taken(old.clone(), &SystemClock).unwrap()), old);
        let tag = Tag { key: Some("k".to_owned()), value: Some("v".to_owned()) };
        let and = LifecycleRuleAndOperator {
            object_size_greater_than: Some(5),
            prefix: Some("p".to_owned()),
            tags: Some(vec![tag]),
            ..LifecycleRuleAndOperator::default()
        };
        let many = LifecycleRule {
            filter: Some(LifecycleRuleFilter { and: Some(and), ..LifecycleRuleFilter::default() }),
            noncurrent_version_expiration: Some(NoncurrentVersionExpiration {
                newer_noncurrent_versions: Some(2),
                noncurrent_days: Some(1),
            }),
            ..rule()
        };
        assert_eq!(shown(&taken(many.clone(), &SystemClock).unwrap()), many);
        let class = || Some(TransitionStorageClass::from_static("STANDARD_IA"));
        let moves = LifecycleRule {
            expiration: None,
            noncurrent_version_transitions: Some(vec![NoncurrentVersionTransition {
                newer_noncurrent_versions: Some(2),
                noncurrent_days: Some(0),
                storage_class: class(),
            }]),
            transitions: Some(vec![Transition { date: None, days: Some(0), storage_class: class() }]),
            ..rule()
        };
        assert_eq!(shown(&taken(moves.clone(), &SystemClock).unwrap()), moves, "a rule with only transitions is one");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let expiration = |expiration| LifecycleRule { expiration: Some(expiration), ..rule() };
        let zero = LifecycleExpiration { days: Some(0), ..LifecycleExpiration::default() };
        assert_eq!(code(expiration(zero)), "InvalidArgument");
        let two = LifecycleExpiration { days: Some(1), date: Some(timestamp(0)), ..LifecycleExpiration::default() };
        assert_eq!(code(expiration(two)), "MalformedXML");
        let noon = LifecycleExpiration { date: Some(timestamp(DAY_MS / 2)), ..LifecycleExpiration::default() };
        assert_eq!(code(expiration(noon)), "InvalidArgument");
        assert_eq!(code(LifecycleRule { expiration: None, ..rule() }), "InvalidRequest");
        assert_eq!(code(LifecycleRule { prefix: Some("x".to_owned()), ..rule() }), "MalformedXML");
        assert_eq!(code(LifecycleRule { status: ExpirationStatus::from_static("on"), ..rule() }), "MalformedXML");
        let to = |class| Transition {
            date: None,
            days: Some(3),
            storage_class: Some(TransitionStorageClass::from_static(class)),
        };
        let moves = |class| LifecycleRule { transitions: Some(vec![to(class)]), expiration: None, ..rule() };
        assert_eq!(code(moves("GLACIER")), "NotImplemented");
        assert_eq!(code(LifecycleRule { transitions: Some(vec![Transition::default()]), ..rule() }), "MalformedXML");
        assert_eq!(code(LifecycleRule { expiration: rule().expiration, ..moves("STANDARD_IA") }), "InvalidArgument");
    }
}
