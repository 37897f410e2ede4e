//! Small changes of arbitrary types: if the gate finds nothing, no value of the old server is lost.

#[path = "gate/shapes.rs"]
mod shapes;

use jsonschema::Validator;
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use realtime_schema::Schema;
use serde_json::{Map, Value, json};
use shapes::{Shape, near, schema, shape, value};
use std::cell::Cell;

/// A type before and after a change, and a value of one of them.
fn change(of_new: bool) -> impl Strategy<Value = (Shape, Shape, Value)> {
    shape().prop_flat_map(|old| (Just(old.clone()), near(&old))).prop_flat_map(move |(old, new)| {
        let value = value(if of_new { &new } else { &old });
        (Just(old), Just(new), value)
    })
}

/// A server that receives, or sends, a type.
fn server(shape: &Shape, events: &str) -> Schema {
    let mut definitions = Map::new();
    let root = schema(shape, &mut definitions);
    let document = json!({
        "version": 1,
        "definitions": { "sent": definitions, "received": definitions },
        "endpoints": { "api": { events: { "it": root } } },
    });
    Schema::from_document(&document.to_string()).unwrap()
}

fn validator(shape: &Shape) -> Validator {
    let mut definitions = Map::new();
    let root = schema(shape, &mut definitions);
    jsonschema::draft202012::new(&json!({ "allOf": [root], "definitions": definitions })).unwrap()
}

/// Runs a test that returns true if there was something to see: the gate found nothing, and there was a value.
fn check(of_new: bool, test: impl Fn(&Shape, &Shape, &Value) -> Result<bool, TestCaseError>) {
    let cases = number_in("SOUNDNESS_CASES").unwrap_or(CASES);
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(cases)
    };
    let seed = number_in("SOUNDNESS_SEED").unwrap_or(0);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[u32::to_le_bytes(seed); 8].concat());
    let seen = Cell::new(0);
    let result = TestRunner::new_with_rng(config, rng).run(&change(of_new), |(old, new, value)| {
        let has_seen = test(&old, &new, &value)?;
        seen.set(seen.get() + u32::from(has_seen));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("SOUNDNESS_SEED={seed}: {error}"));
    assert!(seen.get() >= cases / 3, "the gate is fine with {} of {cases} small changes only", seen.get());
}

/// The cases of each run, which are the same in each. `SOUNDNESS_CASES` asks for so many, `SOUNDNESS_SEED` for others.
const CASES: u32 = 500;

fn number_in(variable: &str) -> Option<u32> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn what_clients_send_is_taken_after_a_change_that_does_not_break() {
    check(false, |old, new, value| {
        let (before, after) = (server(old, "clientEvents"), server(new, "clientEvents"));
        let is_fine = after.changes_since(&before.document()).unwrap().breaks().is_empty();
        // A union of overlapping types accepts more values than its parts generate.
        let is_value = validator(old).is_valid(value);
        prop_assert!(!is_fine || !is_value || validator(new).is_valid(value), "{value}");
        Ok(is_fine && is_value)
    });
}

#[test]
fn what_clients_receive_is_known_after_a_change_that_is_no_notice() {
    check(true, |old, new, value| {
        let (before, after) = (server(old, "serverEvents"), server(new, "serverEvents"));
        let changes = after.changes_since(&before.document()).unwrap();
        let is_fine = changes.breaks().is_empty() && changes.notices().is_empty();
        let is_value = validator(new).is_valid(value);
        prop_assert!(!is_fine || !is_value || validator(&opened(old)).is_valid(value), "{value}");
        Ok(is_fine && is_value)
    });
}

#[test]
fn a_map_of_anything_of_which_a_field_gets_a_type_breaks() {
    let fields = [("a", (Shape::Bool, false))].into_iter().collect();
    let (before, after) = (Shape::Map(Box::new(Shape::Anything)), Shape::Recursive(fields));
    let (before, after) = (server(&before, "clientEvents"), server(&after, "clientEvents"));
    assert!(!after.changes_since(&before.document()).unwrap().breaks().is_empty());
}

#[test]
fn nothing_has_changed_where_nothing_did() {
    check(false, |old, _, _| {
        for events in ["clientEvents", "serverEvents"] {
            let server = server(old, events);
            let changes = server.changes_since(&server.document()).unwrap();
            prop_assert!(changes.breaks().is_empty() && changes.notices().is_empty(), "{changes:?}");
        }
        Ok(true)
    });
}

/// The type as a client reads it, ignoring unknown fields.
fn opened(shape: &Shape) -> Shape {
    let all = |fields: &shapes::Fields| {
        fields.iter().map(|(name, (of, required))| (*name, (opened(of), *required))).collect()
    };
    let variants_of = |variants: &shapes::Variants| {
        variants.iter().map(|(name, fields)| (*name, all(fields))).collect::<shapes::Variants>()
    };
    match shape {
        Shape::Struct(fields, _) => Shape::Struct(all(fields), false),
        Shape::Recursive(fields) => Shape::Recursive(all(fields)),
        Shape::Optional(of) => Shape::Optional(Box::new(opened(of))),
        Shape::List(of) => Shape::List(Box::new(opened(of))),
        Shape::Map(of) => Shape::Map(Box::new(opened(of))),
        Shape::Tuple(items) => Shape::Tuple(items.iter().map(opened).collect()),
        Shape::Untagged(items) => Shape::Untagged(items.iter().map(opened).collect()),
        Shape::External(variants) => {
            Shape::External(variants.iter().map(|(name, of)| (*name, of.as_ref().map(opened))).collect())
        }
        Shape::Internal(variants) => Shape::Internal(variants_of(variants)),
        Shape::ByNumber(of) => Shape::ByNumber(Box::new(opened(of))),
        Shape::Flattened(fields, variants, _) => Shape::Flattened(all(fields), variants_of(variants), false),
        Shape::Twice(fields, first, second, _) => {
            Shape::Twice(all(fields), variants_of(first), variants_of(second), false)
        }
        leaf => leaf.clone(),
    }
}
