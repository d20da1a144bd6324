//! Errors sorted by what the caller should do about them.

use std::fmt;

/// The result of everything that can fail for the world's reasons.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller should do; each dialect maps a kind to its status and body in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// The thing named does not exist. Do not retry.
    NotFound = 1,
    /// A condition no longer holds, or the id is taken by other bytes. Read again, then decide.
    Conflict = 2,
    /// The request can never work as it stands. Change it.
    Invalid = 3,
    /// The caller may not do this, or speaks to the wrong cluster or disk.
    Denied = 4,
    /// Not now: a node, a quorum or a queue is lacking; nothing was committed. Retry later.
    Unavailable = 5,
    /// Bytes exist but are not what was stored. Use another copy.
    Corrupt = 6,
    /// No room. Free space, or use another node.
    Full = 7,
    /// The commit was sent and its answer lost: it may or may not have happened. Ask before you repeat.
    Unknown = 8,
}

impl ErrorKind {
    /// Every kind, in wire order.
    pub const ALL: [ErrorKind; 8] = [
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::Invalid,
        ErrorKind::Denied,
        ErrorKind::Unavailable,
        ErrorKind::Corrupt,
        ErrorKind::Full,
        ErrorKind::Unknown,
    ];

    /// The kind with this wire byte, if there is one.
    pub fn from_byte(byte: u8) -> Option<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The kind's name in logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not_found",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Denied => "denied",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Full => "full",
            ErrorKind::Unknown => "unknown",
        }
    }
}

/// An error with its kind, a message a person can act on, and the cause.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    /// What the caller should do.
    pub kind: ErrorKind,
    /// What happened, with names and numbers; no secrets, no paths of other people's data.
    pub message: String,
    /// The cause, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), source: None }
    }

    /// The same, with its cause.
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error { kind, message: message.into(), source: Some(source.into()) }
    }

    /// `NotFound` with `message`.
    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, message)
    }

    /// `Conflict` with `message`.
    pub fn conflict(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Conflict, message)
    }

    /// `Invalid` with `message`.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    /// `Denied` with `message`.
    pub fn denied(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Denied, message)
    }

    /// `Unavailable` with `message`.
    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unavailable, message)
    }

    /// `Corrupt` with `message`.
    pub fn corrupt(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// `Full` with `message`.
    pub fn full(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Full, message)
    }

    /// `Unknown` with `message`.
    pub fn unknown(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unknown, message)
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Error {
        Error::new(kind, kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_wire_byte_and_comes_back_from_it() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(ErrorKind::from_byte(0), None, "0 means success on the wire");
        assert_eq!(ErrorKind::from_byte(200), None);
    }
}
