//! Which parts of the protocol that are named by a parameter of the query (sub-resources, to S3) are served, for which method, of what.
//!
//! The library takes a parameter that it does not expect for none: `PUT /b/k?encryption` would replace the object by the document, and
//! `DELETE /b?versioning` would end the bucket.
//!
//! What it keeps true: a request that names a sub-resource does what that is about, or nothing; parameters of other kinds do no harm.

use super::target::{Query, Target};
use hyper::{HeaderMap, Method};

/// Every parameter by which S3 tells one operation from another.
const SUB_RESOURCES: [&str; 43] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// Whether a request makes a bucket.
pub fn makes_bucket(method: &Method, query: &Query, target: &Target) -> bool {
    method == Method::PUT && target.key.is_empty() && !query.has_any(&SUB_RESOURCES)
}

/// Whether the body describes something, and is no object's.
pub fn is_document(method: &Method, query: &Query, target: &Target, headers: &HeaderMap) -> bool {
    let is_object = !target.key.is_empty() && !headers.contains_key("x-amz-copy-source");
    match *method {
        Method::PUT if is_object => query.has_any(&["acl", "legal-hold", "retention", "tagging"]),
        Method::PUT | Method::POST => true,
        _ => false,
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Service,
    Bucket,
    Object,
}

/// Those that are served. What is not here is not done.
fn served(level: Level, method: &Method) -> &'static [&'static str] {
    match (level, method.as_str()) {
        (Level::Bucket, "GET") => &[
            "cors",
            "lifecycle",
            "list-type",
            "location",
            "object-lock",
            "tagging",
            "uploads",
            "versioning",
            "versions",
        ],
        (Level::Bucket, "PUT") => &["cors", "lifecycle", "object-lock", "tagging", "versioning"],
        (Level::Bucket, "DELETE") => &["cors", "lifecycle", "tagging"],
        (Level::Bucket, "POST") => &["delete"],
        (Level::Object, "GET") => &["attributes", "legal-hold", "partNumber", "retention", "tagging", "uploadId"],
        (Level::Object, "HEAD") => &["partNumber"],
        (Level::Object, "PUT") => &["legal-hold", "partNumber", "retention", "tagging", "uploadId"],
        (Level::Object, "DELETE") => &["tagging", "uploadId"],
        (Level::Object, "POST") => &["uploadId", "uploads"],
        _ => &[],
    }
}

/// A sub-resource that the query names and that is not served.
pub fn not_served(method: &Method, query: &Query, target: &Target) -> Option<&'static str> {
    let level = match (target.bucket.is_empty(), target.key.is_empty()) {
        (true, _) => Level::Service,
        (false, true) => Level::Bucket,
        (false, false) => Level::Object,
    };
    let served = served(level, method);
    SUB_RESOURCES.into_iter().find(|name| query.has(name) && !served.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, path: &str) -> Option<&'static str> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let target = Target { bucket: bucket.to_owned(), key: key.to_owned() };
        not_served(&method, &Query::parse(Some(query)), &target)
    }

    #[test]
    fn what_is_served_is_known_to_s3() {
        for level in [Level::Service, Level::Bucket, Level::Object] {
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
                let unknown = served(level, &method).iter().find(|name| !SUB_RESOURCES.contains(name));
                assert_eq!(unknown, None, "{level:?} {method}");
            }
        }
    }

    #[test]
    fn no_sub_resource_is_taken_for_the_whole() {
        for (method, path, name) in [
            (Method::PUT, "b/k?encryption", "encryption"),
            (Method::PUT, "b/k?uploads", "uploads"),
            (Method::DELETE, "b?versioning", "versioning"),
            (Method::DELETE, "b?acl", "acl"),
            (Method::DELETE, "b/k?legal-hold", "legal-hold"),
            (Method::DELETE, "b/k?partNumber=1", "partNumber"),
            (Method::GET, "b/k?uploads", "uploads"),
            (Method::GET, "?versioning", "versioning"),
            (Method::HEAD, "b/k?tagging", "tagging"),
            (Method::PUT, "b?uploads=", "uploads"),
            (Method::POST, "b/k?restore", "restore"),
        ] {
            assert_eq!(of(method.clone(), path), Some(name), "{method} {path}");
        }
    }

    #[test]
    fn other_parameters_do_no_harm() {
        let others =
            "x-id=PutObject&versionId=1&response-content-type=a&X-Amz-Date=d&prefix=p&delimiter=/&max-keys=1&mine=1";
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
            for path in ["", "b", "b/k"] {
                assert_eq!(of(method.clone(), &format!("{path}?{others}")), None, "{method} {path}");
            }
        }
        assert_eq!(of(Method::GET, "b?list-type=2&fetch-owner=true"), None);
        assert_eq!(of(Method::PUT, "b/k?partNumber=1&uploadId=u"), None);
    }
}
