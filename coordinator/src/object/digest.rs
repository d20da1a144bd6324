//! MD5, for the doors whose protocol wants it; SHA-256, the name of content, is [`protocol::Sha256`].

use md5::Md5 as Md5State;
use md5::digest::Digest as _;

/// The MD5 of bytes that come one after the other: 1.76 CPU-s/GiB (measured), so only where a door asks for it, and of few bytes.
#[derive(Default)]
pub(super) struct Md5(Md5State);

impl Md5 {
    pub(super) fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    pub(super) fn finish(self) -> [u8; 16] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_s_own_example() {
        let mut parts = Md5::default();
        parts.update(b"ab");
        parts.update(b"c");
        assert_eq!(hex::encode(parts.finish()), "900150983cd24fb0d6963f7d28e17f72"); // RFC 1321, A.5
    }
}
