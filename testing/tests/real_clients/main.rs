//! The client matrix: unmodified S3 clients against real processes with authentication on. Each puts, gets, lists, copies, syncs
//! a tree of awkward names and deletes, and every byte that comes back is compared.
//!
//! `HOLDFAST_S3_ENDPOINT=http://HOST:PORT`, with keys in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, runs them against any other
//! S3 server. A client that is not installed (`scripts/install-test-deps.sh` does that) is skipped, and said so.

mod awscli;
mod boto3;
mod conformance;
mod object_store;
mod program;
mod rclone;
mod restic;
mod s3cmd;
mod store;
mod tree;

/// An object that every client uploads in parts.
const LARGE_BYTES: usize = 100 << 20;
/// Files of the tree that is synced.
const TREE_FILES: usize = 2_000;
