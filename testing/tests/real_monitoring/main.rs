//! Issue 6, contract A7, A15, A16: the shipped Prometheus configuration, dashboards and alerts, with a real Prometheus that scrapes a real
//! cluster. What a dashboard asks for is there, and what goes wrong is told.

#![expect(
    clippy::disallowed_methods,
    reason = "writes configuration for a Prometheus of its own, and empties the disk of a dead node"
)]

mod alerts;
mod boards;
mod machines;
mod panels;
mod prometheus;
mod receiver;
mod rules;
mod script;
mod traces;

use std::path::Path;

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}

/// A file of the workspace.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
