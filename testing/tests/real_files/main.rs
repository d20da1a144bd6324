//! The file door (contract A8–A13, A16, B9) to the letter, against real processes.

mod conditions;
mod download;
mod hostile;
mod listing;
mod names;
mod races;
mod telemetry;
mod upload;
