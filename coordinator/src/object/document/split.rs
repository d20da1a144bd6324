//! Splits a document's text into runs of hot and of cold fields.
//!
//! What it keeps true:
//! - The runs joined in their order are the text: so a document is read, by every door, as any object is.
//! - What separates a hot field from its neighbours lies with the hot one. The text of a cold run is its cold fields and nothing else
//!   (but for the brace of an end of the document at which it stands), so it stays the same whatever the hot ones become.

use super::json::members;
use std::collections::BTreeSet;
use std::ops::Range;

/// Fields that are hot.
pub type HotNames = BTreeSet<String>;

/// A stretch of a document's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whether it is hot.
    pub is_hot: bool,
    /// Which bytes.
    pub bytes: Range<usize>,
}

/// The runs of an object's compact text, in order.
pub fn split(text: &str, hot: &HotNames) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for member in members(text) {
        let start = member.key.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + member.key.len() + 1 + member.value.len();
        let is_hot = hot.contains(member.name.as_ref());
        match runs.last_mut() {
            Some(last) if last.is_hot == is_hot => last.bytes.end = end,
            // The comma between them is the hot one's.
            Some(last) if last.is_hot => {
                last.bytes.end = start;
                runs.push(Run { is_hot, bytes: start..end });
            }
            Some(last) => {
                let from = last.bytes.end;
                runs.push(Run { is_hot, bytes: from..end });
            }
            None => runs.push(Run { is_hot, bytes: 0..end }),
        }
    }
    match runs.last_mut() {
        Some(last) => last.bytes.end = text.len(),
        None => runs.push(Run { is_hot: false, bytes: 0..text.len() }),
    }
    runs
}

/// A run of hot fields with the values that `changes` have for them; those that are not in it are left alone.
pub fn with_values(run: &str, changes: &[(String, String)]) -> String {
    let mut text = String::with_capacity(run.len());
    let mut copied = 0;
    for member in members(run) {
        if let Some((_, value)) = changes.iter().find(|(name, _)| *name == member.name) {
            let start = member.value.as_ptr() as usize - run.as_ptr() as usize;
            text.push_str(&run[copied..start]);
            text.push_str(value);
            copied = start + member.value.len();
        }
    }
    text.push_str(&run[copied..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn shown(text: &str, hot: &[&str]) -> Vec<(bool, String)> {
        let hot = hot.iter().map(|name| (*name).to_owned()).collect();
        split(text, &hot).into_iter().map(|run| (run.is_hot, text[run.bytes].to_owned())).collect()
    }

    fn run(is_hot: bool, text: &str) -> (bool, String) {
        (is_hot, text.to_owned())
    }

    #[test]
    fn separators_lie_with_the_hot_fields() {
        let text = r#"{"id":1,"n":2,"a":3,"b":4,"m":5}"#;
        let expected =
            [run(false, r#"{"id":1"#), run(true, r#","n":2,"#), run(false, r#""a":3,"b":4"#), run(true, r#","m":5}"#)];
        assert_eq!(shown(text, &["n", "m"]), expected);
        assert_eq!(shown(text, &[]), [run(false, text)]);
        assert_eq!(shown(text, &["id", "n", "a", "b", "m"]), [run(true, text)]);
        assert_eq!(shown("{}", &["n"]), [run(false, "{}")]);
        assert_eq!(shown(r#"{"n":1,"a":2}"#, &["n"]), [run(true, r#"{"n":1,"#), run(false, r#""a":2}"#)]);
    }

    #[test]
    fn a_key_is_known_however_it_is_spelt() {
        assert_eq!(shown(r#"{"\u006e":1,"a":2}"#, &["n"])[0], run(true, r#"{"\u006e":1,"#));
    }

    #[test]
    fn values_change_in_their_places() {
        let changes = [("n".to_owned(), "10".to_owned()), ("m".to_owned(), "[]".to_owned())];
        assert_eq!(with_values(r#","n":9,"k":"n","m":{"n":1},"#, &changes), r#","n":10,"k":"n","m":[],"#);
        assert_eq!(with_values("{", &changes), "{");
    }

    proptest! {
        #[test]
        fn runs_joined_are_the_text_and_cold_ones_do_not_know_the_hot_values(
            fields in proptest::collection::btree_map("[a-z]{1,3}", ".{0,5}", 0..9), hot in proptest::collection::btree_set("[a-z]{1,3}", 0..5),
            values in proptest::collection::vec(any::<u32>(), 9),
        ) {
            let text = serde_json::to_string(&fields).unwrap();
            let changed: std::collections::BTreeMap<_, _> = fields
                .iter()
                .zip(values)
                .map(|((name, value), other)| (name, if hot.contains(name) { other.into() } else { serde_json::Value::from(value.as_str()) }))
                .collect();
            let changed = serde_json::to_string(&changed).unwrap();
            let (before, after) = (split(&text, &hot), split(&changed, &hot));
            let joined: String = before.iter().map(|run| &text[run.bytes.clone()]).collect();
            prop_assert_eq!(&joined, &text);
            prop_assert!(before.windows(2).all(|pair| pair[0].is_hot != pair[1].is_hot));
            let cold = |text: &str, runs: &[Run]| -> Vec<String> {
                runs.iter().filter(|run| !run.is_hot).map(|run| text[run.bytes.clone()].to_owned()).collect()
            };
            prop_assert_eq!(cold(&text, &before), cold(&changed, &after));
        }
    }
}
