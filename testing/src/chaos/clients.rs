//! The clients of a run: writers over a few contended keys and over fresh ones, readers, listers, deleters. What each does next is drawn from
//! the seed; what the cluster makes of it is not.
//!
//! What it keeps true: every request is noted before it leaves, and every answer after it came. Nothing is asked twice.

use super::body::{body, origin, sha256};
use super::history::{Answer, History, Request, VersionLine, What};
use crate::real::{Client, Failure, Reply, mix};
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Every name of a run begins so.
pub const PREFIX: &str = "chaos/";
/// Keys that all writers write to.
const CONTENDED_KEYS: u64 = 8;
/// Longest pause between two requests of a client, in milliseconds. About 30 requests and 2 MB a second in all: faults need
/// variety, not load, and ten minutes of a run must fit a small disk.
const PAUSE_MS_MAX: u64 = 600;
/// Pause of a client that was not served, so that a cluster that is down is not hammered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Keys that are read back at the same time.
const READ_AT_ONCE: usize = 4;
/// Uploads of a fresh key.
const FRESH_VERSIONS_MAX: u64 = 3;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Contender,
    Fresh,
    Reader,
    Lister,
    Deleter,
}

const ROLES: [(Role, usize); 5] =
    [(Role::Contender, 4), (Role::Fresh, 2), (Role::Reader, 3), (Role::Lister, 1), (Role::Deleter, 1)];

/// What all clients know: which uploads of which keys there were.
#[derive(Debug, Default)]
struct Board {
    keys: Mutex<BTreeMap<String, Uploads>>,
}

/// The uploads of a key.
#[derive(Debug, Default)]
struct Uploads {
    /// The number of the next one.
    next: u64,
    /// Versions that were acknowledged, with their upload.
    stored: BTreeMap<u64, u64>,
}

impl Board {
    fn next(&self, key: &str) -> u64 {
        let mut keys = self.keys.lock().expect("no one panics with the lock held");
        let uploads = keys.entry(key.to_owned()).or_default();
        uploads.next += 1;
        uploads.next - 1
    }

    fn stored(&self, key: &str, version: u64, n: u64) {
        let mut keys = self.keys.lock().expect("no one panics with the lock held");
        keys.entry(key.to_owned()).or_default().stored.insert(version, n);
    }

    fn upload_of(&self, key: &str, version: u64) -> Option<u64> {
        self.keys.lock().expect("no one panics with the lock held").get(key)?.stored.get(&version).copied()
    }

    /// A key, and one of its acknowledged versions if there are any.
    fn pick(&self, draw: u64, prefix: &str) -> Option<(String, Option<u64>)> {
        let keys = self.keys.lock().expect("no one panics with the lock held");
        let fitting: Vec<_> = keys.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        let (key, uploads) = fitting.get((draw % fitting.len().max(1) as u64) as usize)?;
        let version = uploads.stored.keys().nth((mix(draw) % uploads.stored.len().max(1) as u64) as usize);
        Some(((*key).clone(), version.copied()))
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    board: Arc<Board>,
}

impl Clients {
    /// Starts them.
    pub fn begin(seed: u64, client: &Client, history: &Arc<History>) -> Clients {
        let (stop, board, mut tasks) = (Arc::new(AtomicBool::new(false)), Arc::<Board>::default(), JoinSet::new());
        for (role, count) in ROLES {
            for number in 0..count {
                let name = format!("{role:?}-{number}").to_lowercase();
                let agent = Agent {
                    asker: Asker { seed, name, client: client.clone(), history: history.clone(), board: board.clone() },
                    stop: stop.clone(),
                    chance: mix(seed ^ mix(role as u64 * 1_000 + number as u64)),
                };
                tasks.spawn(agent.run(role));
            }
        }
        Clients { stop, tasks, board }
    }

