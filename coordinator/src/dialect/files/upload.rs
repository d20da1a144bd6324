//! `POST /upload`: a multipart form with a `file` part and, before or after it, an optional `filename`. The file goes to the
//! put as it arrives; there is no copy of it anywhere.

use super::super::Door;
use super::super::guard::{Subject, owner};
use super::super::intake::{
    Pump, Pumped, condition, length_required, never_still, refuse_larger, stood_still, told_length,
};
use super::super::query::{Query, strategy};
use super::super::reply::Refusal;
use super::file;
use super::part_bytes::{BOUNDARY_BYTES_MAX, PartBytes};
use crate::metadata::records::Versioning;
use crate::names;
use crate::object::{
    Attributes, BodyMessage, BucketName, Condition, MissingBucket, ObjectName, PutDone, PutTarget, StoredAs,
    body_channel, joined,
};
use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::dev::Payload;
use actix_web::http::header::{
    CONTENT_DISPOSITION, CONTENT_TYPE, Charset, ContentDisposition, HeaderValue, TRANSFER_ENCODING,
};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{StreamExt, TryStreamExt};
use protocol::Error;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// The longest text field; longer ones cannot be names.
const FIELD_BYTES_MAX: usize = 4 << 10;
/// Bytes the form's parser holds: more than the server reads at a time. What of a piece did not fit would keep the server from
/// using its read buffer again, and a new one grows from 8 KiB by doubling, copied each time.
pub(super) const PARSER_BYTES_MAX: usize = 192 << 10;
/// More parts than any form of this door has.
const PARTS_MAX: usize = 32;
/// What a form has besides its file, at most: fields, and heads of parts as long as the parser takes.
const FORM_BYTES_MAX: u64 = (PARTS_MAX * (FIELD_BYTES_MAX + PARSER_BYTES_MAX)) as u64;
const BROKEN: &str = "The multipart form is broken or incomplete";
/// The longest `Content-Type` of a file: lists keep a thousand in memory, and clients refuse answers with long heads.
const MEDIA_TYPE_BYTES_MAX: usize = 1 << 10;
const MEDIA_TYPE_DEFAULT: &str = "application/octet-stream";

/// `POST /upload`.
pub(super) async fn upload(
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<Door>,
) -> Result<HttpResponse, Refusal> {
    let length = refuse_early(&request, &door)?;
    let condition = condition(&request)?;
    let asked = strategy(&Query::parse(request.query_string())?)?;
    let storage = door.objects.storage_of(&BucketName::files(), asked, length).await?;
    let form = Form::of(&request, payload, door.settings.body_stall).await?;
    let (name, done) = receive(form, &door, condition, owner(&request), storage).await?;
    // The form named it, not the head.
    request
        .extensions_mut()
        .insert(Subject { bucket: name.bucket().as_str().to_owned(), key: Some(name.key().to_owned()) });
    metrics::counter!(names::FILE_UPLOADS_TOTAL).increment(1);
    Ok(HttpResponse::Created().insert_header(("x-holdfast-durability", done.receipt.to_header())).json(json!({
        "message": "File uploaded successfully",
        "filename": name.key(),
        "version": done.number,
        "versionId": done.version,
        "size": done.size,
        "chunks": done.chunks,
        "sha256": done.sha256.map(hex::encode),
        "stored_bytes": done.stored_bytes,
        "strategy": done.storage_class.strategy(),
        "receipt": done.receipt,
    })))
}

/// What the head alone condemns; the length of the form, if it tells.
fn refuse_early(request: &HttpRequest, door: &Door) -> Result<Option<u64>, Refusal> {
    let headers = request.headers();
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("multipart/form-data") {
        return Err(no_file().headed("The request is not a multipart/form-data form"));
    }
    let length = told_length(request);
    match length {
        // The bound is the file's: what is certain before it has come is that a form has little else.
        Some(length) => refuse_larger(length.saturating_sub(FORM_BYTES_MAX), door)?,
        None if !headers.contains_key(TRANSFER_ENCODING) => return Err(length_required()),
        None => {}
    }
    Ok(length)
}

fn no_file() -> Refusal {
    Refusal::bad_request("No file provided: send a form with a part named 'file' that has a filename")
}

/// The form as it arrives.
struct Form {
    parts: Multipart,
    stall: Duration,
    /// Bytes that each of its parts had so far.
    had: RefCell<Vec<u64>>,
    seen: Rc<RefCell<PartBytes>>,
}

impl Form {
    async fn of(request: &HttpRequest, payload: web::Payload, stall: Duration) -> Result<Form, Refusal> {
        let media_type = request.mime_type().ok().flatten();
        let boundary = media_type.as_ref().and_then(|media_type| media_type.get_param("boundary"));
        let boundary = boundary.map_or("", |boundary| boundary.as_str());
        if boundary.len() > BOUNDARY_BYTES_MAX {
            let message = format!("the form's boundary is longer than {BOUNDARY_BYTES_MAX} bytes; RFC 2046 allows 70");
            return Err(Refusal::bad_request(message));
        }
        let seen = Rc::new(RefCell::new(PartBytes::new(boundary)));
        let see = Rc::clone(&seen);
        let body = never_still(payload, stall).inspect_ok(move |piece| see.borrow_mut().see(piece));
        let parts = Multipart::from_request(request, &mut Payload::Stream { payload: Box::pin(body) }).await;
        let parts = parts.map_err(|error| Refusal::bad_request(error.to_string()))?;
        Ok(Form { parts, stall, had: RefCell::default(), seen })
    }

