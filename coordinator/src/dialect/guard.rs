//! What stands before every door: the keys, the limits, the audit log. One of it serves all listeners of a process.
//!
//! What it keeps true: a request reaches a handler only through [`admit::admit`], and only where [`access`] names its route and method.

pub mod access;
mod admit;
mod ask;
mod held;
#[cfg(test)]
mod tests;

pub use admit::{Subject, admit, admit_preflight, principal};
pub use ask::{owner, permit};

use crate::audit::Audit;
use crate::identity::Identity;
use crate::limits::Limits;

/// Who may come in, how much of it, and what is told of it.
pub struct Guard {
    /// The keys, and what they may do.
    pub identity: Identity,
    /// How much is taken of whom.
    pub limits: Limits,
    /// Where requests are told, if they are.
    pub audit: Option<Audit>,
}

impl Guard {
    /// Writes what of the audit log waits. For the end of the process, when no request comes any more.
    pub fn stop(&self) {
        if let Some(audit) = &self.audit {
            audit.stop();
        }
    }
}