    /// Lets each finish what it is at. Gives what they know to whoever reads everything back.
    pub async fn end(mut self, name: &str, seed: u64, client: &Client, history: &Arc<History>) -> Asker {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        Asker { seed, name: name.to_owned(), client: client.clone(), history: history.clone(), board: self.board }
    }
}

struct Agent {
    asker: Asker,
    stop: Arc<AtomicBool>,
    chance: u64,
}

impl Agent {
    async fn run(mut self, role: Role) {
        let mut turn = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let served = match role {
                Role::Contender => self.contend().await,
                Role::Fresh => {
                    let key = format!("{PREFIX}fresh/{}/{}", self.asker.name, turn / FRESH_VERSIONS_MAX);
                    self.asker.put(&key).await
                }
                Role::Reader => self.read().await,
                Role::Lister => {
                    let below = ["", "contended/", "fresh/fresh-0/1"][self.draw(3) as usize];
                    self.asker.list(&format!("{PREFIX}{below}")).await
                }
                Role::Deleter => self.delete().await,
            };
            turn += 1;
            let pause = Duration::from_millis(self.draw(PAUSE_MS_MAX));
            tokio::time::sleep(if served { pause } else { PAUSE_AFTER_FAILURE + pause }).await;
        }
    }

    async fn contend(&mut self) -> bool {
        let key = format!("{PREFIX}contended/{}", self.draw(CONTENDED_KEYS));
        self.asker.put(&key).await
    }

    async fn read(&mut self) -> bool {
        let prefix = if self.draw(2) == 0 { format!("{PREFIX}contended/") } else { PREFIX.to_owned() };
        let draw = self.draw(u64::MAX);
        let Some((key, version)) = self.asker.board.pick(draw, &prefix) else { return false };
        let version = version.filter(|_| !draw.is_multiple_of(3));
        self.asker.get(&key, version).await
    }

    /// Markers on contended keys, purges of fresh ones; seldom, or there is nothing to read.
    async fn delete(&mut self) -> bool {
        tokio::time::sleep(Duration::from_millis(PAUSE_MS_MAX)).await;
        let purge = self.draw(2) == 0;
        let prefix = if purge { format!("{PREFIX}fresh/") } else { format!("{PREFIX}contended/") };
        let draw = self.draw(u64::MAX);
        let Some((key, _)) = self.asker.board.pick(draw, &prefix) else { return false };
        self.asker.delete(&key, purge).await
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.chance = mix(self.chance);
        self.chance % below
    }
}

/// Asks, and notes what it was told. Its calls tell whether they were served.
#[derive(Clone, Debug)]
pub struct Asker {
    seed: u64,
    name: String,
    client: Client,
    history: Arc<History>,
    board: Arc<Board>,
}

impl Asker {
    async fn put(&self, key: &str) -> bool {
        let n = self.board.next(key);
        let data = body(self.seed, key, n);
        let request = Request::Put { key: key.to_owned(), n, sha256: sha256(&data), size: data.len() as u64 };
        let op = self.history.invoke(&self.name, request);
        let reply = self.client.try_send(self.client.upload_request(key, &data)).await;
        let version = reply.as_ref().ok().filter(|reply| reply.status == 201).and_then(|reply| {
            let json: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
            json["version"].as_u64()
        });
        let what = match version {
            Some(version) => What::Ok { told: Answer::Stored { version } },
            None => write_not_done(&reply),
        };
        self.history.end(op, &self.name, what);
        if let Some(version) = version {
            self.board.stored(key, version, n);
        }
        version.is_some()
    }

    async fn delete(&self, key: &str, purge: bool) -> bool {
        let key = key.to_owned();
        let request = self.client.delete_request(&key, purge);
        let op = self.history.invoke(&self.name, if purge { Request::Purge { key } } else { Request::Delete { key } });
        let reply = self.client.try_send(request).await;
        let what = match &reply {
            Ok(reply) if reply.status == 200 => {
                let done = String::from_utf8_lossy(&reply.body).contains("deleted successfully");
                What::Ok { told: if done { Answer::Deleted } else { Answer::NothingToDelete } }
            }
            _ => write_not_done(&reply),
        };
        self.end(op, what)
    }

