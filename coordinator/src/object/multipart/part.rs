//! A part: a stream of bytes that ends in an open upload instead of a version.
//!
//! Steps: the stream is stored as a put stores it ([`crate::object::put`]); then one commit checks that the upload is open and that the
//! part before is the one just read, names the last batch as a page, and puts the part's record. A part that takes the place of another
//! makes that garbage and changes the upload's revision, all in the same commit.
//!
//! What it keeps true: a commit whose answer was lost is sent again only while the part it replaces is in its place, so it takes effect
//! once, and never over a part that came later.

use super::upload::{SeenUpload, UPLOAD_ATTEMPTS_MAX, contended};
use super::{PART_BYTES_MIN, PARTS_MAX};
use crate::metadata::records::{
    Checksum, ChunkList, Garbage, GarbageRecord, PageRecord, PartRecord, Record, UploadId, UploadRecord,
};
use crate::metadata::{Batch, Entry, Expect, keys};
use crate::object::chunker::Chunker;
use crate::object::page::given_up;
use crate::object::put::{Stored, Target};
use crate::object::{Body, ObjectName, Objects, Receipt, SourceVersion, settle};
use futures_util::future::join;
use protocol::{Error, ErrorKind, Result};
use std::ops::Range;

/// What is to become of the bytes of a part, told when all have come.
#[derive(Clone, Debug, Default)]
pub struct PartTarget {
    /// What they must come to, if the client said so.
    pub md5: Option<[u8; 16]>,
    /// Their checksum, which whoever read them has verified or computed. Needed where the upload says that parts have one.
    pub checksum: Option<Checksum>,
}

/// A part that is stored and recorded.
#[derive(Clone, Debug)]
pub struct PartDone {
    /// The MD5 of its bytes: its ETag.
    pub md5: [u8; 16],
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Bytes.
    pub size: u64,
    /// When it was recorded, in milliseconds since 1970.
    pub modified_ms: u64,
    /// What is true of its durability now.
    pub receipt: Receipt,
}

impl Target for PartTarget {
    fn md5(&self) -> Option<[u8; 16]> {
        self.md5
    }

    /// A part is held against nothing but its upload, which was there when it began.
    async fn judge(&self, _objects: &Objects, _bytes: u64) -> Result<()> {
        Ok(())
    }
}

/// Where a part goes.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a ObjectName,
    upload: UploadId,
    number: u16,
}

/// A part's commit, and what it replaces.
struct Plan {
    commit: Batch,
    replaced: Expect,
}

impl Objects {
    /// Stores the stream as part `number` of an open upload, in place of the one before. `Ok` is durable (law 1). `length`, where the
    /// client told it, lets chunks be as large as they would be in one long stream.
    ///
    /// Errors: `NoSuchUpload`; `Unavailable` without nodes enough for the upload's storage class; `Invalid` for a number that no part can have, a broken body or a checksum that the upload does not want.
    pub async fn put_part(
        &self,
        name: &ObjectName,
        upload: UploadId,
        number: u16,
        length: Option<u64>,
        body: Body<PartTarget>,
    ) -> Result<PartDone> {
        require_number(number)?;
        let seen = self.require_upload(name, upload).await?;
        let code = self.code_of(seen.record.storage_class)?;
        let offset = u64::from(number - 1) * length.unwrap_or(PART_BYTES_MIN);
        let stored = self.store(code, Chunker::with_md5().at(offset), body).await?;
        self.record_part(Place { name, upload, number }, stored).await
    }

    /// The same with the bytes of a range of `source`.
    pub async fn copy_part(
        &self,
        name: &ObjectName,
        upload: UploadId,
        number: u16,
        source: SourceVersion<'_>,
        range: Range<u64>,
    ) -> Result<PartDone> {
        let algorithm = self.upload(name, upload).await?.checksum.map(|(algorithm, _)| algorithm);
        let length = range.end - range.start;
        let end = |checksum| PartTarget { md5: None, checksum };
        let (feed, body) = self.body_of(source, range, algorithm, end);
        join(feed, self.put_part(name, upload, number, Some(length), body)).await.1
    }

    async fn record_part(&self, place: Place<'_>, mut stored: Stored<PartTarget>) -> Result<PartDone> {
        let mut unsure = None;
        let recorded = match self.try_to_record(place, &mut stored, &mut unsure).await {
            Err(error) if unsure.is_some() => {
                let message = format!("part {} was sent but its outcome is unknown; send it again", place.number);
                return Err(Error::caused(ErrorKind::Unknown, message, error));
            }
            recorded => recorded?,
        };
        stored.last.log_shortfall();
        let Stored { draft, last, .. } = stored;
        let receipt = last.receipt().map_or(draft.receipt, |receipt| draft.receipt.weakest(receipt));
        settle::start(self, last.stragglers);
        let PartRecord { md5, checksum, size, modified_ms, .. } = recorded;
        Ok(PartDone { md5, checksum, size, modified_ms, receipt })
    }

