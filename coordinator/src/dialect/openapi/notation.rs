//! The short notation in which routes and bodies are written down, and what OpenAPI makes of it.
//!
//! A type is one of
//!
//! ```text
//!   text  time  uuid  int  number  flag  any      what it says; a time is RFC 3339
//!   name  prefix  bucket  version-id              a key, the beginning of one, a bucket's name, a version's id
//!   1..1000  number-from-1                        a whole number within these bounds
//!   enabled/disabled                              one of these words
//!   Receipt                                       a schema by its name
//!   [T]  {T}  T|null                              an array, an object of any names, either
//! ```
//!
//! and a schema is a line `Name: field T, field? T`, where `?` marks a field that may be left out.

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, SchemaType,
    Type,
};
use utoipa::openapi::{Ref, RefOr};

const NO_NUL: &str = "^[^\\u0000]*$";
const VERSION_ID: &str = "^(null|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$";
/// A key has at most so many bytes; that its characters may take several, a schema cannot say.
const NAME_CHARS_MAX: usize = 1_024;

/// A route: its pattern as the door registers it, under which heading it stands, and what it does.
pub(super) type Route = (&'static str, &'static str, &'static [Operation]);

/// What a method of a route does.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) summary: &'static str,
    /// Names of query parameters; `!` marks one that must be there.
    pub(super) query: &'static str,
    /// Names of headers.
    pub(super) headers: &'static str,
    pub(super) takes: Takes,
    /// Statuses of success, and what comes with them.
    pub(super) gives: &'static [(u16, Gives)],
    /// Statuses of refusals besides those that any route may have.
    pub(super) refuses: &'static [u16],
}

/// A request's body.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Nothing,
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of this schema, or nothing.
    JsonOrNothing(&'static str),
    /// A JSON merge patch, or the same said to be JSON.
    MergePatch,
    /// Any bytes of any type.
    Bytes,
    /// A form with parts `file` and `filename`.
    Form,
}

/// An answer's body.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    Nothing,
    /// JSON of this type.
    Json(&'static str),
    /// The bytes that were stored, of the type they were stored with.
    Bytes,
    /// Text of this media type.
    Text(&'static str),
    /// JSON of this type, or a page for people who ask for one.
    JsonOrPage(&'static str),
}

/// What a GET without a body is written from.
pub(super) const GET: Operation =
    Operation { method: "GET", summary: "", query: "", headers: "", takes: Takes::Nothing, gives: &[], refuses: &[] };

/// The schema that a type stands for. Panics where the notation is wrong, which a test finds.
pub(super) fn schema(notation: &str) -> RefOr<Schema> {
    if let Some(other) = notation.strip_suffix("|null") {
        return nullable(other);
    }
    if let Some(item) = notation.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return ArrayBuilder::new().items(schema(item)).into();
    }
    if let Some(value) = notation.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let values = AdditionalProperties::RefOr(schema(value));
        return ObjectBuilder::new().additional_properties(Some(values)).into();
    }
    match notation.starts_with(|first: char| first.is_ascii_uppercase()) && !notation.contains('/') {
        true => Ref::from_schema_name(notation).into(),
        false => plain(notation).into(),
    }
}

fn nullable(notation: &str) -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    match plain_type(notation) {
        Some(kind) => plain(notation).schema_type(SchemaType::from_iter([kind, Type::Null])).into(),
        None => OneOfBuilder::new().item(null).item(schema(notation)).into(),
    }
}

fn plain_type(notation: &str) -> Option<Type> {
    Some(match notation {
        "text" | "time" | "uuid" | "name" | "prefix" | "bucket" | "version-id" => Type::String,
        "int" => Type::Integer,
        "number" => Type::Number,
        "flag" => Type::Boolean,
        _ => return None,
    })
}

fn plain(notation: &str) -> ObjectBuilder {
    let builder = ObjectBuilder::new();
    match (notation, plain_type(notation)) {
        ("any", _) => builder.schema_type(SchemaType::AnyValue),
        ("time", _) => builder.schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        ("uuid", _) => builder.schema_type(Type::String).format(Some(SchemaFormat::Custom("uuid".to_owned()))),
        ("name", _) => {
            builder.schema_type(Type::String).pattern(Some(NO_NUL)).min_length(Some(1)).max_length(Some(NAME_CHARS_MAX))
        }
        ("prefix", _) => builder.schema_type(Type::String).pattern(Some(NO_NUL)),
        ("bucket", _) => {
            let builder = builder.schema_type(Type::String).pattern(Some(r"^[a-z0-9-]+(\.[a-z0-9-]+)*$"));
            builder.min_length(Some(3)).max_length(Some(63))
        }
        ("version-id", _) => builder.schema_type(Type::String).pattern(Some(VERSION_ID)),
        ("number-from-1", _) => builder.schema_type(Type::Integer).minimum(Some(1)),
        ("int", _) => builder.schema_type(Type::Integer).minimum(Some(0)),
        (_, Some(kind)) => builder.schema_type(kind),
        (bounds, None) if bounds.contains("..") => {
            let (least, most) = bounds.split_once("..").expect("it contains them");
            let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{bounds:?} are no bounds"));
            let builder = builder.schema_type(Type::Integer);
            builder.minimum(Some(number(least) as usize)).maximum(Some(number(most) as usize))
        }
        (words, None) if words.contains('/') => builder.schema_type(Type::String).enum_values(Some(words.split('/'))),
        (other, None) => panic!("{other:?} is no type of the notation"),
    }
}

/// A line's name and the schema of its fields.
pub(super) fn named(line: &str) -> (&str, ObjectBuilder) {
    let (name, fields) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no schema"));
    let mut builder = ObjectBuilder::new();
    for field in fields.split(", ") {
        let (name, kind) = field.split_once(' ').unwrap_or_else(|| panic!("{field:?} in {line:?} has no type"));
        let optional = name.strip_suffix('?');
        builder = builder.property(optional.unwrap_or(name), schema(kind));
        if optional.is_none() {
            builder = builder.required(name);
        }
    }
    (name, builder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(notation: &str) -> serde_json::Value {
        serde_json::to_value(schema(notation)).unwrap()
    }

    #[test]
    fn types_are_what_they_say() {
        assert_eq!(shown("text"), json!({"type": "string"}));
        assert_eq!(shown("int|null"), json!({"type": ["integer", "null"], "minimum": 0}));
        assert_eq!(shown("1..9"), json!({"type": "integer", "minimum": 1, "maximum": 9}));
        assert_eq!(shown("on/off"), json!({"type": "string", "enum": ["on", "off"]}));
        assert_eq!(shown("[Line]"), json!({"type": "array", "items": {"$ref": "#/components/schemas/Line"}}));
        assert_eq!(shown("{text}"), json!({"type": "object", "additionalProperties": {"type": "string"}}));
        let either = json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Line"}]});
        assert_eq!(shown("Line|null"), either);
        let (name, line) = named("Line: key text, size? int");
        let expected = json!({
            "type": "object",
            "required": ["key"],
            "properties": {"key": {"type": "string"}, "size": {"type": "integer", "minimum": 0}},
        });
        assert_eq!((name, serde_json::to_value(line.build()).unwrap()), ("Line", expected));
    }
}
