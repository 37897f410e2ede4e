//! What has changed since a release, and what of it breaks clients that are out there.

mod bounds;
mod change;
mod endpoints;
mod matching;
mod objects;
mod shapes;
mod variants;

use crate::document::{Accepted, Direction, Document, VERSION};
use change::Severity;
use serde_json::Value;
use shapes::Shapes;
use std::fmt;

/// What has changed since a release, of what clients can notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "notices are told only by `notices_too`"]
pub struct Changes {
    breaks: Vec<String>,
    notices: Vec<String>,
}

impl Changes {
    /// What makes clients of the release fail.
    pub fn breaks(&self) -> &[String] {
        &self.breaks
    }

    /// What they may want to know: a variant that they do not know, an event that is not sent any more.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Fails on notices as well.
    ///
    /// # Panics
    ///
    /// Where there is a notice.
    #[track_caller]
    pub fn notices_too(&self) {
        assert!(self.notices.is_empty(), "clients of the release may want to know:\n{}", Lines(&self.notices));
    }
}

/// Compares a server with the one of a release. Breaks that the release accepts are left out.
pub(crate) fn compare(old: &Document, new: &Document) -> Changes {
    let mut changes = Changes::default();
    for (line, severity) in endpoints::compare(old, new) {
        if is_accepted(&old.accepted, &line) {
            continue;
        }
        match severity {
            Severity::Fine => {}
            Severity::Notice => changes.notices.push(line),
            Severity::Break => changes.breaks.push(line),
        }
    }
    changes.breaks.extend(unexplained(&old.accepted));
    changes
}

/// Whether a value that was received may be sent back: whether what is sent takes all that is received.
pub(crate) fn fits(document: &Document, received: &Value, sent: &Value) -> bool {
    let mut from = document.clone();
    from.definitions.sent = document.definitions.received.clone();
    let mut shapes = Shapes::new(&from, document, Direction::Sent);
    shapes.compare(received, sent, "");
    shapes.found.values().all(|severity| *severity != Severity::Break)
}

/// A change is written with those who use it behind it, in brackets; it is accepted in the words before.
fn is_accepted(accepted: &[Accepted], line: &str) -> bool {
    let change = words(line);
    accepted.iter().any(|accepted| words(&accepted.change) == change && !accepted.reason.trim().is_empty())
}

fn words(line: &str) -> &str {
    line.split_once(" [").map_or(line, |(words, _)| words).trim()
}

fn unexplained(accepted: &[Accepted]) -> impl Iterator<Item = String> {
    let without = accepted.iter().filter(|accepted| accepted.reason.trim().is_empty());
    without.map(|accepted| format!("{:?} is accepted without a reason", accepted.change))
}

/// What to add to the file of the release where breaks are wanted.
pub(crate) fn advice(changes: &Changes) -> String {
    let accepted =
        changes.breaks.iter().map(|line| Accepted { change: words(line).to_owned(), reason: String::new() });
    let accepted: Vec<Accepted> = accepted.collect();
    let json = serde_json::to_string_pretty(&accepted).expect("lines are strings");
    format!(
        "{}\n\nIf this is wanted, say why in the file of the release (form {VERSION}), under \"accepted\":\n{json}",
        Lines(&changes.breaks)
    )
}

struct Lines<'a>(&'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|line| format!("- {line}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn is_of_type(value: &Value, of: &str) -> bool {
    match of {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
