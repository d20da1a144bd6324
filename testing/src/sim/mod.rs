//! The simulated cluster.
//!
//! ```text
//!   storm · crash tests · availability tests
//!        │ client: put get delete list, each told to the oracle before and after
//!        ▼
//!   coordinator = Objects over Nodes        one incarnation; a restart is a new one
//!   workers = the same, and who steps them  under a lease
//!        │ calls: counted, failed, or the end of the incarnation
//!        ▼
//!   links: delayed, refused, lost, answered twice or not at all
//!        ▼                         ▼
//!   SimNode ×n                  Ledger over MemoryMetadata
//!        └────────── check: the oracle ──────────┘
//! ```
//!
//! What it keeps true: one thread, paused time, one source of chance for each part; nothing iterates over a hash map.

pub mod body;
pub mod call;
pub mod check;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod document;
pub mod failing;
pub mod ledger;
pub mod link;
pub mod metadata;
pub mod nemesis;
pub mod node;
pub mod panics;
pub mod reckoning;
pub mod rng;
pub mod runtime;
pub mod seats;
pub mod storm;
pub mod workers;
pub mod world;