    async fn next_part(&mut self) -> Result<Option<Field>, Refusal> {
        let part = self.parts.next().await.transpose().map_err(|error| self.broken(error))?;
        self.had.borrow_mut().extend(part.is_some().then_some(0));
        Ok(part)
    }

    async fn next_piece(&self, part: &mut Field) -> Result<Option<Bytes>, Refusal> {
        let piece = part.next().await.transpose().map_err(|error| self.broken(error))?;
        if let (Some(bytes), Some(piece)) = (self.had.borrow_mut().last_mut(), &piece) {
            *bytes += piece.len() as u64;
        }
        Ok(piece)
    }

    /// Refuses one that has not ended, or whose parts did not have all that lies between their delimiters.
    fn require_whole(&self) -> Result<(), Refusal> {
        if self.seen.borrow().of_parts() == Some(&self.had.borrow()[..]) {
            return Ok(());
        }
        let detail = "what lies between its delimiters is not what its parts were read as: choose a boundary that is not in the file, give \
                      parts no Content-Length, end lines by CRLF";
        Err(Refusal::bad_request(detail).headed(BROKEN))
    }

    fn broken(&self, error: MultipartError) -> Refusal {
        let still = match &error {
            MultipartError::Payload(error) => stood_still(error, self.stall),
            _ => None,
        };
        still.unwrap_or_else(|| Refusal::bad_request(error.to_string()).headed(BROKEN))
    }

    /// A short text field, whole.
    async fn text(&self, part: &mut Field) -> Result<String, Refusal> {
        let mut text = Vec::new();
        while let Some(piece) = self.next_piece(part).await? {
            text.extend_from_slice(&piece);
            if text.len() > FIELD_BYTES_MAX {
                return Err(Refusal::bad_request(format!("a form field is longer than {FIELD_BYTES_MAX} bytes")));
            }
        }
        String::from_utf8(text).map_err(|_| Refusal::bad_request("the filename is not UTF-8"))
    }
}

/// What the parts so far said.
#[derive(Default)]
struct Seen {
    name: Option<ObjectName>,
    file: Option<FilePart>,
}

struct FilePart {
    own_name: Option<String>,
    media_type: Option<String>,
    bytes: u64,
}

/// Reads the form to its end and publishes the file. Whatever ends it early, ends the put: dropping the channel tells it so.
async fn receive(
    mut form: Form,
    door: &Door,
    condition: Condition,
    owner: String,
    storage: StoredAs,
) -> Result<(ObjectName, PutDone), Refusal> {
    let (sender, body) = body_channel();
    let objects = door.objects.clone();
    let put = door
        .objects
        .tasks
        .spawn_here(super::super::with_request_id(async move { objects.put(storage.code, body).await }));
    let mut seen = Seen::default();
    let mut parts = 0;
    while let Some(mut part) = form.next_part().await? {
        parts += 1;
        if parts > PARTS_MAX {
            return Err(Refusal::bad_request(format!("the form has more than {PARTS_MAX} parts")));
        }
        match part.name() {
            Some("file") if seen.file.is_some() => {
                return Err(Refusal::bad_request("the form has two parts named 'file'"));
            }
            Some("file") => {
                let mut file = file_part(&part)?;
                let mut pump = Pump::new(door, &sender);
                while let Some(piece) = form.next_piece(&mut part).await? {
                    file.bytes += piece.len() as u64;
                    if let Pumped::PutEnded = pump.push(piece).await? {
                        return Err(joined(put).await.err().map_or_else(ended_without_reason, Refusal::from));
                    }
                }
                pump.end();
                seen.file = Some(file);
            }
            Some("filename") if seen.name.is_some() => {
                return Err(Refusal::bad_request("the form has two parts named 'filename'"));
            }
            Some("filename") => seen.name = Some(file(&form.text(&mut part).await?)?),
            _ => {
                form.text(&mut part).await?;
            }
        }
    }
    form.require_whole()?;
    let mut attributes = Attributes { owner, ..Attributes::default() };
    storage.describe(&mut attributes);
    let target = target(seen, condition, attributes)?;
    let name = target.name.clone();
    // If this cannot be sent, the put has ended and says why.
    drop(sender.send(BodyMessage::End(Box::new(target))).await);
    Ok((name, joined(put).await?))
}

fn ended_without_reason() -> Refusal {
    Refusal::from(Error::unavailable("the put ended before its body did"))
}

