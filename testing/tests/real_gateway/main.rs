//! The gateway door (contract B4, B5, B7, B8) to the letter, against real processes.

mod conditions;
mod hostile;
mod objects;
mod refusals;
mod versions;

use reqwest::Method;
use testing::real::{Client, Reply, md5};

/// PUT of an object; it must be stored.
async fn put(client: &Client, path: &str, data: &[u8]) -> Reply {
    client.send(client.request(Method::PUT, path).body(data.to_vec())).await.expect(200)
}

async fn delete(client: &Client, path: &str) -> Reply {
    client.send(client.request(Method::DELETE, path)).await
}

/// The ETag of these bytes.
fn etag(data: &[u8]) -> String {
    format!("\"{}\"", md5(data))
}
