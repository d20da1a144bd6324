//! Goes through the versions of a key from the newest to the oldest.
//!
//! What it keeps true: memory is bounded by [`WINDOW_MAX`] records, however many versions a key has. Version keys ascend and the key
//! space is read upwards, so windows of numbers are read from the top; a window without versions is passed by a larger one, so a
//! key whose numbers have long gaps costs no more than a few looks.

use super::Objects;
use super::name::ObjectName;
use crate::metadata::records::{ObjectRecord, Record, VersionRecord};
use crate::metadata::{Metadata, keys};
use protocol::Result;

/// Numbers in the first window.
const WINDOW_FIRST: u64 = 16;
/// Versions of one window at most.
const WINDOW_MAX: usize = 1_024;

/// Versions of a key, from the top.
pub(super) struct Descent<'a> {
    metadata: &'a dyn Metadata,
    name: &'a ObjectName,
    /// The lowest number that can be seen.
    oldest: u64,
    /// Numbers below this one are still to come.
    beyond: u64,
    span: u64,
}

impl<'a> Descent<'a> {
    /// The versions and markers with numbers up to `through`.
    pub(super) fn begin(
        objects: &'a Objects,
        name: &'a ObjectName,
        object: &ObjectRecord,
        through: u64,
    ) -> Descent<'a> {
        let oldest = object.purged_through + 1;
        let metadata = objects.metadata.as_ref();
        Descent { metadata, name, oldest, beyond: through.saturating_add(1), span: WINDOW_FIRST }
    }

    /// The next of them, the newest first; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<VersionRecord>>> {
        let (bucket, key) = (self.name.bucket().as_str(), self.name.key());
        while self.beyond > self.oldest {
            let first = self.beyond.saturating_sub(self.span).max(self.oldest);
            let (from, to) = (keys::version(bucket, key, first), keys::version(bucket, key, self.beyond));
            let found = self.metadata.scan(&from, &to, WINDOW_MAX).await?;
            if found.len() == WINDOW_MAX && self.beyond - first > WINDOW_MAX as u64 {
                // These are the lowest of the window; those above may be more.
                self.span = WINDOW_MAX as u64;
                continue;
            }
            self.beyond = first;
            if 2 * found.len() < WINDOW_MAX {
                self.span = self.span.saturating_mul(2);
            }
            if !found.is_empty() {
                return found
                    .iter()
                    .rev()
                    .map(|(_, entry)| VersionRecord::decode(&entry.value))
                    .collect::<Result<_>>()
                    .map(Some);
            }
        }
        Ok(None)
    }
}
