//! Runs a simulation: one thread, paused time, nothing detached left behind.

use super::panics;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Runs `work` to its end and drops whatever it left running. The second part of the answer is every panic of a task on the way.
pub fn simulate<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
    panics::catch();
    let told = Told;
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing");
    let local = LocalSet::new();
    let result = local.block_on(&runtime, work);
    drop(local);
    drop(runtime);
    drop(told);
    let panics = panics::release();
    (result, panics.into_iter().map(|panic| format!("a task panicked: {panic}")).collect())
}

/// Tells what was caught when the simulation itself ends in a panic: a test's own assertion.
struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            panics::release().iter().for_each(|panic| eprintln!("{panic}"));
        }
    }
}
