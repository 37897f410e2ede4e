//! What a server and its clients say to each other, as TypeScript, as AsyncAPI, as OpenAPI, and as a document against
//! which the next version is compared.
//!
//! A [`Schema`] is made of a server's names and of the schemas of their types, which `#[derive(JsonSchema)]` makes. It is
//! used in a test: the test fails where a generated file is not what the types say now, or where a change would break
//! clients that are out there.

mod async_api;
mod collect;
mod compare;
mod components;
mod description;
mod document;
mod hash;
mod keep;
mod open_api;
mod problems;
mod schemas;
mod typescript;

pub use compare::Changes;
pub use description::{Description, Kind, Side};
pub use problems::Problems;
pub use schemars;

use document::Document;
use std::collections::BTreeSet;
use std::path::Path;
use std::{fmt, fs};

/// What a server says and takes, by id.
#[derive(Clone, Debug)]
pub struct Schema {
    document: Document,
}

/// Where ids are, unless the application routes them otherwise.
const PREFIX: &str = "/__realtime";

/// The variable that has the file of a release written.
const RELEASE: &str = "RELEASE_SCHEMA";

/// How a [`Schema`] is made.
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a schema is made by them"]
pub struct Options {
    allowed_names: BTreeSet<String>,
    partial: bool,
}

impl Schema {
    /// The schema of the names that a registry has.
    ///
    /// # Errors
    ///
    /// Where a name has no schema, and where two types have one name.
    pub fn describing(descriptions: &[Description]) -> Result<Self, Problems> {
        Options::default().describing(descriptions)
    }

    /// The schema that a [`document`](Self::document) was written of.
    ///
    /// # Errors
    ///
    /// Where the text is no such document.
    pub fn from_document(document: &str) -> Result<Self, Problems> {
        Ok(Self { document: Document::from_json(document)? })
    }

    /// How a schema is made, to be said before it is.
    pub fn options() -> Options {
        Options::default()
    }

    /// The neutral document: JSON with sorted keys, the same on every run. It is what is committed at a release.
    pub fn document(&self) -> String {
        self.document.to_json()
    }

    /// The hash of what is behind an id, 16 hexadecimal digits. It is of shapes: doc comments do not change it.
    ///
    /// # Panics
    ///
    /// Where nothing has the id.
    #[track_caller]
    pub fn hash(&self, id: &str) -> String {
        assert!(self.document.endpoints.contains_key(id), "no endpoint or handler has the id {id:?}");
        hash::of(&self.document, id)
    }

    /// The types and constants of an id, for the npm package of this library.
    ///
    /// # Panics
    ///
    /// As [`try_typescript`](Self::try_typescript) fails.
    #[track_caller]
    pub fn typescript(&self, id: &str) -> String {
        self.try_typescript(id).unwrap_or_else(|problems| panic!("TypeScript of {id:?}:\n{problems}"))
    }

    /// The types and constants of an id, for the npm package of this library.
    ///
    /// # Errors
    ///
    /// Where nothing has the id, and where a name cannot be one in TypeScript: a reserved word, or two types of one name.
    pub fn try_typescript(&self, id: &str) -> Result<String, Problems> {
        typescript::file(&self.document, id)
    }

    /// What goes over a WebSocket, as an [AsyncAPI](https://www.asyncapi.com) document in JSON: a channel for each id, with
    /// its frames. It is written as the server sees it, which receives calls.
    pub fn async_api(&self, title: &str, version: &str) -> String {
        document::write_sorted(async_api::document(&self.document, PREFIX, title, version))
    }

    /// What is called by HTTP, as an [OpenAPI](https://www.openapis.org) 3.1 document in JSON: a path for each procedure and
    /// subscription, `/__realtime/{id}/{name}`.
    pub fn open_api(&self, title: &str, version: &str) -> String {
        document::write_sorted(open_api::document(&self.document, PREFIX, title, version))
    }

    /// Compares a file with what it should be, in a test. With `UPDATE_SCHEMA=1` in the environment it is written instead. A
    /// relative path begins at the directory of the package, where cargo runs its tests.
    ///
    /// # Panics
    ///
    /// Where the file is not there, or is stale; the lines that differ are told.
    #[track_caller]
    pub fn keep(&self, path: impl AsRef<Path>, content: &str) {
        if let Err(problems) = keep::keep(path.as_ref(), content) {
            panic!("{problems}");
        }
    }

    /// Compares the server with the one of a release, whose [`document`](Self::document) is in a file, and fails on what
    /// breaks clients of that release. A break that is wanted is listed in the file under `accepted`, with its reason.
    ///
    /// With `RELEASE_SCHEMA=1` in the environment, the file is written instead: this is the release, and nothing is
    /// accepted any more.
    ///
    /// # Panics
    ///
    /// Where the file is not there, and where something breaks.
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
        Err(Problems::one(format!(
            "clients of the release in {} break:\n{}",
            path.display(),
            compare::advice(&changes)
        )))
    }

    /// What has changed since a release, of which this is the [`document`](Self::document).
    ///
    /// # Errors
    ///
    /// Where the text is no such document.
    pub fn changes_since(&self, document: &str) -> Result<Changes, Problems> {
        Ok(compare::compare(&Document::from_json(document)?, &self.document))
    }

    /// Refuses integers of 64 bits and more, which a page cannot hold beyond 2^53 − 1.
    ///
    /// # Panics
    ///
    /// Where there is one, with all the places that have them.
    #[track_caller]
    pub fn deny_wide_integers(&self) {
        let wide = typescript::wide_integers(&self.document);
        assert!(wide.is_empty(), "integers that a page cannot hold beyond 2^53 − 1:\n{}", wide.join("\n"));
    }
}

impl Options {
    /// Allows a type that is really called `Page2` beside a `Page`, and is no second type of that name.
    pub fn allow_name(mut self, name: impl Into<String>) -> Self {
        self.allowed_names.insert(name.into());
        self
    }

    /// Leaves out the names that have no schema.
    pub fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// The schema of the names that a registry has.
    ///
    /// # Errors
    ///
    /// Where a name has no schema and [`partial`](Self::partial) was not said, and where two types have one name.
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
        assert!(
            broken.contains("event it of api (received) is another: it was integer, and is boolean"),
            "{broken}"
        );
        assert_eq!(new.try_compatible_with(&path, true), Ok(Changes::default()));
        assert_eq!(new.try_compatible_with(&path, false), Ok(Changes::default()));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
