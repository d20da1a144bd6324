//! Where to post to: a plain `http://` URL, and HTTP/1.1 by hand: a client library for one request and one status line would be the
//! larger part, and brings timeouts and pools of its own.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Position, Url};

/// How much of an answer is read.
const ANSWER_BYTES_MAX: u64 = 4 << 10;

/// What became of a post.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The other side has it.
    Taken,
    /// It may be taken later.
    Later(String),
    /// It will not be taken, however often it is sent.
    Never(String),
}

/// A server, and what each request to it begins with.
#[derive(Debug)]
pub(super) struct Destination {
    host: String,
    port: u16,
    head: String,
}

impl Destination {
    /// `path` below this base URL; an error says why it cannot be one.
    pub(super) fn parse(url: &str, path: &str, content_type: &str) -> Result<Destination, &'static str> {
        let base = Url::parse(url).map_err(|_| "not a URL")?;
        if base.scheme() != "http" {
            return Err("only http:// is supported");
        }
        let host = base.host_str().ok_or("no host")?.trim_matches(['[', ']']).to_owned();
        let port = base.port_or_known_default().expect("http has a default port");
        let head = format!(
            "POST {}{path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\nconnection: close\r\n",
            base.path().trim_end_matches('/'),
            &base[Position::BeforeHost..Position::AfterPort]
        );
        Ok(Destination { host, port, head })
    }

    /// Sends a body; the caller bounds the time.
    pub(super) async fn post(&self, body: &[u8]) -> Outcome {
        match self.exchange(body).await {
            Ok(answer) => sort(&answer),
            Err(error) => Outcome::Later(error.to_string()),
        }
    }

    async fn exchange(&self, body: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let head = format!("{}content-length: {}\r\n\r\n", self.head, body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// 429 and 5xx may pass; other refusals are about what was sent (too old, too long), or the way there is wrong.
fn sort(answer: &str) -> Outcome {
    let status = answer.lines().next().and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
    match status {
        Some(200..=299) => Outcome::Taken,
        Some(status @ (429 | 500..=599)) => Outcome::Later(format!("status {status}")),
        None => Outcome::Later("no HTTP answer".to_owned()),
        Some(status) => Outcome::Never(format!("status {status}: {}", answer.lines().next_back().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_path_and_an_ipv6_host() {
        let at = Destination::parse("http://[::1]:3100/logs/", "/v1/x", "text/plain").unwrap();
        assert_eq!((at.host.as_str(), at.port), ("::1", 3100));
        assert!(at.head.starts_with("POST /logs/v1/x HTTP/1.1\r\nhost: [::1]:3100\r\n"), "{}", at.head);
        let at = Destination::parse("http://loki", "/v1/x", "text/plain").unwrap();
        assert_eq!((at.port, at.head.contains("POST /v1/x HTTP/1.1\r\nhost: loki\r\n")), (80, true));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(sort("HTTP/1.1 204 No Content\r\n\r\n"), Outcome::Taken);
        for answer in ["HTTP/1.1 429 Too Many Requests\r\n\r\n", "HTTP/1.1 503 Service Unavailable\r\n\r\n", ""] {
            assert!(matches!(sort(answer), Outcome::Later(_)), "{answer}");
        }
        let never = sort("HTTP/1.1 400 Bad Request\r\n\r\nentry too far behind");
        assert_eq!(never, Outcome::Never("status 400: entry too far behind".to_owned()));
    }
}