    async fn try_to_record(
        &self,
        place: Place<'_>,
        stored: &mut Stored<PartTarget>,
        unsure: &mut Option<Expect>,
    ) -> Result<PartRecord> {
        self.nodes.require_majority()?;
        let id = stored.draft.id;
        for attempt in 0..UPLOAD_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let found = self.metadata.get(&keys::part(place.upload, place.number)).await?;
            let before = found.as_ref().map(|entry| PartRecord::decode(&entry.value)).transpose()?;
            if let Some(before) = before.as_ref().filter(|before| before.id == id) {
                return Ok(before.clone());
            }
            if unsure.is_some_and(|expected| expected != Expect::unchanged(found.as_ref())) {
                return Err(Error::unavailable("another part came in its place"));
            }
            let seen = self.require_upload(place.name, place.upload).await?;
            if attempt > 0 {
                if stored.draft.has_intent && self.metadata.get(&keys::intent(id)).await?.is_none() {
                    return Err(given_up());
                }
                self.refresh_batch(&mut stored.last).await?;
            }
            let record = record_of(stored, &seen.record, self.clock.now_ms())?;
            let plan = plan(place, stored, &seen, &record, found.zip(before), self.clock.now_ms());
            match self.metadata.commit(plan.commit).await {
                Ok(()) => return Ok(record),
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Unknown => *unsure = Some(plan.replaced),
                Err(error) => return Err(error),
            }
        }
        Err(contended(place.upload))
    }
}

fn plan(
    place: Place<'_>,
    stored: &Stored<PartTarget>,
    seen: &SeenUpload,
    record: &PartRecord,
    before: Option<(Entry, PartRecord)>,
    now_ms: u64,
) -> Plan {
    let Stored { draft, last, .. } = stored;
    let part_key = keys::part(place.upload, place.number);
    let replaced = Expect::unchanged(before.as_ref().map(|(entry, _)| entry));
    let mut commit = Batch::new();
    commit.check(seen.key.clone(), Expect::Revision(seen.entry.revision));
    commit.check(part_key.clone(), replaced);
    last.name_in(&mut commit, draft.id, now_ms);
    if draft.has_intent {
        commit.check(keys::intent(draft.id), Expect::Present).delete(keys::intent(draft.id));
    }
    if !last.entries().is_empty() {
        let page = PageRecord { start: draft.last_page_start, entries: last.entries().to_vec() };
        commit.put(keys::page(draft.id, draft.size), page.encode());
    }
    if let Some((_, before)) = before {
        commit.put(keys::garbage(before.id), garbage_of_part().encode());
        commit.put(seen.key.clone(), seen.entry.value.clone());
    }
    commit.put(part_key, record.encode());
    Plan { commit, replaced }
}

/// What a part becomes that nobody can put together any more: it was never visible, and goes at once.
pub(crate) fn garbage_of_part() -> GarbageRecord {
    GarbageRecord { garbage: Garbage::Manifest { chunks: ChunkList::Paged { pages: 0 } }, since_ms: 0 }
}

fn record_of(stored: &Stored<PartTarget>, upload: &UploadRecord, modified_ms: u64) -> Result<PartRecord> {
    let Stored { draft, last, target, .. } = stored;
    let wanted = upload.checksum.map(|(algorithm, _)| algorithm);
    let checksum = target.checksum.clone().filter(|checksum| Some(checksum.algorithm) == wanted);
    if let (Some(wanted), None) = (wanted, &checksum) {
        return Err(Error::invalid(format!(
            "parts of this upload have a checksum of {wanted:?}, and this one has none"
        )));
    }
    Ok(PartRecord {
        id: draft.id,
        size: draft.size,
        md5: draft.etag.md5().expect("parts are stored with their MD5"),
        checksum,
        chunks: draft.chunks,
        stored_bytes: draft.stored_bytes + last.fresh_stored_bytes(),
        modified_ms,
    })
}

fn require_number(number: u16) -> Result<()> {
    if (1..=PARTS_MAX).contains(&number) {
        return Ok(());
    }
    Err(Error::invalid(format!("part number {number} must be 1 to {PARTS_MAX}")))
}
