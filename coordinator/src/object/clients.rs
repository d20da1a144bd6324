//! How many clients are being served right now, so that workers can yield to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The count, shared by all verbs.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    served: Arc<AtomicUsize>,
}

/// One client; it counts until this is dropped.
#[derive(Debug)]
pub struct Served {
    served: Arc<AtomicUsize>,
}

impl Clients {
    /// Counts one more.
    pub fn serve(&self) -> Served {
        self.served.fetch_add(1, Ordering::Relaxed);
        Served { served: self.served.clone() }
    }

    /// Whether anyone is being served.
    pub fn any(&self) -> bool {
        self.served.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.served.fetch_sub(1, Ordering::Relaxed);
    }
}
