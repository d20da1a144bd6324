//! Calls of this node to others: it pulls shards from other nodes, so that repair traffic does not pass the coordinator, and it tells
//! coordinators where it is. Nothing else here names reqwest.

use crate::frames::Frames;
use bytes::Bytes;
use process::tls::ClientConfig;
use protocol::{
    ClusterFile, Error, ErrorKind, FRAME_HEADER_BYTES, PutOutcome, Result, Shard, ShardId, decode_outcomes, encode_ids,
    routes,
};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use std::time::Duration;

/// A peer must take the connection within this time,
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// bring bytes this often,
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// and be done after this long.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer of a coordinator that is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The bytes of one of the shards that were asked for.
pub type ReadOutcome = std::result::Result<Bytes, ErrorKind>;

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

    /// The bytes of shards that the node at `source` holds, `bytes_max` in all: each checked against the CRC32 it came with, and
    /// nothing else. An `Err` says nothing of any of them, and is never an absence.
    pub async fn read(&self, source: &str, ids: &[ShardId], bytes_max: usize) -> Result<Vec<ReadOutcome>> {
        let failed = |error: reqwest::Error| {
            Error::caused(ErrorKind::Unavailable, format!("peer {source}: {error}"), error.without_url())
        };
        let request = self.client.post(read_url(source)?).body(encode_ids(ids));
        let mut response = request.send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(refusal(source, &response));
        }
        let told = |error: Error| Error::unavailable(format!("peer {source}: {}", error.message));
        let (mut outcomes, mut frames) = (Vec::with_capacity(ids.len()), Frames::new(ids.len()));
        let mut left = ids.len() * FRAME_HEADER_BYTES + bytes_max;
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            let (outcome_bytes, framed) = piece.split_at(piece.len().min(ids.len() - outcomes.len()));
            outcomes.extend_from_slice(outcome_bytes);
            left = left.checked_sub(framed.len()).ok_or_else(|| {
                Error::unavailable(format!("peer {source}: {} shards of more than {bytes_max} bytes", ids.len()))
            })?;
            frames.push(framed).map_err(told)?;
        }
        let outcomes = decode_outcomes(&outcomes, ids.len()).map_err(told)?;
        sorted(ids, &outcomes, frames.finish().map_err(told)?).map_err(told)
    }
}

/// To each shard what came of it: the frames are those of the shards that were read, in order.
fn sorted(
    ids: &[ShardId],
    outcomes: &[PutOutcome],
    (sound, frames): (Vec<Shard>, Vec<PutOutcome>),
) -> Result<Vec<ReadOutcome>> {
    if outcomes.iter().filter(|outcome| outcome.is_ok()).count() != frames.len() {
        return Err(Error::invalid("it said that it read other shards than it sent"));
    }
    let (mut sound, mut frames) = (sound.into_iter(), frames.into_iter());
    let bytes = |(id, outcome): (&ShardId, &PutOutcome)| -> ReadOutcome {
        (*outcome)?;
        frames.next().expect("as many as there are shards that were read")?;
        let shard = sound.next().expect("as many as there are sound frames");
        if shard.id == *id { Ok(shard.data) } else { Err(ErrorKind::Corrupt) }
    };
    Ok(ids.iter().zip(outcomes).map(bytes).collect())
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

/// Why the peer refused the request. It says nothing of any shard.
fn refusal(source: &str, response: &Response) -> Error {
    let denied = response.status() == StatusCode::FORBIDDEN;
    let kind = if denied { ErrorKind::Denied } else { ErrorKind::Unavailable };
    Error::new(kind, format!("peer {source}: status {}", response.status().as_u16()))
}

fn read_url(source: &str) -> Result<Url> {
    let bad = || Error::invalid(format!("source {source:?} must be a base URL such as http://127.0.0.1:8081"));
    let base = Url::parse(source).map_err(|_| bad())?;
    let plain = base.path() == "/" && base.query().is_none() && base.username().is_empty() && base.password().is_none();
    if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() || !plain {
        return Err(bad());
    }
    base.join(routes::SHARDS_READ).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ChunkId;
    use uuid::Uuid;

    #[test]
    fn only_a_base_url_is_a_source() {
        assert_eq!(read_url("http://127.0.0.1:8081").unwrap().path(), routes::SHARDS_READ);
        for source in ["", "n1", "file:///etc/passwd", "http://a/b", "http://u:p@a", "http://a/?x=1", "mailto:a@b"] {
            assert_eq!(read_url(source).unwrap_err().kind, ErrorKind::Invalid, "{source}");
        }
    }

    #[test]
    fn each_shard_gets_its_own_outcome_and_never_anothers_bytes() {
        let shard = |n: u8| {
            let id = ShardId { chunk: ChunkId(Uuid::from_u128(n.into())), index: 0 };
            Shard::new(id, vec![n; 3].into())
        };
        let ids = [1, 2, 3, 4].map(|n| shard(n).id);
        let outcomes = [Ok(()), Err(ErrorKind::NotFound), Ok(()), Ok(())];
        let read = sorted(&ids, &outcomes, (vec![shard(1), shard(9)], vec![Ok(()), Err(ErrorKind::Corrupt), Ok(())]));
        let corrupt = || Err(ErrorKind::Corrupt);
        assert_eq!(read.unwrap(), [Ok(shard(1).data), Err(ErrorKind::NotFound), corrupt(), corrupt()]);
        assert!(sorted(&ids, &outcomes, (vec![shard(1)], vec![Ok(())])).is_err(), "frames are missing");
    }
}
