//! Storing and deleting documents.
//!
//! Steps of a write; a crash after any of them leaves the old document, until the last, and the new one from then on:
//! 1. the text is split into runs and cut into chunks: as the version before was split, if its cold part is unchanged so, or anew;
//! 2. hot chunks are stored as copies and cold ones coded, each at its quorum, or found to be there already; nothing is named yet;
//! 3. one commit names them all and publishes ([`crate::object::publish`]).
//!
//! What it keeps true: whatever came to lie in step 2 is named by that commit, or an orphan that the census removes (law 4).

use super::cut::{Cut, cut};
use super::json::{Member, members};
use super::split::{HotNames, Run, split};
use super::stored::StoredDocument;
use super::{Document, Strategy};
use crate::code::Code;
use crate::config::HOT_FIELDS_MAX;
use crate::metadata::keys;
use crate::metadata::records::{
    ChunkEntry, ChunkRecord, ETag, Record, StorageClass, VersionId, VersionRecord, in_order,
};
use crate::object::batch::StoredBatch;
use crate::object::compute::CUT_COST;
use crate::object::digest::Md5;
use crate::object::publish::{ComposedOf, Draft};
use crate::object::{
    Condition, DeleteMode, DeleteRequest, Deleted, ObjectName, Objects, PutDone, PutTarget, Receipt, Refused, Version,
    VersionSelector, settle,
};
use futures_util::future::join;
use protocol::{Error, NodeId, Result, sha256};
use std::collections::BTreeSet;

/// How often a delete looks again when writers of the document come first.
const DELETE_ATTEMPTS_MAX: u32 = 64;

/// A document that was published.
#[derive(Clone, Debug)]
pub struct DocumentDone {
    /// The version.
    pub put: PutDone,
    /// How it is stored.
    pub strategy: Strategy,
    /// Nodes that hold chunks of it, where all of it is in copies.
    pub holders: BTreeSet<NodeId>,
    /// Copies of its weakest hot chunk; 0 without any.
    pub hot_copies: u32,
    /// Shards of its weakest cold chunk; 0 if there is none, or if the cold part is the one of the version before.
    pub cold_shards: u32,
    /// Shards that a cold chunk has when it is whole.
    pub cold_shards_wanted: u32,
    /// Whether its cold fields are those of the version before.
    pub is_pure_hot_update: bool,
    /// Fields of a hot-only update that were not hot, and so not looked at.
    pub ignored_fields: Vec<String>,
}

/// A document that was deleted: what its newest version was.
#[derive(Clone, Debug)]
pub struct GoneDocument {
    /// How it was stored.
    pub strategy: Strategy,
    /// Nodes that held chunks of it.
    pub holders: BTreeSet<NodeId>,
    /// Copies of its weakest hot chunk, where it had hot fields apart.
    pub hot_copies: u32,
    /// Shards of its weakest other chunk.
    pub cold_shards: u32,
}

/// Chunks that are stored, hot ones and cold ones, and what there is to say of them.
pub(super) struct Halves {
    pub(super) hot: StoredBatch,
    pub(super) cold: StoredBatch,
    pub(super) codes: (Code, Code),
    /// Whether the cold ones are those of the version before.
    pub(super) keeps_cold: bool,
    pub(super) size: u64,
}

impl Objects {
    /// Publishes a document under the target's name, as its strategy says. `Ok` is durable.
    ///
    /// Errors as a put, and as [`Objects::code_of`].
    pub async fn put_document(&self, document: &Document, target: &PutTarget) -> Result<DocumentDone> {
        match document.strategy {
            Strategy::FieldHybrid => {
                let before = self.stored_before(&target.name).await;
                self.write_fields(document, before.as_ref(), target).await
            }
            strategy => self.write_whole(document, strategy, target).await,
        }
    }

    /// Stores a document of one code.
    pub(super) async fn write_whole(
        &self,
        document: &Document,
        strategy: Strategy,
        target: &PutTarget,
    ) -> Result<DocumentDone> {
        let code = self.code_of(strategy.storage_class())?;
        let bytes = document.bytes.clone();
        let work = move || {
            let runs = Vec::from_iter((!bytes.is_empty()).then(|| Run { is_hot: false, bytes: 0..bytes.len() }));
            let mut md5 = Md5::default();
            md5.update(&bytes);
            (cut(&bytes, &runs), sha256(&bytes), md5.finish())
        };
        let (Cut { cold, .. }, sha256, md5) = self.compute.run(CUT_COST * document.bytes.len(), work).await;
        let chunks = cold.len() as u64;
        let stored = match cold.is_empty() {
            true => StoredBatch::empty(code),
            false => self.store_batch(code, cold).await?,
        };
        let draft = Draft {
            sha256: Some(sha256),
            etag: ETag::Md5(md5),
            receipt: Receipt::empty(code),
            ..self.draft(document.bytes.len() as u64, chunks, ComposedOf::Chunks)
        };
        let target = target_of(target, strategy, document.content_type);
        let mut last = [stored];
        let put = self.publish(&draft, &mut last, &target).await?;
        let [stored] = last;
        let copies = stored.receipt().map_or(put.receipt.copies, |receipt| receipt.copies);
        let holders = match strategy {
            Strategy::Replication => self.weigh_chunks(stored.entries()).await.unwrap_or_default().0,
            Strategy::Ec | Strategy::FieldHybrid => BTreeSet::new(),
        };
        settle::start(self, stored.stragglers);
        Ok(DocumentDone {
            put,
            strategy,
            holders,
            hot_copies: 0,
            cold_shards: copies,
            cold_shards_wanted: code.shards() as u32,
            is_pure_hot_update: false,
            ignored_fields: Vec::new(),
        })
    }

