//! What stands between the listener and the library: ids, limits, what the library does not know of, and what is told of each request.
//!
//! What it keeps true:
//! - Every answer carries `x-amz-request-id`, which travels to the nodes and into every log line; every error's body carries it, too.
//! - In this order, and each refusal is told: 503 `SlowDown`, heads that are too long, the address's rate, what is not served, the
//!   signature and what it is not of, the key's rate, what the key may do.
//! - Whoever comes after it finds in the head all that a presigned URL says, and nothing that had to be signed and is not.
//! - A request is counted among those served until the last byte of its answer has left.

use super::access::Trace;
use super::fault::{self, BodyFault, bad_request, fault, invalid, not_implemented, of_verb, slow_down};
use super::incoming::{
    Overheard, Pieces, Trailers, Witness, document, for_library, in_short_chunks, never_still, repacked, unpacked,
    verified,
};
use super::linger::{Lent, Rest, read_on};
use super::particulars::{Asked, told_with};
use super::promise::{Promise, refuse_unknown};
use super::served::{is_document, makes_bucket, not_served};
use super::signature::{Signed, named_key, require_form, signed, tell_date};
use super::signed_headers::{refuse_unsigned, unfold, unsigned};
use super::target::{Place, Query, Target};
use super::unverified::{Packing, has_signed_chunks, packing, take_signature_off};
use super::write::NO_LENGTH;
use super::{S3Settings, cors, form, post, told};
use crate::dialect::Door;
use crate::limits::{Admission, Refused};
use crate::metadata::Serves;
use crate::nodes::REQUEST_ID;
use crate::object::Tasks;
use bytes::Bytes;
use futures_util::stream::{StreamExt, poll_fn};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use process::requests::UnderWay;
use process::traces::{self, TRACEPARENT};
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode, S3Result, StdError};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{Instrument, info_span};

const V2_REFUSED: &str = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
/// What version 2 of the signatures does not cover: whoever has a URL of an object could ask for these of it.
const NOT_SIGNED_BY_V2: [&str; 3] = ["attributes", "legal-hold", "retention"];
/// The most bytes of header names and values; S3 itself takes 8 KiB.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// The most bytes of a document that makes a bucket: room for all its tags.
const NEW_BUCKET_BYTES_MAX: usize = 64 << 10;
const REQUEST_ID_HEADER: &str = "x-amz-request-id";

/// The listener's service.
pub struct Front {
    door: Door,
    service: S3Service,
    domain: Option<String>,
    takes_v2: bool,
    /// How the listener is reached: `http` or `https`.
    scheme: &'static str,
    forms: form::Places,
}

impl Front {
    /// A service over the library's.
    pub(super) fn new(door: Door, service: S3Service, settings: S3Settings, scheme: &'static str) -> Front {
        let S3Settings { domain, takes_v2 } = settings;
        Front { door, service, domain, takes_v2, scheme, forms: form::Places::default() }
    }

