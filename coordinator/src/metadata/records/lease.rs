//! `lease/<name>` and `beat/<name>`: who does a kind of work, and that it still does.
//!
//! The lease's revision is the fencing token (law 9): it changes when the lease changes hands and at no other time, and every commit
//! of its work checks it. The beat changes all the time; whoever sees it stand still long enough may take the lease.

pub use v1::LeaseRecord;

/// The first layout.
pub mod v1 {
    use crate::metadata::codec::{Migrate, Nothing};
    use serde::{Deserialize, Serialize};

    /// A lease or its heartbeat.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct LeaseRecord {
        /// Who holds it: a name for people, and a fresh id for each life of a process.
        pub holder: String,
        /// How many heartbeats there were.
        pub beats: u64,
    }

    impl Migrate for LeaseRecord {
        const NAME: &'static str = "lease record";
        const TYPE: u8 = 14;
        const VERSION: u8 = 1;
        type Previous = Nothing;

        fn migrate(previous: Nothing) -> LeaseRecord {
            match previous {}
        }
    }
}
