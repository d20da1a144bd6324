//! Making, changing and removing keys; each is one commit.

use super::Identity;
use super::keyring::is_valid_at;
use super::policy::{ANY, Action, GRANTS_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX};
use super::secret::{Secret, fresh_id};
use crate::metadata::records::{CredentialRecord, GrantRecord, Record};
use crate::metadata::{Batch, Entry, Expect, SCAN_ENTRIES_MAX, keys};
use protocol::{Error, ErrorKind, Result};

/// The most keys of a cluster: all are read in one scan.
pub const CREDENTIALS_MAX: usize = SCAN_ENTRIES_MAX;
/// The longest name of a key, in characters.
pub const NAME_CHARS_MAX: usize = 128;
/// Attempts of a change that meets another one.
const CHANGE_ATTEMPTS_MAX: usize = 8;

/// What a key is to be like.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// Another key whose buckets it shares; its own id if there is none.
    pub owner: Option<String>,
    /// What it may do.
    pub grants: Vec<GrantRecord>,
    /// From when on it is refused, in milliseconds since 1970; 0 = never.
    pub expires_ms: u64,
}

/// A key whose secrets are known this once.
#[derive(Debug)]
pub struct FreshKey {
    /// What is stored of it.
    pub record: CredentialRecord,
    /// For `Authorization: Bearer`.
    pub token: Secret,
    /// For signatures.
    pub signing: Secret,
}

impl Identity {
    /// Every key, in the order of their ids.
    pub async fn keys(&self) -> Result<Vec<CredentialRecord>> {
        Ok(self.read_all().await?.into_iter().map(|(_, record)| record).collect())
    }

    /// One key; `NotFound` if there is none of this id.
    pub async fn key(&self, id: &str) -> Result<CredentialRecord> {
        Ok(self.read(id).await?.1)
    }

    /// Makes a key. `Invalid` says what of it cannot be, `Conflict` that there are too many.
    pub async fn create(&self, wanted: NewKey) -> Result<FreshKey> {
        validate(&wanted.name, &wanted.grants)?;
        let known = self.read_all().await?;
        if known.len() >= CREDENTIALS_MAX {
            return Err(Error::conflict(format!("there are {} keys, and no more can be made", known.len())));
        }
        if let Some(owner) = &wanted.owner
            && !known.iter().any(|(_, record)| record.owner == *owner)
        {
            return Err(Error::invalid(format!(
                "no key has buckets of its own under {owner}: name the `owner` of a key"
            )));
        }
        let fresh = self.fresh(&fresh_id()?, wanted)?;
        let mut commit = Batch::new();
        let key = keys::credential(&fresh.record.id);
        commit.check(key.clone(), Expect::Absent);
        commit.put(key, fresh.record.encode());
        self.metadata.commit(commit).await?;
        self.refresh().await?;
        Ok(fresh)
    }

    /// Gives a key fresh secrets; those it had are refused from now on.
    pub async fn rotate(&self, id: &str) -> Result<FreshKey> {
        let (token, signing) = (Secret::token()?, Secret::signing()?);
        let (token_sha256, sealed_secret) = (token.sha256(), self.sealer.seal(id, &signing)?);
        let rotated_ms = self.clock.now_ms();
        let record = self
            .change(id, |record| {
                *record = CredentialRecord {
                    token_sha256,
                    sealed_secret: sealed_secret.clone(),
                    rotated_ms,
                    shown: true,
                    ..record.clone()
                };
            })
            .await?;
        Ok(FreshKey { record, token, signing })
    }

    /// Refuses a key from now on, or takes it again.
    pub async fn set_disabled(&self, id: &str, disabled: bool) -> Result<CredentialRecord> {
        self.change(id, |record| record.disabled = disabled).await
    }

    /// Says from when on a key is refused, in milliseconds since 1970; 0 = never.
    pub async fn set_expiry(&self, id: &str, expires_ms: u64) -> Result<CredentialRecord> {
        self.change(id, |record| record.expires_ms = expires_ms).await
    }

    /// Says what a key may do.
    pub async fn set_grants(&self, id: &str, grants: Vec<GrantRecord>) -> Result<CredentialRecord> {
        validate("", &grants)?;
        self.change(id, |record| record.grants = grants.clone()).await
    }

