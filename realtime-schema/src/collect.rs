//! Converts the names of a registry to the neutral document.

use crate::document::{Ask, Direction, Document, Endpoint, Procedure, ProcedureKind, Subscription};
use crate::links;
use crate::schemas::sort_required;
use crate::{Options, Problems};
use realtime_core::schema::{Description, Kind, Side};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::{mem::discriminant, time::Duration};

/// Collects the schemas of all names.
pub(crate) fn collect(descriptions: &[Description], options: &Options) -> Result<Document, Problems> {
    let (complete, incomplete): (Vec<_>, Vec<_>) = descriptions.iter().partition(|one| one.is_complete());
    if !options.partial {
        Problems::check(incomplete.into_iter().map(without_schema).collect())?;
    }
    let mut collect = Collect { sent: generator(Direction::Sent), received: generator(Direction::Received) };
    let mut document = Document::new();
    let mut declared = HashMap::new();
    let mut doubles = Vec::new();
    for description in complete {
        collect.add(document.endpoints.entry(description.id.clone()).or_default(), description);
        let types = collect.types(description);
        let key = (&description.id, &description.name, discriminant(&description.kind));
        let (first, known) = declared.entry(key).or_insert((description, types.clone()));
        if *known != types {
            doubles.push(format!("{description} has another type than {first}"));
        }
    }
    Problems::check(doubles)?;
    document.definitions.sent = definitions(&mut collect.sent);
    document.definitions.received = definitions(&mut collect.received);
    Problems::check(clashes(&document, &options.allowed_names))?;
    retain_used(&mut document);
    Ok(document)
}

fn without_schema(description: &Description) -> String {
    format!(
        "{description} has no schema: create its endpoint with `Endpoint::described`, or mount its handler with `described`"
    )
}

struct Collect {
    sent: SchemaGenerator,
    received: SchemaGenerator,
}

impl Collect {
    fn add(&mut self, endpoint: &mut Endpoint, description: &Description) {
        let name = description.name.clone();
        match description.kind {
            Kind::Mutation { time_limit } => {
                let procedure = self.procedure(description, ProcedureKind::Mutation, time_limit);
                endpoint.procedures.insert(name, procedure);
            }
            Kind::Query { time_limit } => {
                let procedure = self.procedure(description, ProcedureKind::Query, time_limit);
                endpoint.procedures.insert(name, procedure);
            }
            Kind::Subscription => {
                let subscription =
                    Subscription { input: self.sent(description), item: self.received(description) };
                endpoint.subscriptions.insert(name, subscription);
            }
            Kind::Ask { time_limit } => {
                let (input, output) = (self.received(description), self.sent(description));
                endpoint.asks.insert(name, Ask { input, output, time_limit_ms: millis(time_limit) });
            }
            Kind::ClientEvent => {
                endpoint.client_events.insert(name, self.sent(description));
            }
            Kind::ServerEvent => {
                endpoint.server_events.insert(name, self.received(description));
            }
            Kind::Presence => {
                endpoint.presence.insert(name, self.received(description));
            }
            Kind::Input => endpoint.handler.get_or_insert_default().input = Some(self.sent(description)),
            Kind::ClientMessage => {
                endpoint.handler.get_or_insert_default().client_message = Some(self.sent(description));
            }
            Kind::ServerMessage => {
                endpoint.handler.get_or_insert_default().server_message = Some(self.received(description));
            }
        }
    }

    /// Returns the types of a name, for a comparison with another registration of the same name.
    fn types(&mut self, description: &Description) -> [Option<(Value, Value)>; 3] {
        let Description { sent, received, progress, .. } = description;
        [sent, received, progress].map(|side| side.map(|side| self.schemas(side)))
    }

    fn procedure(&mut self, description: &Description, kind: ProcedureKind, time_limit: Duration) -> Procedure {
        Procedure {
            input: self.sent(description),
            kind,
            output: self.received(description),
            progress: description.progress.map(|side| self.schemas(side).1),
            time_limit_ms: millis(time_limit),
        }
    }

    fn sent(&mut self, description: &Description) -> Value {
        self.schemas(description.sent.expect("only complete descriptions are added")).0
    }

    fn received(&mut self, description: &Description) -> Value {
        self.schemas(description.received.expect("only complete descriptions are added")).1
    }

    /// Returns the schemas of a type as sent and as received. Making both detects two types with one name even if one
    /// is only sent and the other only received.
    fn schemas(&mut self, side: Side) -> (Value, Value) {
        (schema(side, &mut self.sent), schema(side, &mut self.received))
    }
}

/// Returns a generator for one direction: clients send values that the server deserializes, and receive those it
/// serializes.
fn generator(direction: Direction) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = direction.path().into();
        settings.meta_schema = None;
    });
    match direction {
        Direction::Sent => settings.for_deserialize().into_generator(),
        Direction::Received => settings.for_serialize().into_generator(),
    }
}

fn schema(side: Side, generator: &mut SchemaGenerator) -> Value {
    normal(side(generator).to_value())
}

fn definitions(generator: &mut SchemaGenerator) -> BTreeMap<String, Value> {
    generator.take_definitions(true).into_iter().map(|(name, schema)| (name, normal(schema))).collect()
}

fn normal(mut schema: Value) -> Value {
    sort_required(&mut schema);
    links::remove(&mut schema);
    schema
}

/// Drops the definitions of types in the direction in which they are not used.
fn retain_used(document: &mut Document) {
    let used = document.reached(document.endpoints.values().flat_map(Endpoint::roots));
    document.definitions.sent.retain(|name, _| used.contains(&(Direction::Sent, name.clone())));
    document.definitions.received.retain(|name, _| used.contains(&(Direction::Received, name.clone())));
}

/// Finds types with the same name. schemars calls the second one `Page2`, in the order of use, so that a new procedure
/// would rename old types.
fn clashes(document: &Document, allowed: &BTreeSet<String>) -> Vec<String> {
    let names: BTreeSet<&str> = [Direction::Sent, Direction::Received]
        .into_iter()
        .flat_map(|direction| document.definitions.of(direction).keys())
        .map(String::as_str)
        .collect();
    let numbered = names.iter().filter(|name| !allowed.contains(**name));
    numbered.filter_map(|name| Some(clash(name, original(name, &names)?))).collect()
}

/// Returns `Page` for `Page2`, if both exist.
fn original<'a>(name: &str, names: &BTreeSet<&'a str>) -> Option<&'a str> {
    let base = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let number: u64 = name[base.len()..].parse().ok()?;
    let is_counted = number >= 2 && !name[base.len()..].starts_with('0');
    is_counted.then(|| names.get(base).copied()).flatten()
}

fn clash(name: &str, base: &str) -> String {
    format!(
        "two types are named `{base}`, so the second became `{name}`. Rename one: a generic type by its parameters, with \
         `#[schemars(rename = \"{base}_of_{{T}}\")]`, any other with `#[schemars(rename = \"…\")]`. If a type is really \
         named `{name}`, allow it with `Options::allow_name(\"{name}\")`"
    )
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
