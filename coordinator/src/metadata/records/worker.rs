//! `worker/<name>`: how far a worker that walks through everything has come, so that the next process goes on from there.

pub use v1::WorkerRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// Progress of a pass.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct WorkerRecord {
        /// Where the pass goes on, in the worker's own terms; empty before its first step.
        #[serde(with = "serde_bytes")]
        pub position: Vec<u8>,
        /// When the pass under way began, in milliseconds since 1970; 0 if none is.
        pub started_ms: u64,
        /// When the last whole pass ended; 0 if there was none.
        pub finished_ms: u64,
        /// What it counted since the pass began, or in the last one.
        pub counts: BTreeMap<String, u64>,
    }

    impl Migrate for WorkerRecord {
        const NAME: &'static str = "worker record";
        const TYPE: u8 = 15;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> WorkerRecord {
            match previous {}
        }
    }
}
