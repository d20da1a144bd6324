//! The external calls of one coordinator incarnation: counted, delayed, failed, or its end.
//!
//! What it keeps true:
//! - After the crash no call of the incarnation goes out and none comes back, and whoever waits for it is told ([`Calls::died`]).
//! - The i-th call is the same in every run of the same seed, so a test can fail each of them in turn.

use super::world::World;
use protocol::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A storage node, by its place in the cluster.
    Node(usize),
    /// The metadata; a read of it.
    MetadataRead,
    /// The metadata; a commit.
    MetadataCommit,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The process ends before the call goes out.
    CrashBefore,
    /// The process ends after the call took effect, before its answer came.
    CrashAfter,
    /// The call fails and nothing happened.
    FailBefore(ErrorKind),
    /// The call took effect, and its answer is replaced by this error.
    FailAfter(ErrorKind),
    /// The node that is called dies just before; for calls of the metadata nothing happens.
    NodeDies,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Fate; 9] = [
        Fate::CrashBefore,
        Fate::CrashAfter,
        Fate::FailBefore(ErrorKind::Unavailable),
        Fate::FailBefore(ErrorKind::Unknown),
        Fate::FailBefore(ErrorKind::Full),
        Fate::FailBefore(ErrorKind::Denied),
        Fate::FailAfter(ErrorKind::Unavailable),
        Fate::FailAfter(ErrorKind::Unknown),
        Fate::NodeDies,
    ];

    /// Whether that can become of this call. A commit that happened is never answered as one that did not, and a read of the
    /// metadata is never unknown: no engine may do so, by the contract of `Metadata`.
    pub fn is_possible(self, target: Target) -> bool {
        match (target, self) {
            (Target::Node(_), _) => true,
            (_, Fate::NodeDies | Fate::FailBefore(ErrorKind::Denied)) => false,
            (Target::MetadataCommit, Fate::FailAfter(kind)) => kind == ErrorKind::Unknown,
            (Target::MetadataCommit, _) => true,
            (Target::MetadataRead, Fate::FailAfter(_)) => false,
            (Target::MetadataRead, Fate::FailBefore(kind)) => kind == ErrorKind::Unavailable,
            (Target::MetadataRead, Fate::CrashBefore | Fate::CrashAfter) => true,
        }
    }
}

/// What is to happen at which call, counted from [`Calls::arm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which call, from 0.
    pub at: u64,
    /// What becomes of it.
    pub fate: Fate,
}

/// The external calls of one incarnation.
pub struct Calls {
    world: Arc<World>,
    state: Mutex<State>,
    /// Wakes in the order in which they came; a `watch` channel wakes in an order of its own chance.
    end: Notify,
}

#[derive(Default)]
struct State {
    dead: bool,
    made: u64,
    log: Option<Vec<Target>>,
    plan: Vec<Planned>,
    paused_until: Option<Instant>,
    condemned_nodes: Vec<usize>,
}

impl Calls {
    /// Nothing planned, alive.
    pub fn new(world: Arc<World>) -> Arc<Calls> {
        Arc::new(Calls { world, state: Mutex::default(), end: Notify::new() })
    }

    /// Counts from 0 again, and does `plan` to the calls that come.
    pub fn arm(&self, plan: &[Planned]) {
        let mut state = self.state();
        state.made = 0;
        state.log = Some(Vec::new());
        state.plan = plan.to_vec();
    }

    /// The calls since [`Calls::arm`]; nothing is done to further ones.
    pub fn disarm(&self) -> Vec<Target> {
        let mut state = self.state();
        state.plan.clear();
        state.log.take().unwrap_or_default()
    }

    /// The nodes that died by [`Fate::NodeDies`].
    pub fn nodes_died(&self) -> Vec<usize> {
        std::mem::take(&mut self.state().condemned_nodes)
    }

    /// Ends the incarnation.
    pub fn crash(&self) {
        self.state().dead = true;
        self.end.notify_waiters();
    }

    /// Whether it ended.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Ends when the incarnation does.
    pub async fn died(&self) {
        let end = self.end.notified();
        if !self.is_dead() {
            end.await;
        }
    }

    /// Holds back every call for `time`: a process that is stopped and goes on later.
    pub fn pause(&self, time: Duration) {
        self.state().paused_until = Some(Instant::now() + time);
    }

    /// Makes a call, as the plan says. `kill` is what makes the node at the other end die.
    pub async fn call<T>(
        &self,
        target: Target,
        kill: impl FnOnce() + Send,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.alive().await;
        let fate = self.fate(target);
        self.world.tell(|| format!("call {target:?} {fate:?}"));
        match fate {
            Some(Fate::CrashBefore) => self.end().await,
            Some(Fate::CrashAfter) => {
                drop(call.await);
                self.end().await
            }
            Some(Fate::FailBefore(kind)) => Err(injected(kind)),
            Some(Fate::FailAfter(kind)) => {
                drop(call.await);
                self.alive().await;
                Err(injected(kind))
            }
            Some(Fate::NodeDies) => {
                if let Target::Node(node) = target {
                    self.state().condemned_nodes.push(node);
                }
                kill();
                call.await
            }
            None => {
                let answer = call.await;
                self.alive().await;
                answer
            }
        }
    }

    fn fate(&self, target: Target) -> Option<Fate> {
        let mut state = self.state();
        let at = state.made;
        state.made += 1;
        if let Some(log) = &mut state.log {
            log.push(target);
        }
        state.plan.iter().find(|planned| planned.at == at).map(|planned| planned.fate)
    }

    async fn end<T>(&self) -> T {
        self.crash();
        std::future::pending().await
    }

    /// Waits out a pause; never ends after a crash.
    async fn alive(&self) {
        loop {
            let paused_until = self.state().paused_until;
            match paused_until {
                Some(until) if Instant::now() < until => sleep_until(until).await,
                _ => break,
            }
        }
        if self.is_dead() {
            std::future::pending().await
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn injected(kind: ErrorKind) -> Error {
    Error::new(kind, format!("{} (injected)", kind.as_str()))
}
