//! One HTTP/1.1 connection to a node, used by the task that calls: no other task stands between, and an answer's bytes go from
//! the kernel straight into the memory where they stay.
//!
//! Why not a general client: what it does for a call (a task for the connection, channels to and from it, buffers of its own)
//! cost 20 µs of a small call and 0.3 CPU-seconds of a GiB read (measured; `docs/decisions/0026-the-node-client.md`).
//!
//! What it keeps true:
//! - An answer is taken only if its head is whole, its length is told, and all of it came.
//! - A connection serves another call only after the last answer was read to its end, and nothing came after it.

use super::head::{Head, parse_head};
use super::secure::Secured;
use bytes::{Bytes, BytesMut};
use segments::buffers;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::select;
use tokio_rustls::client::TlsStream;

/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Room for a head, and for what of a small body comes with it.
const READ_BYTES: usize = 4 << 10;
/// Pieces that one system call sends at most.
const PIECES_MAX: usize = 64;

/// A connection. Dropped in the middle of a call, it is closed.
pub(super) struct Connection {
    stream: Stream,
    /// What was read behind the head of an answer.
    ahead: BytesMut,
    /// Whether the node takes another request on it.
    kept: bool,
}

/// What a connection runs on. Two kinds, not a trait object: the plain one, which most clusters have, is not to pay for the other.
enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Connects; the connection belongs to the runtime that is entered.
    pub(super) async fn open(host: &str, port: u16, secured: Option<&Secured>) -> io::Result<Connection> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let stream = match secured {
            None => Stream::Plain(stream),
            Some(secured) => Stream::Secure(secured.over(stream).await?),
        };
        Ok(Connection { stream, ahead: BytesMut::new(), kept: false })
    }

    /// Sends a request and reads the head of its answer. A node that refuses a request may answer before it has read all of it,
    /// and close: what it said counts, and nothing more is sent.
    pub(super) async fn ask(&mut self, request: &[&[u8]]) -> io::Result<Head> {
        self.kept = false;
        let (head, kept) = match &mut self.stream {
            Stream::Plain(stream) => {
                let (mut reader, mut writer) = stream.split();
                exchange(&mut reader, &mut writer, request, &mut self.ahead).await?
            }
            Stream::Secure(stream) => {
                let (mut reader, mut writer) = tokio::io::split(stream);
                exchange(&mut reader, &mut writer, request, &mut self.ahead).await?
            }
        };
        self.kept = kept;
        Ok(head)
    }

    /// The body of `length` bytes that follows the head, and its CRC32.
    pub(super) async fn read_body(&mut self, length: usize) -> io::Result<(Bytes, u32)> {
        let mut hasher = crc32fast::Hasher::new();
        let came = self.ahead.split_to(self.ahead.len().min(length));
        hasher.update(&came);
        if came.len() == length {
            return Ok((came.freeze(), hasher.finalize()));
        }
        let mut body = buffers::take(length);
        body.fill(&came);
        while !body.is_full() {
            let room = body.room();
            let count = match &mut self.stream {
                Stream::Plain(stream) => stream.read(room).await?,
                Stream::Secure(stream) => stream.read(room).await?,
            };
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            hasher.update(&room[..count]);
            body.advance(count);
        }
        Ok((body.freeze(), hasher.finalize()))
    }

    /// Whether it can serve another call, now that the answer has been read.
    pub(super) fn is_reusable(&self) -> bool {
        self.kept && self.ahead.is_empty()
    }
}

/// Sends, and reads a head; with it, whether the connection may be used again.
async fn exchange(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    request: &[&[u8]],
    ahead: &mut BytesMut,
) -> io::Result<(Head, bool)> {
    let mut reading = pin!(read_head(reader, ahead));
    let sent = {
        let mut writing = pin!(write_all(writer, request));
        select! {
            biased;
            sent = &mut writing => sent,
            head = &mut reading => return Ok((head?, false)),
        }
    };
    match (sent, reading.await) {
        (Ok(()), Ok(head)) => Ok((head, !head.closes)),
        (Err(_), Ok(head)) => Ok((head, false)),
        (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error),
    }
}

async fn read_head(reader: &mut (impl AsyncRead + Unpin), ahead: &mut BytesMut) -> io::Result<Head> {
    loop {
        if let Some(head) = parse_head(ahead)? {
            return Ok(head);
        }
        if ahead.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "the head of the answer is too long"));
        }
        ahead.reserve(READ_BYTES);
        if reader.read_buf(ahead).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn write_all(writer: &mut (impl AsyncWrite + Unpin), pieces: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0); // Empty pieces in front are passed over.
    while !rest.is_empty() {
        let sent = writer.write_vectored(&rest[..rest.len().min(PIECES_MAX)]).await?;
        if sent == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, sent);
    }
    // Sockets send what they take; TLS may hold the end of a record back.
    writer.flush().await
}
