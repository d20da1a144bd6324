//! A storage node behind HTTP. Nothing outside this directory speaks HTTP to nodes.
//!
//! What it keeps true:
//! - Every call ends within a bound: [`DEADLINE_BASE`] and the time its bytes take at [`RATE_FLOOR_BYTES_PER_SECOND`], and no longer than
//!   that once more where it has to wait for others first.
//! - Bytes carry their CRC32 both ways, and bytes that do not match it are `Corrupt`, never an answer (law 6).
//! - A body is shared `Bytes`: it is never copied for a replica, and a second attempt sends all of it again.
//! - Small puts to a node are joined, so that many cost one round trip and one fsync, and so are questions about shards and orders to
//!   copy them; a lone one never waits for others.
//! - Calls name the disk that the node showed last; a node that has another one by now denies them (I21).
//! - A node that does not listen is told apart from one that does not answer ([`Refused`](super::Refused)).

mod call;
mod connection;
mod framing;
mod head;
mod joining;
mod journal;
mod kinds;
mod pool;
mod secure;
#[cfg(test)]
mod tests;
mod wire;

pub use kinds::{JOINED_PUT_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_SHARDS_MAX, REQUEST_SHARDS_MAX};
pub use wire::{CONNECT_TIMEOUT, DEADLINE_BASE, RATE_FLOOR_BYTES_PER_SECOND};

use crate::names;
use async_trait::async_trait;
use bytes::Bytes;
use call::{Call, Origin, Verb};
use joining::{Joining, Kind};
use kinds::{Copies, Heads, Puts};
use metrics::Gauge;
use process::tls::{self, ClientConfig};
use protocol::{
    ClusterFile, CopyOrder, DiskId, Error, JournalNode, Node, NodeHealth, PutOutcome, Result, SHARD_BYTES_MAX, Shard,
    ShardCopy, ShardHead, ShardId, ShardPage, VerifyCursor, VerifyReport, decode_outcomes, encode_ids, routes,
};
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use wire::{Credentials, Reply, Wire};

/// The most bytes one request stores; larger calls are cut.
pub const REQUEST_BYTES_MAX: usize = 2 * SHARD_BYTES_MAX;
/// What one entry of a listing may take on the wire, in bytes, for its deadline.
const LIST_ENTRY_BYTES: u64 = 128;

/// The connections to all nodes of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    credentials: Credentials,
    trust: Option<Arc<ClientConfig>>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Connections {
    /// Connections that live on `runtime`, whichever runtime a call comes from; tasks are tracked by `tasks`.
    pub fn new(cluster: &ClusterFile, tasks: TaskTracker, runtime: Handle) -> Result<Connections> {
        Ok(Connections { credentials: Credentials::new(cluster)?, trust: None, tasks, runtime })
    }

    /// The same, to nodes at `https` URLs, too, which must be certified by an authority in this file.
    pub fn trusting(self, authorities: Option<&Path>) -> Result<Connections> {
        let trust = authorities.map(|path| tls::client(Some(path)).map(Arc::new)).transpose()?;
        Ok(Connections { trust, ..self })
    }
}

/// A storage node at a URL.
pub struct HttpNode {
    wire: Arc<Wire>,
    puts: Arc<Joining<Puts>>,
    heads: Arc<Joining<Heads>>,
    copies: Arc<Joining<Copies>>,
}

impl HttpNode {
    /// The node at `url`, such as `http://127.0.0.1:8081`. `Invalid` if that is no base URL.
    pub fn new(url: &str, connections: &Connections) -> Result<HttpNode> {
        let wire = Arc::new(Wire::new(
            url,
            connections.credentials.clone(),
            connections.trust.clone(),
            connections.runtime.clone(),
        )?);
        let waiting = metrics::gauge!(names::NODE_QUEUE_WAITING, "url" => wire.url().to_owned());
        let (puts, heads, copies) = (
            joined(&wire, connections, waiting),
            joined(&wire, connections, Gauge::noop()),
            joined(&wire, connections, Gauge::noop()),
        );
        Ok(HttpNode { wire, puts, heads, copies })
    }
}

fn joined<K: Kind>(wire: &Arc<Wire>, connections: &Connections, waiting: Gauge) -> Arc<Joining<K>> {
    let (tasks, runtime) = (connections.tasks.clone(), connections.runtime.clone());
    Arc::new(Joining::new(Arc::clone(wire), tasks, runtime, waiting))
}

