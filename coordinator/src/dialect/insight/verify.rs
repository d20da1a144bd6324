//! `POST /admin/verify` has a bucket or everything read and checked, copy by copy; `GET /admin/verify/{id}` says how far that has
//! come and what was found, as JSON or as a page.

use super::super::Door;
use super::super::html;
use super::super::query::{Query, body_json, without_nul};
use super::super::reply::Refusal;
use super::report::{page_of, summary};
use crate::object::BucketName;
use crate::worker::verify::job::{self, FINDINGS_LIMIT_MAX, VerifyJob, VerifyRequest};
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Findings in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 100;
/// The longest that `?wait=true` waits; then the client is told where to ask.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is to be verified; everything is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Order {
    bucket: Option<String>,
    prefix: String,
    bytes_per_s: u64,
    after: Option<String>,
}

impl Order {
    fn checked(self) -> Result<VerifyRequest, Refusal> {
        if self.bucket.is_none() && (!self.prefix.is_empty() || self.after.is_some()) {
            return Err(Refusal::bad_request("prefix and after are of one bucket: say which"));
        }
        Ok(VerifyRequest {
            bucket: self.bucket.as_deref().map(BucketName::parse).transpose()?,
            prefix: without_nul(&self.prefix)?,
            bytes_per_s: self.bytes_per_s,
            after: self.after.as_deref().map(without_nul).transpose()?,
        })
    }
}

/// `POST /admin/verify`: 202 and where to ask; with `?wait=true` 200 and the report, if it is ready in time.
pub(super) async fn begin(request: HttpRequest, payload: Payload, door: Data<Door>) -> Result<HttpResponse, Refusal> {
    let wait = Query::parse(request.query_string())?.flag("wait")?;
    let order: Order = body_json(payload, door.settings.body_stall).await?;
    let order = order.checked()?;
    if let Some(bucket) = &order.bucket {
        // A report of a bucket that is not there would read as a clean one.
        door.objects.require_bucket(bucket).await?;
    }
    let id = job::begin(&door.objects, &order).await?;
    if wait && has_ended(&door, id).await? {
        return answer(&request, &door, &Query::default(), id).await;
    }
    let location = format!("/admin/verify/{id}");
    let told = json!({ "id": id, "state": "queued", "report": location });
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(told))
}

/// Waits for the end of the verification, of the client's patience, or of this process.
async fn has_ended(door: &Door, id: Uuid) -> Result<bool, Refusal> {
    let ended = async {
        loop {
            match job::read(&door.objects, id).await? {
                Some(job) if job.record.finished_ms == 0 => tokio::time::sleep(LOOK_EVERY).await,
                _ => return Ok(true),
            }
        }
    };
    tokio::select! {
        ended = ended => ended,
        () = tokio::time::sleep(WAIT_MAX) => Ok(false),
        () = door.events.closed() => Ok(false),
    }
}

/// `GET /admin/verify`: the verifications on record.
pub(super) async fn list(door: Data<Door>) -> Result<HttpResponse, Refusal> {
    let jobs = job::list(&door.objects).await?;
    let lines: Vec<Value> = jobs.iter().map(summary).collect();
    Ok(HttpResponse::Ok().json(json!({ "verifications": lines })))
}

/// `GET /admin/verify/{id}?after=&limit=`.
pub(super) async fn report(request: HttpRequest, id: Path<String>, door: Data<Door>) -> Result<HttpResponse, Refusal> {
    let id = Uuid::try_parse(&id).map_err(|_| Refusal::bad_request("the id of a verification is a UUID"))?;
    let query = Query::parse(request.query_string())?;
    answer(&request, &door, &query, id).await
}

async fn answer(request: &HttpRequest, door: &Door, query: &Query, id: Uuid) -> Result<HttpResponse, Refusal> {
    let limit = query.number("limit", LIMIT_DEFAULT, 1, FINDINGS_LIMIT_MAX)?;
    let after = query.get("after").unwrap_or("0").parse();
    let after = after.map_err(|_| Refusal::bad_request("after must be the number of a finding"))?;
    let Some(job) = job::read(&door.objects, id).await? else {
        return Err(Refusal::not_found(format!("there is no verification {id}")));
    };
    let found = job::findings(&door.objects, id, after, limit).await?;
    if html::is_wanted(request.headers()) {
        return Ok(html::page(&title(&job), &page_of(&job, &found)));
    }
    let mut report = summary(&job);
    report["findings"] = json!(found.findings);
    report["next"] = json!(found.next);
    Ok(HttpResponse::Ok().json(report))
}

fn title(job: &VerifyJob) -> String {
    let what = match &job.record.bucket {
        None => "everything".to_owned(),
        Some(bucket) => format!("{bucket}/{}", job.record.prefix),
    };
    format!("Verification of {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Result<VerifyRequest, Refusal> {
        serde_json::from_str::<Order>(text).unwrap().checked()
    }

    #[test]
    fn orders_are_checked() {
        assert!(order("{}").unwrap().bucket.is_none());
        let some = order(r#"{"bucket":"files","prefix":"a/","after":"a/b","bytes_per_s":5}"#).unwrap();
        assert_eq!((some.prefix.as_str(), some.after.as_deref(), some.bytes_per_s), ("a/", Some("a/b"), 5));
        for bad in
            [r#"{"prefix":"a"}"#, r#"{"after":"a"}"#, r#"{"bucket":"No"}"#, r#"{"bucket":"files","prefix":"\u0000"}"#]
        {
            assert!(order(bad).is_err(), "{bad}");
        }
        assert!(
            serde_json::from_str::<Order>(r#"{"buckets":"files"}"#).is_err(),
            "a word that is not known is not ignored"
        );
    }
}
