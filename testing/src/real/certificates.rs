//! Certificates of a test's own: an authority, and what it certifies for 127.0.0.1.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};

/// An authority, in files that processes are pointed at.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate (PEM).
    pub file: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Certified {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// As it goes over the wire.
    pub der: Vec<u8>,
}

impl Authority {
    /// A fresh one, whose certificate is written into `directory`.
    pub fn new(directory: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority certifies itself");
        let file = directory.join(format!("{name}.pem"));
        put(&file, &issuer.pem());
        Authority { issuer, file }
    }

    /// A fresh certificate for 127.0.0.1 and localhost.
    pub fn certify(&self) -> Certified {
        self.certify_with(|_| {})
    }

    /// The same, which ended on the first day of 2020.
    pub fn certify_ended(&self) -> Certified {
        self.certify_with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))
    }

    fn certify_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Certified {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(names).expect("names that can be certified");
        change(&mut params);
        let signed = params.signed_by(&key, &self.issuer).expect("an authority certifies");
        Certified { certificate: signed.pem(), key: key.serialize_pem(), der: signed.der().to_vec() }
    }
}

impl Certified {
    /// Writes both files, named `name.pem` and `name.key`; gives their paths.
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        put(&certificate, &self.certificate);
        put(&key, &self.key);
        (certificate, key)
    }
}

#[expect(clippy::disallowed_methods, reason = "a file of a test, which no power cut is to spare")]
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file can be written");
}
