//! The calls of a simulated node, as [`protocol::Node`] has them; `None` instead of an answer means that the node died first.

use super::{Mode, SimNode, State, Stored};
use crate::sim::world::pass;
use bytes::Bytes;
use protocol::{
    Error, ErrorKind, NodeHealth, NodeStatus, PutOutcome, Result, Shard, ShardHead, ShardId, ShardPage, Starts,
    VerifyCursor, VerifyReport,
};
use std::time::Duration;

const CAPACITY_BYTES: u64 = 1 << 40;

/// `None`: the node crashed before it could answer.
type Answer<T> = Option<Result<T>>;

impl SimNode {
    /// Waits while the process is stopped, then for as long as it is slow. `None` if it is down by then.
    async fn running(&self) -> Option<u64> {
        loop {
            let changed = self.changed.notified();
            match self.mode() {
                Mode::Up => break,
                Mode::Down => return None,
                Mode::Stopped => changed.await,
            }
        }
        let (epoch, slow) = {
            let state = self.state();
            (state.epoch, state.slow)
        };
        pass(slow).await;
        self.same_life(epoch).await
    }

    /// `None` if the node crashed since `epoch`; waits while it is stopped.
    async fn same_life(&self, epoch: u64) -> Option<u64> {
        loop {
            let changed = self.changed.notified();
            let (mode, now) = {
                let state = self.state();
                (state.mode, state.epoch)
            };
            match mode {
                _ if now != epoch => return None,
                Mode::Stopped => changed.await,
                Mode::Up | Mode::Down => return Some(epoch),
            }
        }
    }

    async fn sync(&self, epoch: u64) -> Option<bool> {
        let fsync_ms = self.world.draw(|rng| rng.between(1, 3));
        pass(Duration::from_millis(fsync_ms)).await;
        self.same_life(epoch).await?;
        Some(!self.world.strikes(|rates| rates.fsync_fails))
    }

    /// See [`protocol::Node::put`].
    pub async fn put(&self, shards: Vec<Shard>) -> Answer<Vec<PutOutcome>> {
        let epoch = self.running().await?;
        let mut outcomes: Vec<PutOutcome> = shards.iter().map(|shard| self.receive(shard)).collect();
        if outcomes.iter().all(PutOutcome::is_err) {
            return Some(Ok(outcomes));
        }
        let synced = self.sync(epoch).await?;
        let mut state = self.state();
        state.poisoned += u64::from(!synced);
        for (shard, outcome) in shards.iter().zip(&mut outcomes) {
            if outcome.is_ok() {
                *outcome = state.settle(shard, synced);
            }
        }
        Some(Ok(outcomes))
    }

    fn receive(&self, shard: &Shard) -> PutOutcome {
        shard.verify().map_err(|error| error.kind)?;
        let mut state = self.state();
        if state.tombstones.contains(&shard.id) {
            return Err(ErrorKind::Conflict);
        }
        let known = state.durable.get(&shard.id).or_else(|| state.received.get(&shard.id));
        match known {
            Some(known) if known.crc != shard.crc => return Err(ErrorKind::Conflict),
            Some(known) if known.is_good() => return Ok(()),
            Some(_) | None => {}
        }
        if state.full {
            return Err(ErrorKind::Full);
        }
        if state.read_only {
            return Err(ErrorKind::Unavailable);
        }
        state.received.insert(shard.id, Stored { data: shard.data.clone(), crc: shard.crc });
        Ok(())
    }

    /// See [`protocol::Node::get`].
    pub async fn get(&self, id: ShardId) -> Answer<Bytes> {
        self.running().await?;
        let stored = self.state().durable.get(&id).cloned();
        let Some(stored) = stored else {
            return Some(Err(Error::not_found(format!("{} holds no shard {id}", self.id))));
        };
        if !stored.is_good() {
            return Some(Err(Error::corrupt(format!("shard {id} on {} is damaged", self.id))));
        }
        Some(Ok(if self.state().lying { flipped(&stored.data) } else { stored.data }))
    }

