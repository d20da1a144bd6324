//! Who is there, and what they may do: keys, their policies, and the one function that decides ([`authorize`]).
//!
//! What it keeps true:
//! - Of a bearer token only its hash is kept, of a signing secret only its sealed form ([`seal`]); neither is ever printed, logged or
//!   part of an error.
//! - A key that is unknown, wrong, disabled, expired or not yet shown to anybody lets nobody in, and the answer does not tell which.
//! - Once there is a key that administers the cluster there is always one: the last one is neither disabled nor deleted.
//! - Keys are records of the catalog: they survive whatever the catalog survives.

mod changes;
mod first;
mod keyring;
mod policy;
pub mod seal;
mod secret;

pub use changes::{CREDENTIALS_MAX, FreshKey, NAME_CHARS_MAX, NewKey};
pub use first::{FIRST_ID, announcement};
pub use keyring::{Credential, REFRESH_EVERY};
pub use policy::{
    ANY, Action, Denial, GRANTS_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX, Principal, Resource, Verdict, authorize,
};
pub use secret::{ID_CHARS, Secret, TOKEN_CHARS, TOKEN_PREFIX};

use crate::metadata::Metadata;
use keyring::Known;
use protocol::Clock;
use seal::Sealer;
use std::sync::{Arc, RwLock};
use tokio::sync::Mutex;

/// The keys of a cluster.
pub struct Identity {
    metadata: Arc<dyn Metadata>,
    clock: Arc<dyn Clock>,
    sealer: Sealer,
    trusts_all: bool,
    known: RwLock<Arc<Known>>,
    refreshing: Mutex<()>,
}

impl Identity {
    /// The keys in `metadata`; none is known before [`Identity::refresh`]. With `trusts_all` nobody is asked for one.
    pub fn new(metadata: Arc<dyn Metadata>, clock: Arc<dyn Clock>, sealer: Sealer, trusts_all: bool) -> Identity {
        Identity { metadata, clock, sealer, trusts_all, known: RwLock::default(), refreshing: Mutex::default() }
    }

    /// Whether nobody is asked for a key.
    pub fn trusts_all(&self) -> bool {
        self.trusts_all
    }
}

#[cfg(test)]
mod tests;
