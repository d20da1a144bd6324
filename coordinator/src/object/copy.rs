//! Copy: a version's bytes under another name, or under its own with other attributes.
//!
//! What it keeps true: bytes are read only where something has to be computed over them: a checksum that the source does not have, or has
//! over its parts only, which a copy does not have. Otherwise the copy is composed of the source's chunks and keeps its ETag.

use super::Objects;
use super::checksum::Checksummer;
use super::incoming::{Body, BodyMessage, body_channel};
use super::name::ObjectName;
use super::publish::{PutDone, PutTarget};
use crate::metadata::records::{Checksum, ChecksumAlgorithm, ChecksumKind, VersionRecord};
use futures_util::future::join;
use protocol::Result;
use std::ops::Range;
use tokio::sync::mpsc;

/// A version to be copied, as [`Objects::find`] gave it, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct SourceVersion<'a> {
    /// The name.
    pub name: &'a ObjectName,
    /// The version.
    pub version: &'a VersionRecord,
}

/// A copy that was published.
#[derive(Clone, Debug)]
pub struct CopyDone {
    /// The new version.
    pub put: PutDone,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

impl Objects {
    /// Copies `source` to where `target` says. Its `md5` and `attributes.checksum` are not looked at:
    /// the copy has a checksum of `algorithm`, or, if that is `None`, of the algorithm that the source has one of.
    ///
    /// Errors as [`Objects::code_of`] and a put, and `Unavailable` if the source goes while it is copied.
    pub async fn copy(
        &self,
        source: SourceVersion<'_>,
        target: PutTarget,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<CopyDone> {
        let version = source.version;
        let kept = version.checksum.clone().filter(|checksum| checksum.kind == ChecksumKind::FullObject);
        let wanted = algorithm.or(version.checksum.as_ref().map(|checksum| checksum.algorithm));
        let code = self.code_of(target.attributes.storage_class)?;
        let mut target = PutTarget { md5: None, ..target };
        if wanted == kept.as_ref().map(|kept| kept.algorithm) {
            target.attributes.checksum.clone_from(&kept);
            return Ok(CopyDone { put: self.compose(source, code, &target).await?, checksum: kept });
        }
        self.require_put(&target, version.size).await?;
        let end = |checksum: Option<Checksum>| {
            target.attributes.checksum = checksum;
            target
        };
        let (feed, body) = self.body_of(source, 0..version.size, wanted, end);
        let (checksum, put) = join(feed, self.put_with_md5(code, body)).await;
        Ok(CopyDone { put: put?, checksum })
    }

    /// A body of a range of a version, which `end` ends, told the checksum of what went before; and what feeds it, which gives that
    /// checksum. A failure to read is the body's.
    pub(super) fn body_of<'a, T: 'a>(
        &'a self,
        source: SourceVersion<'a>,
        range: Range<u64>,
        algorithm: Option<ChecksumAlgorithm>,
        end: impl FnOnce(Option<Checksum>) -> T + 'a,
    ) -> (impl Future<Output = Option<Checksum>> + 'a, Body<T>) {
        let (sender, body) = body_channel();
        let feed = async move {
            let mut checksummer = algorithm.map(Checksummer::new);
            let sent = self.send_range(source, range, &mut checksummer, &sender).await;
            let checksum = checksummer.map(Checksummer::finish);
            let last = match sent {
                Ok(()) => BodyMessage::End(Box::new(end(checksum.clone()))),
                Err(error) => BodyMessage::Failed(error),
            };
            // Whoever takes the body may have ended before it did; its own error says why.
            drop(sender.send(last).await);
            checksum
        };
        (feed, body)
    }

    async fn send_range<T>(
        &self,
        source: SourceVersion<'_>,
        range: Range<u64>,
        checksummer: &mut Option<Checksummer>,
        body: &mpsc::Sender<BodyMessage<T>>,
    ) -> Result<()> {
        let mut reader = self.open(source.name, source.version, range).await?;
        while let Some(piece) = reader.next().await {
            let piece = piece?;
            if let Some(checksummer) = checksummer {
                checksummer.update(&piece);
            }
            if body.send(BodyMessage::Piece(piece)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
