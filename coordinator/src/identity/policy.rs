//! What a key may do: actions on buckets by pattern. And the one function that says whether somebody may do something.
//!
//! What it keeps true: what no grant names is refused; whoever proved nothing may read what its owner opened to all, and nothing else.

use super::keyring::Credential;
use crate::metadata::records::GrantRecord;
use std::fmt;
use std::sync::Arc;

/// The most grants of a key.
pub const GRANTS_MAX: usize = 32;
/// The most patterns of a grant.
pub const PATTERNS_MAX: usize = 32;
/// The longest pattern, in bytes: as long as a bucket's name may be.
pub const PATTERN_BYTES_MAX: usize = 255;
/// The pattern that every bucket matches.
pub const ANY: &str = "*";

/// What can be done to a bucket or to what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// Read objects, their versions and what is said of them.
    Read = 1,
    /// Store objects, change what is said of them, and make buckets.
    Write = 2,
    /// List names, versions and uploads, and the buckets themselves.
    List = 4,
    /// Delete objects, versions and empty buckets.
    Delete = 8,
    /// Change how a bucket behaves and who may read it. On the cluster: keys, nodes, workers.
    Admin = 16,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 5] = [Action::Read, Action::Write, Action::List, Action::Delete, Action::Admin];
    /// The bits of all of them.
    pub const ALL_BITS: u8 = 31;

    /// Its name in policies and in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Write => "write",
            Action::List => "list",
            Action::Delete => "delete",
            Action::Admin => "admin",
        }
    }

    /// The action with this name.
    pub fn parse(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Anybody, where authentication is off: may do anything.
    Trusted,
    /// Somebody who proved nothing.
    Anonymous,
    /// Whoever holds this key.
    Key(Arc<Credential>),
}

impl Principal {
    /// What a bucket that it makes says about whose it is; empty where authentication is off.
    pub fn owner(&self) -> &str {
        match self {
            Principal::Trusted | Principal::Anonymous => "",
            Principal::Key(key) => &key.record.owner,
        }
    }

    /// Its name in the audit log.
    pub fn id(&self) -> &str {
        match self {
            Principal::Trusted => "trusted",
            Principal::Anonymous => "anonymous",
            Principal::Key(key) => &key.record.id,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A bucket and what is in it.
    Bucket {
        /// Its name.
        name: &'a str,
        /// Whose it is ([`Principal::owner`]); empty for nobody's.
        owner: &'a str,
        /// Whether its owner opened to all what is asked for: the newest version of an object.
        opened: bool,
    },
    /// A bucket of this name that is not there: one to be made, or to be told of that it is missing.
    NoBucket {
        /// Its name.
        name: &'a str,
    },
    /// The list of buckets: each line is asked for by itself.
    Buckets,
    /// How the cluster is: not a word about what is in it.
    Health,
    /// The cluster itself: keys, nodes, workers.
    Cluster,
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Nothing proved who it is: 401. The text says what is wrong, not what would be right.
    Unauthenticated(&'static str),
    /// It is known who it is, and that may not do this: 403.
    Forbidden(String),
}

/// What it came to: what was asked for, or why not.
pub type Verdict<T = ()> = Result<T, Denial>;

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::Unauthenticated(why) => f.write_str(why),
            Denial::Forbidden(why) => f.write_str(why),
        }
    }
}

/// Whether `principal` may do `action` to `resource`. Every door asks this, and nothing else decides.
pub fn authorize(principal: &Principal, action: Action, resource: Resource<'_>) -> Verdict {
    let opened = matches!(resource, Resource::Bucket { opened: true, .. }) && action == Action::Read;
    match principal {
        Principal::Trusted => Ok(()),
        Principal::Anonymous if opened => Ok(()),
        Principal::Anonymous => Err(Denial::Unauthenticated("a key is needed")),
        Principal::Key(key) => match opened || may(&key.record.owner, &key.record.grants, action, resource) {
            true => Ok(()),
            false => Err(Denial::Forbidden(forbidden(&key.record.id, action, resource))),
        },
    }
}

/// A key's own buckets are its owner's. Nobody's are everybody's, but for how they behave and who may read them: that is for whoever
/// administers buckets of any owner.
fn may(own: &str, grants: &[GrantRecord], action: Action, resource: Resource<'_>) -> bool {
    let allows = |grant: &&GrantRecord| grant.actions & action as u8 != 0;
    let mut allowing = grants.iter().filter(allows);
    let named = |grant: &GrantRecord, name: &str| {
        grant.buckets.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
    };
    match resource {
        Resource::Health => true,
        Resource::Buckets => allowing.next().is_some(),
        Resource::Cluster => {
            allowing.any(|grant| grant.any_owner && grant.buckets.iter().any(|pattern| pattern == ANY))
        }
        Resource::NoBucket { name } => allowing.any(|grant| named(grant, name)),
        Resource::Bucket { name, owner, .. } => {
            let is_shared = owner.is_empty() && action != Action::Admin;
            allowing.any(|grant| (grant.any_owner || is_shared || owner == own) && named(grant, name))
        }
    }
}

fn forbidden(id: &str, action: Action, resource: Resource<'_>) -> String {
    let (verb, changes) = (action.as_str(), action == Action::Admin);
    match resource {
        Resource::Bucket { name, owner: "", .. } if changes => {
            format!("key {id} may not administer bucket {name}, which is nobody's: that takes admin with any_owner")
        }
        Resource::Bucket { name, owner: "", .. } | Resource::NoBucket { name } => {
            format!("key {id} may not {verb} in bucket {name}")
        }
        Resource::Bucket { name, owner, .. } => {
            format!("key {id} may not {verb} in bucket {name}, which is of {owner}")
        }
        Resource::Buckets => format!("key {id} may not {verb} buckets"),
        Resource::Health => format!("key {id} may not see how the cluster is"),
        Resource::Cluster => format!("key {id} does not administer the cluster"),
    }
}

/// Whether the pattern, in which `*` stands for any run, is all of `name`. Time grows with the product of their lengths at most.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, here));
            at += 1;
        } else if pattern.get(at) == Some(&name[here]) {
            (at, here) = (at + 1, here + 1);
        } else if let Some((back, taken)) = star {
            // The last star takes one more; those before it need not: what follows them has been found as early as can be.
            star = Some((back, taken + 1));
            (at, here) = (back + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests;
