//! Who may do what: a table, and the properties that hold for all policies.

use super::*;
use proptest::prelude::{any, prop, proptest};
use proptest::strategy::Strategy;

fn grant(buckets: &[&str], actions: &[Action], any_owner: bool) -> GrantRecord {
    let actions = actions.iter().fold(0, |bits, action| bits | *action as u8);
    GrantRecord { buckets: buckets.iter().map(|pattern| (*pattern).to_owned()).collect(), actions, any_owner }
}

fn key(owner: &str, grants: Vec<GrantRecord>) -> Principal {
    Principal::Key(Arc::new(Credential::sample("HFKEY", owner, grants)))
}

fn bucket<'a>(name: &'a str, owner: &'a str) -> Resource<'a> {
    Resource::Bucket { name, owner, opened: false }
}

#[test]
fn a_key_may_what_its_grants_name_in_its_own_buckets() {
    let key = key("me", vec![grant(&["logs-*", "x"], &[Action::Read, Action::List], false)]);
    assert!(authorize(&key, Action::Read, bucket("logs-1", "me")).is_ok());
    assert!(authorize(&key, Action::List, bucket("x", "")).is_ok(), "nobody's bucket");
    for (action, name, owner) in
        [(Action::Write, "logs-1", "me"), (Action::Read, "log", "me"), (Action::Read, "logs-1", "you")]
    {
        let denial = authorize(&key, action, bucket(name, owner)).unwrap_err();
        assert!(matches!(&denial, Denial::Forbidden(why) if why.contains(name)), "{denial}");
    }
    assert!(authorize(&key, Action::List, Resource::Buckets).is_ok());
    assert!(authorize(&key, Action::Delete, Resource::Buckets).is_err());
    assert!(authorize(&key, Action::Read, Resource::Health).is_ok());
}

#[test]
fn how_nobody_s_bucket_behaves_is_for_who_administers_any_owner_s() {
    let everything = |any_owner| key("me", vec![grant(&["*"], &Action::ALL, any_owner)]);
    let outcome = authorize(&everything(false), Action::Admin, bucket("files", ""));
    assert!(matches!(&outcome, Err(Denial::Forbidden(why)) if why.contains("any_owner")), "{outcome:?}");
    assert!(authorize(&everything(true), Action::Admin, bucket("files", "")).is_ok());
    let named = key("me", vec![grant(&["files"], &[Action::Admin], true)]);
    assert!(authorize(&named, Action::Admin, bucket("files", "")).is_ok());
    assert!(authorize(&everything(false), Action::Admin, bucket("mine", "me")).is_ok());
    for action in Action::ALL {
        let missing = Resource::NoBucket { name: "new" };
        assert!(
            authorize(&everything(false), action, missing).is_ok(),
            "{action:?}: it is to be told that there is none"
        );
        if action != Action::Admin {
            assert!(authorize(&everything(false), action, bucket("files", "")).is_ok(), "{action:?}");
        }
    }
}

#[test]
fn only_admin_of_everything_administers_the_cluster() {
    let may = |grants| authorize(&key("me", grants), Action::Admin, Resource::Cluster).is_ok();
    assert!(may(vec![grant(&["*"], &[Action::Admin], true)]));
    assert!(!may(vec![grant(&["*"], &[Action::Admin], false)]), "admin of its own buckets");
    assert!(!may(vec![grant(&["a*"], &[Action::Admin], true)]));
    assert!(!may(vec![grant(&["*"], &[Action::Read, Action::Write, Action::List, Action::Delete], true)]));
    assert!(!may(Vec::new()));
}

#[test]
fn who_proved_nothing_reads_what_is_open_and_nothing_else() {
    let open = Resource::Bucket { name: "b", owner: "you", opened: true };
    assert!(authorize(&Principal::Anonymous, Action::Read, open).is_ok());
    assert!(authorize(&key("me", Vec::new()), Action::Read, open).is_ok(), "what anybody may, a key may");
    for action in Action::ALL {
        for resource in [bucket("b", ""), open, Resource::Buckets, Resource::Health, Resource::Cluster] {
            let outcome = authorize(&Principal::Anonymous, action, resource);
            let expected = resource == open && action == Action::Read;
            assert_eq!(outcome.is_ok(), expected, "{action:?} {resource:?}");
            assert!(matches!(outcome, Ok(()) | Err(Denial::Unauthenticated(_))));
            assert!(authorize(&Principal::Trusted, action, resource).is_ok());
        }
    }
}

/// The specification: every way to cut the name for the stars.
fn matches_slowly(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|taken| matches_slowly(rest, &name[taken..])),
        Some((byte, rest)) => {
            name.split_first().is_some_and(|(first, name)| first == byte && matches_slowly(rest, name))
        }
    }
}

fn grants() -> impl Strategy<Value = Vec<GrantRecord>> {
    let one = (prop::collection::vec("[ab*]{0,4}", 0..3), 0..=Action::ALL_BITS, any::<bool>());
    prop::collection::vec(
        one.prop_map(|(buckets, actions, any_owner)| GrantRecord { buckets, actions, any_owner }),
        0..4,
    )
}

proptest! {
    #[test]
    fn patterns_match_as_specified(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), matches_slowly(pattern.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn another_s_bucket_needs_a_grant_that_says_so(grants in grants(), name in "[ab]{1,4}", action in 0usize..5) {
        let action = Action::ALL[action];
        let sharing: Vec<GrantRecord> = grants.iter().filter(|grant| grant.any_owner).cloned().collect();
        let with = |grants: &[GrantRecord]| authorize(&key("me", grants.to_vec()), action, bucket(&name, "you")).is_ok();
        assert_eq!(with(&grants), with(&sharing));
    }

    #[test]
    fn more_grants_never_allow_less(grants in grants(), more in grants(), name in "[ab]{1,4}", action in 0usize..5) {
        let both: Vec<GrantRecord> = grants.iter().chain(&more).cloned().collect();
        for resource in [bucket(&name, "me"), bucket(&name, "you"), Resource::Buckets, Resource::Cluster] {
            let with = |grants: &[GrantRecord]| authorize(&key("me", grants.to_vec()), Action::ALL[action], resource).is_ok();
            assert!(!with(&grants) || with(&both), "{resource:?}");
        }
    }
}
