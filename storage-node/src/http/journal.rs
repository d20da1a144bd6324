//! The routes of the catalog journal. Each waits for the disk on a thread of its own: appends are few, because a coordinator sends one
//! for a whole group of commits.

use super::body;
use super::reply::{self, Failure};
use super::{Service, on_disk_thread, query};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use protocol::{
    Error, ErrorKind, JOURNAL_APPEND_BYTES_MAX, JOURNAL_ENTRY_BYTES_MAX, JOURNAL_READ_BYTES_MAX, JournalAppend,
    JournalClaim, JournalEntry,
};
use serde::Deserialize;
use std::sync::Arc;
use uuid::Uuid;

/// The longest body of an append: as much as a coordinator sends at once, or one entry.
const BODY_BYTES_MAX: u64 = (JOURNAL_APPEND_BYTES_MAX + JOURNAL_ENTRY_BYTES_MAX) as u64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimQuery {
    epoch: u64,
    holder: Uuid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppendQuery {
    epoch: u64,
    holder: Uuid,
    anew: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesQuery {
    from: u64,
    limit_bytes: u64,
}

pub(super) async fn state(service: &Service) -> Result<HttpResponse, Failure> {
    let journal = Arc::clone(&service.journal);
    Ok(HttpResponse::Ok().json(on_disk_thread(move || Ok(journal.state())).await?))
}

pub(super) async fn claim(request: &HttpRequest, service: &Service) -> Result<HttpResponse, Failure> {
    let ClaimQuery { epoch, holder } = query(request)?;
    let journal = Arc::clone(&service.journal);
    let state = on_disk_thread(move || journal.claim(JournalClaim { epoch, holder })).await?;
    Ok(HttpResponse::Ok().json(state))
}

pub(super) async fn append(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
) -> Result<HttpResponse, Failure> {
    let AppendQuery { epoch, holder, anew } = query(request)?;
    let body = body::whole(request, payload, service, BODY_BYTES_MAX).await?;
    // What does not match its CRC was damaged on the way: it is the sender's to send again.
    let entries = JournalEntry::decode_all(body.into())
        .map_err(|error| Error::caused(ErrorKind::Invalid, error.message.clone(), error))?;
    let append = JournalAppend { claim: JournalClaim { epoch, holder }, anew, entries };
    let journal = Arc::clone(&service.journal);
    let appended = on_disk_thread(move || journal.append(append)).await?;
    Ok(HttpResponse::Ok().json(appended))
}

pub(super) async fn entries(request: &HttpRequest, service: &Service) -> Result<HttpResponse, Failure> {
    let EntriesQuery { from, limit_bytes } = query(request)?;
    let limit_bytes = limit_bytes.min(JOURNAL_READ_BYTES_MAX);
    let permit = service.gate.admit(limit_bytes + JOURNAL_ENTRY_BYTES_MAX as u64)?;
    let journal = Arc::clone(&service.journal);
    let bytes = on_disk_thread(move || journal.read(from, limit_bytes)).await?;
    service.requests.bytes_out.increment(bytes.len() as u64);
    Ok(reply::checked(bytes, permit))
}