    /// Removes a key. Its buckets stay, and stay its owner's. `Conflict` if nobody could administer the cluster then.
    pub async fn delete(&self, id: &str) -> Result<()> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let (entry, _) = self.read(id).await?;
            let key = keys::credential(id);
            let mut commit = Batch::new();
            commit.check(key.clone(), Expect::Revision(entry.revision));
            self.keep_an_admin(id, None, &mut commit).await?;
            commit.delete(key);
            match self.metadata.commit(commit).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                outcome => {
                    outcome?;
                    return self.refresh().await;
                }
            }
        }
        Err(contended(id))
    }

    /// Changes a key by compare and swap.
    pub(super) async fn change(&self, id: &str, change: impl Fn(&mut CredentialRecord)) -> Result<CredentialRecord> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let (entry, mut record) = self.read(id).await?;
            change(&mut record);
            let key = keys::credential(id);
            let mut commit = Batch::new();
            commit.check(key.clone(), Expect::Revision(entry.revision));
            self.keep_an_admin(id, Some(&record), &mut commit).await?;
            commit.put(key, record.encode());
            match self.metadata.commit(commit).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                outcome => {
                    outcome?;
                    self.refresh().await?;
                    return Ok(record);
                }
            }
        }
        Err(contended(id))
    }

    /// Refuses what would leave nobody to administer the cluster. What it relies on is checked by the same commit, so that two of
    /// these, each relying on what the other takes away, do not both happen.
    async fn keep_an_admin(&self, id: &str, becomes: Option<&CredentialRecord>, commit: &mut Batch) -> Result<()> {
        let now_ms = self.clock.now_ms();
        let stays =
            |record: &CredentialRecord| is_valid_at(record, now_ms) && record.expires_ms == 0 && is_admin(record);
        if becomes.is_some_and(stays) {
            return Ok(());
        }
        let all = self.read_all().await?;
        if !all.iter().any(|(_, record)| record.id == id && stays(record)) {
            return Ok(()); // It was none that could be relied on.
        }
        match all.iter().find(|(_, record)| record.id != id && stays(record)) {
            Some((entry, other)) => {
                commit.check(keys::credential(&other.id), Expect::Revision(entry.revision));
                Ok(())
            }
            None => Err(Error::conflict(format!(
                "key {id} is the last one that administers the cluster and does not expire: make another one first"
            ))),
        }
    }

    /// The record and the secrets of a key, neither stored nor known yet.
    pub(super) fn fresh(&self, id: &str, wanted: NewKey) -> Result<FreshKey> {
        let (token, signing) = (Secret::token()?, Secret::signing()?);
        let now_ms = self.clock.now_ms();
        let record = CredentialRecord {
            id: id.to_owned(),
            name: wanted.name,
            owner: wanted.owner.unwrap_or_else(|| id.to_owned()),
            token_sha256: token.sha256(),
            sealed_secret: self.sealer.seal(id, &signing)?,
            grants: wanted.grants,
            disabled: false,
            shown: true,
            created_ms: now_ms,
            rotated_ms: now_ms,
            expires_ms: wanted.expires_ms,
        };
        Ok(FreshKey { record, token, signing })
    }

    async fn read(&self, id: &str) -> Result<(Entry, CredentialRecord)> {
        let missing = || Error::not_found(format!("key {} does not exist", id.escape_debug()));
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) || id.len() > NAME_CHARS_MAX {
            return Err(missing());
        }
        let entry = self.metadata.get(&keys::credential(id)).await?.ok_or_else(missing)?;
        let record = CredentialRecord::decode(&entry.value)?;
        Ok((entry, record))
    }
}

/// Whether its grants name the administration of everything, as [`super::authorize`] asks for it.
pub(super) fn is_admin(record: &CredentialRecord) -> bool {
    let all = |grant: &GrantRecord| {
        grant.any_owner
            && grant.actions & Action::Admin as u8 != 0
            && grant.buckets.iter().any(|pattern| pattern == ANY)
    };
    record.grants.iter().any(all)
}

fn contended(id: &str) -> Error {
    Error::unavailable(format!("key {id} is changed by others all the time; retry"))
}

fn validate(name: &str, grants: &[GrantRecord]) -> Result<()> {
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "the name of a key has at most {NAME_CHARS_MAX} characters, none a control one"
        )));
    }
    if grants.len() > GRANTS_MAX {
        return Err(Error::invalid(format!("{} grants, at most {GRANTS_MAX}", grants.len())));
    }
    for grant in grants {
        if grant.actions == 0 || grant.actions & !Action::ALL_BITS != 0 {
            return Err(Error::invalid("a grant names at least one action: read, write, list, delete, admin"));
        }
        if grant.buckets.is_empty() || grant.buckets.len() > PATTERNS_MAX {
            return Err(Error::invalid(format!("a grant names 1 to {PATTERNS_MAX} buckets, with * for any run")));
        }
        let odd = |pattern: &&String| {
            pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX || !pattern.bytes().all(may_be_in_pattern)
        };
        if let Some(pattern) = grant.buckets.iter().find(odd) {
            return Err(Error::invalid(format!(
                "{pattern:?} matches no bucket: write 1 to {PATTERN_BYTES_MAX} of a-z, 0-9, '-' and '.', and * for any run of them"
            )));
        }
    }
    Ok(())
}

/// What buckets' names are made of, and the star.
fn may_be_in_pattern(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.*".contains(&byte)
}
