//! Values against their schemas.

use crate::{
    TestServer,
    watch::{Passed, Role, Watch},
};
use jsonschema::Validator;
use realtime_schema::Schema;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

impl TestServer {
    /// Compares every value that passes with its schema: inputs, outputs, progress, items, messages, presence, and
    /// events and calls in both directions. A test fails at a value that does not fit, and at an event, a call, progress
    /// or presence of the server that was not declared.
    ///
    /// It finds what a schema cannot know of a type, such as `#[serde(serialize_with)]`, and what
    /// [`emits`](realtime_core::Endpoint::emits) and [`asks`](realtime_core::Endpoint::asks) leave out. A test that sends
    /// wrong types on purpose needs a server that is not checked.
    ///
    /// Not compared: ids that the schema does not have, frames that are sent as [bytes](crate::TestClient::send_bytes),
    /// compressed or in parts, bytes in MessagePack, messages of a plain handler, inputs that are pairs of a query, and
    /// fields that a schema does not name, which clients pass over. With `Schema::partial_of`, the events of endpoints that
    /// are not described count as undeclared.
    ///
    /// # Examples
    ///
    /// ```
    /// use adapter_testing::{TestServer, block_on};
    /// use realtime_core::{Endpoint, Procedure, Realtime};
    /// use realtime_schema::Schema;
    ///
    /// const DOUBLE: Procedure<u32, u32> = Procedure::query("double");
    ///
    /// let api = Endpoint::described(()).procedure(DOUBLE, |_, number| async move { Ok(number * 2) });
    /// let realtime = Realtime::builder().endpoint("api", api).build();
    /// let schema = Schema::of(&realtime);
    /// block_on(async {
    ///     let server = TestServer::new(realtime).checked(&schema);
    ///     assert_eq!(server.open("api").await.unwrap().call(DOUBLE, 21).await, Ok(42));
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// If the server is checked already.
    #[must_use]
    pub fn checked(self, schema: &Schema) -> Self {
        let is_first = self.0.watch.set(Arc::new(Checks::new(schema))).is_ok();
        assert!(is_first, "the server is checked already");
        self
    }
}

/// The schemas of a server.
struct Checks {
    /// The neutral document.
    document: Value,
    /// Compiled when they are first used, by their places in the document.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Checks {
    fn new(schema: &Schema) -> Self {
        let document = serde_json::from_str(&schema.document()).expect("the document is JSON");
        Self { document, validators: Mutex::default() }
    }

    /// Returns the place of a schema in the document.
    fn find(&self, passed: &Passed<'_>) -> Found {
        let id = escaped(passed.id);
        if self.document.pointer(&format!("/endpoints/{id}")).is_none() {
            return Found::Unknown;
        }
        let mut places = places(passed.role, &escaped(passed.name));
        places.iter_mut().for_each(|place| *place = format!("/endpoints/{id}/{place}"));
        match places.into_iter().find(|place| self.document.pointer(place).is_some()) {
            Some(place) => Found::At(place),
            None => declaration(passed.role).map_or(Found::Unknown, Found::Undeclared),
        }
    }

    fn check(&self, passed: &Passed<'_>) {
        match self.find(passed) {
            Found::At(place) => self.compare(&place, passed, &label(passed)),
            Found::Undeclared(advice) => {
                panic!("{} was not declared: {advice}. Its value is {}", label(passed), passed.value)
            }
            Found::Unknown => {}
        }
    }

    fn compare(&self, place: &str, passed: &Passed<'_>, label: &str) {
        let validator = self.validator(place);
        let problems: Vec<String> = validator
            .iter_errors(passed.value)
            .take(MOST_PROBLEMS)
            .map(|error| problem(&error, passed.value))
            .collect();
        assert!(
            problems.is_empty(),
            "{label} does not fit its schema:\n{}\nthe whole value: {}",
            problems.join("\n"),
            passed.value
        );
    }

    fn validator(&self, place: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || {
            let schema =
                json!({ "allOf": [self.document.pointer(place)], "definitions": self.document["definitions"] });
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Arc::new(options.build(&schema).expect("a schema of a type can be compiled"))
        };
        Arc::clone(validators.entry(place.to_owned()).or_insert_with(compile))
    }

