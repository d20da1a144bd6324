//! A client of the file door (contract A8–A13), and how it spells names.

use super::form::Form;
use bytes::Bytes;
use md5::Md5;
use process::tls;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How long a request may take before the test calls it hung.
const REQUEST_WAIT: Duration = Duration::from_secs(60);
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, of the announced length.
    pub body: Bytes,
}

/// No answer, or not a whole one.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whether the request cannot have reached the server.
    pub never_sent: bool,
    /// What happened.
    pub reason: String,
}

impl Reply {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// `error` of a JSON body, or nothing.
    pub fn error(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or_default().to_owned()
    }

    /// The page of a listing: 200, with an array of this name.
    fn listed(&self, name: &str) -> Result<Value, String> {
        let page: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if self.status == 200 && page[name].is_array() { Ok(page) } else { Err(self.to_string()) }
    }

    /// Panics unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Panics unless it is this status with this `error`.
    #[track_caller]
    pub fn expect_error(self, status: u16, error: &str) -> Reply {
        let reply = self.expect(status);
        assert_eq!(reply.error(), error, "{reply}");
        reply
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(600)]);
        write!(f, "{} with {} bytes: {text}", self.status, self.body.len())
    }
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    key: Option<String>,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Client {
        Client::trusting(base, None)
    }

    /// The same, of a server at `https`, certified by an authority of this file.
    pub fn trusting(base: &str, authorities: Option<&Path>) -> Client {
        let trust = tls::client(authorities).unwrap_or_else(|error| panic!("{error}"));
        let http = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(trust).tls_info(true);
        let http = http.connect_timeout(CONNECT_WAIT).timeout(REQUEST_WAIT).build();
        Client { base: base.to_owned(), http: http.expect("a client can be built"), key: None }
    }

    /// The same, with a key.
    pub fn with_key(&self, key: &str) -> Client {
        Client { key: Some(key.to_owned()), ..self.clone() }
    }

    /// A request to add headers or a body to.
    pub fn request(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path_and_query}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request; a failure is a value.
    pub async fn try_send(&self, request: RequestBuilder) -> Result<Reply, Failure> {
        let response = request.send().await.map_err(|error| Failure::of(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| Failure::of(&error))?;
        Ok(Reply { status, headers, body })
    }

    /// Sends a request that must be answered.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        self.try_send(request)
            .await
            .unwrap_or_else(|failure| panic!("no answer from {}: {}", self.base, failure.reason))
    }

    /// GET that must be answered.
    pub async fn get(&self, path_and_query: &str) -> Reply {
        self.send(self.request(Method::GET, path_and_query)).await
    }

    /// GET with header lines.
    pub async fn get_with(&self, path_and_query: &str, headers: &[(&str, &str)]) -> Reply {
        let request = self.request(Method::GET, path_and_query);
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// HEAD that must be answered.
    pub async fn head(&self, path_and_query: &str) -> Reply {
        self.send(self.request(Method::HEAD, path_and_query)).await
    }

    /// POST /upload of a form.
    pub fn upload_form(&self, form: Form) -> RequestBuilder {
        self.request(Method::POST, "/upload").header("content-type", Form::content_type()).body(form.finish())
    }

    /// POST /upload of `data` as `name`.
    pub fn upload_request(&self, name: &str, data: &[u8]) -> RequestBuilder {
        self.upload_form(Form::new().text("filename", name).file("its-own-name.bin", data))
    }

    /// Uploads `data` as `name`; it must be stored. Gives the reply's JSON.
    pub async fn upload(&self, name: &str, data: &[u8]) -> Value {
        self.send(self.upload_request(name, data)).await.expect(201).json()
    }

    /// GET /download.
    pub async fn download(&self, name: &str, version: Option<u64>) -> Reply {
        self.get(&download_path(name, version)).await
    }

    /// GET /download; a failure is a value.
    pub async fn try_download(&self, name: &str, version: Option<u64>) -> Result<Reply, Failure> {
        self.try_send(self.request(Method::GET, &download_path(name, version))).await
    }

    /// DELETE /delete.
    pub fn delete_request(&self, name: &str, purge: bool) -> RequestBuilder {
        let purge = if purge { "&purge=true" } else { "" };
        self.request(Method::DELETE, &format!("/delete?filename={}{purge}", encode(name.as_bytes())))
    }

    /// DELETE /delete that must succeed; gives its message.
    pub async fn delete(&self, name: &str) -> String {
        let reply = self.send(self.delete_request(name, false)).await.expect(200);
        reply.json()["message"].as_str().expect("a delete says what it did").to_owned()
    }

    /// All of GET /versions, page by page.
    pub async fn versions(&self, name: &str) -> Vec<Value> {
        self.try_versions(name).await.unwrap_or_else(|why| panic!("versions of {name}: {why}"))
    }

    /// The same; a failure is a value. A name without versions has none.
    pub async fn try_versions(&self, name: &str) -> Result<Vec<Value>, String> {
        let mut after = 0;
        let mut all = Vec::new();
        loop {
            let path = format!("/versions?filename={}&after={after}", encode(name.as_bytes()));
            let reply = self.try_send(self.request(Method::GET, &path)).await.map_err(|failure| failure.reason)?;
            if reply.status == 404 && all.is_empty() {
                return Ok(all);
            }
            let page = reply.listed("versions")?;
            all.extend(page["versions"].as_array().cloned().unwrap_or_default());
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    /// All names of GET /files with this prefix, page by page.
    pub async fn names(&self, prefix: &str) -> Vec<String> {
        self.try_names(prefix).await.unwrap_or_else(|why| panic!("names with {prefix}: {why}"))
    }

    /// The same; a failure is a value.
    pub async fn try_names(&self, prefix: &str) -> Result<Vec<String>, String> {
        let mut after = String::new();
        let mut all: Vec<String> = Vec::new();
        loop {
            let path = format!("/files?prefix={}{after}", encode(prefix.as_bytes()));
            let reply = self.try_send(self.request(Method::GET, &path)).await.map_err(|failure| failure.reason)?;
            let page = reply.listed("files")?;
            let files = page["files"].as_array().cloned().unwrap_or_default();
            all.extend(files.iter().map(|file| file["filename"].as_str().unwrap_or_default().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", encode(next.as_bytes())),
                None => return Ok(all),
            }
        }
    }

    /// `GET /system/nodes`: the line of the node that listens on `port`.
    pub async fn node_line(&self, port: u16) -> Value {
        let nodes = self.get("/system/nodes").await.expect(200).json();
        let nodes = nodes["nodes"].as_array().expect("nodes are listed").clone();
        let end = format!(":{port}");
        let line = nodes.iter().find(|node| node["url"].as_str().is_some_and(|url| url.ends_with(&end)));
        line.unwrap_or_else(|| panic!("no node on port {port} in {nodes:?}")).clone()
    }
}

impl Failure {
    fn of(error: &reqwest::Error) -> Failure {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            write!(reason, ": {cause}").expect("a string takes writes");
            source = cause.source();
        }
        Failure { never_sent: error.is_connect(), reason }
    }
}

fn download_path(name: &str, version: Option<u64>) -> String {
    let version = version.map_or_else(String::new, |version| format!("&version={version}"));
    format!("/download?filename={}{version}", encode(name.as_bytes()))
}

/// Percent-encodes everything that could mean something in a URL.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(*byte)),
            _ => write!(text, "%{byte:02X}").expect("a string takes writes"),
        }
        text
    })
}

/// SHA-256 in hex.
pub fn sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// MD5 in hex.
pub fn md5(data: &[u8]) -> String {
    hex::encode(Md5::digest(data))
}
