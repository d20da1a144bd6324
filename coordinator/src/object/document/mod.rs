//! Documents: objects whose bytes are JSON, of which the fields that change often may be stored apart from the others.
//!
//! What it keeps true:
//! - A document is an object like any other. Its text is its bytes, at every door; a document of hot and cold fields has a manifest of two
//!   parts, hot chunks replicated and cold ones coded, whose ends say how they follow one another
//!   (`docs/decisions/0092-documents-are-text-in-two-codes.md`).
//! - Hot and cold fields of a version come from one write, or from one version and one change of it: an update is published only as the
//!   successor of the very version that it was made from.
//! - A cold part that did not change is named again, with the checks of any reuse (law 5); nothing of it is encoded or stored.

mod change;
mod cut;
mod heat;
mod json;
mod merge;
mod split;
mod store;
mod stored;

pub use change::Change;
pub use heat::{HotField, HotFields, Reason};
pub use store::{DocumentDone, GoneDocument};

use super::Objects;
use crate::metadata::records::{ChunkList, StorageClass, VersionRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::{Error, Result};
use std::str::FromStr;

/// The largest document, in bytes: it is held in memory as a whole.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of what came as `binary_data`.
const BINARY: &str = "application/octet-stream";
/// The field whose value is bytes in base64, where a coded document has no other.
pub const BINARY_FIELD: &str = "binary_data";

/// How a document is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// All of it in copies.
    #[default]
    Replication,
    /// All of it coded.
    Ec,
    /// Hot fields in copies, the others coded.
    FieldHybrid,
}

impl Strategy {
    /// How this version is stored.
    pub fn of(version: &VersionRecord) -> Strategy {
        match (&version.chunks, version.storage_class) {
            (ChunkList::Document { .. }, _) => Strategy::FieldHybrid,
            (_, StorageClass::Standard) => Strategy::Replication,
            (_, StorageClass::StandardIa) => Strategy::Ec,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Replication => "replication",
            Strategy::Ec => "ec",
            Strategy::FieldHybrid => "field_hybrid",
        }
    }

    /// What its versions say of themselves; how a document of two parts is stored is in its manifest.
    fn storage_class(self) -> StorageClass {
        match self {
            Strategy::Replication | Strategy::FieldHybrid => StorageClass::Standard,
            Strategy::Ec => StorageClass::StandardIa,
        }
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Strategy> {
        let all = [Strategy::Replication, Strategy::Ec, Strategy::FieldHybrid];
        let found = all.into_iter().find(|strategy| strategy.as_str() == text);
        found.ok_or_else(|| Error::invalid(format!("strategy {text:?} must be replication, ec or field_hybrid")))
    }
}

/// A document that can be stored as it was asked for.
#[derive(Clone, Debug)]
pub struct Document {
    strategy: Strategy,
    content_type: &'static str,
    bytes: Bytes,
}

impl Document {
    /// The document in `body`. `Invalid` says what is wrong with it: no JSON, or not of the kind that the strategy takes.
    pub fn parse(strategy: Strategy, body: &[u8]) -> Result<Document> {
        refuse_larger(body.len())?;
        let text = json::compact(body)?;
        match strategy {
            Strategy::Replication => Ok(Document { strategy, content_type: JSON, bytes: Bytes::copy_from_slice(body) }),
            Strategy::FieldHybrid => Document::of_fields(text),
            Strategy::Ec => Document::coded(&text, body),
        }
    }

    /// What became of a JSON document, in its compact text. It stays JSON, whatever its members are called.
    pub fn changed(strategy: Strategy, text: String) -> Result<Document> {
        refuse_larger(text.len())?;
        match strategy {
            Strategy::FieldHybrid => Document::of_fields(text),
            strategy => Ok(Document { strategy, content_type: JSON, bytes: text.into() }),
        }
    }

