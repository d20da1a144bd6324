//! What is pushed to a Loki, decoded strictly: method, path, headers, snappy, and a protobuf without a field too many.
//!
//! ```text
//! PushRequest { 1: Stream* }   Stream { 1: labels as text, 2: Entry* }   Entry { 1: Timestamp { 1: seconds, 2: nanos }, 2: line }
//! ```

use super::fake_server::Request;
use serde_json::Value;

/// A line that it took.
#[derive(Clone, Debug)]
pub struct Line {
    pub labels: String,
    pub fields: Value,
}

/// A message's fields: number, then a number or bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

/// The lines of a push.
pub fn lines_of(push: &Request) -> Vec<Line> {
    assert_eq!(push.line, "POST /loki/api/v1/push HTTP/1.1");
    assert_eq!(push.header("content-type"), "application/x-protobuf");
    assert_eq!(push.header("content-length"), push.body.len().to_string());
    assert!(!push.header("host").is_empty());
    let request = snap::raw::Decoder::new().decompress_vec(&push.body).expect("snappy, without frames");
    let mut lines = Vec::new();
    for stream in fields(&request) {
        let Field::Bytes(1, stream) = stream else { panic!("a push holds streams") };
        let mut labels = None;
        for field in fields(stream) {
            match field {
                Field::Bytes(1, text) => labels = Some(String::from_utf8(text.to_vec()).unwrap()),
                Field::Bytes(2, entry) => {
                    let labels = labels.clone().expect("labels come before entries");
                    lines.push(Line { labels, fields: line_of(entry) });
                }
                _ => panic!("a stream holds labels and entries"),
            }
        }
    }
    lines
}

fn line_of(entry: &[u8]) -> Value {
    let found = fields(entry);
    let [Field::Bytes(1, timestamp), Field::Bytes(2, line)] = found[..] else { panic!("an entry holds time and line") };
    let time = fields(timestamp);
    // Protobuf leaves out what is 0.
    let (seconds, nanos) = match time[..] {
        [Field::Number(1, seconds), Field::Number(2, nanos)] => (seconds, nanos),
        [Field::Number(1, seconds)] => (seconds, 0),
        _ => panic!("a time holds seconds and nanos"),
    };
    assert!(seconds > 1_600_000_000 && nanos < 1_000_000_000, "{seconds} {nanos}");
    serde_json::from_slice(line).expect("a line is JSON")
}

fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        match tag & 7 {
            0 => found.push(Field::Number(tag >> 3, varint(&mut bytes))),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (field, rest) = bytes.split_at(length);
                found.push(Field::Bytes(tag >> 3, field));
                bytes = rest;
            }
            kind => panic!("no field of a push has wire type {kind}"),
        }
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a number ends");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        shift += 7;
        if first & 0x80 == 0 {
            return value;
        }
    }
}
