//! Changes of a document that is there: a JSON merge patch, or new values of its hot fields.
//!
//! What it keeps true: a change is made from one version and published only as its successor; where another writer came first it is made
//! anew from what that one wrote. So no update is lost, and no version mixes the fields of two.

use super::cut::by_content;
use super::json::{Member, members};
use super::merge::merged;
use super::split::{HotNames, with_values};
use super::store::{DocumentDone, Halves};
use super::stored::StoredDocument;
use super::{Document, Strategy, refuse_larger};
use crate::metadata::records::{ChunkEntry, StorageClass, VersionRecord};
use crate::object::budget::Allowance;
use crate::object::put::BATCH_CHUNKS_MAX;
use crate::object::{
    Attributes, Condition, MissingBucket, ObjectName, Objects, PutTarget, Refused, Version, VersionSelector,
};
use futures_util::future::join;
use protocol::{Error, ErrorKind, Result};

/// How often a change is made anew when other writers of the key come first.
const CHANGE_ATTEMPTS_MAX: u32 = 64;
/// A document of no more bytes is changed without an allowance, as a short body is stored without one.
const HELD_BYTES_MIN: usize = 64 << 10;
/// Memory for a document that is changed, in times its length: its text, and what it becomes.
const CHANGE_COST: usize = 2;

/// What is to become of a document.
#[derive(Clone, Debug)]
pub enum Change {
    /// A JSON merge patch (RFC 7396), compact.
    Patch(String),
    /// These values of fields that are hot, as an object; the others are ignored.
    HotOnly(String),
}

impl Change {
    /// A merge patch of a document. `Invalid` for what would leave no object.
    pub fn patch(body: &[u8]) -> Result<Change> {
        let text = super::json::compact(body)?;
        match text.starts_with('{') {
            true => Ok(Change::Patch(text)),
            false => {
                Err(Error::invalid("a merge patch of a document is an object; anything else would replace all of it"))
            }
        }
    }

