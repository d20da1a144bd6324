//! The checksums of S3: computed over bytes as they come, and over the parts of what was uploaded in parts.
//!
//! What it keeps true: the checksum of a whole that was put together from parts is the one that its bytes have in one piece, though
//! nobody reads them again: a CRC follows from the CRCs and lengths of the parts ([`Whole`]). No such way exists for SHA-1 and SHA-256, so
//! of those there are only the hashes of the parts' hashes, which say of how many parts they are.

use crate::metadata::records::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use protocol::{Error, Result};
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// The checksum of bytes that come one after the other.
pub struct Checksummer {
    algorithm: ChecksumAlgorithm,
    state: State,
}

enum State {
    Crc(Digest),
    Hash(Context),
}

impl Checksummer {
    /// One that has seen nothing yet.
    pub fn new(algorithm: ChecksumAlgorithm) -> Checksummer {
        let state = match (crc_of(algorithm), hash_of(algorithm)) {
            (Some(crc), _) => State::Crc(Digest::new(crc)),
            (None, hash) => State::Hash(Context::new(hash)),
        };
        Checksummer { algorithm, state }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(data),
            State::Hash(context) => context.update(data),
        }
    }

    /// The checksum of all of them.
    pub fn finish(self) -> Checksum {
        let value = match self.state {
            State::Crc(digest) => crc_bytes(self.algorithm, digest.finalize()),
            State::Hash(context) => context.finish().as_ref().to_vec(),
        };
        Checksum { algorithm: self.algorithm, kind: ChecksumKind::FullObject, value, parts: None }
    }
}

/// The checksum of a whole, from those of the parts that follow one another.
pub struct Whole {
    algorithm: ChecksumAlgorithm,
    parts: u16,
    of: Of,
}

enum Of {
    Bytes { crc: CrcAlgorithm, combined: u64 },
    Checksums(Box<Checksummer>),
}

impl Whole {
    /// A whole without parts. `Invalid` for a kind that the algorithm does not have.
    pub fn new(algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> Result<Whole> {
        let of = match (kind, crc_of(algorithm)) {
            (ChecksumKind::Composite, _) => Of::Checksums(Box::new(Checksummer::new(algorithm))),
            (ChecksumKind::FullObject, Some(crc)) => Of::Bytes { crc, combined: Digest::new(crc).finalize() },
            (ChecksumKind::FullObject, None) => {
                let message = format!("{algorithm:?} of a whole object cannot be told from its parts: use COMPOSITE");
                return Err(Error::invalid(message));
            }
        };
        Ok(Whole { algorithm, parts: 0, of })
    }

    /// Adds the next part, of `bytes` bytes. `Invalid` if its checksum is another algorithm's.
    pub fn add(&mut self, part: &Checksum, bytes: u64) -> Result<()> {
        if part.algorithm != self.algorithm || part.value.len() != checksum_bytes(self.algorithm) {
            return Err(Error::invalid(format!("a part's checksum is {:?}, not {:?}", part.algorithm, self.algorithm)));
        }
        match &mut self.of {
            Of::Bytes { crc, combined } => *combined = checksum_combine(*crc, *combined, crc_value(&part.value), bytes),
            Of::Checksums(checksummer) => checksummer.update(&part.value),
        }
        self.parts += 1;
        Ok(())
    }

    /// The checksum of all of them.
    pub fn finish(self) -> Checksum {
        match self.of {
            Of::Bytes { combined, .. } => Checksum {
                algorithm: self.algorithm,
                kind: ChecksumKind::FullObject,
                value: crc_bytes(self.algorithm, combined),
                parts: None,
            },
            Of::Checksums(checksummer) => {
                Checksum { kind: ChecksumKind::Composite, parts: Some(self.parts), ..checksummer.finish() }
            }
        }
    }
}

/// How long a value of the algorithm is, in bytes.
pub fn checksum_bytes(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    }
}

fn crc_of(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

fn hash_of(algorithm: ChecksumAlgorithm) -> &'static Algorithm {
    match algorithm {
        ChecksumAlgorithm::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        _ => &SHA256,
    }
}

/// Big-endian, as S3 prints it.
fn crc_bytes(algorithm: ChecksumAlgorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - checksum_bytes(algorithm)..].to_vec()
}

fn crc_value(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, proptest};

    const ALL: [ChecksumAlgorithm; 5] = [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ];

    fn of(algorithm: ChecksumAlgorithm, data: &[u8]) -> Checksum {
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(data);
        checksummer.finish()
    }

    #[test]
    fn the_standards_own_examples() {
        // The check values of "123456789" in the CRC catalogue; the SHAs of "abc" in FIPS 180-4.
        let crcs = ["cbf43926", "e3069283", "ae8b14860a799888"];
        for (algorithm, expected) in ALL.into_iter().zip(crcs) {
            assert_eq!(hex::encode(of(algorithm, b"123456789").value), expected, "{algorithm:?}");
        }
        let sha1 = of(ChecksumAlgorithm::Sha1, b"abc").value;
        assert_eq!(hex::encode(sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let sha256 = of(ChecksumAlgorithm::Sha256, b"abc").value;
        assert_eq!(hex::encode(&sha256[..4]), "ba7816bf");
    }

    #[test]
    fn a_composite_one_is_the_hash_of_the_parts_hashes_and_says_of_how_many() {
        for algorithm in ALL {
            let parts = [of(algorithm, b"one"), of(algorithm, b"two")];
            let mut whole = Whole::new(algorithm, ChecksumKind::Composite).unwrap();
            parts.iter().for_each(|part| whole.add(part, 3).unwrap());
            let whole = whole.finish();
            let expected = of(algorithm, &[&parts[0].value[..], &parts[1].value].concat());
            assert_eq!((whole.value, whole.parts), (expected.value, Some(2)));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Whole::new(ChecksumAlgorithm::Sha256, ChecksumKind::FullObject).is_err());
        let mut whole = Whole::new(ChecksumAlgorithm::Crc32, ChecksumKind::FullObject).unwrap();
        assert!(whole.add(&of(ChecksumAlgorithm::Crc32c, b"a"), 1).is_err());
    }

    proptest! {
        #[test]
        fn crcs_of_parts_combine_to_that_of_the_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)
        ) {
            for algorithm in &ALL[..3] {
                let mut whole = Whole::new(*algorithm, ChecksumKind::FullObject).unwrap();
                for part in &parts {
                    whole.add(&of(*algorithm, part), part.len() as u64).unwrap();
                }
                assert_eq!(whole.finish(), of(*algorithm, &parts.concat()));
            }
        }
    }
}
