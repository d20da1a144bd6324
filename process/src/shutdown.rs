//! An orderly end: the first SIGTERM or SIGINT asks for it, the second one ends the process at once.
//!
//! A thread of its own waits for the signals, so that the second one works even where the runtime is wedged.

use protocol::{Error, ErrorKind, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells any number of waiters that the process was asked to stop.
#[derive(Clone)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

/// Exit status after a second signal: 128 + its number, as a shell reports it.
const EXIT_SIGNALLED: i32 = 128;

impl Shutdown {
    /// Takes over SIGTERM and SIGINT. Call it once, before the first listener is bound.
    pub fn listen() -> Result<Shutdown> {
        let unavailable = |error: std::io::Error| {
            Error::caused(ErrorKind::Unavailable, format!("cannot wait for signals: {error}"), error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(unavailable)?;
        let (terminate, interrupt) = {
            let _entered = runtime.enter();
            (
                signal(SignalKind::terminate()).map_err(unavailable)?,
                signal(SignalKind::interrupt()).map_err(unavailable)?,
            )
        };
        let (sender, requested) = watch::channel(false);
        let wait = move || runtime.block_on(wait_for_two(terminate, interrupt, sender));
        std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(unavailable)?;
        Ok(Shutdown { requested })
    }

    /// Returns once the process was asked to stop; at once if it was already.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // An error means that the thread is gone, which ends the process anyway.
        if requested.wait_for(|asked| *asked).await.is_err() {
            tracing::error!("signal thread ended; stopping");
        }
    }

    /// Whether the process was asked to stop.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }
}

async fn wait_for_two(mut terminate: Signal, mut interrupt: Signal, requested: watch::Sender<bool>) {
    next_signal(&mut terminate, &mut interrupt).await;
    requested.send_replace(true);
    let kind = next_signal(&mut terminate, &mut interrupt).await;
    std::process::exit(EXIT_SIGNALLED + kind.as_raw_value());
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use std::time::Duration;

    #[tokio::test]
    async fn the_first_signal_asks_and_every_waiter_hears_it() {
        let shutdown = Shutdown::listen().unwrap();
        assert!(!shutdown.is_requested());
        let other = shutdown.clone();
        kill_process(getpid(), Signal::TERM).unwrap();
        tokio::time::timeout(Duration::from_secs(10), shutdown.requested()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), other.requested()).await.unwrap();
        assert!(other.is_requested());
    }
}
