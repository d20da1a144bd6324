//! TLS at the edges of a process: certificates for listeners, read again when they change, and whom calls to others trust.
//!
//! What it keeps true:
//! - A listener always has a whole certificate: one that is being replaced, or does not go with its key, is not taken; the old one stays
//!   and the log says why.
//! - Connections under way keep theirs. New ones get what the files held at most [`LOOK_EVERY`] ago.
//! - A call to `https` trusts the authorities that the operator named, and nobody else.

use metrics::{Unit, describe_gauge, gauge};
use protocol::{Error, ErrorKind, Result};
use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tracing::{info, warn};
use x509_parser::parse_x509_certificate;

pub use rustls::{ClientConfig, ServerConfig};

/// How often the files of a certificate are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The gauge that tells when the certificate ends.
const EXPIRY: &str = "tls_certificate_expiry_timestamp_seconds";
/// The longest certificate or key file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The certificate that a process shows to those who connect.
#[derive(Clone)]
pub struct Certificate {
    shown: Arc<Shown>,
}

struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What both files hold.
#[derive(PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// The certificate chain and the private key in these files (PEM). The error names the file that is not as it should be.
    pub fn load(certificate: &Path, key: &Path) -> Result<Certificate> {
        let certified = Pem::read(certificate, key)?.certified(certificate, key)?;
        describe_gauge!(EXPIRY, Unit::Seconds, "When the certificate shown to clients ends, in seconds since 1970.");
        show_expiry(&certified);
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Certificate { shown: Arc::new(Shown { certificate, key, current: RwLock::new(Arc::new(certified)) }) })
    }

    /// Settings of a listener that shows it, whatever it becomes.
    pub fn server(&self) -> ServerConfig {
        let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let versions = versions.expect("ring speaks TLS 1.2 and 1.3");
        versions.with_no_client_auth().with_cert_resolver(self.shown.clone())
    }

    /// Reads the files again and again, and takes what they became; until it is dropped.
    pub async fn follow(&self) {
        let Shown { certificate, key, current } = &*self.shown;
        let mut seen = Pem::read(certificate, key).ok();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let found = Pem::read(certificate, key).ok();
            if found == seen {
                continue;
            }
            seen = found;
            let shown = certificate.display();
            let certified = Pem::read(certificate, key).and_then(|pem| pem.certified(certificate, key));
            match certified {
                Ok(certified) => {
                    show_expiry(&certified);
                    *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    info!(target: "degradation", certificate = %shown, "the certificate was replaced");
                }
                Err(error) => {
                    warn!(target: "degradation", %error, "the new certificate cannot be used; the old one stays");
                }
            }
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({})", self.certificate.display())
    }
}

impl Pem {
    fn read(certificate: &Path, key: &Path) -> Result<Pem> {
        Ok(Pem { certificate: read(certificate)?, key: read(key)? })
    }

    fn certified(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey> {
        let chain = certificates(&self.certificate, certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| Error::invalid(format!("{} is no private key (PEM): {error}", key.display())))?;
        CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
            Error::invalid(format!("{} and {} do not go together: {error}", certificate.display(), key.display()))
        })
    }
}

/// Settings of calls to `https` that trust the authorities in this file (PEM); without one they trust nobody.
pub fn client(authorities: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        for certificate in certificates(&read(path)?, path)? {
            let added = roots.add(certificate);
            added.map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        }
    }
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let versions: ConfigBuilder<ClientConfig, _> = versions.expect("ring speaks TLS 1.2 and 1.3");
    let trusting: ConfigBuilder<ClientConfig, WantsClientCert> = versions.with_root_certificates(roots);
    Ok(trusting.with_no_client_auth())
}

/// Tells when the first certificate of the chain ends that does.
fn show_expiry(certified: &CertifiedKey) {
    let ends = |der: &CertificateDer<'_>| {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    };
    if let Some(first_s) = certified.cert.iter().filter_map(ends).min() {
        gauge!(EXPIRY).set(first_s as f64);
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |why: &dyn fmt::Display| Error::invalid(format!("{} holds no certificates (PEM): {why}", path.display()));
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| bad(&error))?;
    if all.is_empty() { Err(bad(&"there is none in it")) } else { Ok(all) }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        Error::caused(ErrorKind::Unavailable, format!("cannot read {}: {error}", path.display()), error)
    };
    if path.metadata().map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(Error::invalid(format!("{} is longer than {FILE_BYTES_MAX} bytes", path.display())));
    }
    std::fs::read(path).map_err(failed)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
