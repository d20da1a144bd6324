//! Clients that upload, overwrite, delete and download without pause, and check every answer against the ledger.

use super::body::{body_of, mix};
use super::client::{Client, Failure, Reply};
use super::ledger::{Attempt, Ledger, Outcome, Verb};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a client waits after it was not served, so that a cluster that is down is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(25);
/// Of a writer's hundred requests, so many are deletes, and so many downloads; the rest are uploads.
const DELETES_PERCENT: u64 = 8;
const DOWNLOADS_PERCENT: u64 = 25;
/// Of a writer's hundred requests, so many go to keys that all writers share.
const SHARED_PERCENT: u64 = 20;

/// How many clients do what.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// What everything is made from.
    pub seed: u64,
    /// Clients that write, each to its own keys and to the shared ones.
    pub writers: usize,
    /// Keys that a writer has for itself.
    pub keys_each: usize,
    /// Keys that all writers write to.
    pub keys_shared: usize,
    /// Clients that only download.
    pub readers: usize,
}

impl LoadPlan {
    /// Four writers and two readers on 27 keys.
    pub fn new(seed: u64) -> LoadPlan {
        LoadPlan { seed, writers: 4, keys_each: 6, keys_shared: 3, readers: 2 }
    }

    /// Starts the clients.
    pub fn begin(self, client: &Client) -> Load {
        let ledger = Arc::new(Ledger::new(self.seed));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..self.writers + self.readers {
            let agent = Agent {
                client: client.clone(),
                ledger: ledger.clone(),
                stop: stop.clone(),
                plan: self.clone(),
                number,
                chance: mix(self.seed ^ mix(number as u64)),
            };
            if number < self.writers {
                tasks.spawn(agent.write());
            } else {
                tasks.spawn(agent.read());
            }
        }
        Load { ledger, stop, tasks }
    }
}

