//! Links of rustdoc in descriptions, which mean nothing outside of Rust.

use crate::schemas::parts_mut;
use serde_json::Value;

/// Replaces the links to Rust items in all descriptions of a schema by their text.
pub(crate) fn remove(schema: &mut Value) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = without_links(description);
    }
    parts_mut(schema).into_iter().for_each(remove);
}

/// Returns the text with [`` [`Item`] ``, `[text](Item)` and `[text][Item]`] replaced by their text. Links to pages stay.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let Some((label, after)) = link(rest) else {
            out.push('[');
            rest = &rest[1..];
            continue;
        };
        out.push_str(label);
        rest = after;
    }
    out + rest
}

/// Splits a text that begins with a link to a Rust item into the link's label and what follows the link.
fn link(text: &str) -> Option<(&str, &str)> {
    let (label, after) = text.strip_prefix('[')?.split_once(']')?;
    for (open, close) in [('(', ')'), ('[', ']')] {
        if let Some((target, after)) = after.strip_prefix(open).and_then(|rest| rest.split_once(close)) {
            return is_path(target).then_some((label, after));
        }
    }
    let is_code = label.len() > 2 && label.starts_with('`') && label.ends_with('`');
    is_code.then_some((label, after))
}

fn is_path(target: &str) -> bool {
    let target = target.trim_matches('`');
    let of_path = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':' | '!' | '@');
    !target.is_empty() && !target.contains("://") && target.chars().all(of_path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn links_to_items_are_replaced_by_their_text() {
        let cases = [
            ("The input of [`ADD`].", "The input of `ADD`."),
            ("if they [confirm](crate::CONFIRM) it", "if they confirm it"),
            ("see [`new`](Self::new) and [that][`Other`]", "see `new` and that"),
            (
                "[a page](https://example.org/a) and a [b] of [0..3]",
                "[a page](https://example.org/a) and a [b] of [0..3]",
            ),
            ("an open [ and [`", "an open [ and [`"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_links(text), expected);
        }
    }

    #[test]
    fn every_description_is_looked_at_and_no_value() {
        let mut schema = json!({
            "description": "[`A`]",
            "properties": { "description": { "description": "[`B`]", "const": "[`C`]" } },
        });
        remove(&mut schema);
        let expected = json!({
            "description": "`A`",
            "properties": { "description": { "description": "`B`", "const": "[`C`]" } },
        });
        assert_eq!(schema, expected);
    }
}
