//! The S3 protocol, request by request, against real processes with authentication off (but for what signatures are about): what clients
//! rely on, and where other servers fell into traps.

mod checksums;
mod copies;
mod forms;
mod lists;
mod multipart;
mod objects;
mod refusals;
mod settings;
mod signed;
mod versions;

use reqwest::Method;
use reqwest::header::HeaderValue;
use testing::real::{Client, Reply, md5};

/// The bucket of a test.
const B: &str = "/bucket";

/// Sends a request with headers and a body.
async fn send(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Reply {
    let body = body.into();
    // The library sends an empty one without a length, which S3 takes for no object's.
    let told = (body.is_empty() && method == Method::PUT).then_some(("content-length", "0"));
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain(told).collect();
    let request = client.request(method, path).body(body);
    let value = |value: &str| HeaderValue::from_bytes(value.as_bytes()).expect("a header's value");
    let request = headers.iter().fold(request, |request, (name, text)| request.header(*name, value(text)));
    client.send(request).await
}

async fn put(client: &Client, path: &str, body: impl Into<Vec<u8>>) -> Reply {
    send(client, Method::PUT, path, &[], body).await
}

async fn make_bucket(client: &Client) {
    put(client, B, "").await.expect(200);
}

async fn delete(client: &Client, path: &str) -> Reply {
    send(client, Method::DELETE, path, &[], "").await
}

/// The status and the error's code, whatever the outcome.
fn told(reply: &Reply) -> (u16, String) {
    (reply.status, all(&text(reply), "Code").pop().unwrap_or_default())
}

/// A refusal with this status and code, whose body carries the request's id.
/// Gives the document of the refusal.
fn refused(reply: &Reply, status: u16, code: &str) -> String {
    assert_eq!(told(reply), (status, code.to_owned()), "{}", text(reply));
    assert_eq!(all(&text(reply), "RequestId"), [reply.header("x-amz-request-id")]);
    text(reply)
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// The text of every element of this name.
fn all(xml: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(text, _)| text.to_owned()).collect()
}

/// The only element of this name.
fn one(reply: &Reply, element: &str) -> String {
    let found = all(&text(reply), element);
    assert_eq!(found.len(), 1, "{element} in {}", text(reply));
    found[0].clone()
}

/// The ETag of these bytes.
fn etag(data: &[u8]) -> String {
    format!("\"{}\"", md5(data))
}
