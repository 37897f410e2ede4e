//! The values of the types: those that serde writes, others that it accepts, and those that it refuses.

use super::types::*;
use super::{Case, case};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

macro_rules! cases {
    ($($of:expr),* $(,)?) => {
        vec![$(Case::from($of)),*]
    };
}

pub(crate) fn cases() -> Vec<Case> {
    [enums(), objects(), collections(), scalars()].into_iter().flatten().collect()
}

fn inner() -> Inner {
    Inner { a: 1, b: None }
}

fn enums() -> Vec<Case> {
    cases![
        case::<Shape>("shape")
            .writes(Shape::Nothing)
            .writes(Shape::Hidden)
            .writes(Shape::Circle(1.5))
            .writes(Shape::Line(0.0, 1.0))
            .writes(Shape::Box { top_left: (0, 1), line_width: None })
            .writes(Shape::Of(inner()))
            .takes(json!({ "box": { "topLeft": [0, 1] } }))
            .refuses(json!("circle"))
            .refuses(json!({ "circle": "x" }))
            .refuses(json!({ "circle": 1.0, "line": [0.0, 1.0] }))
            .refuses(json!({ "line": [0.0] }))
            .refuses(json!({ "box": { "top_left": [0, 1] } }))
            .refuses(json!({ "of": { "b": true } })),
        case::<Tagged>("tagged")
            .writes(Tagged::Ping)
            .writes(Tagged::SayHello { text: "x".into() })
            .writes(Tagged::Holds(inner()))
            .takes(json!({ "type": "holds", "a": 1 }))
            .refuses(json!({ "type": "SayHello", "text": "x" }))
            .refuses(json!({ "type": "say-hello" }))
            .refuses(json!({ "type": "holds", "b": true }))
            .refuses(json!({ "text": "x" })),
        case::<Adjacent>("adjacent")
            .writes(Adjacent::None)
            .writes(Adjacent::Number(3))
            .writes(Adjacent::Pair(1, "x".into()))
            .writes(Adjacent::Fields { x: true })
            .refuses(json!({ "t": "Number" }))
            .refuses(json!({ "t": "Number", "c": "x" }))
            .refuses(json!({ "t": "Pair", "c": [1] })),
        case::<Untagged>("untagged")
            .writes(Untagged::Flag(true))
            .writes(Untagged::Inner(inner()))
            .writes(Untagged::Named { name: "x".into() })
            .writes(Untagged::List(vec![1, 2]))
            .refuses(json!("x"))
            .refuses(json!({ "nobody": 1 }))
            .refuses(json!(["x"])),
        case::<Open>("open")
            .writes(Open::Known { n: 1 })
            .writes(Open::Unknown)
            .refuses(json!({ "kind": "Known" })),
        case::<Colour>("colour").writes(Colour::Red).refuses(json!("Red")).refuses(json!(0)),
    ]
}

fn objects() -> Vec<Case> {
    let account = Account {
        display_name: "Ann".into(),
        mail: None,
        login_count: 1,
        tags: Vec::new(),
        secret: "s".into(),
        password: "p".into(),
        server_only: true,
        level: 9,
    };
    let more = HashMap::from([("colour".to_owned(), "red".to_owned())]);
    cases![
        case::<Account>("account")
            .writes(account.clone())
            .writes(Account { tags: vec!["x".into()], mail: Some("a@b".into()), ..account })
            .takes(json!({ "displayName": "Ann" }))
            .takes(json!({ "displayName": "Ann", "e-mail": null, "loginCount": 2, "tags": [], "password": "p" }))
            .refuses(json!({ "display_name": "Ann" }))
            .refuses(json!({ "displayName": null }))
            .refuses(json!({ "displayName": "Ann", "loginCount": null }))
            .refuses(json!({ "displayName": "Ann", "tags": "x" })),
        case::<Flat>("flat")
            .writes(Flat { id: 1, inner: inner(), more })
            .takes(json!({ "id": 1, "a": 2, "x": "y" }))
            .refuses(json!({ "id": 1 }))
            .refuses(json!({ "id": 1, "a": 2, "x": [] })),
        case::<FlatEnum>("flatEnum")
            .writes(FlatEnum { id: 1, kind: Tagged::Ping, shape: None })
            .writes(FlatEnum { id: 1, kind: Tagged::Holds(inner()), shape: Some(Outer::Right(true)) })
            .writes(FlatEnum {
                id: 1,
                kind: Tagged::SayHello { text: "x".into() },
                shape: Some(Outer::Left { depth: 2 })
            })
            .refuses(json!({ "id": 1 }))
            .refuses(json!({ "id": 1, "type": "say-hello" })),
        case::<Settings>("settings")
            .writes(Settings { dark: true, size: Some(3) })
            .takes(json!({}))
            .refuses(json!({ "colour": 1 })),
        case::<Wrapper>("wrapper").writes(Wrapper { inner: inner() }).refuses(json!({ "inner": { "a": 1 } })),
        case::<TwoNames>("twoNames")
            .writes(TwoNames { value: 1 })
            .takes(json!({ "in": 1 }))
            .refuses(json!({ "out": 1 })),
        case::<Odd>("odd").writes(Odd {
            class: 1,
            a_b: 2,
            proto: 3,
            then: true,
            default: inner(),
            r#enum: None,
            quoted: 4,
        }),
    ]
}

