//! From names to the document: refusals, omissions, and differences that do not matter.

use realtime_schema::{Description, Kind, Problems, Schema, Side};
use schemars::JsonSchema;
use std::panic::Location;
use std::time::Duration;

const MUTATION: Kind = Kind::Mutation { time_limit: Duration::from_secs(30) };

fn side<T: JsonSchema>() -> Option<Side> {
    Some(|generator| generator.subschema_for::<T>())
}

fn call<I: JsonSchema, O: JsonSchema>(name: &str) -> Description {
    Description { sent: side::<I>(), received: side::<O>(), ..Description::new("api", name, MUTATION) }
}

fn refused(descriptions: &[Description]) -> Problems {
    Schema::describing(descriptions).unwrap_err()
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Page<T> {
    items: Vec<T>,
}

#[derive(JsonSchema)]
#[schemars(rename = "Page_of_{T}")]
#[allow(dead_code)]
struct Named<T> {
    items: Vec<T>,
}

mod one {
    #[derive(schemars::JsonSchema)]
    #[allow(dead_code)]
    pub(crate) struct Point {
        x: u8,
    }
}

mod two {
    #[derive(schemars::JsonSchema)]
    #[allow(dead_code)]
    pub(crate) struct Point {
        y: u8,
    }
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Point2 {
    x: u8,
    y: u8,
}

#[test]
fn two_types_of_one_name_are_refused() {
    let generic = refused(&[call::<Page<u8>, Page<bool>>("a"), call::<(), Page<u16>>("b")]).to_string();
    assert!(generic.contains("two types are named `Page`, so the second became `Page2`"), "{generic}");
    assert!(generic.contains("#[schemars(rename = \"Page_of_{T}\")]"), "{generic}");
    let plain = refused(&[call::<one::Point, two::Point>("a"), call::<two::Point, one::Point>("b")]).to_string();
    assert!(plain.contains("two types are named `Point`"), "{plain}");
    Schema::describing(&[call::<Named<u8>, Named<bool>>("a")]).unwrap();
}

/// Each direction has only one of them.
#[test]
fn two_types_of_one_name_are_refused_across_directions() {
    let problems = refused(&[call::<one::Point, two::Point>("a")]).to_string();
    assert!(problems.contains("two types are named `Point`"), "{problems}");
}

#[test]
fn a_type_that_is_really_called_so_is_allowed_by_name() {
    let descriptions = [call::<one::Point, Point2>("a")];
    assert!(refused(&descriptions).to_string().contains("`Options::allow_name(\"Point2\")`"));
    Schema::options().allow_name("Point2").describing(&descriptions).unwrap();
}

#[test]
fn a_name_without_a_schema_is_told_with_its_place() {
    let bare = Description { at: Some(Location::caller()), ..Description::new("api", "bare", MUTATION) };
    let descriptions = [call::<u8, u8>("a"), bare];
    let problems = refused(&descriptions).to_string();
    assert!(problems.starts_with("api/bare (realtime-schema/tests/collect.rs:"), "{problems}");
    assert!(problems.contains("has no schema: create its endpoint with `Endpoint::described`"), "{problems}");
    let partial = Schema::options().partial().describing(&descriptions).unwrap();
    let without = Schema::describing(&descriptions[..1]).unwrap();
    assert_eq!(partial.document(), without.document());
}

#[test]
fn each_side_that_a_kind_has_is_needed() {
    let sides = |kind, sent: Option<Side>, received: Option<Side>| {
        let description = Description { sent, received, ..Description::new("api", "it", kind) };
        Schema::describing(&[description]).is_ok()
    };
    let limit = Duration::from_secs(1);
    for kind in [MUTATION, Kind::Query { time_limit: limit }, Kind::Ask { time_limit: limit }, Kind::Subscription]
    {
        assert!(sides(kind, side::<u8>(), side::<u8>()), "{kind:?}");
        assert!(!sides(kind, side::<u8>(), None) && !sides(kind, None, side::<u8>()), "{kind:?}");
    }
    for kind in [Kind::ClientEvent, Kind::Input, Kind::ClientMessage] {
        assert!(sides(kind, side::<u8>(), None) && !sides(kind, None, side::<u8>()), "{kind:?}");
    }
    for kind in [Kind::ServerEvent, Kind::Presence, Kind::ServerMessage] {
        assert!(sides(kind, None, side::<u8>()) && !sides(kind, side::<u8>(), None), "{kind:?}");
    }
}

#[test]
fn the_hash_is_of_shapes() {
    macro_rules! hash {
        ($($fields:tt)*) => {{
            #[derive(JsonSchema)]
            #[allow(dead_code)]
            $($fields)*
            Schema::describing(&[call::<It, ()>("title")]).unwrap().hash("api")
        }};
    }
    let plain = hash! { struct It { title: u8, b: bool } };
    let said = hash! {
        /// Said.
        struct It { b: bool, /// Said.
            title: u8 }
    };
    let other = hash! { struct It { title: u16, b: bool } };
    let less = hash! { struct It { b: bool } };
    assert_eq!(plain, said);
    assert_ne!(plain, other);
    assert_ne!(plain, less);
    assert_eq!(plain.len(), 16);
}

#[test]
fn the_hash_of_an_id_does_not_depend_on_the_others() {
    let api = call::<one::Point, u8>("a");
    let other = Description { id: "other".into(), ..call::<Point2, u8>("b") };
    let alone = Schema::describing(std::slice::from_ref(&api)).unwrap();
    let beside = Schema::options().allow_name("Point2").describing(&[api, other]).unwrap();
    assert_eq!(alone.hash("api"), beside.hash("api"));
    assert_ne!(beside.hash("api"), beside.hash("other"));
}
