//! The same client, with documents: it writes, changes and deletes them. What it reads of them it reads as any object.

use super::{Client, name};
use crate::sim::body::TestBody;
use crate::sim::check::{Ended, OPERATION};
use crate::sim::document::FieldChanges;
use coordinator::metadata::records::{ETag, Versioning};
use coordinator::object::{
    Attributes, Condition, ContentTag, DeleteMode, DeleteRequest, Deleted, Document, JSON, MissingBucket, PutDone,
    PutTarget, Strategy,
};
use std::collections::BTreeMap;

impl Client {
    /// Writes the document `text`, which is compact, under `key`.
    pub async fn write_document(
        &self,
        key: &str,
        text: &str,
        strategy: Strategy,
        condition: Condition,
    ) -> Ended<PutDone> {
        let body = TestBody::of(0, text.as_bytes().to_vec());
        let op = self.oracle.put_begins(key, &body, &condition);
        let target = PutTarget {
            name: name(key),
            content_type: JSON.to_owned(),
            metadata: BTreeMap::from([(OPERATION.to_owned(), op.to_string())]),
            condition,
            md5: None,
            attributes: Attributes::default(),
            missing_bucket: MissingBucket::Make(Versioning::Enabled),
        };
        let written = async {
            let document = Document::parse(strategy, text.as_bytes())?;
            self.coordinator.objects.put_document(&document, &target).await.map(|done| done.put)
        };
        let ended = self.until_end(written).await;
        self.oracle.put_ends(op, &ended);
        ended
    }

    /// Changes the document under `key`; with `if_match` only the version that is called so.
    pub async fn change_document(&self, key: &str, changes: &FieldChanges, if_match: Option<ETag>) -> Ended<PutDone> {
        let op = self.oracle.change_begins(key, changes, if_match);
        let condition = match if_match {
            Some(etag) => Condition::Matches(vec![ContentTag::ETag(etag.text(None))]),
            None => Condition::None,
        };
        let (name, change) = (name(key), changes.sent());
        let changed = self.coordinator.objects.change_document(&name, change, &condition, "");
        let ended = self.until_end(async { changed.await.map(|done| done.put) }).await;
        self.oracle.change_ends(op, &ended);
        ended
    }

    /// Deletes the document under `key`.
    pub async fn delete_document(&self, key: &str) -> Ended<Deleted> {
        let op = self.oracle.delete_begins(key, DeleteMode::Purge);
        let (name, request) = (name(key), DeleteRequest::from(DeleteMode::Purge));
        let gone = self.coordinator.objects.delete_document(&name, &request);
        let deleted = async { gone.await.map(|gone| gone.map_or(Deleted::Nothing, |_| Deleted::Done)) };
        let ended = self.until_end(deleted).await;
        self.oracle.delete_ends(op, &ended);
        ended
    }
}
