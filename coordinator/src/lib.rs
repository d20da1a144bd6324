//! The coordinator: splits files into content-defined chunks, places their shards on storage nodes, and keeps the versioned
//! catalog that says which is where.
//!
//! Modules, left to right; each names only modules to its left:
//! [`code`] → [`config`] [`names`] → [`audit`] [`limits`] → [`placement`] → [`metadata`] → [`identity`] → [`nodes`] → [`object`] → [`worker`] → [`dialect`].

pub mod audit;
pub mod code;
pub mod config;
pub mod dialect;
pub mod identity;
pub mod limits;
pub mod metadata;
pub mod names;
pub mod new_cluster;
pub mod nodes;
pub mod object;
pub mod placement;
pub mod restore_catalog;
pub mod worker;
