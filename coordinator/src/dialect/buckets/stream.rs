//! `GET /objects?bucket=&prefix=` (contract D3, D4): every object as `{"Bucket","Key","Hash","Size"}`, one JSON array.
//!
//! What it keeps true: the array is sent as it is read, a page of one bucket at a time. The first page is read before the status is
//! sent; after that an error cuts the connection, so that no client takes a part for the whole.

use super::super::Door;
use super::super::guard::{Subject, permit, principal};
use super::super::query::{Query, without_nul};
use super::super::reply::Refusal;
use super::{bucket_named, etag, refusal};
use crate::identity::{Action, Principal};
use crate::object::{BucketName, LIST_LIMIT_MAX, ListRequest, ListedObject, Objects};
use actix_web::http::header::ContentType;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use protocol::Result as Outcome;
use serde::Serialize;
use tracing::warn;

/// A line of the array.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    bucket: &'a str,
    key: &'a str,
    hash: String,
    size: u64,
}

/// The whole array. A bucket that nobody made has no objects, and is no error: at this door buckets spring into being.
pub(super) async fn objects(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let mut walk = begin(&request, &door).await.map_err(Refusal::explained)?;
    let first = walk.next().await.map_err(refusal)?;
    let body = stream::unfold(Some((walk, Some(first))), send_next);
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).streaming(Box::pin(body)))
}

async fn begin(request: &HttpRequest, door: &Door) -> Result<Walk, Refusal> {
    let query = Query::parse(request.query_string())?;
    let who = principal(request);
    let only = query.get("bucket").map(bucket_named).transpose()?;
    if let Some(name) = &only {
        let record = door.objects.bucket(name).await.map_err(refusal)?;
        request.extensions_mut().insert(Subject { bucket: name.as_str().to_owned(), key: None });
        permit(&who, Action::List, name, record.as_ref(), false)?;
    }
    Ok(Walk {
        objects: door.objects.clone(),
        who,
        prefix: without_nul(query.get("prefix").unwrap_or_default())?,
        is_of_one: only.is_some(),
        passed: None,
        at: only.map(|name| (name, None)),
        has_lines: false,
    })
}

/// A walk through all that there is.
struct Walk {
    objects: Objects,
    who: Principal,
    prefix: String,
    is_of_one: bool,
    /// The last bucket that was begun.
    passed: Option<BucketName>,
    /// The bucket being read, and the last key of it that was.
    at: Option<(BucketName, Option<String>)>,
    has_lines: bool,
}

impl Walk {
    /// The next lines of the array; nothing after the last.
    async fn next(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            let Some((bucket, after)) = self.at.take() else {
                match self.next_bucket().await? {
                    Some(bucket) => self.at = Some((bucket, None)),
                    None => return Ok(None),
                }
                continue;
            };
            let request = ListRequest {
                bucket: bucket.clone(),
                prefix: self.prefix.clone(),
                delimiter: None,
                after,
                limit: LIST_LIMIT_MAX,
                shows_availability: false,
            };
            let page = self.objects.list(&request).await?;
            if page.more {
                self.at = Some((bucket.clone(), page.last));
            }
            if !page.objects.is_empty() {
                return Ok(Some(self.lines(&bucket, &page.objects)));
            }
        }
    }

    async fn next_bucket(&mut self) -> Outcome<Option<BucketName>> {
        while !self.is_of_one {
            let page = self.objects.buckets("", self.passed.as_ref(), 1).await?;
            let Some((name, record)) = page.buckets.into_iter().next() else { return Ok(None) };
            self.passed = Some(name.clone());
            if permit(&self.who, Action::List, &name, Some(&record), false).is_ok() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn lines(&mut self, bucket: &BucketName, objects: &[ListedObject]) -> Bytes {
        let mut text = Vec::new();
        for object in objects {
            text.extend_from_slice(if self.has_lines { b",\n" } else { b"[" });
            self.has_lines = true;
            let line = Line {
                bucket: bucket.as_str(),
                key: &object.key,
                hash: etag(object.etag, object.sha256),
                size: object.size,
            };
            serde_json::to_writer(&mut text, &line).expect("text and numbers are JSON, and a vector takes writes");
        }
        text.into()
    }

    fn end(&self) -> Bytes {
        Bytes::from_static(if self.has_lines { b"]" } else { b"[]" })
    }
}

/// A walk, and its first lines while they are still to be sent.
type Sending = Option<(Walk, Option<Option<Bytes>>)>;

async fn send_next(state: Sending) -> Option<(std::io::Result<Bytes>, Sending)> {
    let (mut walk, first) = state?;
    let lines = match first {
        Some(first) => Ok(first),
        None => walk.next().await,
    };
    match lines {
        Ok(Some(lines)) => Some((Ok(lines), Some((walk, None)))),
        Ok(None) => Some((Ok(walk.end()), None)),
        Err(error) => {
            warn!(target: "degradation", %error, "listing cut off: the catalog cannot be read");
            Some((Err(std::io::Error::other(error)), None))
        }
    }
}
