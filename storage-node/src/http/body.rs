//! Reads a request's body in pieces: bounded in length, in memory, and in time.

use super::Service;
use super::gate::Permit;
use super::reply::Failure;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Payload;
use bytes::Bytes;
use futures_util::StreamExt;
use metrics::Counter;
use protocol::{Error, routes};
use std::time::Duration;

/// All of a short body.
pub(super) async fn whole(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
    bytes_max: u64,
) -> Result<Vec<u8>, Failure> {
    let mut body = Body::open(request, payload, service, bytes_max)?;
    let mut bytes = Vec::with_capacity(body.told_bytes());
    while let Some(piece) = body.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// A body on its way in. What it has brought counts against the gate until it is dropped.
pub(super) struct Body {
    payload: Payload,
    permit: Permit,
    timeout: Duration,
    bytes_max: u64,
    told_bytes: usize,
    received_bytes: u64,
    counter: Counter,
}

impl Body {
    /// Refuses at once what is too long or would not fit, before any of it is read.
    pub(super) fn open(
        request: &HttpRequest,
        payload: Payload,
        service: &Service,
        bytes_max: u64,
    ) -> Result<Body, Failure> {
        let told = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let told = told.unwrap_or(0);
        if told > bytes_max {
            return Err(too_long(bytes_max));
        }
        let permit = service.gate.admit(told)?;
        let counter = service.requests.bytes_in.clone();
        Ok(Body {
            payload,
            permit,
            timeout: service.body_timeout,
            bytes_max,
            told_bytes: told as usize,
            received_bytes: 0,
            counter,
        })
    }

    /// How long it is said to be.
    pub(super) fn told_bytes(&self) -> usize {
        self.told_bytes
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let next = tokio::time::timeout(self.timeout, self.payload.next()).await;
        let Ok(next) = next else {
            let message = format!("no byte of the body for {} s", self.timeout.as_secs());
            return Err(Failure::with_status(StatusCode::REQUEST_TIMEOUT, Error::unavailable(message)));
        };
        let Some(piece) = next else {
            self.counter.increment(self.received_bytes);
            return Ok(None);
        };
        let piece = piece.map_err(|error| Error::invalid(format!("the body cannot be read: {error}")))?;
        self.received_bytes += piece.len() as u64;
        if self.received_bytes > self.bytes_max {
            return Err(too_long(self.bytes_max));
        }
        self.permit.grow_to(self.received_bytes)?;
        Ok(Some(piece))
    }
}

fn too_long(bytes_max: u64) -> Failure {
    let error = Error::invalid(format!("the body is longer than {bytes_max} bytes"));
    Failure::with_status(StatusCode::PAYLOAD_TOO_LARGE, error)
}

/// The CRC32 that the body is said to have.
pub(super) fn crc_header(request: &HttpRequest) -> Result<u32, Failure> {
    let told = request.headers().get(routes::HEADER_CRC).and_then(|value| value.to_str().ok());
    let crc = told.and_then(routes::crc_from_text);
    crc.ok_or_else(|| Error::invalid(format!("header {} must be eight hex digits", routes::HEADER_CRC)).into())
}
