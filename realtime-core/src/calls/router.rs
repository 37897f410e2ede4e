use super::{Layers, OnClose, OnOpen, Route};
#[cfg(feature = "schema")]
use crate::describe::Description;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The procedures, subscriptions and events of one id, by name.
#[derive(Default)]
pub(crate) struct Router {
    /// Procedures and subscriptions, which share a namespace. Sorted: a few comparisons cost less than a hash that
    /// resists chosen keys, and clients choose none of these.
    routes: BTreeMap<Box<str>, Arc<Route>>,
    events: BTreeMap<Box<str>, Arc<Route>>,
    pub(crate) opens: Vec<Arc<dyn OnOpen>>,
    pub(crate) closes: Vec<Arc<dyn OnClose>>,
    /// The events that the server sends and its calls, which no route shows; without an id.
    #[cfg(feature = "schema")]
    pub(crate) declared: Vec<Description>,
}

impl Router {
    /// Returns true if there is nothing to call, to subscribe to or to emit.
    pub(crate) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.events.is_empty()
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.get(path)
    }

    pub(crate) fn find_event(&self, name: &str) -> Option<&Arc<Route>> {
        self.events.get(name)
    }

    pub(crate) fn add(&mut self, route: Route) {
        let names = if route.is_event() { &mut self.events } else { &mut self.routes };
        names.insert((*route.name).into(), Arc::new(route));
    }

    pub(crate) fn add_open(&mut self, open: impl OnOpen) {
        self.opens.push(Arc::new(open));
    }

    pub(crate) fn add_close(&mut self, close: impl OnClose) {
        self.closes.push(Arc::new(close));
    }

    /// Returns where both routes were registered, if another one has the name.
    pub(crate) fn conflict_of(&self, route: &Route) -> Option<String> {
        let names = if route.is_event() { &self.events } else { &self.routes };
        let known = names.get(&*route.name)?;
        Some(format!("{:?} is registered twice: at {} and at {}", route.name, known.place, route.place))
    }

    /// Returns the first conflict with another router.
    pub(crate) fn conflict(&self, other: &Self) -> Option<String> {
        let mut conflicts: Vec<_> = other.all().filter_map(|route| self.conflict_of(route)).collect();
        conflicts.sort_unstable();
        conflicts.into_iter().next()
    }

    pub(crate) fn take_in(&mut self, other: Self) {
        self.routes.extend(other.routes);
        self.events.extend(other.events);
        self.opens.extend(other.opens);
        self.closes.extend(other.closes);
        #[cfg(feature = "schema")]
        self.declared.extend(other.declared);
    }

    /// Describes what the id serves to clients.
    #[cfg(feature = "schema")]
    pub(crate) fn descriptions(&self, id: &str) -> impl Iterator<Item = Description> {
        let declared = self.declared.iter().map(move |declared| Description { id: id.into(), ..declared.clone() });
        self.all().map(move |route| route.description(id)).chain(declared)
    }

    /// Puts a prefix before the names of procedures and subscriptions.
    pub(crate) fn under(self, prefix: &str) -> Self {
        let routes = self.routes.into_values().map(|route| {
            let route = route.renamed(format!("{prefix}.{}", route.name));
            (Box::from(&*route.name), Arc::new(route))
        });
        Self { routes: routes.collect(), ..self }
    }

    /// Puts more layers before those of each route.
    pub(crate) fn behind(self, layers: &Layers) -> Self {
        let behind = |(name, route): (Box<str>, Arc<Route>)| (name, Arc::new(route.behind(layers)));
        Self {
            routes: self.routes.into_iter().map(behind).collect(),
            events: self.events.into_iter().map(behind).collect(),
            ..self
        }
    }

    fn all(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().chain(self.events.values()).map(|route| &**route)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.all().map(|route| &*route.name).collect();
        names.sort_unstable();
        f.debug_list().entries(names).finish()
    }
}
