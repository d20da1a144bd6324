//! What every Holdfast process does at its edges, and nothing about storage: settings in, logs and metrics out, an orderly end.
//!
//! What it keeps true:
//! - A setting comes from exactly one place: flag, else environment, else file, else default ([`settings`]).
//! - Every log line on stdout is one JSON object ([`logs`]); degradation is logged whatever the level.
//! - Nothing here blocks or grows when whoever listens (Prometheus, Loki) is away.

pub mod cluster_file;
pub mod events;
pub mod logs;
pub mod loki;
pub mod metrics;
pub mod readings;
pub mod requests;
pub mod settings;
pub mod shutdown;
pub mod timestamp;
pub mod tls;
pub mod traces;
