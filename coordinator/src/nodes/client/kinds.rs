//! The kinds of calls that are joined ([`super::joining`]), each with its request.

use super::call::{Call, Origin, Verb};
use super::framing::frame;
use super::joining::{Bounds, Kind};
use super::wire::Wire;
use protocol::{
    CopyOrder, Error, ErrorKind, HeadOutcome, PutOutcome, Result, SHARD_BYTES_MAX, Shard, ShardId, decode_heads,
    decode_outcomes, encode_ids, routes,
};

/// The largest put that is joined with others, in bytes; larger ones have a request of their own.
pub const JOINED_PUT_BYTES_MAX: usize = 256 << 10;
/// The most bytes that wait for one node to be stored.
pub const QUEUE_BYTES_MAX: usize = 16 << 20;
/// The most shards that wait for one node to be stored, to be asked for or to be copied.
pub const QUEUE_SHARDS_MAX: usize = 8192;
/// The most shards in a request.
pub const REQUEST_SHARDS_MAX: usize = 256;
/// The most bytes of shards in a joined put, or copied by one request; a larger one is alone.
const JOINED_BYTES_MAX: usize = 1 << 20;

/// Shards to store.
pub(super) struct Puts;

impl Kind for Puts {
    type Item = Shard;
    type Answer = PutOutcome;
    const REQUEST_MAX: Bounds = Bounds { bytes: JOINED_BYTES_MAX, shards: REQUEST_SHARDS_MAX };
    const QUEUE_MAX: Bounds = Bounds { bytes: QUEUE_BYTES_MAX, shards: QUEUE_SHARDS_MAX };

    async fn send(wire: &Wire, shards: &[Shard], origin: Origin) -> Result<Vec<PutOutcome>> {
        if let [shard] = shards {
            return put_one(wire, shard, origin).await;
        }
        let mut call = Call { origin, ..Call::new(Verb::Post, routes::SHARDS_BATCH.to_owned()) };
        call.body = frame(shards);
        let reply = wire.call(call).await?;
        decode_outcomes(&reply.body, shards.len())
    }
}

async fn put_one(wire: &Wire, shard: &Shard, origin: Origin) -> Result<Vec<PutOutcome>> {
    let mut call = Call { origin, ..Call::new(Verb::Put, format!("{}/{}", routes::SHARDS, shard.id)) };
    call.crc = Some(shard.crc);
    call.body = vec![shard.data.clone()];
    match wire.call(call).await {
        Ok(_) => Ok(vec![Ok(())]),
        Err(error) => match error.kind {
            ErrorKind::Conflict | ErrorKind::Full | ErrorKind::Corrupt | ErrorKind::Invalid => {
                Ok(vec![Err(error.kind)])
            }
            ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unavailable | ErrorKind::Unknown => Err(error),
        },
    }
}

/// Shards to ask for.
pub(super) struct Heads;

impl Kind for Heads {
    type Item = ShardId;
    type Answer = HeadOutcome;
    const REQUEST_MAX: Bounds = Bounds { bytes: 0, shards: REQUEST_SHARDS_MAX };
    const QUEUE_MAX: Bounds = Bounds { bytes: 0, shards: QUEUE_SHARDS_MAX };

    async fn send(wire: &Wire, ids: &[ShardId], origin: Origin) -> Result<Vec<HeadOutcome>> {
        let mut call = Call { origin, ..Call::new(Verb::Post, routes::SHARDS_HEAD.to_owned()) };
        call.body = vec![encode_ids(ids)];
        let reply = wire.call(call).await.map_err(of_none)?;
        decode_heads(&reply.body, ids)
    }
}

/// Shards to copy from other nodes.
pub(super) struct Copies;

impl Kind for Copies {
    type Item = CopyOrder;
    type Answer = PutOutcome;
    const REQUEST_MAX: Bounds = Bounds { bytes: JOINED_BYTES_MAX, shards: REQUEST_SHARDS_MAX };
    const QUEUE_MAX: Bounds = Bounds { bytes: usize::MAX, shards: QUEUE_SHARDS_MAX };

    async fn send(wire: &Wire, orders: &[CopyOrder], origin: Origin) -> Result<Vec<PutOutcome>> {
        let mut call = Call { origin, ..Call::new(Verb::Post, routes::SHARDS_COPY.to_owned()) };
        call.body = vec![serde_json::to_vec(orders).expect("plain data is JSON").into()];
        call.work_bytes = 2 * SHARD_BYTES_MAX as u64;
        let reply = wire.call(call).await.map_err(of_none)?;
        decode_outcomes(&reply.body, orders.len())
    }
}

/// An error of the request, which must not be taken for one of a shard: that a node does not know a route does not say that it lacks
/// what was asked for.
fn of_none(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Conflict | ErrorKind::Full => {
            Error { kind: ErrorKind::Unavailable, ..error }
        }
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::Unavailable | ErrorKind::Unknown => error,
    }
}
