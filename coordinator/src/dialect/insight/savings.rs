//! `GET /admin/savings?bucket=&after=&limit=`: what buckets hold, what keeping it takes, and what deduplication, compression and coding save
//! of that, as it was when the worker `savings` last went through them.

use super::super::Door;
use super::super::query::{Query, without_nul};
use super::super::reply::Refusal;
use crate::metadata::records::SavingsRecord;
use crate::object::BucketName;
use crate::worker::savings::{self, SAVINGS_LIMIT_MAX, SavingsPage};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use process::timestamp::rfc3339_ms;
use serde_json::{Value, json};

/// Buckets in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 100;

pub(super) async fn savings(request: HttpRequest, door: Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let limit = query.number("limit", LIMIT_DEFAULT, 1, SAVINGS_LIMIT_MAX)?;
    let page = match query.get("bucket") {
        Some(bucket) => only(&door, &BucketName::parse(bucket)?).await?,
        None => {
            let after = without_nul(query.get("after").unwrap_or_default())?;
            savings::list(&door.objects, &after, limit).await?
        }
    };
    let lines: Vec<Value> = page.buckets.iter().map(|(bucket, record)| line(bucket, record)).collect();
    let next = page.buckets.last().filter(|_| page.more).map(|(bucket, _)| bucket);
    let total = savings::of_all(&door.objects).await?.unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({ "buckets": lines, "total": figures(&total), "next": next })))
}

/// One bucket; one that nobody has gone through yet has no figures.
async fn only(door: &Door, bucket: &BucketName) -> Result<SavingsPage, Refusal> {
    door.objects.require_bucket(bucket).await?;
    let record = savings::of_bucket(&door.objects, bucket).await?;
    let buckets = record.map(|record| (bucket.as_str().to_owned(), record)).into_iter().collect();
    Ok(SavingsPage { buckets, more: false })
}

fn line(bucket: &str, record: &SavingsRecord) -> Value {
    let mut line = figures(record);
    line["bucket"] = json!(bucket);
    line
}

fn figures(record: &SavingsRecord) -> Value {
    let time = |ms: u64| (ms > 0).then(|| rfc3339_ms(ms));
    json!({
        "versions": record.versions,
        "logical_bytes": record.logical_bytes,
        "unique_bytes": record.unique_bytes,
        "stored_bytes": record.stored_bytes,
        "node_bytes": record.node_bytes,
        "saved_by_dedup_bytes": record.saved_by_dedup_bytes(),
        "saved_by_compression_bytes": record.saved_by_compression_bytes(),
        "saved_by_coding_bytes": record.saved_by_coding_bytes(),
        "began": time(record.began_ms),
        "ended": time(record.ended_ms),
    })
}
