//! Bugs of those who write documents: each changes what a coordinator is about to publish, or what it sees before.

use bytes::Bytes;
use coordinator::metadata::records::{
    ChunkEntry, ChunkList, ObjectRecord, Record, RefRecord, VersionId, VersionRecord,
};
use coordinator::metadata::{Batch, Entry, Metadata, keys};
use coordinator::object::DOCUMENTS_BUCKET;
use protocol::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The document that a batch publishes, if it does: its key and its version.
fn published(batch: &Batch) -> Option<(String, VersionRecord)> {
    batch.puts.iter().find_map(|(key, value)| {
        let (bucket, name, _) = keys::parse_version(key).ok()?;
        (bucket == DOCUMENTS_BUCKET).then_some((name.to_owned(), VersionRecord::decode(value).ok()?))
    })
}

/// Takes the cold part of the version before, where it has chunks of the same lengths.
pub(super) async fn take_older_cold(metadata: &dyn Metadata, batch: &mut Batch) -> Result<()> {
    let Some((name, mut version)) = published(batch) else { return Ok(()) };
    let older = keys::version(DOCUMENTS_BUCKET, &name, version.number.saturating_sub(1));
    let Some(older) = metadata.get(&older).await? else { return Ok(()) };
    let older = VersionRecord::decode(&older.value)?;
    let (ChunkList::Document { cold, .. }, ChunkList::Document { cold: older, .. }) =
        (&mut version.chunks, &older.chunks)
    else {
        return Ok(());
    };
    let ends = |entries: &[ChunkEntry]| entries.iter().map(|entry| entry.end).collect::<Vec<u64>>();
    if cold == older || ends(cold) != ends(older) {
        return Ok(());
    }
    cold.clone_from(older);
    let key = keys::version(DOCUMENTS_BUCKET, &name, version.number);
    let references = older.iter().map(|entry| keys::reference(entry.chunk, version.id));
    let mut anew: BTreeMap<Bytes, Bytes> = references.map(|key| (key, RefRecord {}.encode())).collect();
    anew.insert(key, version.encode());
    batch.puts.retain(|(key, _)| !anew.contains_key(key));
    batch.puts.extend(anew);
    Ok(())
}

/// The version of each document that was read last.
#[derive(Default)]
pub(super) struct ReadLast(Mutex<BTreeMap<String, VersionId>>);

impl ReadLast {
    /// Takes what was read last for what is the newest now: so nobody sees that another came since.
    pub(super) fn newest(&self, key: &[u8], entry: Entry) -> Entry {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok((DOCUMENTS_BUCKET, name, _)) = keys::parse_version(key) {
            let id = VersionRecord::decode(&entry.value).map(|version| version.id);
            drop(id.map(|id| last.insert(name.to_owned(), id)));
        }
        let Ok((DOCUMENTS_BUCKET, name)) = keys::parse_object(key) else { return entry };
        match (last.get(name), ObjectRecord::decode(&entry.value)) {
            (Some(id), Ok(object)) => {
                let object = ObjectRecord { current: *id, ..object };
                Entry { value: object.encode(), revision: entry.revision }
            }
            _ => entry,
        }
    }
}
