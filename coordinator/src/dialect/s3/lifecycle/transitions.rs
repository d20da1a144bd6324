//! What lifecycle rules say of other storage classes, as documents have it and as it is kept.
//!
//! What it keeps true: what S3 refuses is refused, in its words; a class that S3 has and this server has not is `NotImplemented`, never
//! taken for another. What was taken comes back as it was given. One thing is taken that S3 refuses: fewer than 30 days.

use super::{DAY_MS, days};
use crate::dialect::s3::fault::{bad_request, fault, invalid, not_implemented};
use crate::dialect::s3::times::{ms_of, timestamp};
use crate::metadata::records::{
    LifecycleRule as Rule, NoncurrentTransition as KeptNoncurrent, RuleFilter, StorageClass, Transition as Kept,
    TransitionMinimum,
};
use s3s::dto::{
    NoncurrentVersionTransition, Transition, TransitionDefaultMinimumObjectSize as MinimumSize, TransitionStorageClass,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// Classes that S3 moves objects to, and this server does not.
const CLASSES_NOT_DONE: [&str; 5] = [
    TransitionStorageClass::ONEZONE_IA,
    TransitionStorageClass::INTELLIGENT_TIERING,
    TransitionStorageClass::GLACIER,
    TransitionStorageClass::GLACIER_IR,
    TransitionStorageClass::DEEP_ARCHIVE,
];

/// The transitions of a rule's current versions.
pub fn taken(transitions: Option<Vec<Transition>>) -> S3Result<Vec<Kept>> {
    let one = |transition: Transition| {
        let class = class(transition.storage_class.as_ref(), "Transition")?;
        if transition.days.is_some() == transition.date.is_some() {
            return Err(fault(S3ErrorCode::MalformedXML, "a Transition has Days or Date, and not both"));
        }
        let date = transition.date.map(|date| ms_of(&date).filter(|at_ms| at_ms % DAY_MS == 0));
        if date == Some(None) {
            return Err(invalid("'Date' must be at midnight GMT"));
        }
        let days = transition.days.map(|days| nonnegative(days, "'Days' in Transition action")).transpose()?;
        Ok(Kept { days, at_ms: date.flatten(), class })
    };
    transitions.unwrap_or_default().into_iter().map(one).collect()
}

/// The transitions of versions that others took the place of.
pub fn taken_noncurrent(transitions: Option<Vec<NoncurrentVersionTransition>>) -> S3Result<Vec<KeptNoncurrent>> {
    let one = |transition: NoncurrentVersionTransition| {
        let class = class(transition.storage_class.as_ref(), "NoncurrentVersionTransition")?;
        let Some(after) = transition.noncurrent_days else {
            return Err(fault(S3ErrorCode::MalformedXML, "a NoncurrentVersionTransition needs NoncurrentDays"));
        };
        let after = nonnegative(after, "'NoncurrentDays' in NoncurrentVersionTransition action")?;
        Ok(KeptNoncurrent { days: after, kept: days(transition.newer_noncurrent_versions)?, class })
    };
    transitions.unwrap_or_default().into_iter().map(one).collect()
}

/// That a rule's transitions go together, and with what else it does.
pub fn check(rule: &Rule) -> S3Result<()> {
    let twice = |classes: Vec<StorageClass>| (1..classes.len()).any(|at| classes[..at].contains(&classes[at]));
    let current = rule.transitions.iter().map(|transition| transition.class).collect();
    let noncurrent = rule.noncurrent_transitions.iter().map(|transition| transition.class).collect();
    let filter = told(&rule.filter);
    for (action, classes) in [("Transition", current), ("NoncurrentVersionTransition", noncurrent)] {
        if twice(classes) {
            return Err(bad_request(format!(
                "'StorageClass' must be different for '{action}' actions in same 'Rule' with filter '{filter}'"
            )));
        }
    }
    for transition in &rule.transitions {
        if rule.expire_days.is_some() && transition.at_ms.is_some()
            || rule.expire_at_ms.is_some() && transition.days.is_some()
        {
            return Err(bad_request(format!(
                "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for filter \
                 '{filter}'"
            )));
        }
        let is_too_late =
            |expire: Option<u64>, at: Option<u64>| expire.zip(at).is_some_and(|(expire, at)| expire <= at);
        if is_too_late(rule.expire_days.map(u64::from), transition.days.map(u64::from)) {
            return Err(too_late("Days", "Expiration", "Transition", &filter));
        }
        if is_too_late(rule.expire_at_ms, transition.at_ms) {
            return Err(too_late("Date", "Expiration", "Transition", &filter));
        }
    }
    let expire_days = rule.noncurrent_days;
    if rule.noncurrent_transitions.iter().any(|transition| expire_days.is_some_and(|days| days <= transition.days)) {
        return Err(too_late("NoncurrentDays", "NoncurrentVersionExpiration", "NoncurrentVersionTransition", &filter));
    }
    Ok(())
}

/// A rule's transitions of current versions, as a document.
pub fn shown(transitions: &[Kept]) -> Option<Vec<Transition>> {
    let one = |transition: &Kept| Transition {
        date: transition.at_ms.map(timestamp),
        days: number(transition.days),
        storage_class: Some(TransitionStorageClass::from_static(transition.class.as_str())),
    };
    (!transitions.is_empty()).then(|| transitions.iter().map(one).collect())
}

/// A rule's transitions of other versions, as a document.
pub fn shown_noncurrent(transitions: &[KeptNoncurrent]) -> Option<Vec<NoncurrentVersionTransition>> {
    let one = |transition: &KeptNoncurrent| NoncurrentVersionTransition {
        newer_noncurrent_versions: number(transition.kept),
        noncurrent_days: number(Some(transition.days)),
        storage_class: Some(TransitionStorageClass::from_static(transition.class.as_str())),
    };
    (!transitions.is_empty()).then(|| transitions.iter().map(one).collect())
}

/// From which size on rules move versions, as the request's header says; it says so for all of the bucket's rules, or takes it back.
pub fn minimum(asked: Option<&MinimumSize>) -> S3Result<TransitionMinimum> {
    let Some(asked) = asked else { return Ok(TransitionMinimum::default()) };
    let known = [TransitionMinimum::AllClasses, TransitionMinimum::VariesByClass];
    known
        .into_iter()
        .find(|minimum| minimum.as_str() == asked.as_str())
        .ok_or_else(|| bad_request(format!("Invalid TransitionDefaultMinimumObjectSize found: {}", asked.as_str())))
}

/// The same, as answers have it.
pub fn shown_minimum(minimum: TransitionMinimum) -> Option<MinimumSize> {
    Some(MinimumSize::from_static(minimum.as_str()))
}

fn class(name: Option<&TransitionStorageClass>, action: &str) -> S3Result<StorageClass> {
    match name.map(TransitionStorageClass::as_str) {
        Some(TransitionStorageClass::STANDARD_IA) => Ok(StorageClass::StandardIa),
        Some(name) if CLASSES_NOT_DONE.contains(&name) => Err(not_implemented(&format!("a transition to {name}"))),
        Some(name) => Err(fault(S3ErrorCode::MalformedXML, format!("{name} is no StorageClass of a {action}"))),
        None => Err(fault(S3ErrorCode::MalformedXML, format!("a {action} needs a StorageClass"))),
    }
}

fn nonnegative(days: i32, what: &str) -> S3Result<u32> {
    u32::try_from(days).map_err(|_| invalid(format!("{what} must be nonnegative")))
}

fn number(number: Option<u32>) -> Option<i32> {
    number.and_then(|number| i32::try_from(number).ok())
}

fn too_late(what: &str, expiration: &str, transition: &str, filter: &str) -> S3Error {
    invalid(format!(
        "'{what}' in the {expiration} action for filter '{filter}' must be greater than '{what}' in the {transition} action"
    ))
}

/// A filter as S3's messages tell of it.
fn told(filter: &RuleFilter) -> String {
    let prefix = (!filter.prefix.is_empty()).then(|| format!("prefix={}", filter.prefix));
    let tags = filter.tags.iter().map(|(key, value)| format!("tag={{key={key}, value={value}}}"));
    let larger = filter.larger_than.map(|bytes| format!("objectsizegreaterthan={bytes}"));
    let smaller = filter.smaller_than.map(|bytes| format!("objectsizelessthan={bytes}"));
    let parts: Vec<String> = prefix.into_iter().chain(tags).chain(larger).chain(smaller).collect();
    if parts.is_empty() { "(prefix=)".to_owned() } else { format!("({})", parts.join(" and ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(class: &'static str, days: i32) -> Transition {
        Transition { date: None, days: Some(days), storage_class: Some(TransitionStorageClass::from_static(class)) }
    }

    fn noncurrent(class: &'static str, days: Option<i32>, newer: Option<i32>) -> NoncurrentVersionTransition {
        NoncurrentVersionTransition {
            newer_noncurrent_versions: newer,
            noncurrent_days: days,
            storage_class: Some(TransitionStorageClass::from_static(class)),
        }
    }

    fn code<T>(outcome: S3Result<T>) -> String {
        outcome.map_or_else(|fault| fault.code().as_str().to_owned(), |_| "ok".to_owned())
    }

    #[test]
    fn transitions_come_back_as_they_were_given() {
        let by_date = Transition { date: Some(timestamp(9 * DAY_MS)), days: None, ..to("STANDARD_IA", 0) };
        for given in [to("STANDARD_IA", 0), to("STANDARD_IA", 30), by_date] {
            assert_eq!(shown(&taken(Some(vec![given.clone()])).unwrap()), Some(vec![given]));
        }
        for given in [noncurrent("STANDARD_IA", Some(0), None), noncurrent("STANDARD_IA", Some(7), Some(3))] {
            assert_eq!(shown_noncurrent(&taken_noncurrent(Some(vec![given.clone()])).unwrap()), Some(vec![given]));
        }
        assert_eq!((shown(&taken(None).unwrap()), shown_noncurrent(&taken_noncurrent(None).unwrap())), (None, None));
    }

    #[test]
    fn only_what_s3_knows_is_taken_and_only_what_is_here() {
        for (class, expected) in [
            ("STANDARD_IA", "ok"),
            ("ONEZONE_IA", "NotImplemented"),
            ("INTELLIGENT_TIERING", "NotImplemented"),
            ("GLACIER", "NotImplemented"),
            ("GLACIER_IR", "NotImplemented"),
            ("DEEP_ARCHIVE", "NotImplemented"),
            ("STANDARD", "MalformedXML"),
            ("standard_ia", "MalformedXML"),
        ] {
            assert_eq!(code(taken(Some(vec![to(class, 3)]))), expected, "{class}");
            assert_eq!(code(taken_noncurrent(Some(vec![noncurrent(class, Some(3), None)]))), expected, "{class}");
        }
        let at = |ms| Transition { date: Some(timestamp(ms)), days: None, ..to("STANDARD_IA", 0) };
        for (given, expected) in [
            (Transition { storage_class: None, ..to("", 3) }, "MalformedXML"),
            (Transition { days: None, ..to("STANDARD_IA", 3) }, "MalformedXML"),
            (Transition { days: Some(3), ..at(DAY_MS) }, "MalformedXML"),
            (to("STANDARD_IA", -1), "InvalidArgument"),
            (at(DAY_MS + 1), "InvalidArgument"),
            (at(DAY_MS), "ok"),
        ] {
            assert_eq!(code(taken(Some(vec![given.clone()]))), expected, "{given:?}");
        }
        for (days, newer, expected) in [
            (None, None, "MalformedXML"),
            (None, Some(1), "MalformedXML"),
            (Some(-1), None, "InvalidArgument"),
            (Some(1), Some(0), "InvalidArgument"),
        ] {
            assert_eq!(code(taken_noncurrent(Some(vec![noncurrent("STANDARD_IA", days, newer)]))), expected);
        }
    }

    #[test]
    fn what_is_deleted_is_moved_before_if_at_all() {
        let class = StorageClass::StandardIa;
        let (by_days, by_date) =
            (Kept { days: Some(5), at_ms: None, class }, Kept { days: None, at_ms: Some(5 * DAY_MS), class });
        let filter = RuleFilter { prefix: "a/".to_owned(), larger_than: Some(9), ..RuleFilter::default() };
        let days = Rule { transitions: vec![by_days], filter, ..Rule::default() };
        assert_eq!(code(check(&Rule { expire_days: Some(6), ..days.clone() })), "ok");
        let message = check(&Rule { expire_days: Some(5), ..days.clone() }).unwrap_err().message().map(str::to_owned);
        let expected = "'Days' in the Expiration action for filter '(prefix=a/ and objectsizegreaterthan=9)' must be greater \
                        than 'Days' in the Transition action";
        assert_eq!(message.as_deref(), Some(expected));
        assert_eq!(code(check(&Rule { expire_at_ms: Some(9 * DAY_MS), ..days.clone() })), "InvalidRequest");
        assert_eq!(code(check(&Rule { transitions: vec![by_days, by_days], ..days })), "InvalidRequest");
        let date = Rule { transitions: vec![by_date], ..Rule::default() };
        assert_eq!(code(check(&Rule { expire_at_ms: Some(6 * DAY_MS), ..date.clone() })), "ok");
        assert_eq!(code(check(&Rule { expire_at_ms: Some(5 * DAY_MS), ..date.clone() })), "InvalidArgument");
        assert_eq!(code(check(&Rule { expire_days: Some(900), ..date })), "InvalidRequest");
        let noncurrent = KeptNoncurrent { days: 5, kept: None, class };
        let noncurrent = Rule { noncurrent_transitions: vec![noncurrent], ..Rule::default() };
        assert_eq!(code(check(&Rule { noncurrent_days: Some(6), ..noncurrent.clone() })), "ok");
        assert_eq!(code(check(&Rule { noncurrent_days: Some(5), ..noncurrent })), "InvalidArgument");
        assert_eq!(told(&RuleFilter::default()), "(prefix=)");
    }

    #[test]
    fn the_smallest_size_is_one_of_two() {
        for (asked, expected) in [
            (None, "all_storage_classes_128K"),
            (Some("all_storage_classes_128K"), "all_storage_classes_128K"),
            (Some("varies_by_storage_class"), "varies_by_storage_class"),
        ] {
            let taken = minimum(asked.map(MinimumSize::from_static).as_ref()).unwrap();
            assert_eq!(shown_minimum(taken).unwrap().as_str(), expected);
        }
        assert_eq!(code(minimum(Some(&MinimumSize::from_static("none")))), "InvalidRequest");
    }
}
