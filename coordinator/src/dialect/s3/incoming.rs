//! A request's body on its way in: bounded in time, its chunks unpacked, its SHA-256 compared, where the library does not do it.
//!
//! What it keeps true: no body is waited for without a bound; framing is never taken for content.

use super::chunked::{Unpacker, framed, last_chunk};
use super::fault::BodyFault;
use super::linger::Lent;
use super::promise::Promise;
use super::unverified::Packing;
use crate::dialect::intake::Pace;
use crate::metadata::records::ChecksumAlgorithm;
use crate::object::Checksummer;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::StreamBody;
use hyper::HeaderMap;
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use md5::{Digest, Md5};
use s3s::Body;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest chunk whose signature is verified, in bytes: the library holds all of it. Clients sign 64 KiB to 1 MiB at a time.
pub const SIGNED_CHUNK_BYTES_MAX: u64 = 1 << 20;
/// How a section begins whose text is taken as it stands. The library leaves such text out.
pub const CDATA: &[u8] = b"<![CDATA[";

/// The pieces of a body.
pub type Pieces = BoxStream<'static, Result<Bytes, BodyFault>>;

/// Trailers of a body, once it has come to its end.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<Mutex<Option<HeaderMap>>>);

impl Trailers {
    fn set(&self, headers: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(headers);
    }

    /// The trailers, if they have come.
    pub fn take(&self) -> Option<HeaderMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body as it comes, ended by a fault once it brings too little for `stall`.
pub fn never_still(body: Lent, stall: Duration) -> Pieces {
    stream::unfold(Some((body, Pace::new(stall))), move |state| async move {
        let (mut body, mut pace) = state?;
        loop {
            return match pace.wait(body.frame()).await {
                None => Some((Err(BodyFault::StoodStill(stall.as_secs())), None)),
                Some(None) => None,
                Some(Some(Err(error))) => Some((Err(BodyFault::Broken(error.to_string())), None)),
                Some(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        pace.count(data.len());
                        Some((Ok(data), Some((body, pace))))
                    }
                    Err(_) => continue, // HTTP's own trailers say nothing in this protocol.
                },
            };
        }
    })
    .boxed()
}

/// The content of an `aws-chunked` body of `length` bytes. Signatures of chunks are passed over.
pub fn unpacked(pieces: Pieces, length: u64, trailers: Trailers) -> Pieces {
    let state = Some((pieces, Unpacker::new(length), VecDeque::new(), trailers));
    stream::unfold(state, |state| async move {
        let (mut pieces, mut unpacker, mut ready, trailers) = state?;
        loop {
            if let Some(data) = ready.pop_front() {
                return Some((Ok(data), Some((pieces, unpacker, ready, trailers))));
            }
            let step = match pieces.next().await {
                Some(Ok(piece)) => unpacker.push(piece, &mut ready),
                Some(Err(fault)) => Err(fault),
                None => match unpacker.finish() {
                    Ok(headers) => {
                        trailers.set(headers);
                        return None;
                    }
                    Err(fault) => Err(fault),
                },
            };
            if let Err(fault) = step {
                return Some((Err(fault), None));
            }
        }
    })
    .boxed()
}

/// The same body in chunks that are no longer than what comes at a time: the library gathers a chunk before it passes it on, and clients
/// send a whole object in one. For chunks that are not signed.
pub fn repacked(pieces: Pieces, length: u64) -> Pieces {
    let trailers = Trailers::default();
    let content = unpacked(pieces, length, trailers.clone());
    let chunks = content.flat_map(|piece| match piece {
        Ok(data) => stream::iter(framed(data).map(Ok).to_vec()),
        Err(fault) => stream::iter(vec![Err(fault)]),
    });
    // A body that broke off has no trailers, and no end.
    let end = stream::once(async move { trailers.take() });
    chunks.chain(end.filter_map(async |trailers| trailers.map(|trailers| Ok(last_chunk(&trailers))))).boxed()
}

/// The same body, whose chunks are signed, and a fault where one is longer than [`SIGNED_CHUNK_BYTES_MAX`], or the last is missing.
pub fn in_short_chunks(pieces: Pieces, length: u64) -> Pieces {
    let seen = Unpacker::new(length).of_chunks(SIGNED_CHUNK_BYTES_MAX);
    stream::unfold(Some((pieces, seen)), |state| async move {
        let (mut pieces, mut seen) = state?;
        let mut content = VecDeque::new();
        match pieces.next().await {
            Some(Ok(piece)) => match seen.push(piece.clone(), &mut content) {
                Ok(()) => Some((Ok(piece), Some((pieces, seen)))),
                Err(fault) => Some((Err(fault), None)),
            },
            Some(Err(fault)) => Some((Err(fault), None)),
            // The last chunk is empty, and signed: without it there is no telling that this is the end.
            None => seen.finish().err().map(|fault| (Err(fault), None)),
        }
    })
    .boxed()
}