    /// See [`protocol::Node::head`].
    pub async fn head(&self, id: ShardId) -> Answer<ShardHead> {
        self.running().await?;
        let head = self.state().durable.get(&id).map(|stored| head(id, stored));
        Some(head.ok_or_else(|| Error::not_found(format!("{} holds no shard {id}", self.id))))
    }

    /// See [`protocol::Node::delete`]: a tombstone, on a full disk too.
    pub async fn delete(&self, ids: Vec<ShardId>) -> Answer<Vec<PutOutcome>> {
        let epoch = self.running().await?;
        let synced = self.sync(epoch).await?;
        let mut state = self.state();
        let outcome = |id: ShardId| match synced {
            true => {
                state.durable.remove(&id);
                state.received.remove(&id);
                state.damaged.remove(&id);
                state.tombstones.insert(id);
                Ok(())
            }
            false => Err(ErrorKind::Unavailable),
        };
        Some(Ok(ids.into_iter().map(outcome).collect()))
    }

    /// See [`protocol::Node::list`].
    pub async fn list(&self, after: Option<ShardId>, limit: usize) -> Answer<ShardPage> {
        self.running().await?;
        let state = self.state();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut rest = state.durable.range((from, std::ops::Bound::Unbounded));
        let shards: Vec<ShardHead> = rest.by_ref().take(limit).map(|(id, stored)| head(*id, stored)).collect();
        let next = rest.next().and(shards.last()).map(|last| last.id);
        Some(Ok(ShardPage { shards, next }))
    }

    /// See [`protocol::Node::verify`]: all of it in one step.
    pub async fn verify(&self, _cursor: VerifyCursor, _limit_bytes: u64) -> Answer<VerifyReport> {
        self.running().await?;
        let state = self.state();
        let bytes = state.durable.values().map(|stored| stored.data.len() as u64).sum();
        let corrupt = state.durable.iter().filter(|(_, stored)| !stored.is_good()).map(|(id, _)| *id).collect();
        let records = state.durable.len() as u64;
        Some(Ok(VerifyReport { records, bytes, corrupt, damaged_stretches: 0, next: None }))
    }

    /// See [`protocol::Node::health`].
    pub async fn health(&self) -> Answer<NodeHealth> {
        self.running().await?;
        let state = self.state();
        let status = match (state.read_only, state.full) {
            (true, _) => NodeStatus::ReadOnly,
            (false, true) => NodeStatus::Full,
            (false, false) => NodeStatus::Ok,
        };
        let used_bytes = state.durable.values().map(|stored| stored.data.len() as u64).sum();
        Some(Ok(NodeHealth {
            node: self.id.clone(),
            cluster: self.cluster,
            disk: state.disk,
            replaced: state.replaced,
            status,
            zone: state.zone.clone(),
            capacity_bytes: CAPACITY_BYTES,
            used_bytes,
            free_bytes: if state.full { 0 } else { CAPACITY_BYTES - used_bytes },
            shards: state.durable.len() as u64,
            live_bytes: used_bytes,
            segments: 1,
            poisoned_segments: state.poisoned,
            fsync_us: 1_000,
            version: "simulated".to_owned(),
            starts: Starts::default(),
        }))
    }
}

impl State {
    /// After the sync: what was received is durable, or gone.
    fn settle(&mut self, shard: &Shard, synced: bool) -> PutOutcome {
        if self.tombstones.contains(&shard.id) {
            return Err(ErrorKind::Conflict);
        }
        let whole = self.durable.get(&shard.id).is_some_and(Stored::is_good);
        match (self.received.remove(&shard.id), synced) {
            _ if whole => Ok(()),
            (Some(stored), true) => {
                self.durable.insert(shard.id, stored);
                self.damaged.remove(&shard.id);
                Ok(())
            }
            // Another call for the same shard had the failed sync: it is not known to be on disk.
            (None, _) | (_, false) => Err(ErrorKind::Unavailable),
        }
    }
}

fn flipped(data: &Bytes) -> Bytes {
    let mut data = data.to_vec();
    if let Some(last) = data.last_mut() {
        *last ^= 1;
    }
    data.into()
}

fn head(id: ShardId, stored: &Stored) -> ShardHead {
    ShardHead { id, length: stored.data.len() as u32, crc: stored.crc }
}
