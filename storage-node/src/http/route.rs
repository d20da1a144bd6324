//! Which route a path is. Paths are few and plain, so they are compared, not matched by patterns: that took a tenth of the time
//! of a small read.

use protocol::routes;

/// A route with the parts of the path that it needs, not parsed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Shard(&'a str),
    Shards,
    Batch,
    Delete,
    Head,
    Read,
    Copy,
    Verify,
    Journal,
    JournalClaim,
    JournalEntries,
    Health,
    Metrics,
    Unknown,
}

impl Route<'_> {
    /// The route of a path as it came, escapes and all: no plain id or route has any.
    pub(super) fn of(path: &str) -> Route<'_> {
        match path {
            routes::SHARDS => Route::Shards,
            routes::SHARDS_BATCH => Route::Batch,
            routes::SHARDS_DELETE => Route::Delete,
            routes::SHARDS_HEAD => Route::Head,
            routes::SHARDS_READ => Route::Read,
            routes::SHARDS_COPY => Route::Copy,
            routes::VERIFY => Route::Verify,
            routes::JOURNAL => Route::Journal,
            routes::JOURNAL_CLAIM => Route::JournalClaim,
            routes::JOURNAL_ENTRIES => Route::JournalEntries,
            routes::HEALTH => Route::Health,
            routes::METRICS => Route::Metrics,
            path => {
                let below = path.strip_prefix(routes::SHARDS).and_then(|rest| rest.strip_prefix('/'));
                match below {
                    Some(id) if !id.is_empty() && !id.contains('/') => Route::Shard(id),
                    _ => Route::Unknown,
                }
            }
        }
    }

    /// Routes that need no secret; they tell nothing that needs one.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Route::Health | Route::Metrics)
    }

    /// Its name in metrics: never a client's words.
    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Route::Shard(_) => "/shards/{id}",
            Route::Shards => routes::SHARDS,
            Route::Batch => routes::SHARDS_BATCH,
            Route::Delete => routes::SHARDS_DELETE,
            Route::Head => routes::SHARDS_HEAD,
            Route::Read => routes::SHARDS_READ,
            Route::Copy => routes::SHARDS_COPY,
            Route::Verify => routes::VERIFY,
            Route::Journal => routes::JOURNAL,
            Route::JournalClaim => routes::JOURNAL_CLAIM,
            Route::JournalEntries => routes::JOURNAL_ENTRIES,
            Route::Health => routes::HEALTH,
            Route::Metrics => routes::METRICS,
            Route::Unknown => "unmatched",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_routes_only_as_they_are_written() {
        assert_eq!(Route::of("/shards"), Route::Shards);
        assert_eq!(Route::of("/shards/a-1"), Route::Shard("a-1"));
        assert_eq!(Route::of("/shards-batch"), Route::Batch);
        for path in [
            "",
            "/",
            "/shards/",
            "/shards//",
            "/shards/a/",
            "/shards/a/b",
            "/shardsx",
            "//health",
            "/health/",
            "/%68ealth",
        ] {
            assert_eq!(Route::of(path), Route::Unknown, "{path}");
            assert!(!Route::of(path).is_open());
        }
    }
}
