//! What is left of a body when its request has been answered: it is read on for a while and thrown away.
//!
//! Many clients write all of a body before they read the answer. Who closes a connection with bytes on it that nobody read has its machine
//! reset it, and the client never sees why it was refused (RFC 9112, 9.6).
//!
//! What it keeps true: nothing is read on before the answer has left, and nothing for longer than [`LINGER`], or from a client that has
//! fallen silent.

use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long a client may go on sending. nginx's `lingering_time`.
const LINGER: Duration = Duration::from_secs(30);
/// How long it may be silent before nothing more is expected of it. nginx's `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);

/// Where a body goes back to when whoever read it has no more use for it.
#[derive(Clone, Default)]
pub struct Rest(Arc<Mutex<Option<Left>>>);

/// What is left of a body.
pub struct Left {
    pub body: Incoming,
    /// Whether any of it was asked for: a client that waits to be told to send it has been told.
    pub was_asked_for: bool,
}

impl Rest {
    /// The body, lent.
    pub fn lend(&self, body: Incoming) -> Lent {
        Lent { left: Some(Left { body, was_asked_for: false }), rest: self.clone() }
    }

    /// What was given back and has not ended.
    pub fn take(&self) -> Option<Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body that goes back when it is dropped before its end.
pub struct Lent {
    left: Option<Left>,
    rest: Rest,
}

impl Lent {
    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<hyper::Result<Frame<bytes::Bytes>>> {
        let left = self.left.as_mut()?;
        left.was_asked_for = true;
        left.body.frame().await
    }

    /// Whether nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.left.as_ref().is_none_or(|left| left.body.is_end_stream())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let left = self.left.take().filter(|left| !left.body.is_end_stream());
        *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

/// Reads the body on, and returns when it has ended, or the client has had its time.
pub async fn read_on(mut body: Incoming) {
    let all = async { while let Ok(Some(Ok(_))) = timeout(SILENCE, body.frame()).await {} };
    timeout(LINGER, all).await.ok();
}
