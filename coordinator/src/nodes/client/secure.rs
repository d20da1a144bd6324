//! TLS to a node: whom it trusts is said by the operator, and which name the node must show by its URL.

use process::tls::ClientConfig;
use protocol::{Error, Result};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// How the node at an `https` URL is told from others that answer there.
#[derive(Clone)]
pub(super) struct Secured {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Secured {
    /// `Invalid` if nobody is trusted, or no certificate can be for this host.
    pub(super) fn new(url: &str, host: &str, trust: Option<Arc<ClientConfig>>) -> Result<Secured> {
        let Some(trust) = trust else {
            return Err(Error::invalid(format!(
                "node URL {url}: name with --tls-ca the authorities that it is trusted by"
            )));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Error::invalid(format!("node URL {url}: no certificate can be for {host}: {error}")))?;
        Ok(Secured { connector: TlsConnector::from(trust), name })
    }

    pub(super) async fn over(&self, stream: TcpStream) -> io::Result<Box<TlsStream<TcpStream>>> {
        self.connector.connect(self.name.clone(), stream).await.map(Box::new)
    }
}
