//! A multipart form, built by hand, so that tests decide every byte of it.

use bytes::Bytes;

const BOUNDARY: &str = "holdfast-test-boundary-2f6c1e9d";

/// A `multipart/form-data` body under construction.
#[derive(Clone, Debug, Default)]
pub struct Form {
    body: Vec<u8>,
}

impl Form {
    /// A form without parts.
    pub fn new() -> Form {
        Form::default()
    }

    /// Adds a text field.
    pub fn text(self, name: &str, value: impl AsRef<[u8]>) -> Form {
        self.part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_ref())
    }

    /// Adds the `file` part as a browser does, under its own name.
    pub fn file(self, own_name: &str, data: &[u8]) -> Form {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{own_name}\"");
        self.part(&format!("{head}\r\nContent-Type: application/octet-stream"), data)
    }

    /// Adds a part with these header lines.
    pub fn part(mut self, head: &str, data: &[u8]) -> Form {
        self.body.reserve(data.len() + head.len() + 2 * BOUNDARY.len());
        self.body.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
        self.body.extend_from_slice(data);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    /// The media type to send with it.
    pub fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// The whole body.
    pub fn finish(mut self) -> Bytes {
        self.body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.body.into()
    }

    /// The body as it is so far, without the line that ends a form.
    pub fn unfinished(self) -> Vec<u8> {
        self.body
    }
}
