//! The way from one coordinator incarnation to one node: where messages are late, lost, answered twice or never.
//!
//! What it keeps true: a request that went out may take effect whatever becomes of its sender, and however late; every call ends
//! within [`DEADLINE`], as the contract of [`Node`] demands.

use super::call::{Calls, Target};
use super::check::Oracle;
use super::node::{Mode, SimNode};
use super::world::{World, pass};
use async_trait::async_trait;
use bytes::Bytes;
use coordinator::nodes::Refused;
use protocol::{
    Error, ErrorKind, Node, NodeHealth, PutOutcome, Result, Shard, ShardCopy, ShardHead, ShardId, ShardPage,
    VerifyCursor, VerifyReport,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a caller waits for an answer; the real client's base.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// A node as one incarnation reaches it.
pub struct NodeLink {
    world: Arc<World>,
    calls: Arc<Calls>,
    place: usize,
    node: Arc<SimNode>,
    peers: Vec<Arc<SimNode>>,
    oracle: Arc<Oracle>,
}

impl NodeLink {
    /// The link to the node at `place` among `peers`; `oracle` sees what is deleted there.
    pub fn new(
        world: Arc<World>,
        calls: Arc<Calls>,
        place: usize,
        peers: Vec<Arc<SimNode>>,
        oracle: Arc<Oracle>,
    ) -> NodeLink {
        let node = peers[place].clone();
        NodeLink { world, calls, place, node, peers, oracle }
    }

    /// `serve` runs at the node, `again` too if the request arrives twice.
    async fn ask<T: Send + 'static>(
        &self,
        serve: impl Future<Output = Option<Result<T>>> + Send + 'static,
        again: Option<impl Future<Output = ()> + Send + 'static>,
    ) -> Result<T> {
        let kill = || self.node.crash();
        self.calls.call(Target::Node(self.place), kill, self.exchange(serve, again)).await
    }

    async fn exchange<T: Send + 'static>(
        &self,
        serve: impl Future<Output = Option<Result<T>>> + Send + 'static,
        again: Option<impl Future<Output = ()> + Send + 'static>,
    ) -> Result<T> {
        if self.node.mode() == Mode::Down {
            return Err(Error::caused(ErrorKind::Unavailable, format!("{}: refused", self.node.id()), Refused));
        }
        let (out, back) = (self.world.message_delay(), self.world.message_delay());
        let request_lost = self.world.strikes(|rates| rates.node_request_lost);
        let reply_lost = self.world.strikes(|rates| rates.node_reply_lost);
        let twice = self.world.strikes(|rates| rates.node_request_twice);
        let (sender, receiver) = oneshot::channel();
        let (lost_sender, never) = oneshot::channel::<()>();
        self.world.spawn(async move {
            pass(out).await;
            if request_lost {
                drop(never.await);
                return;
            }
            let answer = serve.await;
            if reply_lost {
                drop(never.await);
                return;
            }
            if let Some(answer) = answer {
                pass(back).await;
                // Whoever does not wait any more does not need it.
                drop(sender.send(answer));
            }
        });
        if let (true, Some(again)) = (twice, again) {
            let later = self.world.draw(|rng| Duration::from_millis(rng.between(1, 3_000)));
            self.world.spawn(async move {
                pass(later).await;
                again.await;
            });
        }
        let waited = tokio::time::timeout(DEADLINE, receiver).await;
        drop(lost_sender);
        match waited {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::unavailable(format!("{}: connection reset", self.node.id()))),
            Err(_) => Err(Error::unavailable(format!("{}: no answer in time", self.node.id()))),
        }
    }
}

/// For requests that need not be sent twice: reading again changes nothing.
const ONCE: Option<std::future::Ready<()>> = None;

#[async_trait]
impl Node for NodeLink {
    async fn put(&self, shards: Vec<Shard>) -> Result<Vec<PutOutcome>> {
        let (node, other, copy) = (self.node.clone(), self.node.clone(), shards.clone());
        let again = async move { drop(other.put(copy).await) };
        self.ask(async move { node.put(shards).await }, Some(again)).await
    }

    async fn get(&self, id: ShardId) -> Result<Bytes> {
        let node = self.node.clone();
        self.ask(async move { node.get(id).await }, ONCE).await
    }

    async fn head(&self, id: ShardId) -> Result<ShardHead> {
        let node = self.node.clone();
        self.ask(async move { node.head(id).await }, ONCE).await
    }

    async fn delete(&self, ids: Vec<ShardId>) -> Result<Vec<PutOutcome>> {
        let delete = |ids: Vec<ShardId>| {
            let (node, oracle) = (self.node.clone(), self.oracle.clone());
            async move {
                let outcomes = node.delete(ids.clone()).await;
                if let Some(Ok(outcomes)) = &outcomes {
                    let gone = ids.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok());
                    gone.for_each(|(id, _)| oracle.shard_deleted(node.id(), *id));
                }
                outcomes
            }
        };
        let (first, again) = (delete(ids.clone()), delete(ids));
        self.ask(first, Some(async move { drop(again.await) })).await
    }

    async fn list(&self, after: Option<ShardId>, limit: usize) -> Result<ShardPage> {
        let node = self.node.clone();
        self.ask(async move { node.list(after, limit).await }, ONCE).await
    }

    async fn verify(&self, cursor: VerifyCursor, limit_bytes: u64) -> Result<VerifyReport> {
        let node = self.node.clone();
        self.ask(async move { node.verify(cursor, limit_bytes).await }, ONCE).await
    }

    async fn copy_from(&self, id: ShardId, copy: &ShardCopy) -> Result<()> {
        let (node, copy) = (self.node.clone(), copy.clone());
        let Some(peer) = self.peers.iter().find(|peer| url(peer) == copy.source).cloned() else {
            return Err(Error::invalid(format!("{} is no node", copy.source)));
        };
        let pull = async move {
            let data = match peer.get(copy.shard).await {
                Some(Ok(data)) => data,
                Some(Err(error)) => return Some(Err(error)),
                None => return Some(Err(Error::unavailable(format!("{} does not answer", peer.id())))),
            };
            if let Err(error) = copy.verify(&data) {
                return Some(Err(error));
            }
            let outcomes = node.put(vec![Shard::new(id, data)]).await?;
            Some(outcomes.and_then(|outcomes| outcomes[0].map_err(Error::from)))
        };
        self.ask(pull, ONCE).await
    }

    async fn health(&self) -> Result<NodeHealth> {
        let node = self.node.clone();
        self.ask(async move { node.health().await }, ONCE).await
    }
}

/// Where a simulated node is said to be.
pub fn url(node: &SimNode) -> String {
    format!("sim://{}", node.id())
}
