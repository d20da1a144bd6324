//! Where a thread's calls and tasks are at home: on its own runtime, or on the process's.
//!
//! A door's worker is a thread with a runtime of its own. What it does for a request stays there, sockets to nodes included: each
//! hop to another thread and back costs a lone small put 50 µs, and two wake-ups of an idle core.
//!
//! What it keeps true: a thread that did not say that its runtime lasts uses the process's.

use std::cell::Cell;
use std::thread::{self, ThreadId};

thread_local! {
    static IS_HOME: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread's runtime drives sockets and timers, takes local tasks, and lasts as long as what is begun on it.
pub fn settle() {
    IS_HOME.set(true);
}

/// This thread, if it is one that settled.
pub fn here() -> Option<ThreadId> {
    IS_HOME.get().then(|| thread::current().id())
}