    /// An object's compact text, to be stored by its fields.
    fn of_fields(text: String) -> Result<Document> {
        if !text.starts_with('{') {
            return Err(Error::invalid("field_hybrid stores the fields of an object; an array or a scalar has none"));
        }
        Ok(Document { strategy: Strategy::FieldHybrid, content_type: JSON, bytes: text.into() })
    }

    fn coded(text: &str, body: &[u8]) -> Result<Document> {
        let members = if text.starts_with('{') { json::members(text) } else { Vec::new() };
        let strategy = Strategy::Ec;
        let [only] = members.as_slice() else {
            return Ok(Document { strategy, content_type: JSON, bytes: Bytes::copy_from_slice(body) });
        };
        if only.name != BINARY_FIELD {
            return Ok(Document { strategy, content_type: JSON, bytes: Bytes::copy_from_slice(body) });
        }
        let wrong = || Error::invalid("binary_data must be a string of bytes in base64, with padding (RFC 4648, 4)");
        let encoded: String = serde_json::from_str(only.value).map_err(|_| wrong())?;
        let bytes = STANDARD.decode(&encoded).map_err(|_| wrong())?;
        Ok(Document { strategy, content_type: BINARY, bytes: bytes.into() })
    }

    /// Its bytes as they are stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its text; none where it is no JSON.
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

fn refuse_larger(bytes: usize) -> Result<()> {
    match bytes > DOCUMENT_BYTES_MAX {
        true => Err(Error::invalid(format!("a document has at most {DOCUMENT_BYTES_MAX} bytes, this one {bytes}"))),
        false => Ok(()),
    }
}

impl Objects {
    /// Whether this version holds JSON, rather than bytes.
    pub fn is_json(version: &VersionRecord) -> bool {
        version.content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_have_one_spelling() {
        for strategy in [Strategy::Replication, Strategy::Ec, Strategy::FieldHybrid] {
            assert_eq!(strategy.as_str().parse::<Strategy>().unwrap(), strategy);
        }
        assert!("EC".parse::<Strategy>().is_err() && "".parse::<Strategy>().is_err());
    }

    #[test]
    fn a_document_is_what_its_strategy_takes() {
        let parse = |strategy, text: &str| Document::parse(strategy, text.as_bytes());
        for text in ["[1]", "1", "\"x\"", "null"] {
            assert!(parse(Strategy::FieldHybrid, text).unwrap_err().message.contains("an array or a scalar"));
            assert_eq!(parse(Strategy::Replication, text).unwrap().bytes(), text);
            assert_eq!(parse(Strategy::Ec, text).unwrap().content_type, JSON);
        }
        assert_eq!(parse(Strategy::FieldHybrid, " {\"a\": 1.0}").unwrap().bytes(), r#"{"a":1.0}"#);
        let binary = parse(Strategy::Ec, r#"{"binary_data":"aGk="}"#).unwrap();
        assert_eq!((&binary.bytes()[..], binary.content_type), (&b"hi"[..], BINARY));
        for text in [r#"{"binary_data":"aGk"}"#, r#"{"binary_data":5}"#, r#"{"binary_data":"a-k="}"#] {
            assert!(parse(Strategy::Ec, text).unwrap_err().message.contains("base64"), "{text}");
            assert_eq!(parse(Strategy::Replication, text).unwrap().bytes(), text);
        }
        assert_eq!(parse(Strategy::Ec, r#"{"binary_data":5,"a":1}"#).unwrap().content_type, JSON);
        for left in [r#"{"binary_data":"aGk="}"#, r#"{"binary_data":5}"#] {
            let changed = Document::changed(Strategy::Ec, left.to_owned()).unwrap();
            assert_eq!(
                (changed.bytes(), changed.content_type),
                (&Bytes::from(left), JSON),
                "it was JSON, and stays so"
            );
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_read() {
        let error = Document::parse(Strategy::Replication, &vec![b' '; DOCUMENT_BYTES_MAX + 1]).unwrap_err();
        assert!(error.message.contains("at most"), "{error}");
    }
}
