//! Arbitrary types as schemars describes them, their values, and similar types.

#![allow(dead_code)] // Each test takes what it needs.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A type of serde and schemars.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Bool,
    Integer(u8, u8),
    Number,
    /// A number from here on.
    From(u8),
    Text,
    /// A text of so many characters at most.
    Short(u8),
    Anything,
    Optional(Box<Shape>),
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    Map(Box<Shape>),
    ByNumber(Box<Shape>),
    Struct(Fields, bool),
    External(BTreeMap<&'static str, Option<Shape>>),
    Internal(Variants),
    Untagged(Vec<Shape>),
    /// A struct that contains itself.
    Recursive(Fields),
    /// Fields with a flattened enum among them.
    Flattened(Fields, Variants, bool),
    /// Fields with two flattened enums among them.
    Twice(Fields, Variants, Variants, bool),
}

/// Types by field name, each with true if the field is always present.
pub(crate) type Fields = BTreeMap<&'static str, (Shape, bool)>;

/// Variants with fields beside a tag.
pub(crate) type Variants = BTreeMap<&'static str, Fields>;

/// Any type.
pub(crate) fn shape() -> BoxedStrategy<Shape> {
    let leaf = prop_oneof![
        Just(Shape::Bool),
        (0_u8..3, 5_u8..8).prop_map(|(least, most)| Shape::Integer(least, most)),
        Just(Shape::Number),
        (0_u8..4).prop_map(Shape::From),
        Just(Shape::Text),
        (0_u8..2).prop_map(Shape::Short),
        Just(Shape::Anything),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| of(inner.boxed())).boxed()
}

fn of(inner: BoxedStrategy<Shape>) -> BoxedStrategy<Shape> {
    let boxed = || inner.clone().prop_map(Box::new);
    let fields = || fields(inner.clone());
    let variants = || btree_map(name(), fields(), 1..3);
    prop_oneof![
        boxed().prop_map(Shape::Optional),
        boxed().prop_map(Shape::List),
        vec(inner.clone(), 1..3).prop_map(Shape::Tuple),
        boxed().prop_map(Shape::Map),
        boxed().prop_map(Shape::ByNumber),
        (fields(), any::<bool>()).prop_map(|(fields, closed)| Shape::Struct(fields, closed)),
        btree_map(name(), option::of(inner.clone()), 1..4).prop_map(Shape::External),
        btree_map(name(), fields(), 1..4).prop_map(Shape::Internal),
        vec(inner.clone(), 1..3).prop_map(Shape::Untagged),
        fields().prop_map(Shape::Recursive),
        (fields(), variants(), any::<bool>())
            .prop_map(|(fields, variants, closed)| Shape::Flattened(fields, variants, closed)),
        (fields(), variants(), variants(), any::<bool>())
            .prop_map(|(fields, first, second, closed)| Shape::Twice(fields, first, second, closed)),
    ]
    .boxed()
}

fn fields(inner: BoxedStrategy<Shape>) -> BoxedStrategy<Fields> {
    btree_map(name(), (inner, any::<bool>()), 0..3).boxed()
}

fn name() -> impl Strategy<Value = &'static str> {
    select(&["a", "b", "c", "d", "1"][..])
}