fn collections() -> Vec<Case> {
    let tree = Tree { name: "leaf".into(), children: Vec::new(), parent: None };
    let parent = Some(Box::new(other::Inner { z: Box::new(tree.clone()) }));
    let maps = Maps {
        numbers: BTreeMap::from([(7, true)]),
        signed: BTreeMap::from([(-7, true)]),
        colours: BTreeMap::from([(Colour::Red, 1)]),
        ids: BTreeMap::from([(Id("x".into()), 1)]),
        any: BTreeMap::from([("x".into(), json!([1, null]))]),
    };
    let empty = json!({ "numbers": {}, "signed": {}, "colours": {}, "ids": {}, "any": {} });
    let with = |name: &str, value: serde_json::Value| {
        let mut maps = empty.clone();
        maps[name] = value;
        maps
    };
    cases![
        case::<Page<Inner>>("page").writes(Page { items: vec![inner()], next: None }),
        case::<Page<Colour>>("colours")
            .writes(Page { items: vec![Colour::Green], next: Some(2) })
            .refuses(json!({ "items": [{ "a": 1 }] })),
        case::<Tree>("tree")
            .writes(Tree { name: "root".into(), children: vec![tree], parent })
            .takes(json!({ "name": "x", "children": [{ "name": "y", "children": [] }] }))
            .refuses(json!({ "name": "x", "children": [{ "name": "y" }] })),
        case::<Maps>("maps")
            .writes(maps)
            .takes(empty.clone())
            .refuses(with("numbers", json!({ "x": true })))
            .refuses(with("colours", json!({ "blue": 1 })))
            .refuses(with("ids", json!({ "x": "y" }))),
        case::<Tuples>("tuples")
            .writes(Tuples((1, "x".into()), [1, 2, 3], (), Unit))
            .refuses(json!([[1, "x"], [1, 2], null, null]))
            .refuses(json!([[1], [1, 2, 3], null, null]))
            .refuses(json!([[1, "x"], [1, 2, 3], null])),
        case::<Options>("options")
            .writes(Options { twice: None, result: Ok(1), colour: None, inner: None })
            .writes(Options {
                twice: Some(Some(1)),
                result: Err("x".into()),
                colour: Some(Colour::Red),
                inner: Some(inner()),
            })
            .takes(json!({ "result": { "Ok": 1 } }))
            .refuses(json!({ "result": { "Ok": "x" } }))
            .refuses(json!({ "result": { "Ok": 1, "Err": "x" } }))
            .refuses(json!({ "result": { "Ok": 1 }, "colour": "blue" })),
    ]
}

fn scalars() -> Vec<Case> {
    cases![
        case::<Id>("id").writes(Id("x".into())).refuses(json!(["x"])),
        case::<Fraction>("fraction").writes(Fraction(3, 4)).refuses(json!([3, 4])),
        case::<Numbers>("numbers")
            .writes(Numbers { long: -5, longer: 5, size: 1, bytes: vec![0, 255], letter: 'ž', real: 0.5 })
            .refuses(json!({ "long": "5", "longer": 5, "size": 1, "bytes": [], "letter": "x", "real": 1 }))
            .refuses(json!({ "long": 5, "longer": 5, "size": 1, "bytes": "AAA", "letter": "x", "real": 1 })),
        case::<Times>("times").writes(Times {
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            day: "2026-01-02".parse().unwrap(),
            took: Duration::from_millis(1500),
            id: "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap(),
        }),
        case::<()>("unit").writes(()).refuses(json!(1)),
    ]
}