#[async_trait]
impl Node for HttpNode {
    async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        let bytes: usize = shards.iter().map(|shard| shard.data.len()).sum();
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        if bytes <= JOINED_PUT_BYTES_MAX && shards.len() <= REQUEST_SHARDS_MAX {
            return self.puts.call(shards, bytes).await;
        }
        let mut outcomes = Vec::with_capacity(shards.len());
        for part in cut(&shards) {
            outcomes.extend(Puts::send(&self.wire, part, Origin::current()).await?);
        }
        Ok(outcomes)
    }

    async fn get(&self, id: ShardId) -> Result<Bytes> {
        let reply = self.wire.call(Call::new(Verb::Get, format!("{}/{id}", routes::SHARDS))).await?;
        reply.check_crc()?;
        Ok(reply.body)
    }

    async fn head(&self, id: ShardId) -> Result<ShardHead> {
        let [head] = self.heads.call(vec![id], 0).await?[..] else { unreachable!("one answer for one question") };
        head.map_err(|kind| Error::new(kind, format!("{}: shard {id}: {}", self.wire, kind.as_str())))
    }

    async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        let mut outcomes = Vec::with_capacity(ids.len());
        for part in ids.chunks(REQUEST_SHARDS_MAX) {
            let mut call = Call::new(Verb::Post, routes::SHARDS_DELETE.to_owned());
            call.body = vec![encode_ids(part)];
            let reply = self.wire.call(call).await?;
            outcomes.extend(decode_outcomes(&reply.body, part.len())?);
        }
        Ok(outcomes)
    }

    async fn list(&self, after: Option<ShardId>, limit: usize) -> Result<ShardPage> {
        let mut call = Call::new(Verb::Get, routes::SHARDS.to_owned());
        call.query = Some(match after {
            Some(after) => format!("after={after}&limit={limit}"),
            None => format!("limit={limit}"),
        });
        call.work_bytes = (limit as u64).saturating_mul(LIST_ENTRY_BYTES);
        self.json(call).await
    }

    async fn verify(&self, cursor: VerifyCursor, limit_bytes: u64) -> Result<VerifyReport> {
        let mut call = Call::new(Verb::Post, routes::VERIFY.to_owned());
        call.query = Some(format!("segment={}&offset={}&limit_bytes={limit_bytes}", cursor.segment, cursor.offset));
        call.work_bytes = limit_bytes.saturating_add(SHARD_BYTES_MAX as u64);
        self.json(call).await
    }

    async fn copy_from(&self, id: ShardId, copy: &ShardCopy) -> Result<()> {
        let order = CopyOrder { id, copy: copy.clone() };
        let outcomes = self.copies.call(vec![order], copy.length as usize).await?;
        let [outcome] = outcomes[..] else { unreachable!("one outcome for one order") };
        outcome.map_err(|kind| {
            Error::new(kind, format!("{}: shard {id} from {}: {}", self.wire, copy.source, kind.as_str()))
        })
    }

    async fn health(&self) -> Result<NodeHealth> {
        let mut call = Call::new(Verb::Get, routes::HEALTH.to_owned());
        call.open_to_all = true;
        self.json(call).await
    }

    fn admitted(&self, disk: DiskId) {
        self.wire.note_disk(disk);
    }

    fn journal(&self) -> Option<&dyn JournalNode> {
        Some(self)
    }
}

impl HttpNode {
    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let path = call.path.clone();
        let reply: Reply = self.wire.call(call).await?;
        serde_json::from_slice(&reply.body).map_err(|error| {
            Error::unavailable(format!("{}: {path} answered what is not its JSON: {error}", self.wire))
        })
    }
}

/// Cuts a put into parts that fit a request each.
fn cut(mut shards: &[Shard]) -> Vec<&[Shard]> {
    let mut parts = Vec::new();
    while !shards.is_empty() {
        let mut bytes = 0;
        let fits = |shard: &&Shard| {
            bytes += shard.data.len();
            bytes <= REQUEST_BYTES_MAX
        };
        let count = shards.iter().take(REQUEST_SHARDS_MAX).take_while(fits).count().max(1);
        let (part, rest) = shards.split_at(count);
        parts.push(part);
        shards = rest;
    }
    parts
}
