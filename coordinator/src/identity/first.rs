//! The first key, which is shown to whoever starts a cluster with authentication on.
//!
//! ```text
//! 1. commit the key as not shown: it lets nobody in
//! 2. show it
//! 3. commit it as shown
//! ```
//!
//! What it keeps true: no key lets anybody in that was not shown, and a crash in between locks nobody out: before 3 the next start
//! makes another one and shows that.

use super::changes::{FreshKey, NewKey, is_admin};
use super::policy::{ANY, Action};
use super::{Identity, secret::Secret};
use crate::metadata::records::{GrantRecord, Record};
use crate::metadata::{Batch, Expect, keys};
use protocol::Result;

/// Its id. One that is known beforehand, so that of two processes that start at once one makes it.
pub const FIRST_ID: &str = "HFADMIN2222222222222";

impl Identity {
    /// Makes the key that administers everything, hands it to `show`, and lets it count; `false` if there is one already. With
    /// `anew` it is made whatever there is.
    pub async fn begin(&self, anew: bool, show: impl FnOnce(&FreshKey) -> Result<()>) -> Result<bool> {
        let known = self.read_all().await?;
        if !anew && known.iter().any(|(_, record)| record.shown && is_admin(record)) {
            return Ok(false);
        }
        let wanted = NewKey {
            name: "first key".to_owned(),
            owner: None,
            grants: vec![GrantRecord { buckets: vec![ANY.to_owned()], actions: Action::ALL_BITS, any_owner: true }],
            expires_ms: 0,
        };
        let mut fresh = self.fresh(FIRST_ID, wanted)?;
        fresh.record.shown = false;
        let entry = known.iter().find(|(_, record)| record.id == FIRST_ID).map(|(entry, _)| entry);
        let key = keys::credential(FIRST_ID);
        let mut commit = Batch::new();
        commit.check(key.clone(), Expect::unchanged(entry));
        commit.put(key, fresh.record.encode());
        self.metadata.commit(commit).await?;
        show(&fresh)?;
        let token_sha256 = fresh.token.sha256();
        self.change(FIRST_ID, |record| record.shown |= record.token_sha256 == token_sha256).await?;
        Ok(true)
    }
}

/// What is printed.
pub fn announcement(token: &Secret) -> String {
    format!("Admin API Key: {}", token.reveal())
}
