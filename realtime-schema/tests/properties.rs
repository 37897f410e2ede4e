//! Any value of a type matches its schema, and serde accepts every value that a schema accepts.

#[path = "nasty/mod.rs"]
mod nasty;
#[path = "support/validators.rs"]
mod validators;

use nasty::{arbitrary, case, descriptions, types::*, values::cases};
use proptest::prelude::*;
use proptest::sample::Index;
use realtime_schema::{Description, Kind, Schema};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::fmt::Debug;
use validators::Validators;

#[test]
fn schemas_take_what_serde_writes_and_takes_and_refuse_what_it_refuses() {
    let cases = cases();
    let schema = Schema::describing(&descriptions(&cases)).unwrap();
    for case in &cases {
        let validators = Validators::of(&schema, case.name);
        let at = |value: &Value| format!("{}: {value}", case.name);
        case.written.iter().for_each(|value| assert!(validators.received.is_valid(value), "{}", at(value)));
        case.taken.iter().for_each(|value| assert!(validators.sent.is_valid(value), "{}", at(value)));
        case.refused.iter().for_each(|value| assert!(!validators.sent.is_valid(value), "{}", at(value)));
    }
}

/// Changes every type into every other. If the comparison finds nothing, no value is lost.
#[test]
fn a_change_that_breaks_nothing_keeps_every_value() {
    let cases = cases();
    let whole = Schema::describing(&descriptions(&cases)).unwrap();
    let validators: Vec<Validators> = cases.iter().map(|case| Validators::of(&whole, case.name)).collect();
    let schema = |case: &nasty::Case, kind: Kind| {
        let sides = Description {
            sent: Some(case.side),
            received: Some(case.side),
            ..Description::new("api", "it", kind)
        };
        Schema::describing(&[sides]).unwrap()
    };
    let is_fine = |old: &nasty::Case, new: &nasty::Case, kind: Kind| {
        let changes = schema(new, kind).changes_since(&schema(old, kind).document()).unwrap();
        changes.breaks().is_empty() && changes.notices().is_empty()
    };
    let values = |case: &nasty::Case| [case.written.clone(), case.taken.clone()].concat();
    let mut compared = 0;
    for (old, of_old) in cases.iter().zip(&validators) {
        for (new, of_new) in cases.iter().zip(&validators) {
            // An event with the data `()` accepts anything.
            if new.name != "unit" && is_fine(old, new, Kind::ClientEvent) {
                compared += 1;
                for value in values(old).iter().filter(|value| of_old.sent.is_valid(value)) {
                    assert!(of_new.sent.is_valid(value), "{} to {}: {value}", old.name, new.name);
                }
            }
            if is_fine(old, new, Kind::ServerEvent) {
                for value in &new.written {
                    assert!(of_old.received.is_valid(value), "{} to {}: {value}", old.name, new.name);
                }
            }
        }
    }
    assert!(compared >= cases.len() - 1, "each is at least what it was: {compared}");
}

/// Checks values of `T`, and values that are nearly valid.
fn check<T: Debug + Serialize + DeserializeOwned + schemars::JsonSchema>(strategy: impl Strategy<Value = T>) {
    let cases = [case::<T>("it").into()];
    let validators = Validators::of(&Schema::describing(&descriptions(&cases)).unwrap(), "it");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    });
    let inputs = (strategy, any::<Index>(), prop::option::of(arbitrary::value()));
    let result = runner.run(&inputs, |(value, place, other)| {
        let written = serde_json::to_value(&value).unwrap();
        prop_assert!(validators.received.is_valid(&written), "received: {written}");
        let changed = changed(&written, place, other);
        let taken = serde_json::from_value::<T>(changed.clone());
        let is_worse = validators.sent.is_valid(&changed) && taken.is_err();
        prop_assert!(!is_worse, "sent: {changed}: {}", taken.unwrap_err());
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Returns the value with one of its parts replaced or removed.
fn changed(value: &Value, place: Index, other: Option<Value>) -> Value {
    let mut changed = value.clone();
    let mut places = Vec::new();
    pointers(value, String::new(), &mut places);
    let pointer = place.get(&places);
    match (other, pointer.rsplit_once('/')) {
        (Some(other), _) => *changed.pointer_mut(pointer).unwrap() = other,
        (None, Some((parent, name))) => remove(changed.pointer_mut(parent).unwrap(), name),
        (None, None) => changed = Value::Null,
    }
    changed
}

fn remove(parent: &mut Value, name: &str) {
    match parent {
        Value::Object(fields) => {
            fields.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Value::Array(items) => {
            items.remove(name.parse().unwrap());
        }
        _ => {}
    }
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            pointers(value, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| pointers(value, format!("{at}/{index}"), found));
        }
        _ => {}
    }
    found.push(at);
}

macro_rules! any_value_of {
    ($($name:ident: $type:ty;)*) => {
        $(
            #[test]
            fn $name() {
                check::<$type>(arbitrary::$name());
            }
        )*
    };
}

any_value_of! {
    account: Account;
    adjacent: Adjacent;
    flat: Flat;
    flat_enum: FlatEnum;
    inner: Inner;
    maps: Maps;
    numbers: Numbers;
    options: Options;
    shape: Shape;
    tagged: Tagged;
    tree: Tree;
    untagged: Untagged;
}
