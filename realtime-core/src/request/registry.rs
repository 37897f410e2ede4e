use super::ErasedMiddleware;
#[cfg(feature = "schema")]
use crate::describe::Description;
use crate::{
    context::Context,
    describe::Messages,
    hub::Hub,
    protocol::ProtocolId,
    session::{NoHandler, Service, Welcome},
};
use realtime_protocol::Error;
use std::{any::TypeId, collections::HashMap, sync::Arc};

/// The handlers and endpoints of a node by id, and the path they are mounted under.
pub(crate) struct Registry {
    pub(crate) mounted: HashMap<Box<str>, Arc<Mounted>>,
    /// Runs for every request, before the mounts' own middleware.
    pub(crate) middleware: Vec<Arc<dyn ErasedMiddleware>>,
    pub(crate) prefix: Box<str>,
    /// The ids of mounts by the paths of their own.
    pub(crate) paths: HashMap<Box<str>, Arc<str>>,
    /// Hashes of the types of mounts, by id.
    pub(crate) schemas: HashMap<Box<str>, Arc<str>>,
}

/// The mount under one id.
pub(crate) struct Mounted {
    pub(crate) id: Arc<str>,
    /// The protocol of all connections; `None` if each client chooses.
    pub(crate) protocol: Option<ProtocolId>,
    pub(crate) service: Arc<Service>,
    pub(crate) middleware: Vec<Arc<dyn ErasedMiddleware>>,
    /// The types of its handler, if it has one.
    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "only schemas ask for it"))]
    pub(crate) messages: Option<Messages>,
}

impl Registry {
    /// Returns the registry of a hub.
    pub(crate) fn of(hub: &Hub) -> &Self {
        hub.registry.downcast_ref().expect("a hub keeps the registry that it was built with")
    }

    /// Returns the ids of the mounts whose clients have a typed part of this type.
    pub(crate) fn ids_of(&self, typed: TypeId) -> Vec<Arc<str>> {
        let mounted = self.mounted.values().filter(|mounted| mounted.service.hooks.typed() == typed);
        mounted.map(|mounted| Arc::clone(&mounted.id)).collect()
    }

    /// Notes the id of a request for the path of a mount.
    pub(super) fn locate(&self, context: &mut Context) {
        if self.paths.is_empty() {
            return;
        }
        if let Some(id) = self.paths.get(context.path()) {
            context.set_endpoint(Arc::clone(id));
        }
    }

    /// Finds the mount that a request asks for.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND`.
    pub(super) fn find(&self, context: &Context) -> Result<&Arc<Mounted>, Error> {
        self.mounted.get(&*context.endpoint()).ok_or_else(|| Error::not_found("no handler has this id"))
    }
}

impl Registry {
    /// Returns the welcome of a mount's clients.
    pub(super) fn welcome(&self, mounted: &Mounted) -> Welcome {
        Welcome { schema: self.schemas.get(&*mounted.id).cloned() }
    }
}

impl Mounted {
    /// Describes what clients can know of it.
    #[cfg(feature = "schema")]
    pub(super) fn descriptions(&self) -> impl Iterator<Item = Description> {
        let messages = self.messages.iter().flat_map(|messages| messages.descriptions(&self.id));
        messages.chain(self.service.router.descriptions(&self.id))
    }

    /// Returns true if there are procedures, subscriptions or events.
    pub(super) fn has_names(&self) -> bool {
        !self.service.router.is_empty()
    }

    /// Returns the service of a client that is sent subscriptions and nothing else.
    pub(super) fn without_handler(&self) -> Arc<Service> {
        Arc::new(Service { hooks: Arc::new(NoHandler::Subscriptions), router: Arc::clone(&self.service.router) })
    }
}
