//! Paths and headers of the node's HTTP interface, and of the coordinator's door by which nodes join. Shard ids are the only names in a path, and they are parsed before use.

/// `PUT`, `GET` (with `Range`), `HEAD`, `DELETE` on `/shards/{id}`; `GET /shards?after=&limit=` lists.
pub const SHARDS: &str = "/shards";
/// `POST`: many shards in one framed body ([`crate::FrameDecoder`]); answers one outcome byte each.
pub const SHARDS_BATCH: &str = "/shards-batch";
/// `POST`: many ids ([`crate::encode_ids`]) to delete; answers one outcome byte each.
pub const SHARDS_DELETE: &str = "/shards-delete";
/// `POST`: many ids; answers what the node's records say of each ([`crate::encode_heads`]).
pub const SHARDS_HEAD: &str = "/shards-head";
/// `POST`: many ids; answers one outcome byte each, then a frame for each that was read.
pub const SHARDS_READ: &str = "/shards-read";
/// `POST`: pull shards from other nodes; the body is a list of [`crate::CopyOrder`]s as JSON. Answers one outcome byte each.
pub const SHARDS_COPY: &str = "/shards-copy";
/// `POST`: read and verify the records of some segments; query is a [`crate::VerifyCursor`] and `limit_bytes`.
pub const VERIFY: &str = "/verify";
/// `GET`: a [`crate::JournalState`]. `POST ?epoch=&holder=&anew=`: entries to append; answers a [`crate::JournalAppended`].
pub const JOURNAL: &str = "/journal";
/// `POST ?epoch=&holder=`: claims an epoch; answers a [`crate::JournalState`].
pub const JOURNAL_CLAIM: &str = "/journal-claim";
/// `GET ?from=&limit_bytes=`: entries, with the CRC32 of all.
pub const JOURNAL_ENTRIES: &str = "/journal-entries";
/// `GET`, open to all: a [`crate::NodeHealth`].
pub const HEALTH: &str = "/health";
/// `GET`, open to all: Prometheus text.
pub const METRICS: &str = "/metrics";

/// The coordinator's: `POST` with `{"url":…}` tells it where a node is; with cluster and secret in the headers.
pub const ADMIN_NODES: &str = "/admin/nodes";

/// CRC32 (IEEE) of the body, eight lower-case hex digits; on every request and reply that carries shard bytes.
pub const HEADER_CRC: &str = "x-holdfast-crc32";
/// The cluster secret.
pub const HEADER_SECRET: &str = "x-holdfast-secret";
/// The cluster id, so that a misconfigured peer is told so rather than obeyed.
pub const HEADER_CLUSTER: &str = "x-holdfast-cluster";
/// The disk that the caller knows this node by, if it knows one: a node with another disk denies the call, so that an emptied or
/// swapped disk is not used even between two health checks.
pub const HEADER_DISK: &str = "x-holdfast-disk";
/// The id of the client request that this call serves (several, comma-separated, where calls were joined).
pub const HEADER_REQUEST: &str = "x-request-id";
/// The kind of an error reply, one of [`crate::ErrorKind::as_str`]; the body is JSON `{"error": …}`.
pub const HEADER_ERROR: &str = "x-holdfast-error";

/// The base URL of a process, `http://host:port` or `https://host:port` without a final slash; else what it must be. There is no path, no query and no user in
/// it.
pub fn base_url(text: &str) -> Result<String, String> {
    let refused = || "must be http://host:port, such as http://127.0.0.1:8081".to_owned();
    let base = text.strip_suffix('/').unwrap_or(text);
    let rest = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
    let (host, port) = rest.and_then(|rest| rest.rsplit_once(':')).ok_or_else(refused)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    let port_is_valid =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || !host.bytes().all(plain) || !port_is_valid {
        return Err(refused());
    }
    Ok(base.to_owned())
}

/// The CRC header's value for these bytes.
pub fn crc_to_text(crc: u32) -> String {
    format!("{crc:08x}")
}

/// The CRC in a header's value; `None` unless it is exactly eight lower-case hex digits.
pub fn crc_from_text(text: &str) -> Option<u32> {
    let plain = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain { u32::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crc_has_one_spelling() {
        assert_eq!(crc_from_text(&crc_to_text(0xff)), Some(0xff));
        for text in ["", "ff", "000000FF", "+00000ff", "0000000ff"] {
            assert_eq!(crc_from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_base_url_is_a_host_and_a_port() {
        assert_eq!(base_url("http://[::1]:8082/").as_deref(), Ok("http://[::1]:8082"));
        assert_eq!(base_url("https://n1:8082/").as_deref(), Ok("https://n1:8082"));
        for text in
            ["n1:80", "ftp://n1:80", "http://n1", "http://n1:0", "http://n1:80/x", "http://u@n1:80", "http://:80"]
        {
            assert!(base_url(text).unwrap_err().contains("http://host:port"), "{text}");
        }
    }
}
