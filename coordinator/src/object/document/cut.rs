//! Cuts a document into chunks of which one commit can name all.
//!
//! What it keeps true: no chunk holds bytes of two runs; cuts follow content as they do in any object, unless that makes more chunks than a
//! commit names: then the pieces are of one length.

use super::split::Run;
use crate::object::chunker::{CHUNK_BYTES_MAX, Chunker, PlainChunk};
use crate::object::put::BATCH_CHUNKS_MAX;
use bytes::Bytes;
use protocol::sha256;

/// A document's chunks, each with its end in the document.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) hot: Vec<PlainChunk>,
    pub(super) cold: Vec<PlainChunk>,
}

impl Cut {
    fn count(&self) -> usize {
        self.hot.len() + self.cold.len()
    }

    fn add(&mut self, is_hot: bool, chunks: impl Iterator<Item = PlainChunk>) {
        if is_hot { self.hot.extend(chunks) } else { self.cold.extend(chunks) }
    }
}

/// Cuts these runs of a document.
pub(super) fn cut(document: &Bytes, runs: &[Run]) -> Cut {
    let mut cut = Cut::default();
    for Run { is_hot, bytes } in runs {
        cut.add(*is_hot, by_content(document.slice(bytes.clone()), bytes.start as u64));
    }
    if cut.count() <= BATCH_CHUNKS_MAX {
        return cut;
    }
    // Each run has one piece that is not full, at most.
    let full = BATCH_CHUNKS_MAX - runs.len();
    let piece_bytes = document.len().div_ceil(full);
    assert!(piece_bytes <= CHUNK_BYTES_MAX, "a document's bytes and runs are bounded");
    let mut cut = Cut::default();
    for Run { is_hot, bytes } in runs {
        let start = bytes.start;
        let pieces = (start..bytes.end).step_by(piece_bytes).map(|from| from..bytes.end.min(from + piece_bytes));
        let chunks = pieces.map(|piece| {
            let (data, end) = (document.slice(piece.clone()), piece.end as u64);
            PlainChunk { sha256: sha256(&data), data, end }
        });
        cut.add(*is_hot, chunks);
    }
    cut
}

/// Cuts a run that stands at `start` of its document where its content says.
pub(super) fn by_content(run: Bytes, start: u64) -> impl Iterator<Item = PlainChunk> {
    let chunks = Chunker::default().cut_nameless(run);
    chunks.into_iter().map(move |chunk| PlainChunk { end: start + chunk.end, ..chunk })
}

#[cfg(test)]
mod tests {
    use super::super::DOCUMENT_BYTES_MAX;
    use super::*;
    use crate::config::HOT_FIELDS_MAX;

    fn joined(cut: &Cut) -> Vec<u8> {
        let mut chunks: Vec<&PlainChunk> = cut.hot.iter().chain(&cut.cold).collect();
        chunks.sort_by_key(|chunk| chunk.end);
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.extend_from_slice(&chunk.data);
            assert_eq!(chunk.end, bytes.len() as u64);
            assert_eq!(chunk.sha256, sha256(&chunk.data));
        }
        bytes
    }

    #[test]
    fn every_document_fits_one_commit() {
        let runs_max = 2 * HOT_FIELDS_MAX + 1;
        for (bytes, runs) in [(1, 1), (100, 33), (900_000, 3), (3 << 20, runs_max), (DOCUMENT_BYTES_MAX, runs_max)] {
            let document: Bytes = (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
            let length = bytes / runs;
            let runs: Vec<Run> = (0..runs)
                .map(|n| Run {
                    is_hot: n % 2 == 1,
                    bytes: n * length..if n + 1 == runs { bytes } else { (n + 1) * length },
                })
                .collect();
            let cut = cut(&document, &runs);
            assert!(cut.count() <= BATCH_CHUNKS_MAX, "{} chunks", cut.count());
            assert_eq!(joined(&cut), document);
        }
    }
}