    /// Who starts what serves connections.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.door.objects.tasks
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: IpAddr, local: IpAddr) -> Response<Outgoing> {
        let began = Instant::now();
        let id: Arc<str> = format!("{:016X}", self.door.objects.clock.random() as u64).into();
        let place = request.headers().get(TRACEPARENT).and_then(|value| traces::accepted(value.to_str().ok()?));
        let span =
            info_span!("request", request_id = %id, method = %request.method(), endpoint = "s3", traceparent = place);
        let (head, body) = request.into_parts();
        let seen = told::Seen { method: head.method.clone(), peer, began };
        let under_way = self.door.requests.begin();
        let origin = head.headers.get(hyper::header::ORIGIN).cloned();
        let target = Target::of(&head, self.domain.as_deref());
        let asked = Asked::of(&head, target.as_ref().ok());
        let trace = Arc::new(Trace::default());
        let has_body = !HttpBody::is_end_stream(&body);
        let waits = head.headers.contains_key(EXPECT);
        let waits_for_nothing = !has_body && waits;
        let rest = Rest::default();
        let body = rest.lend(body);
        let serving = async {
            let target =
                target.as_ref().map_err(|refused| fault(refused.code().clone(), "the URI cannot be parsed"))?;
            let admission = self.enter(&head.headers, peer, local)?;
            let served = self.serve(head, body, target, &trace).await;
            Ok((served.unwrap_or_else(refused), Some(admission)))
        };
        let outcome: S3Result<_> = REQUEST_ID.scope(id.clone(), serving.instrument(span.clone())).await;
        let (mut response, admission) = outcome.unwrap_or_else(|error| (refused(error), None));
        if let (Some(origin), Ok(target)) = (&origin, &target)
            && seen.method != Method::OPTIONS
        {
            cors::dress(&self.door, target, origin, &seen.method, response.headers_mut()).await;
        }
        if has_body && !trace.has_ended_body() || waits_for_nothing {
            // The connection is closed with the answer; a client that is not told sends its next request into nothing. And botocore takes an
            // answer that came in place of a 100 for the one to its next request, unless the connection ends with it (boto/botocore#3124).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-amz-id-2", value.clone());
            response.headers_mut().insert(REQUEST_ID_HEADER, value);
        }
        let response = told_with(response, &asked, &id);
        span.in_scope(|| told::tell(&self.door, &response, &seen, &trace, target.as_ref().ok(), &id));
        // Who waits to be told to send its body sends none when it is refused before.
        let sent = rest.take().filter(|left| !waits || left.was_asked_for).map(|left| self.linger(left.body));
        response.map(|body| Outgoing { body, _admission: admission, _under_way: under_way, _sent: sent })
    }

    /// Reads the body on once what comes back is dropped.
    fn linger(&self, left: Incoming) -> oneshot::Sender<()> {
        let (sent, dropped) = oneshot::channel();
        drop(self.tasks().spawn_here(async move {
            dropped.await.ok();
            read_on(left).await;
        }));
        sent
    }

    /// What is asked of every request before anything of it is looked at.
    fn enter(&self, headers: &HeaderMap, peer: IpAddr, local: IpAddr) -> S3Result<Admission> {
        let limits = &self.door.guard.limits;
        let admission = limits.admit().map_err(|refused| limited(refused, "requests"))?;
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > HEADER_BYTES_MAX {
            return Err(fault(
                S3ErrorCode::RequestHeaderSectionTooLarge,
                format!("Your request header section has {bytes} bytes, at most {HEADER_BYTES_MAX} are taken"),
            ));
        }
        limits.of_address(peer, local).map_err(|refused| limited(refused, "address"))?;
        match self.door.objects.metadata.serves() {
            Serves::Nothing(why) => Err(of_verb(protocol::Error::unavailable(why))),
            Serves::All | Serves::DeletesOnly(..) | Serves::ReadsOnly(_) | Serves::Superseded(_) => Ok(admission),
        }
    }

    /// Refuses a signature that cannot be one, or is of a kind that is not taken.
    fn require_signature(&self, headers: &mut HeaderMap, query: &Query, how: Signed) -> S3Result<()> {
        if how == Signed::V2 && !self.takes_v2 {
            return Err(bad_request(V2_REFUSED));
        }
        // Before this door adds a header of its own.
        let unsigned = if how == Signed::V4 { unsigned(headers, query) } else { Vec::new() };
        if how == Signed::V2 && query.has_any(&NOT_SIGNED_BY_V2) {
            return Err(bad_request(
                "Signatures of version 2 do not cover what is asked for here; use AWS4-HMAC-SHA256.",
            ));
        }
        tell_date(headers);
        require_form(headers, query, self.door.objects.clock.now_ms())?;
        refuse_unsigned(&unsigned)
    }

    /// Refuses what can be refused by the head alone, and has the head say all that its URL says. What comes back is how it is signed.
    fn require_head(&self, head: &mut Parts, query: &Query, target: &Target, trace: &Trace) -> S3Result<Signed> {
        if let Some(name) = not_served(&head.method, query, target) {
            trace.name("NotImplemented");
            return Err(not_implemented(name));
        }
        // Two servers on the way must not take it for two places (RFC 9112, 3.2).
        if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
            return Err(bad_request("a request has one Host header"));
        }
        // No name holds one, and no text that names are compared with.
        if query.all().any(|(_, value)| value.contains('\0')) {
            return Err(invalid("a parameter holds a NUL byte; use any other character"));
        }
        refuse_what_would_be_mistaken(&head.method, query, target)?;
        let how = signed(&head.headers, query);
        if !self.door.guard.identity.trusts_all() {
            self.require_signature(&mut head.headers, query, how)?;
        }
        unfold(&mut head.headers, query)?;
        refuse_unknown(&head.headers)?;
        Ok(how)
    }

    /// The body as the library is to have it. A signature that nobody verifies is taken off.
    fn unpack(
        &self,
        head: &mut Parts,
        query: &Query,
        how: Signed,
        pieces: Pieces,
        trailers: &Trailers,
    ) -> S3Result<Pieces> {
        let is_verified = !self.door.guard.identity.trusts_all() && how != Signed::No;
        if !is_verified {
            take_signature_off(head, query, self.door.objects.clock.now_ms())?;
        }
        Ok(match packing(&head.headers, how)? {
            Packing::Chunks(length) if is_verified && has_signed_chunks(&head.headers) => {
                in_short_chunks(pieces, length)
            }
            Packing::Chunks(length) if is_verified => repacked(pieces, length),
            _ if is_verified => pieces,
            Packing::Plain => pieces,
            Packing::Hashed(sha256) => verified(pieces, sha256),
            Packing::Chunks(length) => {
                head.headers.insert(CONTENT_LENGTH, length.into());
                unpacked(pieces, length, trailers.clone())
            }
        })
    }

    /// Tells the trace what is known before anything is verified.
    fn note(&self, headers: &HeaderMap, query: &Query, trace: &Trace) {
        if let (Some(_), Some(key)) = (&self.door.guard.audit, named_key(headers, query)) {
            trace.claim(key);
        }
        if query.has("versionId") {
            trace.name_a_version();
        }
    }

    async fn serve(
        &self,
        mut head: Parts,
        body: Lent,
        target: &Target,
        trace: &Arc<Trace>,
    ) -> S3Result<Response<Body>> {
        let query = Query::parse(head.uri.query());
        self.note(&head.headers, &query, trace);
        if head.method == Method::OPTIONS {
            trace.name("OptionsPreflight");
            return cors::preflight(&self.door, target, &head.headers).await;
        }
        let how = self.require_head(&mut head, &query, target, trace)?;
        let trailers = Trailers::default();
        if body.has_ended() {
            tell_length(&mut head, &query, target)?;
        }
        let pieces = watched(never_still(body, self.door.settings.body_stall), trace.clone());
        let mut pieces = self.unpack(&mut head, &query, how, pieces, &trailers)?;
        let is_form = form::is_form(&head);
        let signed = !self.door.guard.identity.trusts_all() && how != Signed::No;
        let packing = packing(&head.headers, how)?;
        let mut witness = None;
        if let Some(promise) = promise_of_document(&head, &query, target)? {
            let packing = signed.then_some(packing);
            (pieces, witness) = document(pieces, promise, packing, &head.headers, &trailers);
        }
        let pieces = traced(pieces, trace.clone());
        let overheard = makes_bucket(&head.method, &query, target).then(|| Overheard::new(NEW_BUCKET_BYTES_MAX));
        if let (Some(_), true, Packing::Chunks(1..)) = (&overheard, signed, packing) {
            return Err(not_implemented("the document of a new bucket in chunks"));
        }
        let pieces = overheard.iter().fold(pieces, |pieces, overheard| overheard.hears(pieces));
        let (room, body, tags) = match is_form {
            false => (None, for_library(pieces), None),
            true => {
                let room = self.forms.take().await?;
                let trusts_all = self.door.guard.identity.trusts_all();
                let (body, tags) = form::gathered(pieces, &mut head.headers, trusts_all).await?;
                (Some(room), body, tags)
            }
        };
        let place = Place::of(&head, self.domain.as_deref(), self.scheme, &target.bucket);
        let mut request = Request::from_parts(head, body);
        let extensions = request.extensions_mut();
        extensions.insert(place);
        extensions.insert(target.clone());
        extensions.insert(trailers);
        extensions.insert(trace.clone());
        tags.map(|tags| extensions.insert(tags));
        overheard.map(|overheard| extensions.insert(overheard));
        let answer = self.service.call(request).await;
        drop(room);
        let mut answer = answer.map_err(|_| fault(S3ErrorCode::InternalError, "the answer cannot be written"))?;
        // The library has a status of its own for every success.
        if let Some(status) = answer.extensions_mut().remove::<StatusCode>() {
            *answer.status_mut() = status;
        }
        match trace.body_fault() {
            // The library calls a document that did not come an internal error.
            Some(fault) if !answer.status().is_success() => Err(fault.told()),
            _ if answer.status() == StatusCode::INTERNAL_SERVER_ERROR && witness.is_some_and(Witness::saw_another) => {
                Err(BodyFault::Sha256.told())
            }
            _ if is_form && form::broke_its_policy(&answer) => Err(form::policy_broken()),
            _ if is_form => Ok(post::told(answer)),
            _ => Ok(answer),
        }
    }
}