    /// Looks at what is said of the clients in a place.
    fn presence(&self, passed: &Passed<'_>) {
        let place = passed.value["name"].as_str().unwrap_or_default();
        let kinds = &self.document["endpoints"][passed.id];
        if kinds.is_null() {
            return;
        }
        let kinds = kinds["presence"].as_object().into_iter().flatten().map(|(kind, _)| kind);
        let is_of =
            |kind: &str| place.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
        let Some(kind) = kinds.filter(|kind| is_of(kind)).max_by_key(|kind| kind.len()) else {
            panic!(
                "the presence in {place:?} of {} was not declared: name its kind, which is what comes before a colon, \
                 with `Endpoint::presence`. Its value is {}",
                passed.id, passed.value
            );
        };
        let schema = format!("/endpoints/{}/presence/{}", escaped(passed.id), escaped(kind));
        let label = format!("the presence in {place:?} of {}, which the server sent", passed.id);
        for (at, present) in
            ["here", "joined", "changed"].into_iter().flat_map(|field| entries(passed.value, field))
        {
            let passed = Passed { value: &present["data"], ..*passed };
            self.compare(&schema, &passed, &format!("{label}, in {at}"));
        }
    }
}

fn entries<'a>(notice: &'a Value, field: &'static str) -> impl Iterator<Item = (&'static str, &'a Value)> {
    notice[field].as_array().into_iter().flatten().map(move |present| (field, present))
}

impl Watch for Checks {
    fn look(&self, passed: &Passed<'_>) {
        if passed.role == Role::ServerEvent && passed.name == realtime_core::PRESENCE.name() {
            return self.presence(passed);
        }
        self.check(passed);
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checks")
    }
}

enum Found {
    /// The place of the schema.
    At(String),
    /// The declaration that is missing in the server's code.
    Undeclared(&'static str),
    /// Nothing is known of it, and nothing has to be: the server refuses it, or it was registered without a schema.
    Unknown,
}

/// The places where a schema may be, below its id.
fn places(role: Role, name: &str) -> Vec<String> {
    let places: &[&str] = match role {
        Role::Input => &["procedures/{}/input", "subscriptions/{}/input"],
        Role::Output => &["procedures/{}/output"],
        Role::Progress => &["procedures/{}/progress"],
        Role::Item => &["subscriptions/{}/item"],
        Role::ClientEvent => &["clientEvents/{}"],
        Role::ServerEvent => &["serverEvents/{}"],
        Role::Question => &["asks/{}/input"],
        Role::Answer => &["asks/{}/output"],
        Role::HandlerInput => &["handler/input"],
        Role::ClientMessage => &["handler/clientMessage"],
        Role::ServerMessage => &["handler/serverMessage"],
    };
    places.iter().map(|place| place.replace("{}", name)).collect()
}

/// Returns the way to declare what registration does not show.
fn declaration(role: Role) -> Option<&'static str> {
    match role {
        Role::ServerEvent => Some("add it to the endpoint with `Endpoint::emits`"),
        Role::Question => Some("add it to the endpoint with `Endpoint::asks`"),
        Role::Progress => Some("give its type with `Procedure::progress`"),
        _ => None,
    }
}

fn label(passed: &Passed<'_>) -> String {
    let Passed { id, name, role, .. } = passed;
    match role {
        Role::Input => format!("the input of {id}/{name}, which the client sent,"),
        Role::Output => format!("the output of {id}/{name}, which the server sent,"),
        Role::Progress => format!("the progress of {id}/{name}, which the server sent,"),
        Role::Item => format!("an item of {id}/{name}, which the server sent,"),
        Role::ClientEvent => format!("the event {id}/{name}, which the client sent,"),
        Role::ServerEvent => format!("the event {id}/{name}, which the server sent,"),
        Role::Question => format!("the server's call of {id}/{name}"),
        Role::Answer => format!("the client's answer to {id}/{name}"),
        Role::HandlerInput => format!("the input of {id}, which the client sent,"),
        Role::ClientMessage => format!("a message to {id}, which the client sent,"),
        Role::ServerMessage => format!("a message of {id}, which the server sent,"),
    }
}

/// Says where in a value something is wrong, and what.
fn problem(error: &jsonschema::ValidationError<'_>, value: &Value) -> String {
    let path = error.instance_path().to_string();
    let there = value.pointer(&path).unwrap_or(value);
    let at = if path.is_empty() { "at its top" } else { &path };
    format!("  {at}: {error}\n    the value there: {there}")
}

const MOST_PROBLEMS: usize = 5;

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
