//! Secrets: how they are made, what of them is kept, and that nobody sees them by accident.
//!
//! What it keeps true: a [`Secret`] prints as `…` whatever prints it, and what is compared with one is compared in constant time.

use crate::metadata::records::Sha256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::{Error, Result, secrets_match};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// What every bearer token starts with (contract E2); [`TOKEN_CHARS`] follow.
pub const TOKEN_PREFIX: &str = "s3_key_";
/// URL-safe characters of a token behind its prefix: 32 random bytes.
pub const TOKEN_CHARS: usize = 43;
/// What every access key id starts with.
pub const ID_PREFIX: &str = "HF";
/// Characters of an access key id, as clients of S3 expect.
pub const ID_CHARS: usize = 20;
/// Letters and digits of an id; 32 of them, none easily taken for another.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Random bytes of a signing secret; 40 characters.
const SIGNING_BYTES: usize = 30;
const TOKEN_BYTES: usize = 32;

/// Something that lets whoever has it in.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A fresh bearer token.
    pub fn token() -> Result<Secret> {
        Ok(Secret(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random::<TOKEN_BYTES>()?))))
    }

    /// A fresh secret for signatures.
    pub fn signing() -> Result<Secret> {
        Ok(Secret(URL_SAFE_NO_PAD.encode(random::<SIGNING_BYTES>()?)))
    }

    /// This text, as a secret.
    pub fn of(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself: for whoever computes with it, or shows it to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret; how long that takes does not tell where they differ.
    pub fn is(&self, given: &[u8]) -> bool {
        secrets_match(given, self.0.as_bytes())
    }

    /// What is kept of a bearer token. A plain hash is enough: a token has 256 random bits, and nothing that guesses words finds it.
    pub fn sha256(&self) -> Sha256 {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A fresh access key id.
pub fn fresh_id() -> Result<String> {
    let random = random::<{ ID_CHARS - ID_PREFIX.len() }>()?;
    let tail = random.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]));
    Ok(ID_PREFIX.chars().chain(tail).collect())
}

/// The hash by which a token is known; `None` for what cannot be one.
pub fn token_sha256(given: &[u8]) -> Option<Sha256> {
    let tail = given.strip_prefix(TOKEN_PREFIX.as_bytes())?;
    let plain =
        tail.len() == TOKEN_CHARS && tail.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    plain.then(|| sha256(given))
}

fn sha256(bytes: &[u8]) -> Sha256 {
    digest(&SHA256, bytes).as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// Not of the simulation's clock: secrets must not be replayable.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::unavailable("the system gives no random bytes"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_as_the_contract_says_and_known_by_its_hash() {
        let token = Secret::token().unwrap();
        assert_eq!(token.reveal().len(), TOKEN_PREFIX.len() + TOKEN_CHARS);
        assert_eq!(token_sha256(token.reveal().as_bytes()), Some(token.sha256()));
        assert_ne!(token.sha256(), Secret::token().unwrap().sha256());
        for bad in ["", "s3_key_", "s3_key_short", &token.reveal()[1..], &format!("{}x", token.reveal())] {
            assert_eq!(token_sha256(bad.as_bytes()), None, "{bad}");
        }
        let odd = token.reveal().replace(|c: char| c.is_ascii_digit(), "+");
        assert!(odd == token.reveal() || token_sha256(odd.as_bytes()).is_none());
    }

    #[test]
    fn no_secret_is_printed() {
        let secret = Secret::signing().unwrap();
        assert_eq!(secret.reveal().len(), 40);
        assert_eq!(format!("{secret:?}"), "…");
        assert!(
            secret.is(secret.reveal().as_bytes()) && !secret.is(b"") && !secret.is(&secret.reveal().as_bytes()[1..])
        );
    }

    #[test]
    fn ids_are_those_that_s3_clients_take() {
        let id = fresh_id().unwrap();
        assert_eq!(id.len(), ID_CHARS);
        assert!(id.starts_with(ID_PREFIX) && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
        assert_ne!(id, fresh_id().unwrap());
    }
}
