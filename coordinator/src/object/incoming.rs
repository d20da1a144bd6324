//! A client's body on its way into a put.
//!
//! What it keeps true: what waits here is bounded, in pieces in the channel, and in bytes where they are taken ahead.

use super::publish::PutTarget;
use bytes::Bytes;
use protocol::{Error, Result};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use tokio::sync::mpsc;

/// So many bytes of a body, and one piece more, are held without an allowance. What ends within them is stored from the pieces it came in; a
/// longer one has a stage.
pub(super) const SHORT_BYTES_MAX: usize = 64 << 10;
/// Pieces that may wait between client and put.
pub const BODY_QUEUE_PIECES: usize = 2;

/// A message from whoever reads the client's body.
#[derive(Debug)]
pub enum BodyMessage<T = PutTarget> {
    /// The next bytes.
    Piece(Bytes),
    /// All bytes have come, and this is what is to become of them.
    End(Box<T>),
    /// The body cannot be had.
    Failed(Error),
}

/// A client's body; closed without [`BodyMessage::End`] it broke off.
pub type Body<T = PutTarget> = mpsc::Receiver<BodyMessage<T>>;

/// A bounded channel for a body.
pub fn body_channel<T>() -> (mpsc::Sender<BodyMessage<T>>, Body<T>) {
    mpsc::channel(BODY_QUEUE_PIECES)
}

/// A body that is there already.
pub async fn whole_body<T>(data: Bytes, target: T) -> Body<T> {
    let (sender, body) = body_channel();
    for message in [BodyMessage::Piece(data), BodyMessage::End(Box::new(target))] {
        assert!(sender.send(message).await.is_ok(), "the receiver lives and has room for two");
    }
    body
}

/// What came next.
pub(super) enum Taken<T> {
    Piece(Bytes),
    End(Box<T>),
}

/// A body being taken.
pub(super) struct Incoming<T> {
    body: Body<T>,
    /// What came while there was no room for it yet.
    ahead: VecDeque<Option<BodyMessage<T>>>,
}

impl<T> Incoming<T> {
    pub(super) fn new(body: Body<T>) -> Incoming<T> {
        Incoming { body, ahead: VecDeque::new() }
    }

    /// The next of it. `Invalid` if it breaks off.
    pub(super) async fn next(&mut self) -> Result<Taken<T>> {
        let message = match self.ahead.pop_front() {
            Some(message) => message,
            None => self.body.recv().await,
        };
        match message {
            Some(BodyMessage::Piece(piece)) => Ok(Taken::Piece(piece)),
            Some(BodyMessage::End(target)) => Ok(Taken::End(target)),
            Some(BodyMessage::Failed(error)) => Err(error),
            None => Err(Error::invalid("the client went away before its upload was complete")),
        }
    }

    /// Adds pieces to a few, to the body's end or until they are more than [`SHORT_BYTES_MAX`].
    pub(super) async fn take_few(&mut self, few: &mut Vec<Bytes>) -> Result<Option<Box<T>>> {
        let mut bytes: usize = few.iter().map(Bytes::len).sum();
        while bytes <= SHORT_BYTES_MAX {
            match self.next().await? {
                Taken::Piece(piece) => {
                    bytes += piece.len();
                    few.push(piece);
                }
                Taken::End(target) => return Ok(Some(target)),
            }
        }
        Ok(None)
    }

    /// Goes on taking what comes, `bytes_max` at most, while its caller waits for something else. Never ends; it may be given up
    /// at any time.
    pub(super) async fn take_ahead(&mut self, bytes_max: usize) -> Infallible {
        let mut bytes = 0;
        while bytes < bytes_max {
            let message = self.body.recv().await;
            let goes_on = matches!(message, Some(BodyMessage::Piece(_)));
            if let Some(BodyMessage::Piece(piece)) = &message {
                bytes += piece.len();
            }
            self.ahead.push_back(message);
            if !goes_on {
                break;
            }
        }
        pending().await
    }
}

/// Bytes in one buffer.
pub(super) fn joined_pieces(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [only] => only.clone(),
        pieces => pieces.concat().into(),
    }
}
