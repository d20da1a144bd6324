//! How a record becomes a value.
//!
//! ```text
//! offset 0  type     u8       which record: [`Migrate::TYPE`]; never reused for another
//!        1  version  u8       which layout of it: [`Migrate::VERSION`], from 1
//!        2  body     MessagePack, the fields in order as one array
//! ```
//!
//! What it keeps true:
//! - Every layout ever released is a type of its own (`records::…::v1`, `v2` …) and reads for ever: decoding walks from the
//!   stored version to the current one by [`Migrate::migrate`]. Old data is never a branch elsewhere.
//! - Bytes that are no such record, or have anything after it, are `Corrupt`; decoding never panics and never takes memory for a
//!   length it only read about.

use bytes::Bytes;
use protocol::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A stored layout of a record.
pub trait Migrate: Serialize + DeserializeOwned {
    /// The record's name in messages.
    const NAME: &'static str;
    /// Which record; the same for all its versions.
    const TYPE: u8;
    /// Which layout of it, from 1.
    const VERSION: u8;
    /// The layout before this one; [`Nothing`] for the first.
    type Previous: Migrate;

    /// This layout's form of what the previous one held.
    fn migrate(previous: Self::Previous) -> Self;
}

/// What came before the first version of a record.
#[derive(Debug, Serialize, Deserialize)]
pub enum Nothing {}

impl Migrate for Nothing {
    const NAME: &'static str = "nothing";
    const TYPE: u8 = 0;
    const VERSION: u8 = 0;
    type Previous = Nothing;

    fn migrate(previous: Nothing) -> Nothing {
        previous
    }
}

/// What most values need at most, in bytes; longer ones grow their buffer.
const VALUE_BYTES_USUAL: usize = 256;

/// The value that holds this record.
pub fn encode<R: Migrate>(record: &R) -> Bytes {
    let mut value = Vec::with_capacity(VALUE_BYTES_USUAL);
    value.extend_from_slice(&[R::TYPE, R::VERSION]);
    rmp_serde::encode::write(&mut value, record).expect("a record of plain fields written to memory");
    // Copied to its length: most values are shorter by half, and many thousands wait in memory to be indexed.
    Bytes::copy_from_slice(&value)
}

/// The record in this value; `Corrupt` if there is none.
pub fn decode<R: Migrate>(value: &[u8]) -> Result<R> {
    match value {
        [kind, version, body @ ..] if *kind == R::TYPE => decode_version(*version, body),
        [kind, ..] => Err(Error::corrupt(format!("{}: type {kind}, expected {}", R::NAME, R::TYPE))),
        [] => Err(Error::corrupt(format!("{}: the value is empty", R::NAME))),
    }
}

fn decode_version<R: Migrate>(version: u8, body: &[u8]) -> Result<R> {
    if version == R::VERSION {
        return decode_body(body);
    }
    if version > R::VERSION || R::Previous::VERSION == 0 {
        return Err(Error::corrupt(format!("{}: version {version} is not known", R::NAME)));
    }
    decode_version(version, body).map(R::migrate)
}

fn decode_body<R: Migrate>(body: &[u8]) -> Result<R> {
    let mut decoder = rmp_serde::Deserializer::new(body);
    let record = R::deserialize(&mut decoder)
        .map_err(|error| Error::caused(protocol::ErrorKind::Corrupt, format!("{}: {error}", R::NAME), error))?;
    match decoder.get_ref().len() {
        0 => Ok(record),
        bytes => Err(Error::corrupt(format!("{}: {bytes} bytes after its end", R::NAME))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ErrorKind;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct V1 {
        name: String,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct V2 {
        name: String,
        length: u64,
    }
    impl Migrate for V1 {
        const NAME: &'static str = "sample";
        const TYPE: u8 = 200;
        const VERSION: u8 = 1;
        type Previous = Nothing;
        fn migrate(previous: Nothing) -> V1 {
            match previous {}
        }
    }
    impl Migrate for V2 {
        const NAME: &'static str = "sample";
        const TYPE: u8 = 200;
        const VERSION: u8 = 2;
        type Previous = V1;
        fn migrate(previous: V1) -> V2 {
            V2 { length: previous.name.len() as u64, name: previous.name }
        }
    }

    #[test]
    fn an_old_version_is_read_as_the_new_one_and_never_the_other_way() {
        let old = encode(&V1 { name: "abc".to_owned() });
        assert_eq!(decode::<V2>(&old).unwrap(), V2 { name: "abc".to_owned(), length: 3 });
        let new = encode(&V2 { name: "abc".to_owned(), length: 3 });
        assert_eq!(decode::<V1>(&new).unwrap_err().kind, ErrorKind::Corrupt);
    }

    #[test]
    fn what_is_not_exactly_one_record_is_corrupt() {
        let good = encode(&V1 { name: "abc".to_owned() });
        let mut longer = good.to_vec();
        longer.push(0);
        let mut unborn = good.to_vec();
        unborn[1] = 0;
        let mut foreign = good.to_vec();
        foreign[0] = 1;
        for bytes in [&b""[..], &good[..1], &good[..2], &good[..good.len() - 1], &longer, &unborn, &foreign] {
            assert_eq!(decode::<V1>(bytes).unwrap_err().kind, ErrorKind::Corrupt, "{bytes:?}");
        }
    }
}
