//! `POST /write?key=&strategy=&hot_only=` (contract C11, C12).

use super::super::guard::owner;
use super::super::intake::condition;
use super::super::query::Query;
use super::super::reply::Refusal;
use super::super::{Door, with_request_id};
use super::incoming::{CHANGE_BYTES_MAX, Incoming, require_type, whole_body};
use super::told::{Told, told};
use super::{document, refusal_for, unprocessable};
use crate::metadata::records::Versioning;
use crate::names;
use crate::object::{
    Attributes, Change, DOCUMENT_BYTES_MAX, Document, JSON, MissingBucket, ObjectName, PutTarget, Strategy, joined,
};
use actix_web::{HttpRequest, HttpResponse, web};
use std::collections::BTreeMap;
use tokio::time::Instant;

pub(super) async fn write(
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<Door>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let query = Query::parse(request.query_string())?;
    let Some(key) = query.get("key").filter(|key| !key.is_empty()) else {
        return Err(unprocessable("Missing key", "the query lacks key=; say under which key the document is stored"));
    };
    let name = document(key)?;
    let hot_only = query.flag("hot_only").map_err(|_| unprocessable("Invalid hot_only", "it must be true or false"))?;
    let strategy = strategy(&query, hot_only)?;
    require_type(&request, &[JSON])?;
    let done = match hot_only {
        true => hot_only_update(&request, payload, &door, &name).await?,
        false => whole(&request, payload, &door, &name, strategy).await?,
    };
    metrics::counter!(names::FILE_UPLOADS_TOTAL).increment(1);
    Ok(told(&door, &Told { key: name.key(), done: &done, began }))
}

fn strategy(query: &Query, hot_only: bool) -> Result<Strategy, Refusal> {
    let given = query.get("strategy").map(str::parse::<Strategy>).transpose();
    let given = given.map_err(|error| unprocessable("Invalid strategy", error.message))?;
    match (given, hot_only) {
        (None, true) => Ok(Strategy::FieldHybrid),
        (Some(Strategy::Replication | Strategy::Ec), true) => {
            Err(unprocessable("Invalid strategy", "hot_only=true changes the hot fields of a field_hybrid document"))
        }
        (given, _) => Ok(given.unwrap_or_default()),
    }
}

async fn whole(
    request: &HttpRequest,
    payload: web::Payload,
    door: &Door,
    name: &ObjectName,
    strategy: Strategy,
) -> Result<crate::object::DocumentDone, Refusal> {
    let target = PutTarget {
        name: name.clone(),
        content_type: JSON.to_owned(),
        metadata: BTreeMap::new(),
        condition: condition(request)?,
        md5: None,
        attributes: Attributes { owner: owner(request), ..Attributes::default() },
        missing_bucket: MissingBucket::Make(Versioning::Enabled),
    };
    let Incoming { bytes, held } =
        whole_body(request, payload, door, DOCUMENT_BYTES_MAX, "store it as an object, by another door").await?;
    let objects = door.objects.clone();
    // In a task of its own: a client that goes away ends its request, and not a write half way.
    let put = door.objects.tasks.spawn_here(with_request_id(async move {
        let _held = held;
        let document = Document::parse(strategy, &bytes)?;
        drop(bytes);
        objects.put_document(&document, &target).await
    }));
    joined(put).await.map_err(|error| refusal_for(name.key(), error))
}

async fn hot_only_update(
    request: &HttpRequest,
    payload: web::Payload,
    door: &Door,
    name: &ObjectName,
) -> Result<crate::object::DocumentDone, Refusal> {
    let otherwise = "leave hot_only out to write the whole document";
    let Incoming { bytes, .. } = whole_body(request, payload, door, CHANGE_BYTES_MAX, otherwise).await?;
    let refused = |error| refusal_for(name.key(), error);
    let change = Change::hot_only(&bytes).map_err(refused)?;
    super::change::change(request, door, name, change).await
}
