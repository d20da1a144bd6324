//! Who may do what at this door: the secret that a signature is verified with, and the action that each operation needs.
//!
//! What it keeps true: an operation that is not in the table needs a key that administers the bucket, whatever it turns out to be.

use super::fault::{BodyFault, fault, not_implemented, of_verb};
use super::front::limited;
use super::target::Target;
use crate::dialect::Door;
use crate::identity::{Action, Denial, Principal, Resource, authorize};
use crate::object::BucketName;
use hyper::http::Extensions;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What became known of a request while it was served.
#[derive(Default)]
pub struct Trace {
    operation: OnceLock<&'static str>,
    action: OnceLock<Action>,
    principal: OnceLock<Principal>,
    claimed_key: OnceLock<String>,
    body_fault: OnceLock<BodyFault>,
    body_ended: AtomicBool,
    names_a_version: AtomicBool,
}

impl Trace {
    /// Says why the body did not come as it should; the first to say so is right.
    pub fn fail_body(&self, fault: &BodyFault) {
        self.body_fault.get_or_init(|| fault.clone());
    }

    /// Why the body did not come as it should.
    pub fn body_fault(&self) -> Option<&BodyFault> {
        self.body_fault.get()
    }

    /// Says that the body was taken to its end.
    pub fn end_body(&self) {
        self.body_ended.store(true, Ordering::Relaxed);
    }

    /// Whether the body was taken to its end; what is left of it makes the connection useless.
    pub fn has_ended_body(&self) -> bool {
        self.body_ended.load(Ordering::Relaxed)
    }

    /// Says that one version of the object is asked for.
    pub fn name_a_version(&self) {
        self.names_a_version.store(true, Ordering::Relaxed);
    }

    fn names_a_version(&self) -> bool {
        self.names_a_version.load(Ordering::Relaxed)
    }

    /// Says which operation it is; the first to say so is right.
    pub fn name(&self, operation: &'static str) {
        self.operation.get_or_init(|| operation);
    }

    /// Which operation it is.
    pub fn operation(&self) -> &'static str {
        self.operation.get().copied().unwrap_or("unknown")
    }

    /// What it needed.
    pub fn action(&self) -> &'static str {
        self.action.get().map_or("", |action| action.as_str())
    }

    /// Who sent it.
    pub fn who(&self) -> String {
        self.principal.get().map_or("anonymous", |principal| principal.id()).to_owned()
    }

    /// Says which key it names; the first to say so is right.
    pub fn claim(&self, access_key: &str) {
        self.claimed_key.get_or_init(|| access_key.to_owned());
    }

    /// What it says its key's id is, where it did not prove to be that one: any text.
    pub fn claimed_key(&self) -> Option<&str> {
        let proves_nothing = matches!(self.principal.get(), None | Some(Principal::Anonymous));
        self.claimed_key.get().filter(|_| proves_nothing).map(String::as_str)
    }

    /// Who sent it.
    pub fn principal(&self) -> Principal {
        self.principal.get().cloned().unwrap_or(Principal::Anonymous)
    }
}

/// Operations, and what they need; a bucket's settings, and whatever is not here, need [`Action::Admin`].
const NEEDS: [(Action, &[&str]); 5] = [
    (
        Action::Read,
        &[
            "GetObject",
            "HeadObject",
            "GetObjectAttributes",
            "GetObjectTagging",
            "GetObjectRetention",
            "GetObjectLegalHold",
        ],
    ),
    (
        Action::Write,
        &[
            "PutObject",
            "PostObject",
            "CopyObject",
            "CreateMultipartUpload",
            "UploadPart",
            "UploadPartCopy",
            "CompleteMultipartUpload",
            "AbortMultipartUpload",
            "PutObjectTagging",
            "DeleteObjectTagging",
            "PutObjectRetention",
            "PutObjectLegalHold",
            "CreateBucket",
        ],
    ),
    (
        Action::List,
        &[
            "ListBuckets",
            "ListObjects",
            "ListObjectsV2",
            "ListObjectVersions",
            "ListMultipartUploads",
            "ListParts",
            "HeadBucket",
            "GetBucketLocation",
        ],
    ),
    (Action::Delete, &["DeleteObject", "DeleteObjects", "DeleteBucket"]),
    (
        Action::Admin,
        &[
            "GetBucketVersioning",
            "PutBucketVersioning",
            "GetBucketTagging",
            "PutBucketTagging",
            "DeleteBucketTagging",
            "GetBucketCors",
            "PutBucketCors",
            "DeleteBucketCors",
            "GetBucketLifecycleConfiguration",
            "PutBucketLifecycleConfiguration",
            "DeleteBucketLifecycle",
            "GetObjectLockConfiguration",
            "PutObjectLockConfiguration",
        ],
    ),
];

