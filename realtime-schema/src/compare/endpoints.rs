//! The names of a server, old and new.

use super::change::Severity;
use super::shapes::Shapes;
use crate::document::{Ask, Direction, Document, Endpoint, Handler, Procedure, ProcedureKind, Subscription};
use crate::schemas::is_unit;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Compares two servers. Returns the changes, sorted by text.
pub(super) fn compare(old: &Document, new: &Document) -> BTreeMap<String, Severity> {
    let mut comparison = Comparison {
        sent: Shapes::new(old, new, Direction::Sent),
        received: Shapes::new(old, new, Direction::Received),
        found: BTreeMap::new(),
    };
    for (id, was) in &old.endpoints {
        match new.endpoints.get(id) {
            Some(is) => comparison.endpoint(id, was, is),
            None => comparison.tell(format!("id {id}: removed"), Severity::Break),
        }
    }
    let Comparison { sent, received, mut found } = comparison;
    let of_shapes = [sent, received].into_iter().flat_map(|shapes| {
        let direction = shapes.direction;
        shapes.found.into_iter().map(move |(line, severity)| (direction, line, severity))
    });
    let told: Vec<_> = of_shapes.filter(|(_, _, severity)| *severity != Severity::Fine).collect();
    if !told.is_empty() {
        let users = Users::of(old);
        found
            .extend(told.into_iter().map(|(direction, line, severity)| (users.behind(direction, line), severity)));
    }
    found
}

struct Comparison<'a> {
    sent: Shapes<'a>,
    received: Shapes<'a>,
    found: BTreeMap<String, Severity>,
}

impl Comparison<'_> {
    fn endpoint(&mut self, id: &str, old: &Endpoint, new: &Endpoint) {
        for (name, was) in &old.procedures {
            match new.procedures.get(name) {
                Some(is) => self.procedure(&format!("{id}/{name}"), was, is),
                None => self.gone(id, name, "procedure", new),
            }
        }
        for (name, was) in &old.subscriptions {
            match new.subscriptions.get(name) {
                Some(is) => self.subscription(&format!("{id}/{name}"), was, is),
                None => self.gone(id, name, "subscription", new),
            }
        }
        for (name, was) in &old.client_events {
            match new.client_events.get(name) {
                Some(is) => self.input(was, is, &format!("event {id}/{name}")),
                None => self.tell(format!("event {id}/{name}: no longer handled"), Severity::Break),
            }
        }
        for (name, was) in &old.server_events {
            match new.server_events.get(name) {
                Some(is) => self.received.compare(was, is, &format!("event {id}/{name}")),
                None => self.tell(format!("event {id}/{name}: no longer sent"), Severity::Notice),
            }
        }
        for (name, was) in &old.presence {
            match new.presence.get(name) {
                Some(is) => self.received.compare(was, is, &format!("presence in {id}/{name}")),
                None => self.tell(format!("presence in {id}/{name}: no longer reported"), Severity::Notice),
            }
        }
        self.asks(id, old, new);
        self.handlers(id, old.handler.as_ref(), new.handler.as_ref());
    }

    fn procedure(&mut self, place: &str, old: &Procedure, new: &Procedure) {
        if old.kind == ProcedureKind::Query && new.kind == ProcedureKind::Mutation {
            let change = format!("procedure {place}: was a query, now a mutation, which cannot be called by GET");
            self.tell(change, Severity::Break);
        }
        self.time_limit(place, old.time_limit_ms, new.time_limit_ms);
        self.input(&old.input, &new.input, &format!("input of {place}"));
        self.received.compare(&old.output, &new.output, &format!("output of {place}"));
        match (&old.progress, &new.progress) {
            (Some(old), Some(new)) => self.received.compare(old, new, &format!("progress of {place}")),
            (Some(_), None) => self.tell(format!("progress of {place}: no longer reported"), Severity::Notice),
            (None, _) => {}
        }
    }

    /// Compares two inputs. A `()` input accepts anything.
    fn input(&mut self, old: &Value, new: &Value, place: &str) {
        if !is_unit(new) {
            self.sent.compare(old, new, place);
        }
    }

    fn subscription(&mut self, place: &str, old: &Subscription, new: &Subscription) {
        self.input(&old.input, &new.input, &format!("input of {place}"));
        self.received.compare(&old.item, &new.item, &format!("items of {place}"));
    }

    fn gone(&mut self, id: &str, name: &str, what: &str, new: &Endpoint) {
        let now = if new.subscriptions.contains_key(name) {
            "now a subscription"
        } else if new.procedures.contains_key(name) {
            "now a procedure"
        } else {
            "removed"
        };
        self.tell(format!("{what} {id}/{name}: {now}"), Severity::Break);
    }

    fn asks(&mut self, id: &str, old: &Endpoint, new: &Endpoint) {
        for (name, is) in &new.asks {
            match old.asks.get(name) {
                Some(was) => self.ask(&format!("{id}/{name}"), was, is),
                None => {
                    let change = format!("ask {id}/{name}: new, and older clients cannot answer it");
                    self.tell(change, Severity::Notice);
                }
            }
        }
        for name in old.asks.keys().filter(|name| !new.asks.contains_key(*name)) {
            self.tell(format!("ask {id}/{name}: removed"), Severity::Notice);
        }
    }

    fn ask(&mut self, place: &str, old: &Ask, new: &Ask) {
        self.time_limit(place, old.time_limit_ms, new.time_limit_ms);
        self.received.compare(&old.input, &new.input, &format!("question of {place}"));
        self.sent.compare(&old.output, &new.output, &format!("answer to {place}"));
    }

    fn time_limit(&mut self, place: &str, old: u64, new: u64) {
        if new < old {
            self.tell(format!("{place}: time limit lowered from {old} ms to {new} ms"), Severity::Notice);
        }
    }

    fn handlers(&mut self, id: &str, old: Option<&Handler>, new: Option<&Handler>) {
        let Some(old) = old else { return };
        let Some(new) = new else {
            return self.tell(format!("handler {id}: removed"), Severity::Break);
        };
        if let (Some(old), Some(new)) = (&old.input, &new.input) {
            self.input(old, new, &format!("input of {id}"));
        }
        if let (Some(old), Some(new)) = (&old.client_message, &new.client_message) {
            self.sent.compare(old, new, &format!("client messages of {id}"));
        }
        if let (Some(old), Some(new)) = (&old.server_message, &new.server_message) {
            self.received.compare(old, new, &format!("server messages of {id}"));
        }
    }

    fn tell(&mut self, change: String, severity: Severity) {
        self.found.insert(change, severity);
    }
}

/// The names that use each type.
struct Users(BTreeMap<(Direction, String), BTreeSet<String>>);

impl Users {
    fn of(document: &Document) -> Self {
        let mut users: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (id, endpoint) in &document.endpoints {
            for root in endpoint.roots() {
                let user = root.label(id);
                for reached in document.reached([root]) {
                    users.entry(reached).or_default().insert(user.clone());
                }
            }
        }
        Self(users)
    }

    /// Appends the names that use the changed type, in brackets.
    fn behind(&self, direction: Direction, line: String) -> String {
        let name = line.split_once([' ', '.', '[', '{']).map_or(line.as_str(), |(name, _)| name);
        let Some(users) = self.0.get(&(direction, name.to_owned())) else { return line };
        let some: Vec<&str> = users.iter().take(MOST_USERS).map(String::as_str).collect();
        let more = users.len().saturating_sub(MOST_USERS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{line} [used by {}{more}]", some.join(", "))
    }
}

const MOST_USERS: usize = 4;
