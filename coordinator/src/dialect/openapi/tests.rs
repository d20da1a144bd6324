//! The document against what is served: the rules of the guard, without which no route is.

use super::{ROUTES, document, path};
use crate::dialect::guard::access::RULES;
use serde_json::Value;
use std::collections::BTreeSet;

fn shown() -> Value {
    serde_json::to_value(document()).unwrap()
}

#[test]
fn every_route_and_method_is_told_of_and_no_other() {
    let ruled: BTreeSet<(String, String)> = RULES
        .iter()
        .flat_map(|(pattern, methods)| methods.iter().map(|(method, _)| (path(pattern), method.to_ascii_lowercase())))
        .collect();
    let document = shown();
    let told: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (path.clone(), method.clone())))
        .collect();
    assert_eq!(told, ruled);
    let patterns = ROUTES.into_iter().flatten().map(|(pattern, ..)| *pattern);
    assert_eq!(patterns.count(), RULES.len(), "each pattern once");
}

#[test]
fn every_schema_that_is_named_is_there() {
    let document = shown();
    let known: BTreeSet<String> =
        document["components"]["schemas"].as_object().unwrap().keys().map(|name| name.to_owned()).collect();
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    assert_eq!(named, known, "all that are named are there, and all that are there are named");
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn no_operation_has_a_parameter_twice() {
    let document = shown();
    let items = document["paths"].as_object().unwrap().values();
    for operation in items.flat_map(|item| item.as_object().unwrap().values()) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let names: BTreeSet<String> =
            parameters.iter().map(|parameter| format!("{}:{}", parameter["in"], parameter["name"])).collect();
        assert_eq!(names.len(), parameters.len(), "{}", operation["operationId"]);
    }
}

fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                into.insert(reference.trim_start_matches("#/components/schemas/").to_owned());
            }
            fields.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}
