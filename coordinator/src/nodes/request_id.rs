//! The id of the client request that is being served, so that calls to nodes carry it and one request can be followed.

use std::sync::Arc;

tokio::task_local! {
    /// Set by a dialect around the serving of one request; sent to nodes as `x-request-id`.
    pub static REQUEST_ID: Arc<str>;
}

/// The id of the request this task serves, if it serves one.
pub fn current() -> Option<Arc<str>> {
    REQUEST_ID.try_with(Arc::clone).ok()
}
