//! Many shards in one request: stored, deleted, asked for, read, copied. What is wrong with one of them is its own outcome; only
//! what is wrong with the request is an error of all.
//!
//! What it keeps true:
//! - What a request takes in memory is let in by the gate before it is taken, whatever the request claims.
//! - A copy is stored once its bytes are what was ordered (law 6); one that is not costs the others nothing.

use super::body::{self, Body};
use super::gate::Permit;
use super::reply::{self, Failure};
use super::{Service, on_disk_thread};
use crate::frames::Frames;
use crate::peer::ReadOutcome;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::{
    CopyOrder, Error, ErrorKind, PutOutcome, SHARD_BYTES_MAX, Shard, ShardId, decode_ids, encode_frame_header,
    encode_heads, encode_outcomes,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest framed body: what a coordinator sends at once, twice.
const BYTES_MAX: u64 = 4 * SHARD_BYTES_MAX as u64;
/// Shards in one request.
const SHARDS_MAX: usize = 4096;
/// The order to copy one shard, as JSON.
const ORDER_BYTES_MAX: usize = 4 << 10;
/// Copies in one request.
const ORDERS_MAX: usize = 256;

pub(super) async fn put(request: &HttpRequest, payload: Payload, service: &Service) -> Result<HttpResponse, Failure> {
    let mut body = Body::open(request, payload, service, BYTES_MAX)?;
    let mut frames = Frames::new(SHARDS_MAX);
    while let Some(piece) = body.next().await? {
        frames.push(&piece)?;
    }
    let (sound, mut outcomes) = frames.finish()?;
    fill_in(&mut outcomes, service.committer.put(sound).await?);
    Ok(reply::octets(encode_outcomes(&outcomes)))
}

pub(super) async fn delete(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
) -> Result<HttpResponse, Failure> {
    let outcomes = service.committer.delete(ids(request, payload, service).await?).await?;
    Ok(reply::octets(encode_outcomes(&outcomes)))
}

pub(super) async fn head(request: &HttpRequest, payload: Payload, service: &Service) -> Result<HttpResponse, Failure> {
    let (ids, store) = (ids(request, payload, service).await?, Arc::clone(&service.store));
    let heads = move || Ok(ids.into_iter().map(|id| store.head(id).map_err(|error| error.kind)).collect::<Vec<_>>());
    Ok(reply::octets(encode_heads(&on_disk_thread(heads).await?)))
}

pub(super) async fn read(request: &HttpRequest, payload: Payload, service: &Service) -> Result<HttpResponse, Failure> {
    let ids = ids(request, payload, service).await?;
    let (gate, store) = (Arc::clone(&service.gate), Arc::clone(&service.store));
    let read = move || {
        let bytes = ids.iter().filter_map(|id| store.head(*id).ok()).map(|head| u64::from(head.length)).sum();
        let permit = gate.admit(bounded(bytes)?)?;
        Ok((ids.into_iter().map(|id| store.get_shard(id)).collect::<Vec<_>>(), permit, bytes))
    };
    let (read, permit, bytes) = on_disk_thread(read).await?;
    service.requests.bytes_out.increment(bytes);
    Ok(framed(read, permit))
}

/// One outcome for each shard, and the frames of those that were read.
fn framed(read: Vec<protocol::Result<Shard>>, permit: Permit) -> HttpResponse {
    let outcomes: Vec<PutOutcome> = read.iter().map(|one| one.as_ref().map(drop).map_err(|error| error.kind)).collect();
    let mut pieces = vec![encode_outcomes(&outcomes)];
    for shard in read.into_iter().flatten() {
        pieces.push(Bytes::from_owner(encode_frame_header(&shard)));
        pieces.push(shard.data);
    }
    reply::pieces(pieces, permit)
}

pub(super) async fn copy(request: &HttpRequest, payload: Payload, service: &Service) -> Result<HttpResponse, Failure> {
    let body = body::whole(request, payload, service, (ORDERS_MAX * ORDER_BYTES_MAX) as u64).await?;
    let orders: Vec<CopyOrder> =
        serde_json::from_slice(&body).map_err(|error| Error::invalid(format!("body: {error}")))?;
    if orders.len() > ORDERS_MAX {
        return Err(Error::invalid(format!("{} copies in one request, at most {ORDERS_MAX}", orders.len())).into());
    }
    if let Some(order) = orders.iter().find(|order| order.copy.length as usize > SHARD_BYTES_MAX) {
        let length = order.copy.length;
        return Err(Error::invalid(format!("a shard has at most {SHARD_BYTES_MAX} bytes, not {length}")).into());
    }
    let bytes = bounded(orders.iter().map(|order| u64::from(order.copy.length)).sum())?;
    let _permit = service.gate.admit(2 * bytes)?;
    let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, order) in orders.iter().enumerate() {
        by_source.entry(&order.copy.source).or_default().push(at);
    }
    let orders = &orders;
    let mut outcomes: Vec<PutOutcome> = vec![Err(ErrorKind::Unavailable); orders.len()];
    // A source that hangs holds up only what comes from it.
    let copied = by_source.into_iter().map(|(source, at)| async move {
        let copied = copy_from(service, source, at.iter().map(|at| orders[*at].clone()).collect()).await;
        let copied = copied.unwrap_or_else(|error| {
            tracing::debug!(source, %error, "shards were not copied");
            vec![Err(error.kind); at.len()]
        });
        at.into_iter().zip(copied)
    });
    for (at, outcome) in join_all(copied).await.into_iter().flatten() {
        outcomes[at] = outcome;
    }
    Ok(reply::octets(encode_outcomes(&outcomes)))
}

/// Copies what comes from one node. An `Err` says nothing of any of it.
async fn copy_from(service: &Service, source: &str, orders: Vec<CopyOrder>) -> protocol::Result<Vec<PutOutcome>> {
    let ids: Vec<ShardId> = orders.iter().map(|order| order.copy.shard).collect();
    let bytes = orders.iter().map(|order| order.copy.length as usize).sum();
    let read = service.peers.read(source, &ids, bytes).await?;
    let check = |(order, read): (CopyOrder, ReadOutcome)| -> Result<Shard, ErrorKind> {
        let data = read?;
        order.copy.verify(&data).map_err(|error| error.kind)?;
        Ok(Shard { id: order.id, crc: order.copy.crc, data })
    };
    let pairs = orders.into_iter().zip(read);
    let checked = on_disk_thread(move || Ok(pairs.map(check).collect::<Vec<_>>())).await?;
    let mut outcomes: Vec<PutOutcome> =
        checked.iter().map(|one| one.as_ref().map(drop).map_err(|kind| *kind)).collect();
    fill_in(&mut outcomes, service.committer.put(checked.into_iter().flatten().collect()).await?);
    Ok(outcomes)
}

/// Refuses to move more bytes than that in one request.
fn bounded(bytes: u64) -> protocol::Result<u64> {
    if bytes > BYTES_MAX {
        return Err(Error::invalid(format!("{bytes} bytes in one request, at most {BYTES_MAX}")));
    }
    Ok(bytes)
}

/// Of what was sound so far, what came of storing it.
fn fill_in(outcomes: &mut [PutOutcome], stored: Vec<PutOutcome>) {
    let mut stored = stored.into_iter();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
        *outcome = stored.next().expect("one outcome for each that was sound");
    }
}

/// The shards that a request names.
async fn ids(request: &HttpRequest, payload: Payload, service: &Service) -> Result<Vec<ShardId>, Failure> {
    let bytes = body::whole(request, payload, service, (SHARDS_MAX * ShardId::BYTES) as u64).await?;
    Ok(decode_ids(&bytes)?)
}
