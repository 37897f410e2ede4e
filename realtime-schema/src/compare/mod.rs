//! Compares a server with a release, to find changes that break its clients.

mod bounds;
mod change;
mod endpoints;
mod join;
mod matching;
mod objects;
mod shapes;
mod variants;

use crate::document::{Accepted, Direction, Document};
use change::Severity;
use serde_json::Value;
use shapes::Shapes;
use std::fmt;

/// The changes since a release that clients can notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    breaks: Vec<String>,
    notices: Vec<String>,
}

impl Changes {
    /// Changes that may make clients of the release fail.
    pub fn breaks(&self) -> &[String] {
        &self.breaks
    }

    /// Changes that clients survive but may need to know about, such as a new variant or an event that is no longer
    /// sent.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Fails on notices as well.
    ///
    /// # Panics
    ///
    /// If there is a notice.
    #[track_caller]
    pub fn notices_too(&self) {
        assert!(
            self.notices.is_empty(),
            "changes that clients of the release may notice:\n{}",
            Lines(&self.notices)
        );
    }
}

/// Compares a server with a release, leaving out the changes that the release accepts.
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

/// Returns true if every received value can be sent back.
pub(crate) fn fits(document: &Document, received: &Value, sent: &Value) -> bool {
    let mut from = document.clone();
    from.definitions.sent = document.definitions.received.clone();
    let mut shapes = Shapes::new(&from, document, Direction::Sent);
    shapes.compare(received, sent, "");
    shapes.found.values().all(|severity| *severity != Severity::Break)
}

/// Compares the text of a change, without its users in brackets.
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

/// Returns the breaks, and the text that accepts them in the release file.
pub(crate) fn advice(changes: &Changes) -> String {
    let accepted =
        changes.breaks.iter().map(|line| Accepted { change: words(line).to_owned(), reason: String::new() });
    let accepted: Vec<Accepted> = accepted.collect();
    let json = serde_json::to_string_pretty(&accepted).expect("lines are strings");
    format!(
        "{}\n\nTo accept them, give each a reason under \"accepted\" in the release file:\n{json}",
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
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|real| real.fract() == 0.0),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