    /// Stores a document by its fields; `before` is what of the newest version can be leant on.
    pub(super) async fn write_fields(
        &self,
        document: &Document,
        before: Option<&StoredDocument>,
        target: &PutTarget,
    ) -> Result<DocumentDone> {
        let kept = match before {
            Some(before) => self.cut_as_before(document, target.name.key(), before).await,
            None => None,
        };
        let keeps_cold = kept.is_some();
        let cut = match kept {
            Some(cut) => cut,
            None => {
                let none = HotNames::new();
                let before = before.map_or(&none, |before| &before.hot);
                let fields = members(document.text());
                let hot = self.hot_fields.choose(target.name.key(), &fields, document.bytes.len(), before);
                self.cut_document(document, &hot).await
            }
        };
        let hot_code = self.code_of(StorageClass::Standard)?;
        let cold_code = match before.and_then(|before| before.cold_code).filter(|_| keeps_cold) {
            // What is there stays as it is encoded, whatever new cold parts would be.
            Some(code) => code,
            None if cut.cold.is_empty() => hot_code,
            None => self.code_of(StorageClass::StandardIa)?,
        };
        if keeps_cold && !cut.cold.is_empty() {
            self.require_quorum_of(cold_code)?;
        }
        // Both are let come to their ends: a write that is dropped half way leaves shards behind.
        let (hot, cold) = join(self.store_batch(hot_code, cut.hot), self.store_batch(cold_code, cut.cold)).await;
        let (hot, cold) = (hot?, cold?);
        let size = document.bytes.len() as u64;
        let done =
            self.publish_halves(Halves { hot, cold, codes: (hot_code, cold_code), keeps_cold, size }, target).await?;
        let fields = members(document.text());
        let fields: Vec<(&str, &str)> = fields.iter().map(|member| (member.name.as_ref(), member.value)).collect();
        self.hot_fields.observe(target.name.key(), &fields);
        Ok(done)
    }

    /// The chunks of a document split as the version before was, if its cold part stays the same so.
    async fn cut_as_before(&self, document: &Document, key: &str, before: &StoredDocument) -> Option<Cut> {
        let fields = members(document.text());
        let mut hot: HotNames = fields
            .iter()
            .filter(|field| before.hot.contains(field.name.as_ref()))
            .map(|field| field.name.to_string())
            .collect();
        // A field that comes to be, and is to be hot, takes nothing from the cold ones.
        let is_new = |field: &&Member<'_>| !hot.contains(field.name.as_ref()) && self.hot_fields.is_hot(key, field);
        let new = fields.iter().filter(is_new).map(|field| field.name.to_string());
        let new: Vec<String> = new.take(HOT_FIELDS_MAX.saturating_sub(hot.len())).collect();
        hot.extend(new);
        let cut = self.cut_document(document, &hot).await;
        let is_kept = cut.cold.iter().map(|chunk| chunk.sha256).eq(before.cold.iter().copied());
        is_kept.then_some(cut)
    }

    async fn cut_document(&self, document: &Document, hot: &HotNames) -> Cut {
        let runs = split(document.text(), hot);
        let bytes = document.bytes.clone();
        self.compute.run(CUT_COST * bytes.len(), move || cut(&bytes, &runs)).await
    }