/// The same body, and a fault at its end if its SHA-256 is not `expected`.
pub fn verified(pieces: Pieces, expected: [u8; 32]) -> Pieces {
    let state = Some((pieces, Checksummer::new(ChecksumAlgorithm::Sha256)));
    stream::unfold(state, move |state| async move {
        let (mut pieces, mut seen) = state?;
        match pieces.next().await {
            Some(Ok(piece)) => {
                seen.update(&piece);
                Some((Ok(piece), Some((pieces, seen))))
            }
            Some(Err(fault)) => Some((Err(fault), None)),
            None if seen.finish().value == expected => None,
            None => Some((Err(BodyFault::Sha256), None)),
        }
    })
    .boxed()
}

/// Who has seen all of a body that the library has seen, whose SHA-256 the library compares when it knows the last byte, and before it asks
/// for the end.
pub struct Witness {
    expected: [u8; 32],
    bytes: u64,
    seen: Arc<Mutex<(Checksummer, u64)>>,
}

impl Witness {
    /// One of a body that is to have this SHA-256, of so many bytes.
    pub fn new(expected: [u8; 32], bytes: u64) -> Witness {
        Witness { expected, bytes, seen: Arc::new(Mutex::new((Checksummer::new(ChecksumAlgorithm::Sha256), 0))) }
    }

    /// The same body, seen.
    pub fn sees(&self, pieces: Pieces) -> Pieces {
        let seen = self.seen.clone();
        let look = move |piece: &Result<Bytes, BodyFault>| {
            if let Ok(piece) = piece {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.0.update(piece);
                seen.1 += piece.len() as u64;
            }
        };
        pieces.inspect(look).boxed()
    }

    /// Whether all of it was seen, and it has another SHA-256. Of a body that was not read nothing is known.
    pub fn saw_another(self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, bytes) = std::mem::replace(&mut *seen, (Checksummer::new(ChecksumAlgorithm::Sha256), 0));
        bytes == self.bytes && seen.finish().value != self.expected
    }
}

/// A document's body, and a fault where it has a CDATA section: what the client wrote there would be read as nothing.
fn without_cdata(pieces: Pieces) -> Pieces {
    let mut last = Vec::new();
    let look = move |piece: Result<Bytes, BodyFault>| {
        let piece = piece?;
        match has_cdata(&mut last, &piece) {
            true => Err(BodyFault::Cdata),
            false => Ok(piece),
        }
    };
    pieces.map(look).boxed()
}

/// Whether a section begins in this piece, or in `last`, which is kept of those before.
fn has_cdata(last: &mut Vec<u8>, piece: &[u8]) -> bool {
    last.extend_from_slice(piece);
    let found = last.windows(CDATA.len()).any(|window| window == CDATA);
    last.drain(..last.len().saturating_sub(CDATA.len() - 1));
    found
}

/// A document's body, and a fault at its end if it is not what was promised of it.
fn promised(pieces: Pieces, promise: Promise, trailers: Trailers) -> Pieces {
    let checksummer = promise.checksummer();
    let state = Some((pieces, Md5::new(), checksummer));
    let told = Arc::new((promise, trailers));
    stream::unfold(state, move |state| {
        let told = told.clone();
        async move {
            let (mut pieces, mut md5, mut checksummer) = state?;
            match pieces.next().await {
                Some(Ok(piece)) => {
                    md5.update(&piece);
                    if let Some(checksummer) = &mut checksummer {
                        checksummer.update(&piece);
                    }
                    Some((Ok(piece), Some((pieces, md5, checksummer))))
                }
                Some(Err(fault)) => Some((Err(fault), None)),
                None => broken(&told.0, md5, checksummer, &told.1).map(|fault| (Err(fault), None)),
            }
        }
    })
    .boxed()
}

fn broken(promise: &Promise, md5: Md5, checksummer: Option<Checksummer>, trailers: &Trailers) -> Option<BodyFault> {
    if promise.md5.is_some_and(|promised| promised != <[u8; 16]>::from(md5.finalize())) {
        return Some(BodyFault::Digest("The Content-MD5 you specified did not match what we received.".to_owned()));
    }
    let kept = promise.kept(checksummer, trailers.take().as_ref());
    kept.err().map(|fault| BodyFault::Digest(fault.message().unwrap_or_default().to_owned()))
}

