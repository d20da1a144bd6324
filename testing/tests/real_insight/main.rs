//! What Holdfast says of itself (issue: receipts asked again, explain, events; contract C13), against real processes.

mod events;
mod explain;
mod receipt;
mod usage;
mod verify;
