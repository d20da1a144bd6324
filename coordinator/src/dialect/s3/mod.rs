//! The S3 protocol, on a port of its own: [`s3s`] parses, verifies signatures and prints; this door calls the verbs.
//!
//! What it keeps true:
//! - What is not done here answers `NotImplemented`, never a success; `docs/s3.md` lists every operation and header.
//! - Whatever was promised of a body (length, MD5, checksum, SHA-256) is verified before anything of it can be seen.
//! - Memory does not grow with the size of a body: bodies go piece by piece, except for forms, whose files have a bound.
//! - The library is known in this directory only.

mod access;
mod attributes;
mod bucket;
mod chunked;
mod copy;
mod cors;
mod delete;
mod fault;
mod form;
mod front;
mod heads;
mod incoming;
mod lifecycle;
mod linger;
mod list;
mod listener;
mod lock;
mod multipart;
mod operations;
mod particulars;
mod post;
mod promise;
mod read;
mod route;
mod served;
mod settings;
mod signature;
mod signed_headers;
mod tags;
mod target;
mod times;
mod told;
mod unverified;
mod uploads;
mod versions;
mod words;
mod write;

pub use listener::S3Listener;

use super::Door;
use access::Keys;
use front::Front;
use operations::Operations;
use process::tls::ServerConfig;
use protocol::Result;
use route::Objects;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use std::net::TcpListener;
use std::sync::Arc;
use target::Hosts;

/// The largest document that describes something, such as a list of keys to delete.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// What the listener needs to know of the settings.
#[derive(Clone, Debug, Default)]
pub struct S3Settings {
    /// The domain below which host names are buckets'.
    pub domain: Option<String>,
    /// Whether signatures of version 2 are accepted.
    pub takes_v2: bool,
}

/// Serves the S3 protocol on `listener`, over TLS where there are settings for it, until it is stopped.
pub fn serve(
    door: Door,
    listener: &TcpListener,
    settings: S3Settings,
    tls: Option<ServerConfig>,
) -> Result<S3Listener> {
    let threads = door.settings.workers;
    let shared = Arc::new(door.clone());
    let mut builder = S3ServiceBuilder::new(Operations { door: shared.clone(), takes_v2: settings.takes_v2 });
    let mut config = S3Config::default();
    config.xml_max_body_size = DOCUMENT_BYTES_MAX;
    // It means forms, too, which are good for as long as their policy says; the dates of all others are judged before.
    config.presigned_url_max_skew_time_secs = signature::PRESIGNED_S_MAX;
    config.post_object_max_file_size = form::FORM_FILE_BYTES_MAX;
    // It counts what of the file came with the last of them.
    config.form_max_fields_size = form::FORM_FIELDS_BYTES_MAX + form::PIECE_BYTES;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Keys { door: shared.clone() });
    builder.set_access(Keys { door: shared.clone() });
    builder.set_validation(target::Names);
    builder.set_route(Objects { door: shared });
    if let Some(domain) = &settings.domain {
        builder.set_host(Hosts { domain: domain.clone() });
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let front = Front::new(door, builder.build(), settings, scheme);
    S3Listener::start(Arc::new(front), listener, threads, tls)
}