/// A load under way. Dropped, its clients end at once.
#[derive(Debug)]
pub struct Load {
    /// What was asked and told so far.
    pub ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Waits until this many more writes were acknowledged.
    pub async fn more(&self, writes: usize, within: Duration) {
        let (begun, before) = (Instant::now(), self.ledger.acknowledged());
        while self.ledger.acknowledged() < before + writes {
            let done = self.ledger.acknowledged() - before;
            if begun.elapsed() > within {
                let unserved = self.ledger.take_unserved();
                panic!(
                    "only {done} of {writes} writes within {within:?}; failed: {:#?}",
                    &unserved[..unserved.len().min(5)]
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets every client finish what it is at, and gives the ledger.
    pub async fn end(mut self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        self.ledger.assert_none_wrong();
        self.ledger.clone()
    }
}

/// One client.
struct Agent {
    client: Client,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    plan: LoadPlan,
    number: usize,
    chance: u64,
}

impl Agent {
    async fn write(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let key = match self.draw(100) < SHARED_PERCENT {
                true => shared_key(self.draw(self.plan.keys_shared as u64)),
                false => own_key(self.number as u64, self.draw(self.plan.keys_each as u64)),
            };
            let choice = self.draw(100);
            if choice < DELETES_PERCENT {
                self.delete(&key).await;
            } else if choice < DELETES_PERCENT + DOWNLOADS_PERCENT {
                self.download(&key).await;
            } else {
                self.put(&key).await;
            }
        }
    }

    async fn read(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let writer = self.draw(self.plan.writers as u64 + 1);
            let key = match writer == self.plan.writers as u64 {
                true => shared_key(self.draw(self.plan.keys_shared as u64)),
                false => own_key(writer, self.draw(self.plan.keys_each as u64)),
            };
            if self.ledger.attempts(&key).is_empty() {
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            } else {
                self.download(&key).await;
            }
        }
    }

    async fn put(&self, key: &str) {
        let n = self.ledger.begin(key, Verb::Put);
        let request = self.client.upload_request(key, &body_of(self.ledger.seed, key, n));
        let reply = self.client.try_send(request).await;
        let outcome = match &reply {
            Ok(reply) if reply.status == 201 => match reply.json()["version"].as_u64() {
                Some(version) => Outcome::Stored(version),
                None => {
                    self.ledger.wrong(format!("upload {n} of {key}: 201 without a version: {reply}"));
                    Outcome::Unknown
                }
            },
            other => not_done(other),
        };
        self.conclude(key, n, outcome, &reply).await;
    }

    async fn delete(&self, key: &str) {
        let n = self.ledger.begin(key, Verb::Delete);
        let reply = self.client.try_send(self.client.delete_request(key, false)).await;
        let outcome = match &reply {
            Ok(reply) if reply.status == 200 => match reply.json()["message"].as_str() {
                Some(message) if message.ends_with("deleted successfully") => Outcome::Deleted,
                _ => Outcome::NothingToDelete,
            },
            other => not_done(other),
        };
        self.conclude(key, n, outcome, &reply).await;
    }

    async fn conclude(&self, key: &str, n: u64, outcome: Outcome, reply: &Result<Reply, Failure>) {
        self.ledger.end(key, n, outcome);
        if matches!(outcome, Outcome::Refused | Outcome::Unknown) {
            self.not_served(&format!("write {n} of {key}"), reply).await;
        }
    }

    /// Downloads the latest version or one that was acknowledged, and checks it.
    async fn download(&mut self, key: &str) {
        let before = self.ledger.attempts(key);
        let stored: Vec<(u64, u64)> = stored(&before).collect();
        let begun = Instant::now();
        if !stored.is_empty() && self.draw(2) == 0 {
            let (n, version) = stored[self.draw(stored.len() as u64) as usize];
            let reply = self.client.try_download(key, Some(version)).await;
            match &reply {
                Ok(reply) if reply.status == 200 => self.check_bytes(key, n, version, reply),
                Ok(reply) if reply.status == 404 => {
                    self.ledger.wrong(format!("{key} version {version} was acknowledged and is gone: {reply}"));
                }
                _ => self.not_served(&format!("download of {key} version {version}"), &reply).await,
            }
            return;
        }
        let reply = self.client.try_download(key, None).await;
        match &reply {
            Ok(reply) if reply.status == 200 => self.check_latest(key, &stored, reply),
            Ok(reply) if reply.status == 404 => self.check_absent(key, &before, begun, reply),
            _ => self.not_served(&format!("download of {key}"), &reply).await,
        }
    }

    fn check_bytes(&self, key: &str, n: u64, version: u64, reply: &Reply) {
        if reply.body != body_of(self.ledger.seed, key, n) {
            self.ledger
                .wrong(format!("{key} version {version} is not what upload {n} sent: {} bytes", reply.body.len()));
        }
    }

    /// Law 7: not older than what was acknowledged before; and it is what some upload sent, whole.
    fn check_latest(&self, key: &str, stored_before: &[(u64, u64)], reply: &Reply) {
        let version: u64 = reply.header("x-holdfast-version").parse().unwrap_or(0);
        let newest = stored_before.iter().map(|(_, version)| *version).max().unwrap_or(0);
        if version < newest {
            self.ledger.wrong(format!("{key}: version {version} came after version {newest} was acknowledged"));
        }
        let could_be = |(n, attempt): (usize, Attempt)| {
            let possible = match attempt.outcome {
                Outcome::Stored(stored) => stored == version,
                Outcome::UnderWay | Outcome::Unknown => attempt.verb == Verb::Put,
                _ => false,
            };
            possible && reply.body == body_of(self.ledger.seed, key, n as u64)
        };
        if !self.ledger.attempts(key).into_iter().enumerate().any(could_be) {
            self.ledger
                .wrong(format!("{key}: version {version}, {} bytes, is not what any upload sent", reply.body.len()));
        }
    }

    /// Absent is right only if nothing was acknowledged before, or a delete may have come after it.
    fn check_absent(&self, key: &str, before: &[Attempt], begun: Instant, reply: &Reply) {
        let Some((n, _)) = stored(before).max_by_key(|(_, version)| *version) else { return };
        let put_begun = before[n as usize].begun;
        let after = self.ledger.attempts(key);
        let may_follow = |attempt: &Attempt| {
            attempt.verb == Verb::Delete
                && attempt.outcome != Outcome::Refused
                && attempt.ended.is_none_or(|ended| ended > put_begun)
        };
        if !after.iter().any(may_follow) {
            let age = begun.elapsed();
            self.ledger.wrong(format!("{key}: upload {n} was acknowledged before this was asked {age:?} ago: {reply}"));
        }
    }

    async fn not_served(&self, what: &str, reply: &Result<Reply, Failure>) {
        match reply {
            Ok(reply) => self.ledger.unserved(format!("{what}: {reply}")),
            Err(failure) => self.ledger.unserved(format!("{what}: {}", failure.reason)),
        }
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.chance = mix(self.chance);
        self.chance % below
    }
}

/// Number and version of every acknowledged upload.
fn stored(attempts: &[Attempt]) -> impl Iterator<Item = (u64, u64)> {
    attempts.iter().enumerate().filter_map(|(n, attempt)| match attempt.outcome {
        Outcome::Stored(version) => Some((n as u64, version)),
        _ => None,
    })
}

/// A write that was not acknowledged: did not happen, or may have happened.
fn not_done(reply: &Result<Reply, Failure>) -> Outcome {
    match reply {
        Ok(reply) if reply.error().contains("unknown") => Outcome::Unknown,
        Ok(_) => Outcome::Refused,
        Err(failure) if failure.never_sent => Outcome::Refused,
        Err(_) => Outcome::Unknown,
    }
}

fn own_key(writer: u64, key: u64) -> String {
    format!("load/writer-{writer}/file {key}.bin")
}

fn shared_key(key: u64) -> String {
    format!("load/shared/{key}")
}
