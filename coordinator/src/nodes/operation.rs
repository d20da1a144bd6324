//! The calls of the [`Node`](protocol::Node) trait, as metrics and logs name them.

/// A call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Get,
    Head,
    Delete,
    List,
    Verify,
    Health,
}

impl Operation {
    /// Its name in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Get => "get",
            Operation::Head => "head",
            Operation::Delete => "delete",
            Operation::List => "list",
            Operation::Verify => "verify",
            Operation::Health => "health",
        }
    }
}