/// What the head of the file's part says.
fn file_part(part: &Field) -> Result<FilePart, Refusal> {
    let media_type = part.content_type().map(|media_type| media_type.to_string());
    if media_type.as_ref().is_some_and(|media_type| media_type.len() > MEDIA_TYPE_BYTES_MAX) {
        let message = format!("the file's Content-Type is longer than {MEDIA_TYPE_BYTES_MAX} bytes");
        return Err(Refusal::bad_request(message));
    }
    let own_name = part.headers().get(CONTENT_DISPOSITION).and_then(|header| own_name(header.as_bytes()));
    Ok(FilePart { own_name, media_type, bytes: 0 })
}

/// The `filename` of a part's `Content-Disposition`. Some clients escape backslashes and quotes by a backslash, browsers and curl send
/// backslashes as they are; so one before anything else stands for itself, as in Go's `mime` package.
fn own_name(header: &[u8]) -> Option<String> {
    let mut escaped = Vec::with_capacity(header.len());
    let mut bytes = header.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        escaped.push(byte);
        if byte == b'\\' {
            escaped.push(bytes.next_if(|next| matches!(next, b'"' | b'\\')).unwrap_or(b'\\'));
        }
    }
    let disposition = ContentDisposition::from_raw(&HeaderValue::from_bytes(&escaped).ok()?).ok()?;
    // Forms should not have it (RFC 7578, 4.2); clients that send it all the same spell the plain one in some way of their own.
    let extended = disposition.get_filename_ext().and_then(|extended| match &extended.charset {
        Charset::Ext(name) if name.eq_ignore_ascii_case("utf-8") => String::from_utf8(extended.value.clone()).ok(),
        Charset::Iso_8859_1 => Some(extended.value.iter().map(|byte| char::from(*byte)).collect()),
        _ => None,
    });
    extended.or_else(|| disposition.get_filename().map(in_plain))
}

/// Browsers, curl and others spell these three so in a form's names, and nothing else (the HTML standard, *multipart form data*).
fn in_plain(name: &str) -> String {
    let mut plain = name.to_owned();
    for (spelled, meant) in [("%22", "\""), ("%0D", "\r"), ("%0d", "\r"), ("%0A", "\n"), ("%0a", "\n")] {
        plain = plain.replace(spelled, meant);
    }
    plain
}

fn target(seen: Seen, condition: Condition, attributes: Attributes) -> Result<PutTarget, Refusal> {
    // A browser sends the field in which nobody chose a file as one without name and bytes (the HTML standard, *constructing the entry list*).
    let Some(part) = seen.file.filter(|part| part.bytes > 0 || part.own_name.as_deref() != Some("")) else {
        return Err(no_file());
    };
    let name = match (seen.name, part.own_name) {
        (Some(name), _) => name,
        (None, Some(own_name)) => file(&own_name)?,
        (None, None) => return Err(no_file()),
    };
    let media_type = part
        .media_type
        .unwrap_or_else(|| mime_guess::from_path(name.key()).first_raw().unwrap_or(MEDIA_TYPE_DEFAULT).to_owned());
    Ok(PutTarget {
        name,
        content_type: media_type,
        metadata: BTreeMap::new(),
        condition,
        md5: None,
        attributes,
        missing_bucket: MissingBucket::Make(Versioning::Enabled),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_in_a_name_stands_for_itself_but_before_a_quote_or_another() {
        let names = [
            (r"C:\temp\a.txt", r"C:\temp\a.txt"),
            (r"C:\\temp\\a.txt", r"C:\temp\a.txt"),
            (r#"say \"hi\""#, r#"say "hi""#),
            ("\u{e9}; x=\\y", "\u{e9}; x=\\y"),
            (r"say %22hi%22 100%25%0D%0a", "say \"hi\" 100%25\r\n"),
            ("", ""),
        ];
        for (sent, meant) in names {
            let header = format!("form-data; name=\"file\"; filename=\"{sent}\"");
            assert_eq!(own_name(header.as_bytes()).as_deref(), Some(meant), "{sent}");
        }
        let extended = b"form-data; name=\"file\"; filename=\"na%C3%AFve\"; filename*=utf-8''na%C3%AFve";
        assert_eq!(own_name(extended).as_deref(), Some("na\u{ef}ve"));
        assert_eq!(own_name(b"form-data; name=\"file\"; filename*=utf-8''a%22b").as_deref(), Some("a\"b"));
        let named =
            |extended: &str| own_name(format!("form-data; name=\"file\"; filename=\"x\"; {extended}").as_bytes());
        assert_eq!(named("filename*=ISO-8859-1''%C3%A9").as_deref(), Some("\u{c3}\u{a9}"));
        for not_understood in ["filename*=UTF-8''%ff", "filename*=KOI8-R''%C1"] {
            assert_eq!(named(not_understood).as_deref(), Some("x"), "{not_understood}");
        }
        assert_eq!(own_name(b"form-data; name=\"file\""), None);
        assert_eq!(own_name(b"form-data; name=\"file\"; filename=\"\xff\""), None);
    }
}