/// The type with some of its parts replaced.
pub(crate) fn near(shape: &Shape) -> BoxedStrategy<Shape> {
    let same = match shape {
        Shape::Optional(of) => prop_oneof![near_box(of).prop_map(Shape::Optional), near(of)].boxed(),
        Shape::List(of) => near_box(of).prop_map(Shape::List).boxed(),
        Shape::Map(of) => near_box(of).prop_map(Shape::Map).boxed(),
        Shape::ByNumber(of) => near_box(of).prop_map(Shape::ByNumber).boxed(),
        Shape::Tuple(items) => items.iter().map(near).collect::<Vec<_>>().prop_map(Shape::Tuple).boxed(),
        Shape::Untagged(items) => items.iter().map(near).collect::<Vec<_>>().prop_map(Shape::Untagged).boxed(),
        Shape::Struct(fields, closed) => (near_fields(fields), near_flag(*closed))
            .prop_map(|(fields, closed)| Shape::Struct(fields, closed))
            .boxed(),
        Shape::Recursive(fields) => near_fields(fields).prop_map(Shape::Recursive).boxed(),
        Shape::External(variants) => near_variants(variants, |of| match of {
            Some(of) => near(of).prop_map(Some).boxed(),
            None => Just(None).boxed(),
        })
        .prop_map(Shape::External)
        .boxed(),
        Shape::Internal(variants) => near_variants(variants, near_fields).prop_map(Shape::Internal).boxed(),
        Shape::Flattened(fields, variants, closed) => {
            (near_fields(fields), near_variants(variants, near_fields), near_flag(*closed))
                .prop_map(|(fields, variants, closed)| Shape::Flattened(fields, variants, closed))
                .boxed()
        }
        Shape::Twice(fields, first, second, closed) => {
            let near = |variants: &Variants| near_variants(variants, near_fields);
            (near_fields(fields), near(first), near(second), near_flag(*closed))
                .prop_map(|(fields, first, second, closed)| Shape::Twice(fields, first, second, closed))
                .boxed()
        }
        Shape::From(least) => (0..=*least + 1).prop_map(Shape::From).boxed(),
        Shape::Short(most) => (0..=*most + 1).prop_map(Shape::Short).boxed(),
        leaf => Just(leaf.clone()).boxed(),
    };
    let wrapped = Shape::Optional(Box::new(shape.clone()));
    prop_oneof![8 => same, 1 => Just(wrapped), 1 => self::shape()].boxed()
}

fn near_box(of: &Shape) -> impl Strategy<Value = Box<Shape>> + use<> {
    near(of).prop_map(Box::new)
}

fn near_flag(flag: bool) -> impl Strategy<Value = bool> {
    prop_oneof![4 => Just(flag), 1 => Just(!flag)]
}

fn near_fields(fields: &Fields) -> BoxedStrategy<Fields> {
    let near = fields.iter().map(|(name, (of, required))| {
        let required = prop_oneof![4 => Just(*required), 1 => any::<bool>()];
        (Just(*name), near(of), required, prop::bool::weighted(0.9))
    });
    (near.collect::<Vec<_>>(), option::weighted(0.2, (name(), shape(), any::<bool>())))
        .prop_map(|(kept, more)| {
            let kept = kept.into_iter().filter(|(.., stays)| *stays);
            let fields = kept.map(|(name, of, required, _)| (name, (of, required)));
            fields.chain(more.map(|(name, of, required)| (name, (of, required)))).collect()
        })
        .boxed()
}

fn near_variants<T: Clone + std::fmt::Debug + 'static>(
    variants: &BTreeMap<&'static str, T>,
    near: impl Fn(&T) -> BoxedStrategy<T>,
) -> BoxedStrategy<BTreeMap<&'static str, T>> {
    let first = variants.values().next().cloned().expect("an enum has a variant");
    let near = variants.iter().map(|(name, of)| (Just(*name), near(of), prop::bool::weighted(0.9)));
    (near.collect::<Vec<_>>(), option::weighted(0.2, name()))
        .prop_map(move |(kept, more)| {
            let kept = kept.into_iter().filter(|(.., stays)| *stays).map(|(name, of, _)| (name, of));
            let mut variants: BTreeMap<_, _> = kept.collect();
            if let Some(name) = more.or(variants.is_empty().then_some("a")) {
                variants.entry(name).or_insert_with(|| first.clone());
            }
            variants
        })
        .boxed()
}

