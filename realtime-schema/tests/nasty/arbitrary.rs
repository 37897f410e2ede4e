//! Arbitrary values of the types.

use super::types::*;
use proptest::collection::{btree_map, hash_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

pub(crate) fn inner() -> impl Strategy<Value = Inner> {
    (any::<u8>(), of(any::<bool>())).prop_map(|(a, b)| Inner { a, b })
}

pub(crate) fn account() -> impl Strategy<Value = Account> {
    let texts = (text(), of(text()), vec(text(), 0..3), text());
    (texts, any::<u32>(), any::<bool>(), any::<u8>()).prop_map(
        |((display_name, mail, tags, secret), login_count, server_only, level)| Account {
            display_name,
            mail,
            login_count,
            tags,
            password: secret.clone(),
            secret,
            server_only,
            level,
        },
    )
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let corner = (any::<i32>(), any::<i32>());
    prop_oneof![
        Just(Shape::Nothing),
        Just(Shape::Hidden),
        real().prop_map(Shape::Circle),
        (real(), real()).prop_map(|(a, b)| Shape::Line(a, b)),
        (corner, of(any::<u8>())).prop_map(|(top_left, line_width)| Shape::Box { top_left, line_width }),
        inner().prop_map(Shape::Of),
    ]
}

pub(crate) fn tagged() -> impl Strategy<Value = Tagged> {
    prop_oneof![
        Just(Tagged::Ping),
        text().prop_map(|text| Tagged::SayHello { text }),
        inner().prop_map(Tagged::Holds),
    ]
}

pub(crate) fn adjacent() -> impl Strategy<Value = Adjacent> {
    prop_oneof![
        Just(Adjacent::None),
        any::<i32>().prop_map(Adjacent::Number),
        (any::<i32>(), text()).prop_map(|(number, text)| Adjacent::Pair(number, text)),
        any::<bool>().prop_map(|x| Adjacent::Fields { x }),
    ]
}

pub(crate) fn untagged() -> impl Strategy<Value = Untagged> {
    prop_oneof![
        any::<bool>().prop_map(Untagged::Flag),
        inner().prop_map(Untagged::Inner),
        text().prop_map(|name| Untagged::Named { name }),
        vec(any::<u8>(), 0..4).prop_map(Untagged::List),
    ]
}

pub(crate) fn flat() -> impl Strategy<Value = Flat> {
    let more: BoxedStrategy<HashMap<String, String>> = hash_map("[c-h]{1,3}", text(), 0..3).boxed();
    (any::<u32>(), inner(), more).prop_map(|(id, inner, more)| Flat { id, inner, more })
}

pub(crate) fn flat_enum() -> impl Strategy<Value = FlatEnum> {
    let outer =
        prop_oneof![any::<u8>().prop_map(|depth| Outer::Left { depth }), any::<bool>().prop_map(Outer::Right)];
    (any::<u32>(), tagged(), of(outer)).prop_map(|(id, kind, shape)| FlatEnum { id, kind, shape })
}

pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let leaf = text().prop_map(|name| Tree { name, children: Vec::new(), parent: None });
    leaf.prop_recursive(3, 12, 3, |tree| {
        (text(), vec(tree.clone(), 0..3), of(tree)).prop_map(|(name, children, parent)| {
            let parent = parent.map(|tree| Box::new(other::Inner { z: Box::new(tree) }));
            Tree { name, children, parent }
        })
    })
}

pub(crate) fn maps() -> impl Strategy<Value = Maps> {
    let colour = prop_oneof![Just(Colour::Red), Just(Colour::Green)];
    let ids: BoxedStrategy<BTreeMap<Id, u8>> = btree_map(text().prop_map(Id), any::<u8>(), 0..3).boxed();
    (
        btree_map(any::<u32>(), any::<bool>(), 0..3),
        btree_map(any::<i16>(), any::<bool>(), 0..3),
        btree_map(colour, any::<u8>(), 0..3),
        ids,
        btree_map(text(), value(), 0..3),
    )
        .prop_map(|(numbers, signed, colours, ids, any)| Maps { numbers, signed, colours, ids, any })
}

pub(crate) fn options() -> impl Strategy<Value = Options> {
    let result = prop_oneof![any::<u8>().prop_map(Ok), text().prop_map(Err)];
    let colour = of(prop_oneof![Just(Colour::Red), Just(Colour::Green)]);
    (of(of(any::<u8>())), result, colour, of(inner())).prop_map(|(twice, result, colour, inner)| Options {
        twice,
        result,
        colour,
        inner,
    })
}

pub(crate) fn numbers() -> impl Strategy<Value = Numbers> {
    (any::<i64>(), any::<u64>(), any::<u32>(), vec(any::<u8>(), 0..4), any::<char>(), real()).prop_map(
        |(long, longer, size, bytes, letter, real)| Numbers {
            long,
            longer: longer.into(),
            size: size as usize,
            bytes,
            letter,
            real,
        },
    )
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1, "x"])),
        Just(json!({ "a": 1 })),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,4}", "[a-z]{1,3}"]
}

/// Finite numbers only: NaN and the infinities are `null` on the wire, which no type shows.
fn real() -> impl Strategy<Value = f64> {
    any::<i32>().prop_map(|number| f64::from(number) / 8.0)
}