/// What a bucket that anybody may read opens, where no version is named.
const NEWEST: [&str; 2] = ["GetObject", "HeadObject"];

fn need(operation: &str) -> Action {
    let found = NEEDS.iter().find(|(_, operations)| operations.contains(&operation));
    found.map_or(Action::Admin, |(action, _)| *action)
}

/// The library's two questions.
#[derive(Clone)]
pub struct Keys {
    /// The door that knows.
    pub door: Arc<Door>,
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.door.guard.identity.signing(access_key) {
            Ok((secret, _)) => Ok(SecretKey::from(secret.reveal())),
            Err(_) => Err(fault(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            )),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let key = context.credentials().map(|credentials| credentials.access_key.clone());
        let named = context.s3_op().name().to_owned();
        let known = name_of(&named);
        self.admit(key.as_deref(), known.unwrap_or("NotImplemented"), context.extensions_mut()).await?;
        // Before the library reads what nobody will answer: its document may be one that the library does not know.
        known.map(drop).ok_or_else(|| not_implemented(&named))
    }
}

impl Keys {
    /// Whether whoever signed with `access_key`, or nobody, may do this.
    pub async fn admit(&self, access_key: Option<&str>, operation: &'static str, known: &Extensions) -> S3Result<()> {
        let trace = known.get::<Arc<Trace>>().cloned().unwrap_or_default();
        let target = known.get::<Target>().cloned().unwrap_or_default();
        let action = need(operation);
        trace.name(operation);
        trace.action.get_or_init(|| action);
        if let Some(key) = access_key {
            trace.claim(key);
        }
        let principal = self.principal(access_key)?;
        let principal = trace.principal.get_or_init(|| principal);
        if let Principal::Key(key) = principal {
            self.door.guard.limits.of_key(&key.record.id).map_err(|refused| limited(refused, "key"))?;
        }
        match (operation, principal) {
            (_, Principal::Trusted) => Ok(()),
            ("ListBuckets", principal) => authorize(principal, action, Resource::Buckets).map_err(denied),
            ("CreateBucket", principal) => {
                authorize(principal, action, Resource::NoBucket { name: &target.bucket }).map_err(denied)
            }
            (_, principal) => {
                let of_newest = NEWEST.contains(&operation) && !trace.names_a_version();
                may(&self.door, principal, action, &target.bucket, of_newest).await
            }
        }
    }

    fn principal(&self, access_key: Option<&str>) -> S3Result<Principal> {
        let identity = &self.door.guard.identity;
        match access_key {
            _ if identity.trusts_all() => Ok(Principal::Trusted),
            None => Ok(Principal::Anonymous),
            Some(key) => identity.signing(key).map(|(_, principal)| principal).map_err(denied),
        }
    }
}

/// Whether `principal` may do `action` in the bucket. A bucket that anybody may read opens no more than the newest versions of its objects:
/// `of_newest` says whether this is about one.
pub async fn may(door: &Door, principal: &Principal, action: Action, bucket: &str, of_newest: bool) -> S3Result<()> {
    if matches!(principal, Principal::Trusted) {
        return Ok(());
    }
    let record = match BucketName::parse(bucket) {
        Ok(name) => door.objects.bucket(&name).await.map_err(of_verb)?,
        Err(_) => None,
    };
    let resource = match &record {
        Some(record) => {
            Resource::Bucket { name: bucket, owner: &record.owner, opened: record.public_read && of_newest }
        }
        None => Resource::NoBucket { name: bucket },
    };
    authorize(principal, action, resource).map_err(denied)
}

fn denied(denial: Denial) -> S3Error {
    match denial {
        Denial::Unauthenticated(_) => fault(S3ErrorCode::AccessDenied, "Access Denied"),
        Denial::Forbidden(why) => fault(S3ErrorCode::AccessDenied, why),
    }
}

/// The name of an operation that is answered here.
fn name_of(operation: &str) -> Option<&'static str> {
    let mut known = NEEDS.iter().flat_map(|(_, operations)| operations.iter());
    known.find(|known| **known == operation).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_needs_an_administrator() {
        assert_eq!(need("GetObject"), Action::Read);
        assert_eq!(need("DeleteObjects"), Action::Delete);
        assert_eq!(need("ListParts"), Action::List);
        for operation in ["PutBucketCors", "GetBucketVersioning", "PutBucketPolicy", "SomethingNew"] {
            assert_eq!(need(operation), Action::Admin, "{operation}");
        }
    }

    #[test]
    fn the_documentation_names_every_operation() {
        let told = include_str!("../../../../docs/s3.md");
        let words: Vec<&str> = told.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let missing = NEEDS.iter().flat_map(|(_, operations)| operations.iter()).filter(|name| !words.contains(*name));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new(), "docs/s3.md says how each is answered");
    }
}
