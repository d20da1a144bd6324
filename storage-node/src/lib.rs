//! A storage node: immutable shards in append-only segments, sled as their index, HTTP in front.
//!
//! From the disk up: [`index`] and `segments` under [`store`], which is the node without threads or runtime; [`committer`]
//! (group commit) and [`upkeep`] (what must happen later) in front of it; [`journal`], the catalog's copy, in a log of its own
//! beside it; [`http`] on top; [`peer`] calls other nodes, [`announce`] tells coordinators of this one. `frames` takes apart what
//! comes over either.

pub mod announce;
pub mod committer;
pub mod compaction;
pub mod config;
mod frames;
pub mod http;
pub mod identity;
pub mod index;
pub mod journal;
pub mod names;
pub mod peer;
pub mod store;
pub mod upkeep;