/// The body, of which the trace is told when it has ended.
fn watched(pieces: Pieces, trace: Arc<Trace>) -> Pieces {
    let end = poll_fn(move |_| {
        trace.end_body();
        Poll::Ready(None)
    });
    pieces.chain(end).boxed()
}

/// The body, of which the trace is told when it fails.
fn traced(pieces: Pieces, trace: Arc<Trace>) -> Pieces {
    let told = move |piece: &Result<Bytes, BodyFault>| {
        if let Err(fault) = piece {
            trace.fail_body(fault);
        }
    };
    pieces.inspect(told).boxed()
}

/// What is promised of a body that describes something; `None` for an object's, and for a form.
fn promise_of_document(head: &Parts, query: &Query, target: &Target) -> S3Result<Option<Promise>> {
    if !is_document(&head.method, query, target, &head.headers) || form::is_form(head) {
        return Ok(None);
    }
    // The checksum in the head of a completion is the object's.
    let is_completion = head.method == Method::POST && query.has("uploadId");
    let promise = if is_completion { Promise::of_md5(&head.headers) } else { Promise::of(&head.headers) };
    promise.map(Some)
}

/// Has a request without a body say that it has none, for which the library asks. Refused is the object that S3 takes no bytes of without
/// a length: they may have gone elsewhere, and nothing is replaced by what was never meant.
fn tell_length(head: &mut Parts, query: &Query, target: &Target) -> S3Result<()> {
    let is_told = head.headers.contains_key(CONTENT_LENGTH);
    if !is_told && head.method == Method::PUT && !is_document(&head.method, query, target, &head.headers) {
        return Err(fault(S3ErrorCode::MissingContentLength, NO_LENGTH));
    }
    head.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    Ok(())
}

/// What the library would take for something else than the client means: never a wrong success.
fn refuse_what_would_be_mistaken(method: &Method, query: &Query, target: &Target) -> S3Result<()> {
    if method == Method::PUT && !target.key.is_empty() && query.has("uploadId") != query.has("partNumber") {
        return Err(fault::invalid("uploadId and partNumber go together"));
    }
    if target.key.len() > crate::object::KEY_BYTES_MAX {
        return Err(fault(S3ErrorCode::KeyTooLongError, "Your key is too long"));
    }
    Ok(())
}

fn refused(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// A refusal by a limit.
pub fn limited(refused: Refused, limit: &'static str) -> S3Error {
    fault::limited(limit);
    match refused {
        Refused::TooOften { retry_after_s } | Refused::Busy { retry_after_s } => slow_down(retry_after_s),
    }
}

/// The body of an answer, the place that its request takes, and who waits for it to have left.
pub struct Outgoing {
    body: Body,
    _admission: Option<Admission>,
    _under_way: UnderWay,
    _sent: Option<oneshot::Sender<()>>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}