/// A value of the type.
pub(crate) fn value(shape: &Shape) -> BoxedStrategy<Value> {
    match shape {
        Shape::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Integer(least, most) => (*least..=*most).prop_map(Value::from).boxed(),
        Shape::Number => prop_oneof![Just(json!(0.5)), Just(json!(3))].boxed(),
        Shape::From(least) => select(vec![json!(least), json!(f64::from(*least) + 0.5)]).boxed(),
        Shape::Short(most) => (0..=*most).prop_map(|length| json!("a".repeat(length.into()))).boxed(),
        Shape::Text => select(vec![json!("a"), json!("x"), json!("")]).boxed(),
        Shape::Anything => select(vec![json!(null), json!(1), json!("a"), json!({ "a": 1 }), json!([])]).boxed(),
        Shape::Optional(of) => prop_oneof![Just(Value::Null), value(of)].boxed(),
        Shape::List(of) => vec(value(of), 0..3).prop_map(Value::from).boxed(),
        Shape::Tuple(items) => items.iter().map(value).collect::<Vec<_>>().prop_map(Value::from).boxed(),
        Shape::Map(of) => btree_map(name(), value(of), 0..3).prop_map(object).boxed(),
        Shape::ByNumber(of) => btree_map(select(&["1", "2"][..]), value(of), 0..3).prop_map(object).boxed(),
        Shape::Struct(fields, _) => object_of(fields),
        Shape::Recursive(fields) => (object_of(fields), option::of(object_of(fields)))
            .prop_map(|(mut outer, inner)| {
                outer["me"] = inner.map_or(Value::Null, |mut inner| {
                    inner["me"] = Value::Null;
                    inner
                });
                outer
            })
            .boxed(),
        Shape::External(variants) => one_of(variants, |name, of| match of {
            None => Just(json!(name)).boxed(),
            Some(of) => value(of).prop_map(move |value| json!({ name: value })).boxed(),
        }),
        Shape::Internal(variants) => tagged("type", variants),
        Shape::Flattened(fields, variants, _) => merged(vec![object_of(fields), tagged("type", variants)]),
        Shape::Twice(fields, first, second, _) => {
            merged(vec![object_of(fields), tagged("type", first), tagged("kind", second)])
        }
        Shape::Untagged(items) => proptest::strategy::Union::new(items.iter().map(value)).boxed(),
    }
}

