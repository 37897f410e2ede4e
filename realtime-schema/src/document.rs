//! The neutral document: the values that a server and its clients exchange, independent of language and format.

use crate::Problems;
use crate::schemas::each_reference;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The names of a server by id, with the schemas of both directions. Its JSON is committed at a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// Intended breaking changes; only in a release file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) definitions: Definitions,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) version: u32,
}

/// The version of the document format.
pub(crate) const VERSION: u32 = 1;

/// An intended breaking change, in the words of the comparison, with a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accepted {
    pub(crate) change: String,
    pub(crate) reason: String,
}

/// The named types of each direction. A type may differ between them: a field that is optional when sent may always be
/// present when received.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definitions {
    #[serde(default)]
    pub(crate) received: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) sent: BTreeMap<String, Value>,
}

/// The direction in which a value goes, from the client's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Direction {
    Received,
    Sent,
}

/// The names behind one id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Endpoint {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) asks: BTreeMap<String, Ask>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) client_events: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handler: Option<Handler>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) presence: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) procedures: BTreeMap<String, Procedure>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) server_events: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
}

/// A handler of messages. A side without a schema is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Handler {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) client_message: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) input: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) server_message: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Procedure {
    pub(crate) input: Value,
    pub(crate) kind: ProcedureKind,
    pub(crate) output: Value,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub(crate) progress: Option<Value>,
    pub(crate) time_limit_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ProcedureKind {
    Mutation,
    Query,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscription {
    pub(crate) input: Value,
    pub(crate) item: Value,
}

/// A procedure that the server calls: its input is received, its output sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) input: Value,
    pub(crate) output: Value,
    pub(crate) time_limit_ms: u64,
}

/// A schema that belongs to a name, and the direction of its values.
pub(crate) struct Root<'a> {
    pub(crate) direction: Direction,
    pub(crate) schema: &'a Value,
    /// The role of the schema, such as `input of` or `event`.
    pub(crate) role: &'static str,
    /// Empty for the types of a handler.
    pub(crate) name: &'a str,
}

impl Document {
    pub(crate) fn new() -> Self {
        Self {
            accepted: Vec::new(),
            definitions: Definitions::default(),
            endpoints: BTreeMap::new(),
            version: VERSION,
        }
    }

    /// Returns the document as JSON with sorted keys, whatever the features of serde_json.
    pub(crate) fn to_json(&self) -> String {
        let value = serde_json::to_value(self).expect("a document has string keys");
        write_sorted(value)
    }

    pub(crate) fn from_json(json: &str) -> Result<Self, Problems> {
        let document: Self = serde_json::from_str(json)
            .map_err(|error| Problems::one(format!("is not a schema document: {error}")))?;
        if document.version != VERSION {
            return Err(Problems::one(format!(
                "has document version {}, and this realtime-schema reads version {VERSION}",
                document.version
            )));
        }
        Ok(document)
    }

    /// Returns the definition of `name`.
    pub(crate) fn definition(&self, direction: Direction, name: &str) -> Option<&Value> {
        self.definitions.of(direction).get(name)
    }

    /// Returns the names of the types reached from `roots`.
    pub(crate) fn reached<'a>(&self, roots: impl IntoIterator<Item = Root<'a>>) -> BTreeSet<(Direction, String)> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<(Direction, String)> = Vec::new();
        for root in roots {
            each_reference(root.schema, &mut |name| waiting.push((root.direction, name)));
        }
        while let Some((direction, name)) = waiting.pop() {
            if !reached.insert((direction, name.clone())) {
                continue;
            }
            if let Some(schema) = self.definition(direction, &name) {
                each_reference(schema, &mut |name| waiting.push((direction, name)));
            }
        }
        reached
    }
}

impl<'a> Root<'a> {
    fn new(direction: Direction, role: &'static str, name: &'a str, schema: &'a Value) -> Self {
        Self { direction, schema, role, name }
    }

    /// Returns the role and the name for people, such as `input of api/add`.
    pub(crate) fn label(&self, id: &str) -> String {
        if self.name.is_empty() {
            format!("{} {id}", self.role)
        } else {
            format!("{} {id}/{}", self.role, self.name)
        }
    }
}

impl Definitions {
    pub(crate) fn of(&self, direction: Direction) -> &BTreeMap<String, Value> {
        match direction {
            Direction::Received => &self.received,
            Direction::Sent => &self.sent,
        }
    }
}

impl Direction {
    /// Returns the path of the definitions, in the form that schemars expects.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Received => "/definitions/received",
            Self::Sent => "/definitions/sent",
        }
    }
}

impl Endpoint {
    /// Returns all schemas of this id.
    pub(crate) fn roots(&self) -> Vec<Root<'_>> {
        use Direction::{Received, Sent};
        let mut roots: Vec<Root<'_>> = Vec::new();
        for (name, procedure) in &self.procedures {
            roots.push(Root::new(Sent, "input of", name, &procedure.input));
            roots.push(Root::new(Received, "output of", name, &procedure.output));
            roots.extend(procedure.progress.iter().map(|schema| Root::new(Received, "progress of", name, schema)));
        }
        for (name, subscription) in &self.subscriptions {
            roots.push(Root::new(Sent, "input of", name, &subscription.input));
            roots.push(Root::new(Received, "items of", name, &subscription.item));
        }
        for (name, ask) in &self.asks {
            roots.push(Root::new(Received, "question of", name, &ask.input));
            roots.push(Root::new(Sent, "answer to", name, &ask.output));
        }
        roots.extend(self.client_events.iter().map(|(name, schema)| Root::new(Sent, "event", name, schema)));
        roots.extend(self.server_events.iter().map(|(name, schema)| Root::new(Received, "event", name, schema)));
        roots.extend(self.presence.iter().map(|(name, schema)| Root::new(Received, "presence in", name, schema)));
        if let Some(handler) = &self.handler {
            let input = handler.input.iter().map(|schema| Root::new(Sent, "input of", "", schema));
            let sent =
                handler.client_message.iter().map(|schema| Root::new(Sent, "client messages of", "", schema));
            let received =
                handler.server_message.iter().map(|schema| Root::new(Received, "server messages of", "", schema));
            roots.extend(input.chain(sent).chain(received));
        }
        roots
    }

    /// Returns all schemas of this id for modification.
    pub(crate) fn schemas_mut(&mut self) -> Vec<&mut Value> {
        let mut schemas: Vec<&mut Value> = Vec::new();
        for procedure in self.procedures.values_mut() {
            schemas.extend([&mut procedure.input, &mut procedure.output]);
            schemas.extend(&mut procedure.progress);
        }
        schemas.extend(self.subscriptions.values_mut().flat_map(|one| [&mut one.input, &mut one.item]));
        schemas.extend(self.asks.values_mut().flat_map(|one| [&mut one.input, &mut one.output]));
        schemas.extend(self.client_events.values_mut());
        schemas.extend(self.server_events.values_mut());
        schemas.extend(self.presence.values_mut());
        if let Some(handler) = &mut self.handler {
            let sides = [&mut handler.client_message, &mut handler.input, &mut handler.server_message];
            schemas.extend(sides.into_iter().flatten());
        }
        schemas
    }
}

/// Writes JSON with sorted keys, an indentation of two spaces and a newline at the end.
pub(crate) fn write_sorted(mut value: Value) -> String {
    value.sort_all_objects();
    let mut json = serde_json::to_string_pretty(&value).expect("a value can be written");
    json.push('\n');
    json
}

/// Deserializes a field as present even if it is `null`, which serde takes for the absence of an `Option`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
