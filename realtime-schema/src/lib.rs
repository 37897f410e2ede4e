//! Derives a client's view of a server from its Rust types: TypeScript, AsyncAPI, OpenAPI, and a gate against breaking
//! changes.
//!
//! A [`Schema`] holds the names of a server (procedures, subscriptions, events) with the JSON Schemas of their types,
//! which `#[derive(JsonSchema)]` provides. Use it in a test, which then fails if a generated file is stale, or if a change
//! would break clients of the last release.
//!
//! # Examples
//!
//! ```
//! use realtime_core::{Endpoint, Procedure, Realtime};
//! use realtime_schema::Schema;
//!
//! const ADD: Procedure<(i32, i32), i32> = Procedure::new("add");
//!
//! let api = Endpoint::described(()).procedure(ADD, |_, (a, b)| async move { Ok(a + b) });
//! let schema = Schema::of(&Realtime::builder().endpoint("api", api).build());
//! assert!(schema.typescript("api").contains(r#"add: mutation<[number, number], number>("add")"#));
//! ```

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod async_api;
mod collect;
mod compare;
mod components;
mod document;
mod hash;
mod keep;
mod links;
mod open_api;
mod problems;
mod schemas;
mod typescript;

pub use compare::Changes;
pub use problems::Problems;
pub use realtime_core::schema::{Description, Kind, Side};
pub use schemars;

use document::Document;
use realtime_core::Realtime;
use std::collections::BTreeSet;
use std::path::Path;
use std::{fmt, fs};

/// The names of a server and the schemas of their types, by id.
#[derive(Clone, Debug)]
pub struct Schema {
    document: Document,
}

/// The default route of the ids.
const PREFIX: &str = "/__realtime";

/// The environment variable that makes `compatible_with` write the release file.
const RELEASE: &str = "RELEASE_SCHEMA";

/// Options for collecting a [`Schema`].
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing by themselves"]
pub struct Options {
    allowed_names: BTreeSet<String>,
    partial: bool,
}

impl Schema {
    /// Collects the schemas of all names of a registry.
    ///
    /// # Panics
    ///
    /// If a name was registered without a schema, with the place in the source, or two types share a name.
    #[track_caller]
    pub fn of(realtime: &Realtime) -> Self {
        Self::of_registry(realtime, &Options::default())
    }

    /// Collects the schemas of those names of a registry that have some. An id of which no name has one is left out.
    ///
    /// # Panics
    ///
    /// If two types share a name.
    #[track_caller]
    pub fn partial_of(realtime: &Realtime) -> Self {
        Self::of_registry(realtime, &Options::default().partial())
    }

    #[track_caller]
    fn of_registry(realtime: &Realtime, options: &Options) -> Self {
        match options.of(realtime) {
            Ok(schema) => schema,
            Err(problems) => panic!("no schema of the registry:\n{problems}"),
        }
    }

    /// Collects the schemas of all names in a list.
    ///
    /// # Errors
    ///
    /// If a name was registered without a schema, or two types share a name.
    pub fn describing(descriptions: &[Description]) -> Result<Self, Problems> {
        Options::default().describing(descriptions)
    }

    /// Reads a [`document`](Self::document) back.
    ///
    /// # Errors
    ///
    /// If the text is not such a document.
    pub fn from_document(document: &str) -> Result<Self, Problems> {
        Ok(Self { document: Document::from_json(document)? })
    }

    /// Returns options for collecting a schema.
    pub fn options() -> Options {
        Options::default()
    }

    /// Returns the neutral document: sorted JSON, the same on every run. Commit it at a release.
    pub fn document(&self) -> String {
        self.document.to_json()
    }

    /// Returns a hash of everything behind an id, as 16 hexadecimal digits. Doc comments do not change it.
    ///
    /// # Panics
    ///
    /// If nothing has the id.
    #[track_caller]
    pub fn hash(&self, id: &str) -> String {
        assert!(
            self.document.endpoints.contains_key(id),
            "no endpoint or handler with a schema has the id {id:?}"
        );
        hash::of(&self.document, id)
    }

    /// Returns TypeScript types and constants of an id, as a module that imports the npm package `realtime-client`.
    ///
    /// # Panics
    ///
    /// If [`try_typescript`](Self::try_typescript) fails.
    #[track_caller]
    pub fn typescript(&self, id: &str) -> String {
        self.try_typescript(id).unwrap_or_else(|problems| panic!("TypeScript of {id:?}:\n{problems}"))
    }

    /// Returns TypeScript types and constants of an id, as a module that imports the npm package `realtime-client`.
    ///
    /// # Errors
    ///
    /// If nothing has the id, or a name cannot be used in TypeScript: a reserved word, or two types with the same name.
    pub fn try_typescript(&self, id: &str) -> Result<String, Problems> {
        typescript::file(&self.document, id)
    }

    /// Returns an [AsyncAPI](https://www.asyncapi.com) 3.1 document in JSON, from the server's point of view, with a
    /// channel for each id that has the frames on its WebSocket.
    pub fn async_api(&self, title: &str, version: &str) -> String {
        document::write_sorted(async_api::document(&self.document, PREFIX, title, version))
    }

