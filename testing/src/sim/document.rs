//! Documents of tests, as text: flat, with values that have neither commas nor braces. What a change makes of one is computed here once
//! more, by other means than the product's.
//!
//! What it keeps true: the hot fields stand among the cold ones, so that hot and cold parts of two versions never join to a third by chance.

use coordinator::object::Change;

/// What is to become of a document's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChanges {
    /// New values, as JSON; `None` takes the field away. All of them are hot by configuration where it is hot-only.
    pub values: Vec<(&'static str, Option<String>)>,
    /// Whether it is sent as new values of hot fields, rather than as a merge patch.
    pub hot_only: bool,
}

impl FieldChanges {
    /// A merge patch.
    pub fn patch(values: impl IntoIterator<Item = (&'static str, Option<String>)>) -> FieldChanges {
        FieldChanges { values: values.into_iter().collect(), hot_only: false }
    }

    /// New values of hot fields.
    pub fn hot_only(values: impl IntoIterator<Item = (&'static str, String)>) -> FieldChanges {
        let values = values.into_iter().map(|(name, value)| (name, Some(value)));
        FieldChanges { values: values.collect(), hot_only: true }
    }

    /// The same, as a client sends it.
    pub fn sent(&self) -> Change {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let fields: Vec<(&str, String)> = self.values.iter().map(|(name, new)| (*name, value(new))).collect();
        let text = joined(fields.iter().map(|(name, value)| (*name, value.as_str())));
        let change = if self.hot_only { Change::hot_only(text.as_bytes()) } else { Change::patch(text.as_bytes()) };
        change.expect("an object of a few fields")
    }

    /// What the document `text` may be with these changes: values in their places; new fields behind the others or, where it is hot-only, behind
    /// the last one that is hot, which may be any.
    pub fn applied_to(&self, text: &str) -> Vec<String> {
        let before = fields(text);
        let value = |name: &str| self.values.iter().find(|(changed, _)| *changed == name).map(|(_, value)| value);
        let kept = before.iter().filter_map(|(name, old)| match value(name) {
            None => Some((*name, *old)),
            Some(new) => new.as_deref().map(|new| (*name, new)),
        });
        let kept: Vec<(&str, &str)> = kept.collect();
        let is_new = |name: &str| before.iter().all(|(before, _)| *before != name);
        let new = self.values.iter().filter(|(name, _)| is_new(name));
        let new: Vec<(&str, &str)> = new.filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let first = if self.hot_only && !new.is_empty() { 0 } else { kept.len() };
        let behind = |place: usize| joined(kept[..place].iter().chain(&new).chain(&kept[place..]).copied());
        (first..=kept.len()).map(behind).collect()
    }
}

/// A document with these values: two hot fields, and four cold ones before, between and behind them.
pub fn text(id: &str, views: u64, k: u64, note: &str, likes: u64) -> String {
    let (id, note) = (format!("\"{id}\""), format!("\"{note}\""));
    let [views, k, likes] = [views, k, likes].map(|number| number.to_string());
    joined([
        ("id", &*id),
        ("view_count", &*views),
        ("k", &*k),
        ("note", &*note),
        ("like_count", &*likes),
        ("end", "1.0"),
    ])
}

fn joined<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn fields(text: &str) -> Vec<(&str, &str)> {
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("an object");
    let fields = inside.split(',').filter(|field| !field.is_empty());
    fields.map(|field| field[1..].split_once("\":").expect("a name and a value")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_in_their_places() {
        let before = text("d", 1, 2, "n", 3);
        assert_eq!(before, r#"{"id":"d","view_count":1,"k":2,"note":"n","like_count":3,"end":1.0}"#);
        let some = |value: &str| Some(value.to_owned());
        let patch = FieldChanges::patch([("view_count", some("7")), ("note", None), ("more", some("[8]"))]);
        assert_eq!(
            patch.applied_to(&before),
            [r#"{"id":"d","view_count":7,"k":2,"like_count":3,"end":1.0,"more":[8]}"#]
        );
        assert!(matches!(patch.sent(), Change::Patch(text) if text == r#"{"view_count":7,"note":null,"more":[8]}"#));
        let hot = FieldChanges::hot_only([("update_count", "9".to_owned())]);
        let may_be = hot.applied_to(&before);
        assert!(
            may_be.len() == 7 && may_be[5].ends_with(r#""like_count":3,"update_count":9,"end":1.0}"#),
            "{may_be:?}"
        );
        assert!(matches!(hot.sent(), Change::HotOnly(text) if text == r#"{"update_count":9}"#));
        assert_eq!(patch.applied_to("{}"), [r#"{"view_count":7,"more":[8]}"#]);
    }
}
