//! Keys over the metadata: who is let in, who is not any more, and that nobody locks everybody out.

use super::*;
use crate::metadata::memory::MemoryMetadata;
use crate::metadata::records::{CredentialRecord, GrantRecord};
use protocol::{ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};

struct At(AtomicU64);

impl Clock for At {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn random(&self) -> u128 {
        1
    }
}

fn identity_on(metadata: Arc<dyn Metadata>) -> (Identity, Arc<At>) {
    let clock = Arc::new(At(AtomicU64::new(1_000)));
    let sealer = Sealer::of_key(&"k".repeat(32)).unwrap();
    (Identity::new(metadata, clock.clone(), sealer, false), clock)
}

fn identity() -> (Identity, Arc<At>) {
    identity_on(Arc::new(MemoryMetadata::default()))
}

fn ordinary(name: &str) -> NewKey {
    let actions = Action::ALL_BITS & !(Action::Admin as u8);
    let grants = vec![GrantRecord { buckets: vec!["*".to_owned()], actions, any_owner: false }];
    NewKey { name: name.to_owned(), owner: None, grants, expires_ms: 0 }
}

fn bearer(identity: &Identity, token: &str) -> Verdict<Principal> {
    identity.bearer(Some(format!("Bearer {token}").as_bytes()))
}

fn lets_in(identity: &Identity, key: &FreshKey) -> (bool, bool) {
    let token = bearer(identity, key.token.reveal()).is_ok();
    let signing = identity.signing(&key.record.id);
    (token, signing.is_ok_and(|(secret, _)| secret.is(key.signing.reveal().as_bytes())))
}

async fn begin(identity: &Identity) -> Option<FreshKey> {
    let mut shown = None;
    let begun = identity.begin(false, |key| {
        let (token, signing) = (key.token.clone(), key.signing.clone());
        shown = Some(FreshKey { record: key.record.clone(), token, signing });
        Ok(())
    });
    assert_eq!(begun.await.unwrap(), shown.is_some());
    shown
}

#[tokio::test]
async fn the_first_key_is_shown_once_and_administers() {
    let metadata = Arc::new(MemoryMetadata::default());
    let (one, _) = identity_on(metadata.clone());
    let first = begin(&one).await.unwrap();
    assert!(announcement(&first.token).starts_with("Admin API Key: s3_key_"));
    assert_eq!(lets_in(&one, &first), (true, true));
    let admin = bearer(&one, first.token.reveal()).unwrap();
    assert!(authorize(&admin, Action::Admin, Resource::Cluster).is_ok());

    let (again, _) = identity_on(metadata);
    again.refresh().await.unwrap();
    assert!(begin(&again).await.is_none(), "never again");
    assert_eq!(lets_in(&again, &first), (true, true));
}

#[tokio::test]
async fn a_first_key_that_was_not_shown_to_its_end_lets_nobody_in() {
    let metadata = Arc::new(MemoryMetadata::default());
    let (crashed, _) = identity_on(metadata.clone());
    let mut lost = None;
    // The process ends while it prints: what follows is never polled.
    let outcome = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(crashed.begin(false, |key| {
        lost = Some(key.token.clone());
        std::panic::resume_unwind(Box::new("the power goes"));
    })));
    assert!(outcome.await.is_err());
    let (next, _) = identity_on(metadata);
    next.refresh().await.unwrap();
    assert!(bearer(&next, lost.unwrap().reveal()).is_err());
    let first = begin(&next).await.expect("another one is made and shown");
    assert_eq!(lets_in(&next, &first), (true, true));
}

