//! Constraints on numbers, strings and lengths.

use super::change::Change;
use super::is_of_type;
use super::variants::Variant;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Compares all keywords that are not schemas themselves.
pub(super) fn changes(old: &Variant, new: &Variant) -> Vec<Change> {
    let keywords: BTreeSet<&String> = old.keywords.keys().chain(new.keywords.keys()).collect();
    let mut changes: Vec<Change> = keywords
        .into_iter()
        .filter(|keyword| !is_elsewhere(keyword))
        .filter(|keyword| !(keyword.as_str() == "format" && is_number(old)))
        .filter_map(|keyword| change(keyword, old.keywords.get(keyword), new.keywords.get(keyword)))
        .collect();
    if is_number(old) {
        changes.extend(range(old, new));
    }
    changes
}

/// Returns true for a keyword that is compared as a schema or a range, or that selects the variant.
pub(super) fn is_elsewhere(keyword: &str) -> bool {
    ["additionalProperties", "const", "items", "maximum", "minimum"].contains(&keyword)
        || ["patternProperties", "prefixItems", "properties", "required", "type"].contains(&keyword)
}

/// Returns true if a constant is among the values of a variant, and `None` where that is not known.
pub(super) fn admits(variant: &Variant, constant: &Value) -> Option<bool> {
    if let Some(own) = variant.constant() {
        return Some(own == constant);
    }
    if variant.of().is_some_and(|of| !is_of_type(constant, of)) {
        return Some(false);
    }
    let mut is_admitted = true;
    for (keyword, value) in &variant.keywords {
        is_admitted &= match keyword.as_str() {
            "type" => true,
            "format" | "maximum" | "minimum" if is_number(variant) => Range::of(variant).has(Bound::of(constant)?),
            "minLength" => value.as_u64()? <= length(constant)?,
            "maxLength" => value.as_u64()? >= length(constant)?,
            _ => return None,
        };
    }
    Some(is_admitted)
}

fn length(text: &Value) -> Option<u64> {
    u64::try_from(text.as_str()?.chars().count()).ok()
}

fn is_number(variant: &Variant) -> bool {
    matches!(variant.of(), Some("integer" | "number"))
}

fn change(keyword: &str, old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    if old == new {
        return None;
    }
    let what = format!("{keyword} was {}, now {}", said(old), said(new));
    match keyword {
        "minItems" | "minLength" | "minProperties" | "exclusiveMinimum" => Some(least(what, old, new)),
        "maxItems" | "maxLength" | "maxProperties" | "exclusiveMaximum" => Some(most(what, old, new)),
        "contentEncoding" | "contentMediaType" | "format" | "multipleOf" | "pattern" | "uniqueItems" => {
            let says = |value: Option<&Value>| value.is_some_and(|value| value != &Value::Bool(false));
            match (says(old), says(new)) {
                (false, true) => Some(Change::Narrower(what)),
                (true, false) => Some(Change::Wider(what)),
                (true, true) => Some(Change::Other(what)),
                (false, false) => None,
            }
        }
        // An unknown keyword may mean anything.
        _ => Some(Change::Other(what)),
    }
}

fn said(value: Option<&Value>) -> String {
    value.map_or("absent".to_owned(), Value::to_string)
}

fn least(what: String, old: Option<&Value>, new: Option<&Value>) -> Change {
    let number = |value: Option<&Value>| value.and_then(Bound::of).unwrap_or(Bound::Real(f64::NEG_INFINITY));
    if number(old) < number(new) { Change::Narrower(what) } else { Change::Wider(what) }
}

fn most(what: String, old: Option<&Value>, new: Option<&Value>) -> Change {
    let number = |value: Option<&Value>| value.and_then(Bound::of).unwrap_or(Bound::Real(f64::INFINITY));
    if number(old) > number(new) { Change::Narrower(what) } else { Change::Wider(what) }
}

/// Compares the ranges of two numbers, from their bounds and the width of their format.
fn range(old: &Variant, new: &Variant) -> Vec<Change> {
    let (was, is) = (Range::of(old), Range::of(new));
    let what = || format!("was {was}, now {is}");
    let is_wider = is.least.lt(&was.least) || is.most.gt(&was.most);
    let is_narrower = is.least.gt(&was.least) || is.most.lt(&was.most);
    match (is_wider, is_narrower) {
        (false, false) => Vec::new(),
        (true, false) => vec![Change::Wider(what())],
        (false, true) => vec![Change::Narrower(what())],
        (true, true) => vec![Change::Other(what())],
    }
}

#[derive(Clone, Copy)]
struct Range {
    least: Bound,
    most: Bound,
}

/// The end of a range: exact if it is an integer in JSON or in the format.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Bound {
    Integer(i128),
    Real(f64),
}

impl Bound {
    pub(super) fn of(value: &Value) -> Option<Self> {
        let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
        integer.map(Self::Integer).or_else(|| value.as_f64().map(Self::Real))
    }

    fn real(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Real(real) => real,
        }
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.partial_cmp(other),
            _ => self.real().partial_cmp(&other.real()),
        }
    }
}

impl Range {
    fn has(self, bound: Bound) -> bool {
        bound >= self.least && bound <= self.most
    }

    fn of(variant: &Variant) -> Self {
        let format = variant.keywords.get("format").and_then(Value::as_str).unwrap_or_default();
        let (mut least, mut most) = of_format(format);
        let bound = |keyword: &str| variant.keywords.get(keyword).and_then(Bound::of);
        if let Some(bound) = bound("minimum").filter(|bound| *bound > least) {
            least = bound;
        }
        if let Some(bound) = bound("maximum").filter(|bound| *bound < most) {
            most = bound;
        }
        Self { least, most }
    }
}

fn of_format(format: &str) -> (Bound, Bound) {
    let integers = |least: i128, most: i128| (Bound::Integer(least), Bound::Integer(most));
    match format {
        "int8" => integers(i8::MIN.into(), i8::MAX.into()),
        "int16" => integers(i16::MIN.into(), i16::MAX.into()),
        "int32" => integers(i32::MIN.into(), i32::MAX.into()),
        "int64" | "int" => integers(i64::MIN.into(), i64::MAX.into()),
        "int128" => integers(i128::MIN, i128::MAX),
        "uint8" => integers(0, u8::MAX.into()),
        "uint16" => integers(0, u16::MAX.into()),
        "uint32" => integers(0, u32::MAX.into()),
        "uint64" | "uint" => integers(0, u64::MAX.into()),
        // Its upper end exceeds an `i128`; this bound exceeds all others.
        "uint128" => (Bound::Integer(0), Bound::Real(f64::MAX)),
        "float" => (Bound::Real(f32::MIN.into()), Bound::Real(f32::MAX.into())),
        "double" => (Bound::Real(f64::MIN), Bound::Real(f64::MAX)),
        _ => (Bound::Real(f64::NEG_INFINITY), Bound::Real(f64::INFINITY)),
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.least, self.most)
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Real(real) => write!(f, "{real:e}"),
        }
    }
}
