use super::Endpoint;
use crate::describe::{Described, Description, Gives, Kind, Side, Takes};
use realtime_protocol::{Event, Procedure};
use std::panic::Location;

impl<S: Send + Sync + 'static> Endpoint<S, Described> {
    /// An empty endpoint whose types all have schemas, for generated clients: each type needs `JsonSchema`, which
    /// `#[derive(schemars::JsonSchema)]` provides. See `realtime-schema`.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Endpoint, Event, Procedure};
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Report { rows: usize }
    ///
    /// const IMPORT: Procedure<String, Report> = Procedure::new("import").progress::<f64>();
    /// const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");
    /// const IMPORTED: Event<Report> = Event::new("imported");
    ///
    /// let endpoint = Endpoint::described(())
    ///     .procedure(IMPORT, |_, csv| async move { Ok(Report { rows: csv.lines().count() }) })
    ///     .emits(IMPORTED)
    ///     .asks(CONFIRM);
    /// ```
    pub fn described(state: S) -> Self {
        Self::empty(state)
    }

    /// Declares an event that the server sends, which no registration shows.
    #[track_caller]
    pub fn emits<T: Gives<Described>>(self, event: Event<T>) -> Self {
        self.declare(event.name(), Kind::ServerEvent, None, T::SIDE)
    }

    /// Declares a procedure that the server calls on clients, which no registration shows.
    #[track_caller]
    pub fn asks<I: Gives<Described>, O: Takes<Described>>(self, procedure: Procedure<I, O>) -> Self {
        let kind = Kind::Ask { time_limit: procedure.timeout() };
        self.declare(&procedure.name(), kind, O::SIDE, I::SIDE)
    }

    /// Declares that clients are present in places of this kind, each with data of type `P`: in one of this name, or in those
    /// whose names go on after a colon, such as `room:1` for `room`. Generated files have typed names for them.
    #[track_caller]
    pub fn presence<P: Gives<Described>>(self, kind: &str) -> Self {
        self.declare(kind, Kind::Presence, None, P::SIDE)
    }

    #[track_caller]
    fn declare(mut self, name: &str, kind: Kind, sent: Option<Side>, received: Option<Side>) -> Self {
        let at = Some(Location::caller());
        self.own.declared.push(Description { sent, received, at, ..Description::new("", name, kind) });
        self
    }
}
