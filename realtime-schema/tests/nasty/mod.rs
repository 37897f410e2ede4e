//! Types with serde attributes, and serde's results for their values.

#![allow(dead_code)] // Each test takes what it needs.

pub(crate) mod arbitrary;
pub(crate) mod types;
pub(crate) mod values;

use realtime_schema::{Description, Kind, Side};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::marker::PhantomData;
use std::time::Duration;

/// A type and its values, each checked against serde.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    pub(crate) written: Vec<Value>,
    pub(crate) taken: Vec<Value>,
    pub(crate) refused: Vec<Value>,
}

/// A case under construction.
pub(crate) struct Of<T>(Case, PhantomData<T>);

pub(crate) fn case<T: JsonSchema>(name: &'static str) -> Of<T> {
    let side: Side = |generator| generator.subschema_for::<T>();
    Of(Case { name, side, written: Vec::new(), taken: Vec::new(), refused: Vec::new() }, PhantomData)
}

impl<T: Serialize + DeserializeOwned> Of<T> {
    /// Adds a value that serde writes.
    pub(crate) fn writes(mut self, value: T) -> Self {
        self.0.written.push(serde_json::to_value(value).expect("serde writes it"));
        self
    }

    /// Adds a value that serde accepts.
    pub(crate) fn takes(mut self, value: Value) -> Self {
        if let Err(error) = serde_json::from_value::<T>(value.clone()) {
            panic!("{}: serde refuses {value}: {error}", self.0.name);
        }
        self.0.taken.push(value);
        self
    }

    /// Adds a value that serde refuses.
    pub(crate) fn refuses(mut self, value: Value) -> Self {
        assert!(serde_json::from_value::<T>(value.clone()).is_err(), "{}: serde takes {value}", self.0.name);
        self.0.refused.push(value);
        self
    }
}

impl<T> From<Of<T>> for Case {
    fn from(of: Of<T>) -> Self {
        of.0
    }
}

/// Returns an endpoint with a procedure for each of the types, as input and output.
pub(crate) fn descriptions(cases: &[Case]) -> Vec<Description> {
    let kind = Kind::Mutation { time_limit: Duration::from_secs(30) };
    let description = |case: &Case| Description {
        sent: Some(case.side),
        received: Some(case.side),
        ..Description::new("nasty", case.name, kind)
    };
    cases.iter().map(description).collect()
}
