//! The file dialect (contract A8–A11): uploads are forms, downloads name a file.

use super::BadRequest;
use crate::http::{Endpoint, head};

/// Separates the fields of a form. Bodies are random, so it never occurs in one.
const BOUNDARY: &str = "holdfast-bench-7d1c5e0b9a3f4826";

/// An upload up to the first byte of its file, `file_bytes` of which and [`form_end`] follow.
pub fn upload(endpoint: &Endpoint, name: &str, file_bytes: u64) -> Vec<u8> {
    let form = form_start(Some(name), Some(name));
    upload_head(endpoint, form.len() as u64 + file_bytes, &form)
}

/// A download.
pub fn download(endpoint: &Endpoint, name: &str) -> Vec<u8> {
    head("GET", &format!("/download?filename={}", plain(name)), endpoint, "", 0)
}

/// A delete.
pub fn delete(endpoint: &Endpoint, name: &str) -> Vec<u8> {
    head("DELETE", &format!("/delete?filename={}", plain(name)), endpoint, "", 0)
}

/// A request that must be refused, and what follows it where it is a form.
pub fn bad_request(endpoint: &Endpoint, bad: BadRequest) -> (Vec<u8>, String) {
    let form = match bad {
        BadRequest::MissingFile => return (download(endpoint, "bench-never-stored"), String::new()),
        BadRequest::BadVersion => {
            return (head("GET", "/download?filename=bench&version=one", endpoint, "", 0), String::new());
        }
        BadRequest::NoFile => form_start(Some("bench"), None),
        BadRequest::EmptyName => form_start(Some(""), Some("bench")),
    };
    (upload_head(endpoint, form.len() as u64, &form), form_end())
}

/// An upload's head and the beginning of its form; file and end of the form follow.
fn upload_head(endpoint: &Endpoint, form_bytes: u64, form: &str) -> Vec<u8> {
    let content_type = format!("content-type: multipart/form-data; boundary={BOUNDARY}\r\n");
    let mut request = head("POST", "/upload", endpoint, &content_type, form_bytes + form_end().len() as u64);
    request.extend_from_slice(form.as_bytes());
    request
}

/// The form up to the file's first byte: the `filename` field, then the part that carries the file, where there are such.
fn form_start(name: Option<&str>, file: Option<&str>) -> String {
    let mut form = String::new();
    if let Some(name) = name {
        form += &format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"filename\"\r\n\r\n{}", plain(name));
    }
    if let Some(file) = file {
        let file = plain(file);
        form += &format!(
            "\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{file}\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        );
    }
    form
}

/// What follows a form's last byte.
pub fn form_end() -> String {
    format!("\r\n--{BOUNDARY}--\r\n")
}

/// A name that stands for itself in a URL and in a form.
fn plain(name: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    assert!(name.bytes().all(is_plain), "bench makes plain names, not {name:?}");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_spelled_as_rfc_7578_says() {
        let expected = "--B\r\ncontent-disposition: form-data; name=\"filename\"\r\n\r\nx.bin\r\n\
             --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x.bin\"\r\n\
             content-type: application/octet-stream\r\n\r\n";
        assert_eq!(form_start(Some("x.bin"), Some("x.bin")), expected.replace("--B", &format!("--{BOUNDARY}")));
    }

    #[test]
    fn an_upload_is_a_form_whose_length_is_what_its_head_says() {
        let request = upload(&Endpoint::local(10_000), "a", 300_000);
        let request = String::from_utf8(request).unwrap();
        let (head, form) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /upload HTTP/1.1\r\nhost: 127.0.0.1:"));
        let stated: usize = head.rsplit_once("content-length: ").unwrap().1.parse().unwrap();
        assert_eq!(stated, form.len() + 300_000 + form_end().len());
        assert_eq!(form, form_start(Some("a"), Some("a")));
    }
}