    /// Returns an [OpenAPI](https://www.openapis.org) 3.1 document in JSON of the calls by HTTP, with a path,
    /// `/__realtime/{id}/{name}`, for each procedure and subscription.
    pub fn open_api(&self, title: &str, version: &str) -> String {
        document::write_sorted(open_api::document(&self.document, PREFIX, title, version))
    }

    /// Checks in a test that a committed file is up to date. With `UPDATE_SCHEMA=1` in the environment, writes it instead.
    ///
    /// A relative path starts at the package's directory, where cargo runs its tests.
    ///
    /// # Panics
    ///
    /// If the file is missing or stale, with a short diff.
    #[track_caller]
    pub fn keep(&self, path: impl AsRef<Path>, content: &str) {
        if let Err(problems) = keep::keep(path.as_ref(), content) {
            panic!("{problems}");
        }
    }

    /// Checks in a test that the server still works with clients of a release, whose [`document`](Self::document) is in a
    /// file. Breaking changes that are intended are listed in that file under `accepted`, each with a reason.
    ///
    /// With `RELEASE_SCHEMA=1` in the environment, writes the file instead, with no accepted changes.
    ///
    /// # Panics
    ///
    /// If the file is missing, or a change breaks clients.
    #[track_caller]
    pub fn compatible_with(&self, path: impl AsRef<Path>) -> Changes {
        self.try_compatible_with(path.as_ref(), keep::is_set(RELEASE))
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn try_compatible_with(&self, path: &Path, is_release: bool) -> Result<Changes, Problems> {
        if is_release {
            keep::write(path, &self.document())?;
        }
        let told = |what: &dyn fmt::Display| Problems::one(format!("{} {what}", path.display()));
        let json = fs::read_to_string(path).map_err(|error| {
            told(&format!("cannot be read: {error}. Run the test with {RELEASE}=1 to write it"))
        })?;
        let changes = self.changes_since(&json).map_err(|problems| told(&problems))?;
        if changes.breaks().is_empty() {
            return Ok(changes);
        }
        let advice = compare::advice(&changes);
        Err(Problems::one(format!("changes break clients of the release in {}:\n{advice}", path.display())))
    }

    /// Compares with a release, given its [`document`](Self::document).
    ///
    /// # Errors
    ///
    /// If the text is not such a document.
    pub fn changes_since(&self, document: &str) -> Result<Changes, Problems> {
        Ok(compare::compare(&Document::from_json(document)?, &self.document))
    }

    /// Refuses integers of 64 bits or more, which JavaScript represents exactly only up to 2^53 − 1.
    ///
    /// One that never gets so large passes if its schema says so: `#[schemars(range(min = 0, max = 9007199254740991_u64))]`,
    /// for milliseconds since 1970. Any other belongs in a text.
    ///
    /// # Panics
    ///
    /// If there is one, with all places.
    #[track_caller]
    pub fn deny_wide_integers(&self) {
        let wide = typescript::wide_integers(&self.document);
        assert!(
            wide.is_empty(),
            "integers that JavaScript may not represent exactly: bound them to 2^53 - 1 with \
             `#[schemars(range(min = 0, max = 9007199254740991_u64))]`, or send them as text:\n{}",
            wide.join("\n")
        );
    }
}

impl Options {
    /// Allows a type that is really named `Page2` beside a type `Page`.
    pub fn allow_name(mut self, name: impl Into<String>) -> Self {
        self.allowed_names.insert(name.into());
        self
    }

    /// Leaves out names without a schema instead of failing.
    pub fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Collects the schemas of all names of a registry, as [`Schema::of`] does.
    ///
    /// # Errors
    ///
    /// If a name was registered without a schema and [`partial`](Self::partial) was not set, or two types share a name.
    pub fn of(&self, realtime: &Realtime) -> Result<Schema, Problems> {
        self.describing(&realtime.descriptions())
    }

    /// Collects the schemas of all names in a list.
    ///
    /// # Errors
    ///
    /// If a name was registered without a schema and [`partial`](Self::partial) was not set, or two types share a name.
    pub fn describing(&self, descriptions: &[Description]) -> Result<Schema, Problems> {
        Ok(Schema { document: collect::collect(descriptions, self)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;

    #[test]
    fn the_file_of_a_release_is_written_when_it_is_one() {
        let kind = Kind::ServerEvent;
        let description =
            |side: Side| [Description { received: Some(side), ..Description::new("api", "it", kind) }];
        let old = Schema::describing(&description(|generator| generator.subschema_for::<u8>())).unwrap();
        let new = Schema::describing(&description(|generator| generator.subschema_for::<bool>())).unwrap();
        let path =
            env::temp_dir().join(format!("realtime-schema-release-{}", std::process::id())).join("released.json");

        let missing = old.try_compatible_with(&path, false).unwrap_err().to_string();
        assert!(missing.contains("cannot be read") && missing.contains("RELEASE_SCHEMA=1"), "{missing}");
        assert_eq!(old.try_compatible_with(&path, true), Ok(Changes::default()));
        assert_eq!(old.try_compatible_with(&path, false), Ok(Changes::default()));

        let broken = new.try_compatible_with(&path, false).unwrap_err().to_string();
        assert!(broken.contains("event api/it (received): changed: was integer, now boolean"), "{broken}");
        assert_eq!(new.try_compatible_with(&path, true), Ok(Changes::default()));
        assert_eq!(new.try_compatible_with(&path, false), Ok(Changes::default()));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
