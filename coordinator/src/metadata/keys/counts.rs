//! Keys of what was counted of buckets.

use super::{KeyRange, SAVINGS, USAGE, after, join, name, starting_with, strip, text};
use bytes::Bytes;
use protocol::Result;

/// How full a bucket was.
pub fn usage(bucket: &str) -> Bytes {
    join(&[USAGE, name(bucket)])
}

/// All of these.
pub fn usages() -> KeyRange {
    starting_with(Bytes::from_static(USAGE))
}

/// The bucket of a [`usage`] key.
pub fn parse_usage(key: &[u8]) -> Result<&str> {
    text(key, strip(key, USAGE)?)
}

/// What a bucket holds, and what that takes.
pub fn savings(bucket: &str) -> Bytes {
    join(&[SAVINGS, name(bucket)])
}

/// The same of the buckets whose names come after `bucket`; of all of them after the empty name, which is no bucket's.
pub fn savings_after(bucket: &str) -> KeyRange {
    KeyRange { from: after(&savings(bucket)), to: starting_with(Bytes::from_static(SAVINGS)).to }
}

/// The bucket in a [`savings`] key.
pub fn parse_savings(key: &[u8]) -> Result<&str> {
    text(key, strip(key, SAVINGS)?)
}

/// What all buckets hold together.
pub fn savings_of_all() -> Bytes {
    Bytes::from_static(b"savings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_savings_of_buckets_come_one_after_the_other_and_those_of_all_apart() {
        assert_eq!(parse_savings(&savings("b")).unwrap(), "b");
        let holds = |after: &str, key: &Bytes| (savings_after(after).from..savings_after(after).to).contains(key);
        assert!(holds("", &savings("b")) && holds("a", &savings("b")) && holds("b", &savings("b-c")));
        assert!(!holds("b", &savings("b")) && !holds("", &savings_of_all()));
    }
}
