//! What manifests say: versions, the parts that some are put together from, and the parts of uploads that are open.

use super::catalog::{Catalog, CatalogReport};
use coordinator::metadata::keys;
use coordinator::metadata::records::{
    ChunkEntry, ChunkList, ChunkRecord, ObjectRecord, PageRecord, PartRecord, PartsRecord, Record, UploadId, VersionId,
    VersionRecord, VersionState,
};
use protocol::{ChunkId, Result};
use std::collections::HashSet;

/// Chunks, and under which id they are referenced.
type Owned = Vec<(VersionId, ChunkEntry)>;

/// What is wrong with some chunks.
#[derive(Default)]
struct Wrong {
    broken: Option<ChunkId>,
    unreferenced: Option<ChunkId>,
}

impl Catalog {
    pub(super) fn compare_versions(&self, lost: &HashSet<ChunkId>, report: &mut CatalogReport) -> Result<()> {
        let mut owners: HashSet<VersionId> = HashSet::new();
        let mut purged: (Option<(String, String)>, u64) = (None, 0);
        self.for_each(keys::every_version(), &mut |key, value| {
            let (bucket, name, number) = keys::parse_version(key)?;
            let version = VersionRecord::decode(value)?;
            owners.insert(version.manifest);
            if version.state == VersionState::Marker {
                return Ok(());
            }
            if purged.0.as_ref().is_none_or(|(seen_bucket, seen)| (&**seen_bucket, &**seen) != (bucket, name)) {
                let object: Option<ObjectRecord> = self.get(&keys::object(bucket, name))?;
                purged = (Some((bucket.to_owned(), name.to_owned())), object.map_or(0, |object| object.purged_through));
            }
            if number <= purged.1 {
                report.versions_purged += 1;
                return Ok(());
            }
            report.versions += 1;
            self.version(&version, lost, &format!("{bucket}/{name} version {number}"), report)
        })?;
        self.for_each(keys::intents(), &mut |key, _| {
            owners.insert(keys::parse_intent(key)?);
            Ok(())
        })?;
        // What a version was made of may outlive its record until it is collected.
        self.for_each(keys::garbages(), &mut |key, _| {
            owners.insert(keys::parse_garbage(key)?);
            Ok(())
        })?;
        self.compare_parts(lost, &mut owners, report)?;
        self.for_each(keys::every_reference(), &mut |key, _| {
            let (_, owner) = keys::parse_reference(key)?;
            report.stray_references += u64::from(!owners.contains(&owner));
            Ok(())
        })
    }

    /// Parts own chunks as versions do: those of open uploads, and those that versions list.
    fn compare_parts(
        &self,
        lost: &HashSet<ChunkId>,
        owners: &mut HashSet<VersionId>,
        report: &mut CatalogReport,
    ) -> Result<()> {
        let mut open: HashSet<UploadId> = HashSet::new();
        self.for_each(keys::every_upload(), &mut |key, _| {
            open.insert(keys::parse_upload(key)?.2);
            Ok(())
        })?;
        self.for_each(keys::every_part(), &mut |key, value| {
            let (upload, number) = keys::parse_part(key)?;
            let part = PartRecord::decode(value)?;
            owners.insert(part.id);
            if !open.contains(&upload) {
                report.stray_parts += u64::from(!self.has(&keys::garbage(VersionId(upload.0)))?);
                return Ok(());
            }
            report.parts += 1;
            self.part(&part, lost, &format!("upload {upload} part {number}"), report)
        })?;
        let mut listed = Vec::new();
        self.for_each(keys::parts_in_every_version(), &mut |key, value| {
            let (version, _) = keys::parse_parts(key)?;
            report.stray_parts += u64::from(!owners.contains(&version));
            listed.extend(PartsRecord::decode(value)?.entries.into_iter().map(|part| part.id));
            Ok(())
        })?;
        owners.extend(listed);
        Ok(())
    }

    fn version(
        &self,
        version: &VersionRecord,
        lost: &HashSet<ChunkId>,
        label: &str,
        report: &mut CatalogReport,
    ) -> Result<()> {
        let Some(entries) = self.entries(version)? else {
            report.broken_versions.add(format!("{label}: pages are missing"));
            return Ok(());
        };
        let wrong = self.wrong(&entries, lost)?;
        if let Some(chunk) = wrong.broken {
            report.broken_versions.add(format!("{label}: chunk {chunk}"));
        }
        if let Some(chunk) = wrong.unreferenced {
            report.unreferenced.add(format!("{label}: chunk {chunk}"));
        }
        Ok(())
    }

    fn part(&self, part: &PartRecord, lost: &HashSet<ChunkId>, label: &str, report: &mut CatalogReport) -> Result<()> {
        let mut entries = Vec::new();
        self.pages(part.id, 0, &mut entries)?;
        if !is_whole(&entries, part.size, part.chunks) {
            report.broken_parts.add(format!("{label}: pages are missing"));
            return Ok(());
        }
        let wrong = self.wrong(&entries, lost)?;
        if let Some(chunk) = wrong.broken.or(wrong.unreferenced) {
            report.broken_parts.add(format!("{label}: chunk {chunk}"));
        }
        Ok(())
    }

    /// All chunks of a version; `None` if they do not add up to its size.
    fn entries(&self, version: &VersionRecord) -> Result<Option<Owned>> {
        let mut entries = Vec::new();
        match &version.chunks {
            ChunkList::Inline(_) | ChunkList::Document { .. } => {
                let named = version.chunks.named_here().unwrap_or_default();
                entries.extend(named.iter().map(|entry| (version.manifest, entry.clone())));
            }
            ChunkList::Paged { .. } => self.pages(version.manifest, 0, &mut entries)?,
            ChunkList::Parts => self.for_each(keys::parts_in(version.manifest), &mut |_, value| {
                let PartsRecord { mut start, entries: parts } = PartsRecord::decode(value)?;
                for part in parts {
                    self.pages(part.id, start, &mut entries)?;
                    start = part.end;
                }
                Ok(())
            })?,
        }
        Ok(is_whole(&entries, version.size, version.chunk_count).then_some(entries))
    }

    /// Adds what the pages of `owner` name, which stand at `base` in the version.
    fn pages(&self, owner: VersionId, base: u64, entries: &mut Owned) -> Result<()> {
        self.for_each(keys::pages_from(owner, 0), &mut |_, value| {
            let page = PageRecord::decode(value)?;
            entries
                .extend(page.entries.into_iter().map(|entry| (owner, ChunkEntry { end: base + entry.end, ..entry })));
            Ok(())
        })
    }

    fn wrong(&self, entries: &Owned, lost: &HashSet<ChunkId>) -> Result<Wrong> {
        let mut wrong = Wrong::default();
        for (owner, entry) in entries {
            let record: Option<ChunkRecord> = self.get(&keys::chunk(entry.chunk))?;
            let sound = record.is_some_and(|record| record.sha256 == entry.sha256) && !lost.contains(&entry.chunk);
            if !sound {
                wrong.broken = Some(entry.chunk);
            }
            if !self.has(&keys::reference(entry.chunk, *owner))? {
                wrong.unreferenced = Some(entry.chunk);
            }
        }
        Ok(wrong)
    }
}

fn is_whole(entries: &Owned, size: u64, chunks: u64) -> bool {
    let ends = entries.iter().map(|(_, entry)| entry.end);
    ends.is_sorted() && entries.last().map_or(0, |(_, entry)| entry.end) == size && entries.len() as u64 == chunks
}
