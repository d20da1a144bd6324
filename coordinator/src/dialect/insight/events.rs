//! `GET /admin/events`: repairs and degradations as they happen, as server-sent events (WHATWG HTML, 9.2). A client that comes
//! back with `Last-Event-ID`, as browsers do by themselves, goes on where it was.

use super::super::Door;
use super::super::reply::Refusal;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use process::events::{Told, WATCHERS_MAX, Watcher};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;

/// After so long without an event a comment is sent, so that neither side nor any proxy takes the connection for dead.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// How soon a client that lost the connection may come back, in milliseconds.
const RETRY_MS: u64 = 2_000;
const LAST_EVENT_ID: &str = "last-event-id";

pub(super) async fn events(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let after = last_event_id(request.headers())?;
    let Some(watcher) = door.events.watch(after) else {
        let message = format!("{WATCHERS_MAX} clients watch events already, and no more can");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let hello = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
    let body = stream::unfold((watcher, Some(hello)), |(watcher, hello)| async move {
        match hello {
            Some(hello) => Some((Ok::<Bytes, Infallible>(hello), (watcher, None))),
            None => next_message(watcher).await.map(|(message, watcher)| (Ok(message), (watcher, None))),
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(body)))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    match value.to_str().unwrap_or_default().parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) => Err(Refusal::bad_request("Last-Event-ID must be the id of an event")),
    }
}

/// `None` once the process is about to stop.
async fn next_message(mut watcher: Watcher) -> Option<(Bytes, Watcher)> {
    let message = match tokio::time::timeout(COMMENT_EVERY, watcher.next()).await {
        Ok(told) => message(&told?),
        Err(_) => ": nothing happened\n\n".to_owned(),
    };
    Some((message.into(), watcher))
}

/// The data is one line of JSON, in which no raw line end can stand.
fn message(told: &Told) -> String {
    match told {
        Told::Event(event) => format!("id: {}\nevent: degradation\ndata: {}\n\n", event.id, event.data),
        Told::Missed(events) => format!("event: missed\ndata: {}\n\n", json!({ "events": events })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use process::events::Event;

    #[test]
    fn a_message_is_what_the_standard_says() {
        let event = Event { id: 7, data: r#"{"message":"a\nb"}"#.into() };
        assert_eq!(message(&Told::Event(event)), "id: 7\nevent: degradation\ndata: {\"message\":\"a\\nb\"}\n\n");
        assert_eq!(message(&Told::Missed(Some(3))), "event: missed\ndata: {\"events\":3}\n\n");
        assert_eq!(message(&Told::Missed(None)), "event: missed\ndata: {\"events\":null}\n\n");
    }
}
