//! Secrets at rest: AES-256-GCM under the cluster's credentials key.
//!
//! ```text
//! offset 0  key     8 bytes   start of the SHA-256 of the key it is sealed under
//!        8  nonce  12 bytes   random
//!       20  text              as long as the secret, encrypted
//!           tag    16 bytes   over the text and the credential's id
//! ```
//!
//! What it keeps true:
//! - What was sealed for one credential does not open for another, nor under another key, nor with a bit changed.
//! - A wrong key is told apart from damage: the operator learns which of the two it is.

use super::secret::{Secret, random};
use protocol::{ClusterFile, Error, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use std::fmt;

const KEY_BYTES: usize = 32;
const KEY_NAME_BYTES: usize = 8;
/// What the derived key is for; another use has another text, and so another key.
const DERIVED_FOR: &[u8] = b"holdfast credentials 1";
/// The least characters of key material that an operator gives.
const MATERIAL_CHARS_MIN: usize = 32;

/// Opens and closes secrets.
pub struct Sealer {
    key: LessSafeKey,
    name: [u8; KEY_NAME_BYTES],
}

struct SealingKey;

impl KeyType for SealingKey {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl Sealer {
    /// Under a key of the operator's own: any text of at least 32 characters, best from a random source.
    pub fn of_key(material: &str) -> Result<Sealer> {
        let material = material.trim();
        if material.len() < MATERIAL_CHARS_MIN {
            let length = material.len();
            return Err(Error::invalid(format!(
                "the credentials key has {length} characters, at least {MATERIAL_CHARS_MIN} are needed"
            )));
        }
        Ok(Sealer::derived(b"", material.as_bytes()))
    }

    /// Under a key made of the cluster's secret, where there is no other.
    pub fn of_cluster(cluster: &ClusterFile) -> Sealer {
        Sealer::derived(cluster.cluster.0.as_bytes(), cluster.secret.as_bytes())
    }

    fn derived(salt: &[u8], material: &[u8]) -> Sealer {
        let random = Salt::new(HKDF_SHA256, salt).extract(material);
        let mut key = [0; KEY_BYTES];
        let output = random.expand(&[DERIVED_FOR], SealingKey).expect("32 bytes are within HKDF's bound");
        output.fill(&mut key).expect("the length was asked for");
        let name = digest(&SHA256, &key).as_ref()[..KEY_NAME_BYTES].try_into().expect("a SHA-256 is longer");
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes");
        Sealer { key: LessSafeKey::new(key), name }
    }

    /// The secret of credential `id`, as it may be stored.
    pub fn seal(&self, id: &str, secret: &Secret) -> Result<Vec<u8>> {
        let nonce = random::<NONCE_LEN>()?;
        let mut text = secret.reveal().as_bytes().to_vec();
        let sealing = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_append_tag(sealing, Aad::from(id.as_bytes()), &mut text);
        sealed.map_err(|_| Error::invalid("the secret is too long to be sealed"))?;
        Ok([&self.name[..], &nonce, &text].concat())
    }

    /// The secret that was sealed for credential `id`. `Denied` under another key, `Corrupt` if it is damaged.
    pub fn open(&self, id: &str, sealed: &[u8]) -> Result<Secret> {
        let damaged = || Error::corrupt(format!("the secret of key {id} is damaged"));
        let (name, rest) = sealed.split_first_chunk::<KEY_NAME_BYTES>().ok_or_else(damaged)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        if *name != self.name {
            return Err(Error::denied(format!(
                "the secret of key {id} is sealed under credentials key {}, and this process has {}",
                hex::encode(name),
                hex::encode(self.name)
            )));
        }
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(id.as_bytes()), &mut text).map_err(|_| damaged())?;
        String::from_utf8(opened.to_vec()).map(Secret::of).map_err(|_| damaged())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", hex::encode(self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use protocol::{ClusterId, ErrorKind};
    use uuid::Uuid;

    fn sealer() -> Sealer {
        Sealer::of_key(&"k".repeat(40)).unwrap()
    }

    #[test]
    fn a_secret_opens_for_its_credential_under_its_key_only() {
        let secret = Secret::signing().unwrap();
        let sealed = sealer().seal("HFA", &secret).unwrap();
        assert_eq!(sealer().open("HFA", &sealed).unwrap().reveal(), secret.reveal());
        assert_eq!(sealer().open("HFB", &sealed).unwrap_err().kind, ErrorKind::Corrupt);
        let cluster = ClusterFile { cluster: ClusterId(Uuid::from_u128(7)), secret: "k".repeat(40) };
        let other = Sealer::of_cluster(&cluster).open("HFA", &sealed).unwrap_err();
        assert_eq!(other.kind, ErrorKind::Denied, "the salt makes it another key");
        assert!(!format!("{other} {:?}", sealer()).contains(secret.reveal()));
        let text = String::from_utf8_lossy(&sealed).into_owned();
        assert!(!text.contains(secret.reveal()));
        assert_ne!(sealed, sealer().seal("HFA", &secret).unwrap(), "no nonce is used twice");
        assert!(Sealer::of_key(" short ").unwrap_err().message.contains("at least 32"));
    }

    proptest! {
        #[test]
        fn no_changed_bit_and_no_cut_opens(at in any::<usize>(), bit in 0u8..8, cut in any::<usize>()) {
            let sealed = sealer().seal("HFA", &Secret::of("secret".to_owned())).unwrap();
            let mut changed = sealed.clone();
            let at = at % sealed.len();
            changed[at] ^= 1 << bit;
            assert!(sealer().open("HFA", &changed).is_err());
            assert!(sealer().open("HFA", &sealed[..cut % sealed.len()]).is_err());
        }
    }
}