#[tokio::test]
async fn wrong_disabled_expired_rotated_and_deleted_keys_are_refused_alike() {
    let (identity, clock) = identity();
    begin(&identity).await.unwrap();
    let key = identity.create(ordinary("ci")).await.unwrap();
    let id = key.record.id.clone();
    assert_eq!(lets_in(&identity, &key), (true, true));
    let wrong = bearer(&identity, Secret::token().unwrap().reveal()).unwrap_err();

    identity.set_disabled(&id, true).await.unwrap();
    assert_eq!(lets_in(&identity, &key), (false, false));
    assert_eq!(bearer(&identity, key.token.reveal()).unwrap_err(), wrong);
    identity.set_disabled(&id, false).await.unwrap();
    assert_eq!(lets_in(&identity, &key), (true, true));

    identity.set_expiry(&id, 2_000).await.unwrap();
    assert_eq!(lets_in(&identity, &key), (true, true));
    clock.0.store(2_000, Ordering::Relaxed);
    assert_eq!(lets_in(&identity, &key), (false, false));
    assert_eq!(bearer(&identity, key.token.reveal()).unwrap_err(), wrong);
    identity.set_expiry(&id, 0).await.unwrap();

    let rotated = identity.rotate(&id).await.unwrap();
    assert_eq!(bearer(&identity, key.token.reveal()).unwrap_err(), wrong);
    assert_eq!((lets_in(&identity, &key), lets_in(&identity, &rotated)), ((false, false), (true, true)));

    identity.delete(&id).await.unwrap();
    assert_eq!(lets_in(&identity, &rotated), (false, false));
    assert_eq!(identity.key(&id).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn no_header_is_anonymous_and_a_strange_one_is_refused() {
    let (identity, _) = identity();
    assert!(matches!(identity.bearer(None), Ok(Principal::Anonymous)));
    for header in ["", "Bearer", "Bearer ", "Basic dTpw", "s3_key_", "Bearer s3_key_", "AWS4-HMAC-SHA256 Credential=x"]
    {
        assert!(identity.bearer(Some(header.as_bytes())).is_err(), "{header}");
    }
    assert!(identity.signing("").is_err() && identity.signing(FIRST_ID).is_err());
    let key = identity.create(ordinary("lower case")).await.unwrap();
    assert!(identity.bearer(Some(format!("bEARER  {} ", key.token.reveal()).as_bytes())).is_ok());
}

#[tokio::test]
async fn somebody_can_always_administer() {
    let (identity, _) = identity();
    let first = begin(&identity).await.unwrap();
    let conflict = |outcome: Result<CredentialRecord>| assert_eq!(outcome.unwrap_err().kind, ErrorKind::Conflict);
    conflict(identity.set_disabled(FIRST_ID, true).await);
    conflict(identity.set_expiry(FIRST_ID, u64::MAX).await);
    conflict(identity.set_grants(FIRST_ID, ordinary("x").grants).await);
    assert_eq!(identity.delete(FIRST_ID).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(lets_in(&identity, &first), (true, true));

    let grants = first.record.grants.clone();
    let other = identity.create(NewKey { grants, ..ordinary("other") }).await.unwrap().record.id;
    let (one, two) = tokio::join!(identity.delete(FIRST_ID), identity.delete(&other));
    assert!(one.is_ok() != two.is_ok(), "one of two that rely on each other: {one:?} {two:?}");
    assert_eq!(identity.keys().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_key_cannot_be_is_refused_with_its_reason() {
    let (identity, _) = identity();
    let mut grants = ordinary("x").grants;
    for (new, word) in [
        (NewKey { name: "n".repeat(200), ..ordinary("") }, "name"),
        (NewKey { owner: Some("HFNOBODY".to_owned()), ..ordinary("x") }, "HFNOBODY"),
        (NewKey { grants: vec![grants[0].clone(); GRANTS_MAX + 1], ..ordinary("x") }, "grants"),
        (NewKey { grants: vec![GrantRecord { actions: 0, ..grants[0].clone() }], ..ordinary("x") }, "action"),
        (NewKey { grants: vec![GrantRecord { actions: 64, ..grants[0].clone() }], ..ordinary("x") }, "action"),
        (NewKey { grants: vec![GrantRecord { buckets: Vec::new(), ..grants.remove(0) }], ..ordinary("x") }, "buckets"),
    ] {
        let refused = identity.create(new).await.unwrap_err();
        assert!(refused.kind == ErrorKind::Invalid && refused.message.contains(word), "{refused}");
    }
    assert!(identity.key("../cluster").await.unwrap_err().kind == ErrorKind::NotFound);
}

#[tokio::test]
async fn another_credentials_key_is_noticed_and_nothing_is_shown() {
    let metadata = Arc::new(MemoryMetadata::default());
    let (identity, clock) = identity_on(metadata.clone());
    let key = identity.create(ordinary("ci")).await.unwrap();
    let other = Identity::new(metadata, clock, Sealer::of_key(&"x".repeat(32)).unwrap(), false);
    let refused = other.refresh().await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Denied);
    for text in [format!("{refused}"), format!("{key:?}"), format!("{:?}", bearer(&identity, key.token.reveal()))] {
        assert!(!text.contains(key.token.reveal()) && !text.contains(key.signing.reveal()), "{text}");
        assert!(!text.contains(&hex::encode(key.record.token_sha256)), "{text}");
    }
}