    /// Publishes a document of two parts.
    pub(super) async fn publish_halves(&self, halves: Halves, target: &PutTarget) -> Result<DocumentDone> {
        let Halves { hot, cold, codes: (hot_code, cold_code), keeps_cold, size } = halves;
        let entries = in_order(hot.entries().iter().chain(cold.entries()));
        let base = if hot.entries().is_empty() { cold_code } else { hot_code };
        let draft = Draft {
            etag: etag(&entries),
            receipt: Receipt::empty(base),
            ..self.draft(size, entries.len() as u64, ComposedOf::Document)
        };
        let target = target_of(target, Strategy::FieldHybrid, super::JSON);
        let mut last = [hot, cold];
        let put = self.publish(&draft, &mut last, &target).await?;
        let [hot, cold] = last;
        for entry in hot.entries() {
            if let Some(text) = hot.plain_of(entry) {
                self.cache.insert(entry.chunk, &text);
            }
        }
        let copies = |batch: &StoredBatch| batch.receipt().map_or(0, |receipt| receipt.copies);
        let done = DocumentDone {
            put,
            strategy: Strategy::FieldHybrid,
            holders: BTreeSet::new(),
            hot_copies: copies(&hot),
            cold_shards: if keeps_cold { 0 } else { copies(&cold) },
            cold_shards_wanted: cold_code.shards() as u32,
            is_pure_hot_update: keeps_cold,
            ignored_fields: Vec::new(),
        };
        settle::start(self, hot.stragglers);
        settle::start(self, cold.stragglers);
        Ok(done)
    }

    fn draft(&self, size: u64, chunks: u64, composed_of: ComposedOf) -> Draft {
        Draft {
            id: VersionId(self.clock.fresh_id()),
            has_intent: false,
            pages: 0,
            last_page_start: 0,
            chunks,
            stored_bytes: 0,
            reuses_any: false,
            receipt: Receipt::empty(self.profiles.replication),
            size,
            sha256: None,
            etag: ETag::None,
            composed_of,
        }
    }

    /// Deletes every version of a document; `None` if there was none. `Ok` is durable; bytes go when the collector comes by. What is told of
    /// is what the delete ended: where a writer comes between looking and deleting it is looked for again.
    pub async fn delete_document(&self, name: &ObjectName, request: &DeleteRequest) -> Result<Option<GoneDocument>> {
        for attempt in 0..DELETE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let (gone, seen) = match self.resolve(name, VersionSelector::Latest).await? {
                Version::Found(version) => {
                    self.require_of(&request.condition, name, &version)?;
                    (Some(self.weigh_document(name, &version).await?), Condition::Current(version.id))
                }
                Version::NoObject | Version::NoVersion => {
                    self.require(&request.condition, name, None).await?;
                    (None, Condition::Absent)
                }
            };
            let request = DeleteRequest { mode: DeleteMode::Purge, condition: seen, owner: request.owner.clone() };
            match self.delete_as(name, &request).await {
                Err(error) if Refused::of(&error) == Some(Refused::ConditionFailed) => {}
                Err(error) => return Err(error),
                Ok(done) => {
                    self.hot_fields.forget(name.key());
                    return Ok(gone.filter(|_| done.deleted == Deleted::Done));
                }
            }
        }
        let key = name.key();
        Err(Error::unavailable(format!("'{key}' is being written by too many at once; retry the delete")))
    }

    /// What there is to say of a document that is to go.
    async fn weigh_document(&self, name: &ObjectName, version: &VersionRecord) -> Result<GoneDocument> {
        let key = name.version_key(version.number);
        let entries = self.chunks_from(&key, version, 0).await?.map(|run| run.entries).unwrap_or_default();
        let (hot, cold): (Vec<ChunkEntry>, Vec<ChunkEntry>) =
            entries.iter().cloned().partition(|entry| version.chunks.is_hot(entry));
        let (mut holders, cold_shards) = self.weigh_chunks(&cold).await?;
        let (hot_holders, hot_copies) = self.weigh_chunks(&hot).await?;
        holders.extend(hot_holders);
        Ok(GoneDocument { strategy: Strategy::of(version), holders, hot_copies, cold_shards })
    }

    /// The nodes that hold these chunks, and how many shards the weakest of them has.
    async fn weigh_chunks(&self, entries: &[ChunkEntry]) -> Result<(BTreeSet<NodeId>, u32)> {
        let (mut holders, mut weakest) = (BTreeSet::new(), None);
        for entry in entries {
            let Some(found) = self.metadata.get(&keys::chunk(entry.chunk)).await? else { continue };
            let places = ChunkRecord::decode(&found.value)?.shards;
            let shards = places.len() as u32;
            weakest = Some(weakest.map_or(shards, |weakest: u32| weakest.min(shards)));
            holders.extend(places.into_iter().map(|place| place.node));
        }
        Ok((holders, weakest.unwrap_or(0)))
    }
}

/// What a document of two parts is called: bytes that nobody need have seen in one piece have no other digest.
fn etag(entries: &[ChunkEntry]) -> ETag {
    let mut md5 = Md5::default();
    entries.iter().for_each(|entry| md5.update(&entry.sha256));
    ETag::Parts(md5.finish(), entries.len() as u16)
}

fn target_of(target: &PutTarget, strategy: Strategy, content_type: &str) -> PutTarget {
    let mut target = target.clone();
    target.attributes.storage_class = strategy.storage_class();
    content_type.clone_into(&mut target.content_type);
    target
}
