//! The cluster file: what every process of one cluster must share, made once by `coordinator new-cluster`.

use crate::{ClusterId, Error, Result};
use serde::{Deserialize, Serialize};

/// The content of the cluster file (JSON, readable by its owner only).
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// Stamped on every record; a disk of another cluster is refused.
    pub cluster: ClusterId,
    /// Carried by every call from coordinator to node and from node to node.
    pub secret: String,
}

/// The shortest secret accepted, in characters.
const SECRET_CHARS_MIN: usize = 32;

impl ClusterFile {
    /// Reads the file's text. `Invalid` says what is wrong, without repeating the secret.
    pub fn parse(text: &str) -> Result<ClusterFile> {
        let file: ClusterFile = serde_json::from_str(text).map_err(|error| {
            Error::invalid(format!("cluster file is not {{\"cluster\":uuid,\"secret\":text}}: line {}", error.line()))
        })?;
        if file.secret.len() < SECRET_CHARS_MIN || !file.secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(format!(
                "cluster secret must have at least {SECRET_CHARS_MIN} printable characters"
            )));
        }
        Ok(file)
    }
}

impl std::fmt::Debug for ClusterFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterFile").field("cluster", &self.cluster).field("secret", &"…").finish()
    }
}

/// Compares two secrets without telling by its duration where they differ.
pub fn secrets_match(given: &[u8], wanted: &[u8]) -> bool {
    if given.len() != wanted.len() {
        return false;
    }
    given.iter().zip(wanted).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_cluster_file_round_trips_and_hides_its_secret() {
        let file = ClusterFile { cluster: ClusterId(Uuid::from_u128(7)), secret: "s".repeat(40) };
        let read = ClusterFile::parse(&serde_json::to_string(&file).unwrap()).unwrap();
        assert_eq!(read.cluster, file.cluster);
        assert!(!format!("{read:?}").contains("sss"));
        assert!(ClusterFile::parse("{}").is_err());
        assert!(ClusterFile::parse(r#"{"cluster":"00000000-0000-0000-0000-000000000007","secret":"short"}"#).is_err());
    }

    #[test]
    fn secrets_match_only_themselves() {
        assert!(secrets_match(b"abc", b"abc"));
        assert!(!secrets_match(b"abc", b"abd"));
        assert!(!secrets_match(b"abc", b"abcd"));
    }
}
