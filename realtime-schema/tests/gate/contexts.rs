//! The places in which a changed type may stand.

use realtime_schema::{Changes, Description, Kind, Schema, Side};
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// The effect of a change on clients that were built before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Fine,
    Notice,
    Break,
}

/// Checks a change of a type, by itself and in every context, as sent and as received.
#[track_caller]
pub(crate) fn check<Old: JsonSchema, New: JsonSchema>(sent: For, received: For) {
    for (context, old, new) in contexts::<Old, New>() {
        for (kind, expected) in [(Kind::ClientEvent, sent), (Kind::ServerEvent, received)] {
            let changes = changes(&schema(kind, old), &schema(kind, new));
            assert_eq!(severity(&changes), expected, "{context}, {kind:?}: {changes:#?}");
        }
        for (kind, side) in [(Kind::ClientEvent, old), (Kind::ServerEvent, new)] {
            let same = changes(&schema(kind, side), &schema(kind, side));
            assert_eq!(severity(&same), For::Fine, "{context}, {kind:?}, unchanged: {same:#?}");
        }
    }
}

pub(crate) fn changes(old: &Schema, new: &Schema) -> Changes {
    new.changes_since(&old.document()).unwrap()
}

pub(crate) fn severity(changes: &Changes) -> For {
    match (changes.breaks(), changes.notices()) {
        ([], []) => For::Fine,
        ([], _) => For::Notice,
        _ => For::Break,
    }
}

fn schema(kind: Kind, side: Side) -> Schema {
    let description =
        Description { sent: Some(side), received: Some(side), ..Description::new("api", "it", kind) };
    Schema::describing(&[description]).unwrap()
}

fn contexts<Old: JsonSchema, New: JsonSchema>() -> Vec<(&'static str, Side, Side)> {
    fn side<T: JsonSchema>() -> Side {
        |generator| generator.subschema_for::<T>()
    }
    macro_rules! contexts {
        ($($name:literal: $context:ident;)*) => {
            vec![$(($name, side::<$context<Old>>(), side::<$context<New>>())),*]
        };
    }
    contexts! {
        "itself": Itself;
        "a list": Vec;
        "a list in a list": Lists;
        "behind a reference": Behind;
        "a map": Map;
        "a map by number": ByNumber;
        "a tuple": Tuple;
        "a variant": External;
        "a tagged variant": Internal;
        "an adjacent variant": Adjacent;
        "an untagged variant": Untagged;
        "a recursive type": Recursive;
        "two types that refer to each other": Even;
        "a flattened type": Flattened;
    }
}

type Itself<T> = T;
type Lists<T> = Vec<Vec<T>>;
type Map<T> = BTreeMap<String, T>;
type ByNumber<T> = BTreeMap<u16, T>;
type Tuple<T> = (u8, T, bool);

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Behind<T> {
    value: Box<T>,
    again: Vec<T>,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
enum External<T> {
    None,
    Of(T),
    Fields { value: T },
}

#[derive(JsonSchema)]
#[serde(tag = "type")]
#[allow(dead_code)]
enum Internal<T> {
    None,
    Of { value: T },
}

#[derive(JsonSchema)]
#[serde(tag = "type", content = "value")]
#[allow(dead_code)]
enum Adjacent<T> {
    None,
    Of(T),
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Untagged<T> {
    Flag(bool),
    Of { value: T },
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Recursive<T> {
    children: Vec<Recursive<T>>,
    parent: Option<Box<Recursive<T>>>,
    value: T,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Even<T> {
    odd: Option<Box<Odd<T>>>,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Odd<T> {
    even: Vec<Even<T>>,
    value: T,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Flattened<T> {
    id: u8,
    #[serde(flatten)]
    inner: Holder<T>,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Holder<T> {
    value: T,
}
