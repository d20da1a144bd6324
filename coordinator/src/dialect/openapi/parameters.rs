//! The parameters of the routes: each name means the same wherever it stands.

use super::notation::{Operation, schema};
use serde_json::Value;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};

/// Names of query parameters and headers, their types, and what they say.
const KNOWN: &[(&str, &str, &str)] = &[
    ("filename", "name", "A name in the bucket of the file door"),
    ("bucket", "bucket", "A bucket"),
    ("key", "name", "A key in that bucket"),
    ("version", "number-from-1", "A version's number; without it, the latest"),
    ("versionId", "version-id", "A version's id: a UUID or null; without it, the latest"),
    ("versions", "text", "List versions; its value does not matter"),
    ("prefix", "prefix", "Names that start so"),
    ("delimiter", "prefix", "Names that have this behind the prefix are shown by what they start with, up to its end"),
    ("limit", "1..1000", "At most so many"),
    ("after", "prefix", "Names behind this one: `next` of the page before"),
    ("after_version", "version-id", "With versions, beside `after`: `next_version` of the page before"),
    ("purge", "flag", "Take every version away"),
    ("strategy", "replication/ec/auto", "How it is stored; without it, as its bucket has it"),
    ("hot_only", "flag", "Change the hot fields of a document, and leave the others as they are"),
    ("wait", "flag", "Answer when it is done, if that is soon"),
    ("range", "text", "A part of the bytes (RFC 9110, 14.2)"),
    ("if-match", "text", "Only if its ETag is one of these"),
    (
        "if-none-match",
        "text",
        "Of a read: only if its ETag is none of these. Of a write: `*`, only if there is nothing",
    ),
    ("if-modified-since", "text", "Only if it is younger"),
    ("if-unmodified-since", "text", "Only if it is no younger"),
    ("if-range", "text", "The part only if this is its ETag, else the whole"),
    ("content-md5", "text", "What the MD5 of the bytes must be, in base64"),
    ("last-event-id", "int", "The last event that was seen"),
];

/// The parameters of an operation, those of its path first.
pub(super) fn of(pattern: &str, operation: &Operation) -> Vec<Parameter> {
    let in_path = pattern.split('{').skip(1).map(|rest| rest.split([':', '}']).next().unwrap_or_default());
    let in_query = operation.query.split_whitespace().map(|name| known(name, ParameterIn::Query));
    let in_head = operation.headers.split_whitespace().map(|name| known(name, ParameterIn::Header));
    in_path.map(path_parameter).chain(in_query).chain(in_head).collect()
}

fn path_parameter(name: &str) -> Parameter {
    let (kind, says) = match name {
        "bucket" => ("bucket", "A bucket's name"),
        "key" | "filename" => ("name", "A name of at most 1,024 bytes of UTF-8 without NUL"),
        "name" => ("name", "A worker's name"),
        _ => ("name", "An id"),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(says))
        .example(example(name))
        .schema(Some(schema(kind)))
        .build()
}

/// The names that the README's lines have.
fn example(name: &str) -> Option<Value> {
    match name {
        "bucket" => Some("my-bucket".into()),
        "key" => Some("file1.txt".into()),
        "filename" => Some("example.txt".into()),
        _ => None,
    }
}

/// `after_number` is an `after` that is a number, `after_bucket` one that is a bucket, `after_id` a version id, `document_strategy` the
/// `strategy` of a document; `!` marks what must be there.
fn known(name: &str, place: ParameterIn) -> Parameter {
    let (name, must) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
    let (name, kind, says) = match name {
        "after_bucket" => ("after", "bucket", "Buckets behind this one: `next` of the page before"),
        "after_id" => ("after", "uuid", "Behind the version with this id: `next` of the page before"),
        "document_strategy" => ("strategy", "replication/ec/field_hybrid", "How it is stored; without it, in copies"),
        "after_number" => ("after", "int", "Behind this number: `next` of the page before"),
        _ => *KNOWN.iter().find(|known| known.0 == name).unwrap_or_else(|| panic!("{name:?} is no parameter")),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(if must { Required::True } else { Required::False })
        .description(Some(says))
        .example(example(name).filter(|_| must))
        .schema(Some(schema(kind)))
        .build()
}
