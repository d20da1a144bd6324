//! Settings of who may come in and how much of it: authentication, limits, TLS, the audit log.

use clap::{Args, ValueEnum};
use process::settings::bytes;
use std::num::NonZeroU32;
use std::path::PathBuf;

/// The most requests per minute that can be asked for as a limit.
const RATE_MAX: u32 = 1_000_000;
/// Requests per minute of one address on listeners that are not on loopback, if nothing else is said (contract E6).
pub const RATE_PER_IP: NonZeroU32 = NonZeroU32::new(100).expect("it is not 0");
/// The most `--requests-max`.
const REQUESTS_MAX: usize = 1 << 20;
/// The most `--audit-files`.
const AUDIT_FILES_MAX: usize = 1_000;
/// The least `--audit-file-bytes`.
const AUDIT_FILE_BYTES_MIN: u64 = 4 << 10;

/// Whether clients are asked for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Unless every listener is on loopback, or --insecure-no-auth is given
    Auto,
    /// Always
    On,
}

/// Who may come in, and how much.
#[derive(Clone, Debug, Args)]
pub struct Access {
    /// Whether clients must show a key
    #[arg(long, env = "HOLDFAST_AUTH", value_enum, default_value = "auto")]
    pub auth: Auth,

    /// Serve addresses other than loopback without asking for keys: whoever reaches them may do anything
    #[arg(long, env = "HOLDFAST_INSECURE_NO_AUTH")]
    pub insecure_no_auth: bool,

    /// File with the key under which secrets of access keys are encrypted, at least 32 characters; it must never change. The
    /// environment variable HOLDFAST_CREDENTIALS_KEY, or .env, may hold the key itself. Without either it is made of the cluster's secret
    #[arg(long, env = "HOLDFAST_CREDENTIALS_KEY_FILE", value_name = "FILE")]
    pub credentials_key_file: Option<PathBuf>,

    /// Make the admin key anew and print it, when nobody has one any more
    #[arg(long)]
    pub reset_admin_key: bool,

    /// Requests per minute taken of one address, on every listener; 0 = any. Not given: 100, and any on loopback
    #[arg(long, env = "HOLDFAST_RATE_PER_IP", value_name = "N")]
    pub rate_per_ip: Option<u32>,

    /// Requests per minute taken with one key; 0 = any
    #[arg(long, env = "HOLDFAST_RATE_PER_KEY", value_name = "N", default_value_t = 0)]
    pub rate_per_key: u32,

    /// Requests served at once; more are told to come again
    #[arg(long, env = "HOLDFAST_REQUESTS_MAX", value_name = "N", default_value_t = 4_096)]
    pub requests_max: usize,

    /// Certificate chain (PEM): every listener speaks TLS. Read again when it changes
    #[arg(long, env = "HOLDFAST_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key (PEM) of --tls-cert
    #[arg(long, env = "HOLDFAST_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Certificates (PEM) of the authorities that storage nodes with https:// URLs are trusted by
    #[arg(long, env = "HOLDFAST_TLS_CA", value_name = "FILE", global = true)]
    pub tls_ca: Option<PathBuf>,

    /// File of the audit log: a JSON line for every request. Older ones lie beside it as FILE.1, FILE.2 …
    #[arg(long, env = "HOLDFAST_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,

    /// Bytes of one file of the audit log
    #[arg(long, env = "HOLDFAST_AUDIT_FILE_BYTES", value_name = "BYTES", value_parser = bytes, default_value = "64MiB")]
    pub audit_file_bytes: u64,

    /// Files of the audit log that are kept, the one written to among them
    #[arg(long, env = "HOLDFAST_AUDIT_FILES", value_name = "N", default_value_t = 8)]
    pub audit_files: usize,
}

impl Access {
    /// The first thing that cannot work.
    pub(super) fn mistake(&self) -> Option<String> {
        if self.auth == Auth::On && self.insecure_no_auth {
            return Some("--auth on and --insecure-no-auth contradict each other".to_owned());
        }
        let rates = [("--rate-per-ip", self.rate_per_ip.unwrap_or(0)), ("--rate-per-key", self.rate_per_key)];
        if let Some((flag, rate)) = rates.into_iter().find(|(_, rate)| *rate > RATE_MAX) {
            return Some(format!("{flag} {rate}: must be at most {RATE_MAX} requests per minute"));
        }
        if !(1..=REQUESTS_MAX).contains(&self.requests_max) {
            return Some(format!("--requests-max {}: must be from 1 to {REQUESTS_MAX}", self.requests_max));
        }
        if !(1..=AUDIT_FILES_MAX).contains(&self.audit_files) {
            return Some(format!("--audit-files {}: must be from 1 to {AUDIT_FILES_MAX}", self.audit_files));
        }
        if self.audit_file_bytes < AUDIT_FILE_BYTES_MIN {
            let given = self.audit_file_bytes;
            return Some(format!("--audit-file-bytes {given}: must be at least {AUDIT_FILE_BYTES_MIN}"));
        }
        None
    }
}
