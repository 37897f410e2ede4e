//! Types in both directions, in TypeScript and as schemas, compared with the values that serde writes, accepts and
//! refuses.

#[path = "nasty/mod.rs"]
mod nasty;
#[path = "gate/shapes.rs"]
mod shapes;
#[path = "support/tsc.rs"]
mod tsc;

use nasty::{Case, descriptions, values::cases};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use realtime_schema::Schema;
use serde_json::{Map, Value, json};

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

/// Checks the types of schemas of any shape with values of each.
#[test]
fn typescript_takes_any_value_of_any_type() {
    let mut runner = TestRunner::deterministic();
    let (mut definitions, mut events, mut page) = (Map::new(), Map::new(), String::new());
    for index in 0..250 {
        let shape = shapes::shape().new_tree(&mut runner).unwrap().current();
        let root = shapes::schema(&shape, &mut definitions);
        let validator =
            jsonschema::draft202012::new(&json!({ "allOf": [root], "definitions": definitions })).unwrap();
        events.insert(format!("e{index}"), root);
        for number in 0..4 {
            let value = shapes::value(&shape).new_tree(&mut runner).unwrap().current();
            if validator.is_valid(&value) {
                let of = format!("Data<typeof api.e{index}>");
                page.push_str(&format!("export const v{index}_{number}: {of} = {};\n", literal(&value)));
            }
        }
    }
    let document = json!({
        "version": 1,
        "definitions": { "received": definitions },
        "endpoints": { "api": { "serverEvents": events } },
    });
    let schema = Schema::from_document(&document.to_string()).unwrap();
    let head = "import { api } from \"./api.js\";\n\
                type Data<E> = E extends { \"~types\"?: (data: never) => infer D } ? D : never;\n";
    assert!(page.lines().count() > 900, "most values are valid: {}", page.lines().count());
    tsc::check("any", &[("api.ts", &schema.typescript("api")), ("page.ts", &format!("{head}{page}"))]);
}

/// Returns a value as source code on one line.
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
