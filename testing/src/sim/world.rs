//! What all parts of one simulation share: chance, the rates of faults on the links, the history, and the tasks that are no
//! process's own (messages under way outlive their sender).

use super::rng::Rng;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How often each fault strikes a message, in a thousand. All 0 by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// A request to a node never arrives.
    pub node_request_lost: u64,
    /// A node did what it was asked, and its answer never arrives.
    pub node_reply_lost: u64,
    /// A request arrives twice, the second time later.
    pub node_request_twice: u64,
    /// A message takes seconds.
    pub late: u64,
    /// A node's fsync fails.
    pub fsync_fails: u64,
    /// A commit is refused before it happens.
    pub commit_refused: u64,
    /// A commit happened, and its answer is lost.
    pub commit_reply_lost: u64,
    /// The answer says *unknown*, and the commit happens later.
    pub commit_lands_late: u64,
    /// A message to or from the metadata takes long.
    pub metadata_late: u64,
    /// A read of the metadata fails.
    pub metadata_read_fails: u64,
}

/// What all parts share.
pub struct World {
    seed: u64,
    born: Instant,
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    rates: Rates,
    calm: bool,
    history_hash: u64,
    events: u64,
    trace: Option<Vec<String>>,
}

impl World {
    /// A world of `seed`, on the runtime that this is called on.
    pub fn new(seed: u64) -> Arc<World> {
        let state = State {
            rng: Rng::new(seed, 1),
            rates: Rates::default(),
            calm: false,
            history_hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            trace: std::env::var_os("HOLDFAST_TRACE").map(|_| Vec::new()),
        };
        Arc::new(World { seed, born: Instant::now(), runtime: Handle::current(), state: Mutex::new(state) })
    }

    /// The seed of it all.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.born.elapsed()
    }

    /// Draws from the shared chance.
    pub fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.state().rng)
    }

    /// The rates of faults now.
    pub fn rates(&self) -> Rates {
        self.state().rates
    }

    /// Sets the rates of faults.
    pub fn set_rates(&self, rates: Rates) {
        self.state().rates = rates;
    }

    /// Nothing breaks any more.
    pub fn calm_down(&self) {
        let mut state = self.state();
        (state.rates, state.calm) = (Rates::default(), true);
    }

    /// Whether nothing breaks any more.
    pub fn is_calm(&self) -> bool {
        self.state().calm
    }

    /// True as often as the rate `of` says.
    pub fn strikes(&self, of: impl FnOnce(&Rates) -> u64) -> bool {
        let mut state = self.state();
        let per_mille = of(&state.rates);
        per_mille > 0 && state.rng.chance(per_mille)
    }

    /// How long a message takes: up to 2 ms, or seconds when it is late.
    pub fn message_delay(&self) -> Duration {
        let mut state = self.state();
        let late = state.rates.late;
        let delay_ms = match late > 0 && state.rng.chance(late) {
            true => state.rng.between(50, 4_000),
            false => state.rng.below(3),
        };
        Duration::from_millis(delay_ms)
    }

    /// The same to and from the metadata: up to 2 ms, or up to 150.
    pub fn metadata_delay(&self) -> Duration {
        let late = self.strikes(|rates| rates.metadata_late);
        let delay_ms = self.draw(|rng| if late { rng.between(3, 150) } else { rng.below(3) });
        Duration::from_millis(delay_ms)
    }

    /// Notes an event in the history.
    pub fn tell(&self, event: impl FnOnce() -> String) {
        let at = self.elapsed().as_millis();
        let mut state = self.state();
        let event = format!("{at:>7} {}", event());
        for byte in event.bytes() {
            state.history_hash = (state.history_hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        state.events += 1;
        if let Some(trace) = &mut state.trace {
            trace.push(event);
        }
    }

    /// FNV-1a over all events, and their number.
    pub fn history(&self) -> (u64, u64) {
        let state = self.state();
        (state.history_hash, state.events)
    }

    /// The events themselves, where the environment has `HOLDFAST_TRACE`.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    /// Starts a task that belongs to the world: a message under way, the inside of a node.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sleeps, if there is anything to sleep.
pub async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
