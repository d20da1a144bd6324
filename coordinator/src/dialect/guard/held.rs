//! A reply's body that keeps its request among those served until it has been sent.

use crate::limits::Admission;
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use process::requests::UnderWay;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body, and the place that its request takes.
pub struct Held<B> {
    body: Pin<Box<B>>,
    _kept: (Admission, UnderWay),
}

impl<B> Held<B> {
    pub(super) fn new(body: B, admission: Admission, under_way: UnderWay) -> Held<B> {
        Held { body: Box::pin(body), _kept: (admission, under_way) }
    }
}

impl<B: MessageBody> MessageBody for Held<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}
