//! The keys as this process knows them, to be looked up without waiting: every request asks.
//!
//! What it keeps true: a change made through this process counts at once, one made elsewhere after [`REFRESH_EVERY`].

use super::policy::{Action, Denial, Principal, Resource, Verdict, authorize};
use super::secret::{Secret, token_sha256};
use super::{CREDENTIALS_MAX, Identity};
use crate::metadata::records::{CredentialRecord, Record, Sha256};
use crate::metadata::{Entry, keys};
use protocol::{ErrorKind, Result, secrets_match};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{error, warn};

/// How often the keys are read again.
pub const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// The scheme before a bearer token, and the space behind it.
const BEARER: &[u8] = b"bearer ";
/// One text for every wrong key: which of the reasons it is would help only who guesses.
const WRONG: Denial = Denial::Unauthenticated("the key is unknown, wrong, disabled or expired");

/// A key, with its secret at hand.
#[derive(Debug)]
pub struct Credential {
    /// What is stored of it.
    pub record: CredentialRecord,
    /// `None` if what is stored is damaged.
    signing: Option<Secret>,
}

impl Credential {
    /// Whether it lets anybody in at this time.
    pub fn is_valid_at(&self, now_ms: u64) -> bool {
        is_valid_at(&self.record, now_ms)
    }

    /// Whether it may administer the cluster.
    pub fn is_admin(self: &Arc<Credential>) -> bool {
        authorize(&Principal::Key(self.clone()), Action::Admin, Resource::Cluster).is_ok()
    }

    #[cfg(test)]
    pub(super) fn sample(id: &str, owner: &str, grants: Vec<crate::metadata::records::GrantRecord>) -> Credential {
        let (id, owner) = (id.to_owned(), owner.to_owned());
        let record = CredentialRecord {
            name: id.clone(),
            id,
            owner,
            token_sha256: [0; 32],
            sealed_secret: Vec::new(),
            grants,
            disabled: false,
            shown: true,
            created_ms: 0,
            rotated_ms: 0,
            expires_ms: 0,
        };
        Credential { record, signing: None }
    }
}

pub(super) fn is_valid_at(record: &CredentialRecord, now_ms: u64) -> bool {
    record.shown && !record.disabled && (record.expires_ms == 0 || now_ms < record.expires_ms)
}

/// All keys, by what names them.
#[derive(Default)]
pub(super) struct Known {
    by_id: HashMap<String, Arc<Credential>>,
    by_token: HashMap<Sha256, Arc<Credential>>,
}

impl Identity {
    /// Reads the keys anew. `Denied` if they are sealed under another credentials key: then nobody could sign.
    pub async fn refresh(&self) -> Result<()> {
        // One after the other: what was read before a change must not replace what was read after it.
        let _turn = self.refreshing.lock().await;
        let mut known = Known::default();
        for (_, record) in self.read_all().await? {
            let signing = match self.sealer.open(&record.id, &record.sealed_secret) {
                Ok(secret) => Some(secret),
                Err(damage) if damage.kind == ErrorKind::Corrupt => {
                    error!(key = record.id, error = %damage, "signatures with this key cannot be checked; rotate it");
                    None
                }
                Err(other) => return Err(other),
            };
            let credential = Arc::new(Credential { record, signing });
            known.by_token.insert(credential.record.token_sha256, credential.clone());
            known.by_id.insert(credential.record.id.clone(), credential);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    /// Reads the keys again and again, until it is dropped.
    pub async fn follow(&self) {
        let mut fails = false;
        loop {
            tokio::time::sleep(REFRESH_EVERY).await;
            let outcome = self.refresh().await;
            match &outcome {
                Err(failure) if !fails => warn!(error = %failure, "the keys cannot be read; those known before count"),
                Ok(()) | Err(_) => {}
            }
            fails = outcome.is_err();
        }
    }

    /// Who sends this `Authorization` header. Without one it is anonymous; with a wrong one it is refused.
    pub fn bearer(&self, authorization: Option<&[u8]>) -> Verdict<Principal> {
        if self.trusts_all {
            return Ok(Principal::Trusted);
        }
        let Some(given) = authorization else { return Ok(Principal::Anonymous) };
        let (scheme, token) = given.split_at_checked(BEARER.len()).unwrap_or((b"", b""));
        if !scheme.eq_ignore_ascii_case(BEARER) {
            return Err(Denial::Unauthenticated("the Authorization header must read: Bearer <key>"));
        }
        let hash = token_sha256(token.trim_ascii()).ok_or(WRONG)?;
        let credential = self.known().by_token.get(&hash).cloned().ok_or(WRONG)?;
        // The map compares as it likes; what counts is compared whole, in constant time.
        let is_it = secrets_match(&hash, &credential.record.token_sha256);
        match is_it && credential.is_valid_at(self.clock.now_ms()) {
            true => Ok(Principal::Key(credential)),
            false => Err(WRONG),
        }
    }

    /// The id of the key whose token this `Authorization` header shows, also if it is disabled or expired. For the audit log.
    pub fn named(&self, authorization: &[u8]) -> Option<String> {
        let hash = token_sha256(authorization.get(BEARER.len()..)?.trim_ascii())?;
        Some(self.known().by_token.get(&hash)?.record.id.clone())
    }

    /// Whether there is a key of this id, of whatever state.
    pub fn is_key(&self, id: &str) -> bool {
        self.known().by_id.contains_key(id)
    }

    /// The secret by which signatures of this access key id are checked, and who signs with it.
    pub fn signing(&self, access_key_id: &str) -> Verdict<(Secret, Principal)> {
        let credential = self.known().by_id.get(access_key_id).cloned().ok_or(WRONG)?;
        match credential.signing.clone() {
            Some(secret) if credential.is_valid_at(self.clock.now_ms()) => Ok((secret, Principal::Key(credential))),
            _ => Err(WRONG),
        }
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every key as it is stored.
    pub(super) async fn read_all(&self) -> Result<Vec<(Entry, CredentialRecord)>> {
        let range = keys::credentials();
        let entries = self.metadata.scan(&range.from, &range.to, CREDENTIALS_MAX).await?;
        entries
            .into_iter()
            .map(|(_, entry)| CredentialRecord::decode(&entry.value).map(|record| (entry, record)))
            .collect()
    }
}