fn object<K: ToString + Ord>(fields: BTreeMap<K, Value>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

fn object_of(fields: &Fields) -> BoxedStrategy<Value> {
    let fields = fields.iter().map(|(name, (of, required))| {
        let there = if *required { Just(true).boxed() } else { any::<bool>().boxed() };
        (Just(*name), value(of), there)
    });
    let fields: Vec<_> = fields.collect();
    fields
        .prop_map(|fields| {
            object(fields.into_iter().filter(|field| field.2).map(|(name, value, _)| (name, value)).collect())
        })
        .boxed()
}

fn tagged(tag: &'static str, variants: &Variants) -> BoxedStrategy<Value> {
    one_of(variants, |name, fields| {
        object_of(fields)
            .prop_map(move |mut value| {
                value[tag] = json!(name);
                value
            })
            .boxed()
    })
}

/// The fields of several objects as one.
fn merged(objects: Vec<BoxedStrategy<Value>>) -> BoxedStrategy<Value> {
    let fields = |value: Value| value.as_object().cloned().expect("it is an object");
    objects.prop_map(move |objects| Value::Object(objects.into_iter().flat_map(fields).collect())).boxed()
}

fn one_of<T>(
    variants: &BTreeMap<&'static str, T>,
    of: impl Fn(&'static str, &T) -> BoxedStrategy<Value>,
) -> BoxedStrategy<Value> {
    proptest::strategy::Union::new(variants.iter().map(|(name, variant)| of(name, variant))).boxed()
}

/// Returns the schema of a type, with its named types in `definitions`.
pub(crate) fn schema(shape: &Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Number => json!({ "type": "number", "format": "double" }),
        Shape::From(least) => json!({ "type": "number", "minimum": least }),
        Shape::Text => json!({ "type": "string" }),
        Shape::Short(most) => json!({ "type": "string", "maxLength": most }),
        Shape::Anything => json!(true),
        Shape::Optional(of) => json!({ "anyOf": [schema(of, definitions), { "type": "null" }] }),
        Shape::List(of) => json!({ "type": "array", "items": schema(of, definitions) }),
        Shape::Tuple(items) => {
            let first: Vec<Value> = items.iter().map(|item| schema(item, definitions)).collect();
            json!({ "type": "array", "prefixItems": first, "minItems": items.len(), "maxItems": items.len() })
        }
        Shape::Map(of) => json!({ "type": "object", "additionalProperties": schema(of, definitions) }),
        Shape::ByNumber(of) => json!({
            "type": "object", "patternProperties": { r"^\d+$": schema(of, definitions) },
            "additionalProperties": false,
        }),
        Shape::Struct(fields, closed) => {
            let mut of = struct_schema(fields, definitions);
            if *closed {
                of["additionalProperties"] = json!(false);
            }
            named(of, definitions)
        }
        Shape::Recursive(fields) => {
            let name = format!("T{}", definitions.len());
            definitions.insert(name.clone(), Value::Null);
            let mut of = struct_schema(fields, definitions);
            let me = json!({ "$ref": format!("#/definitions/{name}") });
            of["properties"]["me"] = json!({ "anyOf": [me, { "type": "null" }] });
            definitions.insert(name, of);
            me
        }
        Shape::External(variants) => {
            let variant = |(name, of): (&&str, &Option<Shape>)| match of {
                None => json!({ "type": "string", "const": name }),
                Some(of) => json!({
                    "type": "object", "properties": { *name: schema(of, definitions) },
                    "required": [name], "additionalProperties": false,
                }),
            };
            let variants: Vec<Value> = variants.iter().map(variant).collect();
            named(json!({ "oneOf": variants }), definitions)
        }
        Shape::Internal(variants) => {
            let of = json!({ "oneOf": tagged_schemas("type", variants, definitions) });
            named(of, definitions)
        }
        Shape::Flattened(fields, variants, closed) => {
            let mut of = struct_schema(fields, definitions);
            of["oneOf"] = json!(tagged_schemas("type", variants, definitions));
            named(closed_schema(of, *closed), definitions)
        }
        Shape::Twice(fields, first, second, closed) => {
            let mut of = struct_schema(fields, definitions);
            let first = tagged_schemas("type", first, definitions);
            of["allOf"] = json!([{ "oneOf": first }, { "oneOf": tagged_schemas("kind", second, definitions) }]);
            named(closed_schema(of, *closed), definitions)
        }
        Shape::Untagged(items) => {
            let items: Vec<Value> = items.iter().map(|item| schema(item, definitions)).collect();
            json!({ "anyOf": items })
        }
    }
}

fn tagged_schemas(tag: &str, variants: &Variants, definitions: &mut Map<String, Value>) -> Vec<Value> {
    let variant = |(name, fields): (&&str, &Fields)| {
        let mut of = struct_schema(fields, definitions);
        of["properties"][tag] = json!({ "type": "string", "const": name });
        of["required"].as_array_mut().expect("it is one").push(json!(tag));
        of
    };
    variants.iter().map(variant).collect()
}

/// Refuses fields that no part of a combination has, as schemars does for `deny_unknown_fields`.
fn closed_schema(mut of: Value, closed: bool) -> Value {
    if closed {
        of["unevaluatedProperties"] = json!(false);
    }
    of
}

fn struct_schema(fields: &Fields, definitions: &mut Map<String, Value>) -> Value {
    let required: Vec<&str> =
        fields.iter().filter(|(_, (_, required))| *required).map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, (of, _))| ((*name).to_owned(), schema(of, definitions))).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn named(of: Value, definitions: &mut Map<String, Value>) -> Value {
    let name = format!("T{}", definitions.len());
    definitions.insert(name.clone(), of);
    json!({ "$ref": format!("#/definitions/{name}") })
}
