//! `digest/<sha256><code>`: which chunk holds these bytes under this code, so that they are stored once.

pub use v1::DigestRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use protocol::ChunkId;
    use serde::{Deserialize, Serialize};

    /// The chunk with a digest.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct DigestRecord {
        /// Which chunk.
        pub chunk: ChunkId,
    }

    impl Migrate for DigestRecord {
        const NAME: &'static str = "digest record";
        const TYPE: u8 = 5;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> DigestRecord {
            match previous {}
        }
    }
}
