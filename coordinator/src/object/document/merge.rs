//! JSON merge patch (RFC 7396) on text.
//!
//! What it keeps true: members keep their order and their spelling, new ones come behind; what the patch does not name stays letter by
//! letter.

use super::json::members;

/// `target` changed as `patch` says, both compact text of one value.
pub fn merged(target: &str, patch: &str) -> String {
    if !patch.starts_with('{') {
        return patch.to_owned();
    }
    let (before, changes) = (if target.starts_with('{') { members(target) } else { Vec::new() }, members(patch));
    let mut lines = Vec::with_capacity(before.len() + changes.len());
    for member in &before {
        match changes.iter().find(|change| change.name == member.name) {
            Some(change) if change.value == "null" => {}
            Some(change) => lines.push(format!("{}:{}", member.key, merged(member.value, change.value))),
            None => lines.push(format!("{}:{}", member.key, member.value)),
        }
    }
    let is_new = |name: &str| before.iter().all(|member| member.name != name);
    for change in changes.iter().filter(|change| change.value != "null" && is_new(&change.name)) {
        lines.push(format!("{}:{}", change.key, merged("null", change.value)));
    }
    format!("{{{}}}", lines.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of RFC 7396, appendix A.
    #[test]
    fn the_cases_of_the_rfc() {
        for (target, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), expected, "{target} with {patch}");
        }
    }

    #[test]
    fn what_is_not_named_keeps_its_spelling_and_place() {
        let target = r#"{"z":1.00,"\u0061":1e400,"m":{"y":0.10,"x":1}}"#;
        let expected = r#"{"z":1.00,"\u0061":2.0,"m":{"y":0.10,"x":3},"new":[1.0]}"#;
        assert_eq!(merged(target, r#"{"new":[1.0],"m":{"x":3},"a":2.0}"#), expected);
    }
}
