//! Which requests this door answers by itself, with the library's signatures but without its types: GET, HEAD and PUT of an object.

use super::access::{Keys, Trace};
use super::target::{Query, Target};
use super::{read, write};
use crate::dialect::Door;
use hyper::http::Extensions;
use hyper::{HeaderMap, Method, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};
use std::sync::Arc;

/// Parameters that make another operation of a GET or HEAD.
const OTHER_READS: [&str; 8] =
    ["acl", "attributes", "legal-hold", "restore", "retention", "tagging", "torrent", "uploadId"];
/// Parameters that make another operation of a PUT.
const OTHER_WRITES: [&str; 8] =
    ["acl", "legal-hold", "partNumber", "restore", "retention", "tagging", "torrent", "uploadId"];

/// Objects' bytes.
pub struct Objects {
    /// The door.
    pub door: Arc<Door>,
}

#[async_trait::async_trait]
impl S3Route for Objects {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, known: &mut Extensions) -> bool {
        if known.get::<Target>().is_none_or(|target| target.key.is_empty()) {
            return false;
        }
        let query = Query::parse(uri.query());
        match *method {
            Method::GET => !query.has_any(&OTHER_READS),
            Method::HEAD => true,
            Method::PUT => !query.has_any(&OTHER_WRITES) && !headers.contains_key("x-amz-copy-source"),
            _ => false,
        }
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let operation = match request.method {
            Method::GET => "GetObject",
            Method::HEAD => "HeadObject",
            _ => "PutObject",
        };
        let access_key = request.credentials.as_ref().map(|credentials| credentials.access_key.as_str());
        Keys { door: self.door.clone() }.admit(access_key, operation, &request.extensions).await
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        match request.method {
            Method::PUT => write::answer(&self.door, request).await,
            _ => read::answer(&self.door, &request).await,
        }
    }
}

/// What is known of a request.
pub fn trace(known: &Extensions) -> Arc<Trace> {
    known.get::<Arc<Trace>>().cloned().unwrap_or_default()
}
