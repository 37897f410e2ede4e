//! Types in both directions, by what serde writes, takes and refuses: in TypeScript, and by their schemas.

#[path = "nasty/mod.rs"]
mod nasty;
#[path = "support/tsc.rs"]
mod tsc;

use nasty::{Case, descriptions, values::cases};
use realtime_schema::Schema;
use serde_json::Value;

#[test]
fn typescript_takes_what_serde_writes_and_takes_and_refuses_what_it_refuses() {
    let cases = cases();
    let schema = Schema::describing(&descriptions(&cases)).unwrap();
    let mut page = String::from(
        "import { api } from \"./api.js\";\n\
         type Types<N> = N extends { \"~types\"?: (input: infer I) => [infer O, unknown] } ? [I, O] : never;\n\
         type Sent<N> = Types<N>[0];\ntype Received<N> = Types<N>[1];\n",
    );
    for case in &cases {
        for (values, direction, comment) in [
            (&case.written, "Received", ""),
            (&case.taken, "Sent", ""),
            (&case.refused, "Sent", "// @ts-expect-error serde refuses it\n"),
        ] {
            for (index, value) in values.iter().enumerate() {
                let (name, literal) = (case.name, literal(value));
                let of = format!("{}_{direction}_{index}", name);
                let refused = if comment.is_empty() { "" } else { "_refused" };
                page.push_str(&format!(
                    "{comment}export const {of}{refused}: {direction}<typeof api.{name}> = {literal};\n"
                ));
            }
        }
    }
    let count = |values: fn(&Case) -> &Vec<Value>| cases.iter().map(|case| values(case).len()).sum::<usize>();
    let counts = (count(|case| &case.written), count(|case| &case.taken), count(|case| &case.refused));
    assert!(counts.0 >= 33 && counts.1 >= 8 && counts.2 >= 32, "{counts:?}");
    tsc::check("types", &[("api.ts", &schema.typescript("nasty")), ("page.ts", &page)]);
}

/// A value on one line, as source.
fn literal(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| format!("[{}]: {}", Value::from(name.as_str()), literal(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", ").replace('\u{2028}', "\\u2028"))
        }
        _ => value.to_string(),
    }
}