    /// New values of hot fields.
    pub fn hot_only(body: &[u8]) -> Result<Change> {
        refuse_larger(body.len())?;
        let Document { bytes, .. } = Document::parse(Strategy::FieldHybrid, body)?;
        Ok(Change::HotOnly(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl Objects {
    /// Changes the newest version of a document, as `owner`. `Ok` is durable.
    ///
    /// Errors: `NoSuchKey` without one; `Invalid` for one that holds no JSON object, and for a hot-only update without a hot field;
    /// `ConditionFailed`; else as a put.
    pub async fn change_document(
        &self,
        name: &ObjectName,
        change: Change,
        condition: &Condition,
        owner: &str,
    ) -> Result<DocumentDone> {
        for attempt in 0..CHANGE_ATTEMPTS_MAX {
            self.back_off(attempt).await;
            let version = match self.resolve(name, VersionSelector::Latest).await? {
                Version::Found(version) => version,
                Version::NoObject | Version::NoVersion => {
                    return Err(Refused::NoSuchKey.error(format!("there is no document '{}' to change", name.key())));
                }
            };
            self.require_of(condition, name, &version)?;
            match self.change_version(name, &version, &change, owner).await {
                Err(error) if Refused::of(&error) == Some(Refused::ConditionFailed) => {}
                // Of a version that is not the newest any more bytes may go while they are read.
                Err(error) if error.kind == ErrorKind::Corrupt => {
                    if self.is_newest(name, &version).await? {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
        Err(Error::unavailable(format!(
            "'{}' is being written by too many at once: {CHANGE_ATTEMPTS_MAX} attempts lost the race; retry",
            name.key()
        )))
    }

    /// Whether this is the newest version still.
    async fn is_newest(&self, name: &ObjectName, version: &VersionRecord) -> Result<bool> {
        match self.resolve(name, VersionSelector::Latest).await? {
            Version::Found(newest) => Ok(newest.id == version.id),
            Version::NoObject | Version::NoVersion => Ok(false),
        }
    }

    async fn change_version(
        &self,
        name: &ObjectName,
        version: &VersionRecord,
        change: &Change,
        owner: &str,
    ) -> Result<DocumentDone> {
        if !Objects::is_json(version) {
            return Err(Error::invalid(format!("'{}' holds bytes, not a JSON document; write it anew", name.key())));
        }
        let stored = self.stored_document(version).await?;
        let target = successor(name, version, owner);
        match (change, &stored) {
            (Change::HotOnly(_), None) => Err(Error::invalid(format!(
                "'{}' is stored as {}: a hot-only update takes one that was written with strategy=field_hybrid",
                name.key(),
                Strategy::of(version).as_str()
            ))),
            (Change::HotOnly(text), Some(stored)) => self.change_hot(version, stored, text, &target).await,
            (Change::Patch(patch), Some(stored)) => {
                let changes = changes_of_hot(stored, &members(patch));
                match changes {
                    Some(changes) => self.write_hot(version, stored, &changes, &target).await,
                    None => self.rewrite(version, Some(stored), |text| merged(text, patch), &target).await,
                }
            }
            (Change::Patch(patch), None) => self.rewrite(version, None, |text| merged(text, patch), &target).await,
        }
    }

    /// Gives hot fields new values, and leaves the others alone.
    async fn change_hot(
        &self,
        version: &VersionRecord,
        stored: &StoredDocument,
        text: &str,
        target: &PutTarget,
    ) -> Result<DocumentDone> {
        let key = target.name.key();
        let is_hot = |member: &Member<'_>| stored.hot.contains(member.name.as_ref());
        let (hot, others): (Vec<Member<'_>>, Vec<Member<'_>>) =
            members(text).into_iter().partition(|member| is_hot(member) || self.hot_fields.is_hot(key, member));
        if hot.is_empty() {
            let names: Vec<&str> = stored.hot.iter().map(String::as_str).collect();
            return Err(Error::invalid(format!(
                "no field of the update is hot; in '{key}' these are: {}",
                names.join(", ")
            )));
        }
        let changes: Vec<(String, String)> =
            hot.iter().map(|member| (member.name.to_string(), member.value.to_owned())).collect();
        let mut done = match hot.iter().all(is_hot) {
            true => self.write_hot(version, stored, &changes, target).await?,
            false => self.rewrite(version, Some(stored), |text| replaced(text, &hot, &stored.hot), target).await?,
        };
        done.ignored_fields = others.iter().map(|member| member.name.to_string()).collect();
        Ok(done)
    }

    /// Writes the hot part with new values and names the cold one again.
    async fn write_hot(
        &self,
        version: &VersionRecord,
        stored: &StoredDocument,
        changes: &[(String, String)],
        target: &PutTarget,
    ) -> Result<DocumentDone> {
        let (mut hot, mut cold, mut size) = (Vec::new(), Vec::new(), 0_u64);
        for run in &stored.runs {
            match &run.hot {
                Some(text) => {
                    let text = with_values(text, changes);
                    let start = size;
                    size += text.len() as u64;
                    hot.extend(by_content(text.into(), start));
                }
                None => {
                    let start = size;
                    let moved = |entry: &ChunkEntry| ChunkEntry { end: entry.end - run.start + start, ..entry.clone() };
                    cold.extend(run.entries.iter().map(moved));
                    size = cold.last().map_or(size, |entry| entry.end);
                }
            }
        }
        if hot.len() + cold.len() > BATCH_CHUNKS_MAX {
            return self.rewrite(version, Some(stored), |text| with_values(text, changes), target).await;
        }
        refuse_larger(usize::try_from(size).unwrap_or(usize::MAX))?;
        let hot_code = self.code_of(StorageClass::Standard)?;
        let cold_code = stored.cold_code.unwrap_or(hot_code);
        if !cold.is_empty() {
            self.require_quorum_of(cold_code)?;
        }
        let (hot, cold) = join(self.store_batch(hot_code, hot), self.lean_on(cold_code, cold)).await;
        let halves = Halves { hot: hot?, cold: cold?, codes: (hot_code, cold_code), keeps_cold: true, size };
        let done = self.publish_halves(halves, target).await?;
        let fields: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.hot_fields.observe(target.name.key(), &fields);
        Ok(done)
    }

    /// Reads the whole document, changes its text and writes it again as it was stored.
    async fn rewrite(
        &self,
        version: &VersionRecord,
        stored: Option<&StoredDocument>,
        change: impl FnOnce(&str) -> String,
        target: &PutTarget,
    ) -> Result<DocumentDone> {
        let size = usize::try_from(version.size).unwrap_or(usize::MAX);
        refuse_larger(size)?;
        let _held: Option<Allowance> = match size > HELD_BYTES_MIN {
            true => Some(self.budget.admit(CHANGE_COST * size, CHANGE_COST * size).await?),
            false => None,
        };
        let text = self.read_text(&target.name, version).await?;
        let strategy = Strategy::of(version);
        let document = Document::changed(strategy, change(&text))?;
        match strategy {
            Strategy::FieldHybrid => self.write_fields(&document, stored, target).await,
            strategy => self.write_whole(&document, strategy, target).await,
        }
    }

    async fn read_text(&self, name: &ObjectName, version: &VersionRecord) -> Result<String> {
        let mut bytes = Vec::with_capacity(version.size as usize);
        let mut reader = self.open(name, version, 0..version.size).await?;
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece?);
        }
        // By another door anything can be stored as JSON.
        super::json::compact(&bytes)
    }
}

/// The new values of fields that a patch names, if all of them are hot and stay.
fn changes_of_hot(stored: &StoredDocument, patch: &[Member<'_>]) -> Option<Vec<(String, String)>> {
    let texts: Vec<&str> = stored.runs.iter().filter_map(|run| run.hot.as_deref()).collect();
    let before: Vec<Member<'_>> = texts.iter().flat_map(|text| members(text)).collect();
    let change = |member: &Member<'_>| {
        let before = before.iter().find(|before| before.name == member.name).filter(|_| member.value != "null")?;
        Some((member.name.to_string(), merged(before.value, member.value)))
    };
    patch.iter().map(change).collect()
}

/// An object with these members' values, those that it does not have behind the last hot one: so the cold ones stay as they lie.
fn replaced(text: &str, values: &[Member<'_>], hot: &HotNames) -> String {
    let before = members(text);
    let behind_hot = before.iter().rposition(|member| hot.contains(member.name.as_ref()));
    let (head, tail) = before.split_at(behind_hot.map_or(before.len(), |last| last + 1));
    let is_new = |member: &&Member<'_>| before.iter().all(|before| before.name != member.name);
    let value = |member: &Member<'_>| {
        let value = values.iter().find(|value| value.name == member.name).map_or(member.value, |value| value.value);
        format!("{}:{value}", member.key)
    };
    let new = values.iter().filter(is_new).map(|member| format!("{}:{}", member.key, member.value));
    let all = head.iter().map(value).chain(new).chain(tail.iter().map(value));
    format!("{{{}}}", all.collect::<Vec<_>>().join(","))
}

/// The version that follows: what was said of the document stays, and so does how it is stored.
fn successor(name: &ObjectName, version: &VersionRecord, owner: &str) -> PutTarget {
    PutTarget {
        name: name.clone(),
        content_type: version.content_type.clone(),
        metadata: version.metadata.clone(),
        condition: Condition::Current(version.id),
        md5: None,
        attributes: Attributes {
            owner: owner.to_owned(),
            headers: version.headers.clone(),
            tags: version.tags.clone(),
            storage_class: version.storage_class,
            ..Attributes::default()
        },
        missing_bucket: MissingBucket::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_leaves_an_object() {
        assert!(matches!(Change::patch(b" {\"a\": 1} "), Ok(Change::Patch(text)) if text == r#"{"a":1}"#));
        for text in ["[1]", "null", "3"] {
            assert!(Change::patch(text.as_bytes()).is_err() && Change::hot_only(text.as_bytes()).is_err());
        }
    }

    #[test]
    fn values_replace_or_come_behind_the_hot_ones() {
        let replaced = |text, values: &str| replaced(text, &members(values), &HotNames::from(["n".to_owned()]));
        assert_eq!(replaced(r#"{"n":1,"a":{"n":2}}"#, r#"{"m":null,"n":[]}"#), r#"{"n":[],"m":null,"a":{"n":2}}"#);
        assert_eq!(replaced(r#"{"a":1,"n":2}"#, r#"{"m":3}"#), r#"{"a":1,"n":2,"m":3}"#);
        assert_eq!(replaced("{}", r#"{"n":1}"#), r#"{"n":1}"#);
    }
}
