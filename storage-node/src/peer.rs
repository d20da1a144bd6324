//! Calls of this node to others: it pulls shards from other nodes, so that repair traffic does not pass the coordinator, and it tells
//! coordinators where it is. Nothing else here names reqwest.

use bytes::Bytes;
use process::tls::ClientConfig;
use protocol::{ClusterFile, Error, ErrorKind, Result, ShardCopy, ShardId, routes};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url};
use std::time::Duration;

/// A peer must take the connection within this time,
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// bring bytes this often,
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// and be done after this long.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer of a coordinator that is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The way to other processes of the cluster.
pub struct Peers {
    client: Client,
}

impl Peers {
    /// Calls that carry the cluster's secret and id, and that trust `trust` where the other's URL is `https`.
    pub fn new(cluster: &ClusterFile, trust: ClientConfig) -> Result<Peers> {
        let mut headers = HeaderMap::new();
        let mut secret = HeaderValue::from_str(&cluster.secret)
            .map_err(|_| Error::invalid("the cluster secret cannot be sent as a header"))?;
        secret.set_sensitive(true);
        headers.insert(routes::HEADER_SECRET, secret);
        let id = HeaderValue::from_str(&cluster.cluster.to_string()).expect("a uuid is a header value");
        headers.insert(routes::HEADER_CLUSTER, id);
        let client = Client::builder()
            .default_headers(headers)
            .tls_backend_preconfigured(trust)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| Error::caused(ErrorKind::Unavailable, "HTTP client", error))?;
        Ok(Peers { client })
    }

    /// The bytes of a shard that the node at `copy.source` holds, not yet verified.
    pub async fn get(&self, copy: &ShardCopy) -> Result<Bytes> {
        let ShardCopy { source, shard: id, length, .. } = copy;
        let (id, length) = (*id, *length as usize);
        let url = shard_url(source, id)?;
        let failed = |error: reqwest::Error| {
            Error::caused(ErrorKind::Unavailable, format!("peer {source}: {error}"), error.without_url())
        };
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(refusal(source, id, &response));
        }
        let mut data = Vec::with_capacity(length);
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if data.len() + piece.len() > length {
                return Err(Error::corrupt(format!("peer {source}: shard {id} is longer than {length} bytes")));
            }
            data.extend_from_slice(&piece);
        }
        Ok(Bytes::from(data))
    }
}

impl Peers {
    /// Tells the coordinator at `coordinator` that this node is at `url`. `Denied` with its reason if it does not take it.
    pub async fn announce(&self, coordinator: &str, url: &str) -> Result<()> {
        let body = serde_json::json!({ "url": url }).to_string();
        let to = format!("{coordinator}{}", routes::ADMIN_NODES);
        let failed = |error: reqwest::Error| Error::unavailable(format!("{coordinator}: {}", error.without_url()));
        let mut response = self.client.post(to).body(body).send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let mut text = Vec::new();
        while let Ok(Some(piece)) = response.chunk().await {
            if text.len() + piece.len() > ANSWER_BYTES_MAX {
                break;
            }
            text.extend_from_slice(&piece);
        }
        let told: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let why = told["error"].as_str().unwrap_or("no reason given").to_owned();
        let kind = if status.is_client_error() { ErrorKind::Denied } else { ErrorKind::Unavailable };
        Err(Error::new(kind, format!("{coordinator}: status {}: {why}", status.as_u16())))
    }
}

/// What the peer said; an answer that is not a node's is `Unavailable`, never an absence.
fn refusal(source: &str, id: ShardId, response: &Response) -> Error {
    let told = response.headers().get(routes::HEADER_ERROR).and_then(|value| value.to_str().ok());
    let kind = told.and_then(|told| ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == told));
    let status = response.status().as_u16();
    Error::new(kind.unwrap_or(ErrorKind::Unavailable), format!("peer {source}: shard {id}: status {status}"))
}

fn shard_url(source: &str, id: ShardId) -> Result<Url> {
    let bad = || Error::invalid(format!("source {source:?} must be a base URL such as http://127.0.0.1:8081"));
    let base = Url::parse(source).map_err(|_| bad())?;
    let plain = base.path() == "/" && base.query().is_none() && base.username().is_empty() && base.password().is_none();
    if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() || !plain {
        return Err(bad());
    }
    base.join(&format!("{}/{id}", routes::SHARDS)).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ChunkId;
    use uuid::Uuid;

    #[test]
    fn only_a_base_url_is_a_source() {
        let id = ShardId { chunk: ChunkId(Uuid::from_u128(1)), index: 0 };
        let url = shard_url("http://127.0.0.1:8081", id).unwrap();
        assert_eq!(url.path(), format!("/shards/{id}"));
        for source in ["", "n1", "file:///etc/passwd", "http://a/b", "http://u:p@a", "http://a/?x=1", "mailto:a@b"] {
            assert_eq!(shard_url(source, id).unwrap_err().kind, ErrorKind::Invalid, "{source}");
        }
    }
}
