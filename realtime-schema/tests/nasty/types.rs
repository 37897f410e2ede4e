//! Types with all serde attributes that users meet.

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use uuid::Uuid;

/// The owner of an account.
///
/// Two lines */ and an end of a comment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    /// The name on the page.
    pub display_name: String,
    #[serde(rename = "e-mail")]
    pub mail: Option<String>,
    #[serde(default)]
    pub login_count: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip)]
    pub secret: String,
    #[serde(skip_serializing, default)]
    pub password: String,
    #[serde(skip_deserializing)]
    pub server_only: bool,
    #[serde(default = "five", alias = "lvl")]
    pub level: u8,
}

fn five() -> u8 {
    5
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum Shape {
    Nothing,
    /// No content either, but a comment.
    Hidden,
    Circle(f64),
    Line(f64, f64),
    Box {
        top_left: (i32, i32),
        line_width: Option<u8>,
    },
    Of(Inner),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Inner {
    pub a: u8,
    pub b: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Tagged {
    Ping,
    SayHello { text: String },
    Holds(Inner),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
pub(crate) enum Adjacent {
    None,
    Number(i32),
    Pair(i32, String),
    Fields { x: bool },
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Untagged {
    Flag(bool),
    Inner(Inner),
    Named { name: String },
    List(Vec<u8>),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Flat {
    pub id: u32,
    #[serde(flatten)]
    pub inner: Inner,
    #[serde(flatten)]
    pub more: HashMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FlatEnum {
    pub id: u32,
    #[serde(flatten)]
    pub kind: Tagged,
    #[serde(flatten)]
    pub shape: Option<Outer>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Outer {
    Left { depth: u8 },
    Right(bool),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub dark: bool,
    pub size: Option<u16>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
pub(crate) enum Open {
    Known {
        n: u8,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Wrapper {
    pub inner: Inner,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Id(pub String);

/// Written as text, `3/4`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Fraction(pub u8, pub u8);

impl TryFrom<String> for Fraction {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (up, down) = text.split_once('/').ok_or("no slash")?;
        Ok(Self(up.parse().map_err(|_| "no number")?, down.parse().map_err(|_| "no number")?))
    }
}

impl From<Fraction> for String {
    fn from(Fraction(up, down): Fraction) -> Self {
        format!("{up}/{down}")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TwoNames {
    #[serde(rename(serialize = "out", deserialize = "in"))]
    pub value: i32,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Page_of_{T}")]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<u32>,
}

pub(crate) mod other {
    use super::*;

    /// Another type with the Rust name `Inner`.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[schemars(rename = "OtherInner")]
    pub(crate) struct Inner {
        pub z: Box<Tree>,
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Tree {
    pub name: String,
    pub children: Vec<Tree>,
    pub parent: Option<Box<other::Inner>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colour {
    Red,
    Green,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Maps {
    pub numbers: BTreeMap<u32, bool>,
    pub signed: BTreeMap<i16, bool>,
    pub colours: BTreeMap<Colour, u8>,
    pub ids: BTreeMap<Id, u8>,
    pub any: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Tuples(pub (u8, String), pub [i8; 3], pub (), pub Unit);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Unit;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Options {
    pub twice: Option<Option<u8>>,
    pub result: Result<u8, String>,
    pub colour: Option<Colour>,
    pub inner: Option<Inner>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Numbers {
    pub long: i64,
    pub longer: u128,
    pub size: usize,
    pub bytes: Vec<u8>,
    pub letter: char,
    pub real: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Times {
    pub at: DateTime<Utc>,
    pub day: NaiveDate,
    pub took: Duration,
    pub id: Uuid,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Odd {
    pub class: u8,
    #[serde(rename = "a-b")]
    pub a_b: u8,
    #[serde(rename = "__proto__")]
    pub proto: u8,
    pub then: bool,
    pub default: Inner,
    pub r#enum: Option<u8>,
    #[serde(rename = "say \"hi\"\n\u{2028}")]
    pub quoted: u8,
}
