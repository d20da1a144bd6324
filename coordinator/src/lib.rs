//! placeholder
pub mod code;
pub mod metadata;
pub mod nodes;
pub mod placement;