    async fn get(&self, key: &str, version: Option<u64>) -> bool {
        let name = key.to_owned();
        let op = self.history.invoke(
            &self.name,
            match version {
                Some(version) => Request::GetVersion { key: name, version },
                None => Request::Get { key: name },
            },
        );
        let reply = self.client.try_download(key, version).await;
        let what = match &reply {
            Ok(reply) if reply.status == 200 => self.found(key, reply),
            Ok(reply) if reply.status == 404 => What::Ok { told: Answer::Absent },
            other => not_served(other),
        };
        self.end(op, what)
    }

    fn found(&self, key: &str, reply: &Reply) -> What {
        let Ok(version) = reply.header("x-holdfast-version").parse() else {
            return What::Fail { why: "a download without a version".to_owned() };
        };
        let wanted = self.board.upload_of(key, version).map(|n| body(self.seed, key, n));
        let origin = wanted.filter(|wanted| *wanted != reply.body).map(|wanted| origin(&reply.body, &wanted));
        let (sha256, size) = (sha256(&reply.body), reply.body.len() as u64);
        What::Ok { told: Answer::Found { version, sha256, size, origin } }
    }

    async fn list(&self, prefix: &str) -> bool {
        let op = self.history.invoke(&self.name, Request::List { prefix: prefix.to_owned() });
        let what = match self.client.try_names(prefix).await {
            Ok(names) => What::Ok { told: Answer::Names { names } },
            Err(why) => What::Fail { why },
        };
        self.end(op, what)
    }

    async fn versions(&self, key: &str) -> bool {
        let op = self.history.invoke(&self.name, Request::Versions { key: key.to_owned() });
        let what = match self.client.try_versions(key).await {
            Ok(lines) => What::Ok { told: Answer::History { versions: lines.iter().map(version_line).collect() } },
            Err(why) => What::Fail { why },
        };
        self.end(op, what)
    }

    /// Reads everything that was ever acknowledged, the latest of every key, its history, and the list of all.
    pub async fn read_everything(&self) {
        let keys: Vec<(String, Vec<u64>)> = {
            let keys = self.board.keys.lock().expect("no one panics with the lock held");
            keys.iter().map(|(key, uploads)| (key.clone(), uploads.stored.keys().copied().collect())).collect()
        };
        self.list(PREFIX).await;
        let reads = keys.into_iter().map(|(key, versions)| async move {
            self.versions(&key).await;
            self.get(&key, None).await;
            for version in versions {
                self.get(&key, Some(version)).await;
            }
        });
        stream::iter(reads).buffer_unordered(READ_AT_ONCE).collect::<()>().await;
    }

    fn end(&self, op: u64, what: What) -> bool {
        let served = matches!(what, What::Ok { .. });
        self.history.end(op, &self.name, what);
        served
    }
}

fn version_line(line: &serde_json::Value) -> VersionLine {
    VersionLine {
        version: line["version"].as_u64().unwrap_or_default(),
        sha256: line["sha256"].as_str().map(str::to_owned),
    }
}

fn not_served(reply: &Result<Reply, Failure>) -> What {
    What::Fail {
        why: match reply {
            Ok(reply) => reply.to_string(),
            Err(failure) => failure.reason.clone(),
        },
    }
}

/// A write that was not acknowledged: it did not happen, or may have happened.
fn write_not_done(reply: &Result<Reply, Failure>) -> What {
    match reply {
        Ok(reply) if (200..300).contains(&reply.status) || reply.error().contains("unknown") => {
            What::Unknown { why: reply.to_string() }
        }
        Err(failure) if !failure.never_sent => What::Unknown { why: failure.reason.clone() },
        other => not_served(other),
    }
}
