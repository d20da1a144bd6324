//! What Holdfast says of itself (issue: receipts asked again, explain, events; contract C13), against real processes.

#![expect(clippy::disallowed_methods, reason = "empties the disk of a node that it killed")]

mod events;
mod explain;
mod receipt;
mod usage;
mod verify;
