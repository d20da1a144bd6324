//! Documents are read, told apart and written as they came.

use super::*;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use serde_json::Value;

#[test]
fn text_stays_but_for_white_space() {
    let text = " { \"a\" : [ 1.50 , -0 , 1E+400 , 123456789012345678901234567890 ] ,\n\"\\u0062\":\"\\ud83d\\ude00 \\/\",\"z\":{ } } ";
    let expected = r#"{"a":[1.50,-0,1E+400,123456789012345678901234567890],"\u0062":"\ud83d\ude00 \/","z":{}}"#;
    assert_eq!(compact(text.as_bytes()).unwrap(), expected);
    for scalar in ["1", "\"x\"", "null", "true", "[]"] {
        assert_eq!(compact(scalar.as_bytes()).unwrap(), scalar);
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, why) in [
        ("", "ends too early"),
        ("{", "a key in quotes"),
        ("{\"a\":1,}", "a key in quotes"),
        ("{\"a\":1}x", "more behind"),
        ("{\"a\" 1}", "a colon"),
        ("[1 2]", "a comma"),
        ("01", "more behind"),
        ("1.", "a digit"),
        ("1e", "a digit"),
        ("-", "a digit"),
        ("NaN", "a value"),
        ("nul", "a value"),
        ("'a'", "a value"),
        ("\"a", "does not end"),
        ("\"a\tb\"", "control character"),
        ("\"\\x\"", "no such escape"),
        ("\"\\u12g4\"", "four hexadecimal"),
        ("\"\\ud800\"", "surrogate"),
        ("\"\\ud800\\u0041\"", "surrogate"),
        ("\"\\udc00\"", "surrogate"),
        ("{\"a\":1,\"b\":2,\"a\":3}", "\"a\" is there twice"),
        ("{\"x\":{\"a\":1,\"\\u0061\":3}}", "\"a\" is there twice"),
    ] {
        let error = compact(text.as_bytes()).unwrap_err();
        assert!(error.message.contains(why), "{text:?}: {}", error.message);
    }
    assert!(compact(b"\"\xff\"").unwrap_err().message.contains("UTF-8 at byte 1"));
}

#[test]
fn depth_has_its_bound() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(compact(nested(DEPTH_MAX).as_bytes()).is_ok());
    assert!(compact(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err().message.contains("deeper than 128"));
    assert!(compact("{\"a\":".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn members_are_found_in_a_whole_and_in_a_run() {
    let found = |text| -> Vec<(String, String)> {
        members(text).iter().map(|member| (member.name.to_string(), member.value.to_owned())).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let whole = r#"{"a":{"x":[1,"}"]},"\u0062":"\"","c":-1e5}"#;
    assert_eq!(found(whole), [pair("a", r#"{"x":[1,"}"]}"#), pair("b", r#""\"""#), pair("c", "-1e5")]);
    assert_eq!(found(r#","n":1,"m":null,"#), [pair("n", "1"), pair("m", "null")]);
    assert_eq!(found("{}"), []);
}

proptest! {
    #[test]
    fn it_takes_what_another_reader_writes(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(compact(text.as_bytes()).unwrap(), serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn it_takes_nothing_that_another_reader_refuses(text in "[\\[\\]{}:,\"0-9eE.+\\-a-c\\\\u tn]{0,24}") {
        if let Ok(found) = compact(text.as_bytes()) {
            let expected: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), expected);
        }
    }
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(".{0,4}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