/// A document's body, a fault where it is not what was promised of it, and who sees it where the library compares its SHA-256. `packing`
/// is that of a body which the library unpacks.
pub fn document(
    pieces: Pieces,
    promise: Promise,
    packing: Option<Packing>,
    headers: &HeaderMap,
    trailers: &Trailers,
) -> (Pieces, Option<Witness>) {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let witness = match (packing, length) {
        (Some(Packing::Hashed(sha256)), Some(bytes)) => Some(Witness::new(sha256, bytes)),
        _ => None,
    };
    let pieces = match &witness {
        Some(witness) => witness.sees(pieces),
        None => pieces,
    };
    let pieces = without_cdata(pieces);
    match packing {
        Some(Packing::Chunks(_)) => (pieces, witness),
        _ => (promised(pieces, promise, trailers.clone()), witness),
    }
}

/// The first bytes of a body that another reads, up to a bound.
#[derive(Clone, Debug)]
pub struct Overheard {
    most: usize,
    /// What was heard; `None` if it was more.
    heard: Arc<Mutex<Option<BytesMut>>>,
}

impl Overheard {
    /// Nothing yet.
    pub fn new(most: usize) -> Overheard {
        Overheard { most, heard: Arc::new(Mutex::new(Some(BytesMut::new()))) }
    }

    /// The same body, overheard.
    pub fn hears(&self, pieces: Pieces) -> Pieces {
        let Overheard { most, heard } = self.clone();
        let look = move |piece: &Result<Bytes, BodyFault>| {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Ok(piece), Some(bytes)) = (piece, heard.as_mut()) {
                match bytes.len() + piece.len() > most {
                    true => *heard = None,
                    false => bytes.extend_from_slice(piece),
                }
            }
        };
        pieces.inspect(look).boxed()
    }

    /// What was heard so far; `None` if it was more than the bound.
    pub fn heard(&self) -> Option<Bytes> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone().map(BytesMut::freeze)
    }
}

/// The body as the library takes it.
pub fn for_library(pieces: Pieces) -> Body {
    Body::http_body_unsync(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signed_chunks_end_with_the_empty_one() {
        let chunk = |bytes: &str| format!("{:x};chunk-signature={}\r\n{bytes}\r\n", bytes.len(), "0".repeat(64));
        let faults = async |body: String| {
            let pieces: Vec<_> = body.as_bytes().chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let passed: Vec<_> = in_short_chunks(stream::iter(pieces).boxed(), 5).collect().await;
            let whole: Vec<u8> = passed.iter().flatten().flat_map(|piece| piece.to_vec()).collect();
            assert_eq!(whole, body.as_bytes());
            passed.iter().filter(|piece| piece.is_err()).count()
        };
        assert_eq!(faults(chunk("12") + &chunk("345") + &chunk("")).await, 0);
        assert_eq!(faults(chunk("12") + &chunk("345")).await, 1);
    }

    #[tokio::test]
    async fn of_a_body_that_was_not_read_whole_a_witness_says_nothing() {
        let says = async |read: usize, told: &[u8]| {
            let mut seen = Checksummer::new(ChecksumAlgorithm::Sha256);
            seen.update(told);
            let witness = Witness::new(seen.finish().value.try_into().unwrap(), 6);
            let pieces = [b"one", b"two"].map(|piece| Ok(Bytes::from_static(piece)));
            let mut pieces = witness.sees(stream::iter(pieces).boxed());
            for _ in 0..read {
                pieces.next().await;
            }
            witness.saw_another()
        };
        assert!(!says(0, b"other").await, "a limit refused it before it was read");
        assert!(!says(1, b"other").await && says(2, b"other").await && !says(2, b"onetwo").await);
    }

    #[tokio::test]
    async fn what_is_overheard_has_a_bound() {
        let overheard = Overheard::new(5);
        assert_eq!(overheard.heard().unwrap().len(), 0);
        let pieces = [b"one", b"two"].map(|piece| Ok(Bytes::from_static(piece)));
        let mut pieces = overheard.hears(stream::iter(pieces).boxed());
        pieces.next().await;
        assert_eq!(overheard.heard().unwrap(), "one");
        pieces.next().await;
        assert!(overheard.heard().is_none());
    }

    #[test]
    fn a_section_is_found_wherever_the_pieces_end() {
        let document = b"<a>&lt;![CDATA[</a><b><![CDATA[x]]></b>";
        for cut in 0..document.len() {
            let (one, two) = document.split_at(cut);
            let mut last = Vec::new();
            let found = [has_cdata(&mut last, one), has_cdata(&mut last, two)];
            assert!(found[0] || found[1], "cut at {cut}");
        }
        let mut last = Vec::new();
        assert!(document.iter().any(|byte| has_cdata(&mut last, &[*byte])));
        assert!(!has_cdata(&mut Vec::new(), &document[..22]), "escaped, it is text");
    }
}
