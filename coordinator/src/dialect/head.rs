//! HEAD wherever there is GET (RFC 9110, 9.1): a route that has no answer of its own to it is asked as by GET, and what it says goes out
//! without its body.
//!
//! What it keeps true: whoever may GET may HEAD, and nobody else; the length is told where it is known.

use super::guard::access::need;
use actix_web::Error;
use actix_web::body::{self, BodySize, BoxBody, EitherBody, MessageBody, SizedStream};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use bytes::Bytes;
use futures_util::stream;

/// The middleware.
pub async fn as_get<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if !wants_get(&request) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    request.head_mut().method = Method::GET;
    let response = next.call(request).await?;
    Ok(response.map_body(|_, answered| EitherBody::right(without_bytes(answered.size()))))
}

fn wants_get(request: &ServiceRequest) -> bool {
    if request.method() != Method::HEAD {
        return false;
    }
    let pattern = request.resource_map().match_pattern(request.match_info().as_str());
    let allowed =
        |method| pattern.as_deref().and_then(|pattern| need(pattern, method)).is_some_and(|rule| rule.is_ok());
    allowed("GET") && !allowed("HEAD")
}

fn without_bytes(size: BodySize) -> BoxBody {
    match size {
        BodySize::Sized(bytes) => BoxBody::new(SizedStream::new(bytes, stream::empty::<Result<Bytes, Error>>())),
        // How long GET's answer would be is not known, and not said.
        BodySize::None | BodySize::Stream => BoxBody::new(body::None::new()),
    }
}
