//! Schemas of what is registered: the types of a route, as functions that make schemas when they are asked for.
//!
//! Imports nothing. Without the feature `schema` all of it is empty.

#![cfg_attr(
    not(feature = "schema"),
    expect(
        clippy::needless_update,
        clippy::extra_unused_type_parameters,
        reason = "only schemas have something to keep"
    )
)]

#[cfg(feature = "schema")]
mod description;

use realtime_protocol::Procedure;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "schema")]
pub use {
    description::{Description, Kind},
    realtime_protocol::internal::Side,
};
#[cfg(feature = "schema")]
use {realtime_protocol::internal::side, schemars::JsonSchema, std::panic::Location};

/// Marks an [`Endpoint`](crate::Endpoint) whose types need serde's traits only. The default.
#[derive(Clone, Copy, Debug)]
pub enum Bare {}

/// Marks an [`Endpoint`](crate::Endpoint) whose types have schemas: [`Endpoint::described`](crate::Endpoint::described).
#[cfg(feature = "schema")]
#[derive(Clone, Copy, Debug)]
pub enum Described {}

/// Types that clients send to an [`Endpoint<S, D>`](crate::Endpoint): those that implement `Deserialize`, and for a
/// described endpoint `JsonSchema` as well. Not for implementing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be received where schemas are asked for",
    label = "this needs `Deserialize` and a schema of `{Self}`",
    note = "for a type of your own add `#[derive(serde::Deserialize, schemars::JsonSchema)]`; for one of another crate, \
            turn on its or schemars' feature"
)]
pub trait Takes<D>: DeserializeOwned + Send + 'static {
    #[cfg(feature = "schema")]
    #[doc(hidden)]
    const SIDE: Option<Side> = None;
}

/// Types that an [`Endpoint<S, D>`](crate::Endpoint) sends to clients: those that implement `Serialize`, and for a
/// described endpoint `JsonSchema` as well. Not for implementing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent where schemas are asked for",
    label = "this needs `Serialize` and a schema of `{Self}`",
    note = "for a type of your own add `#[derive(serde::Serialize, schemars::JsonSchema)]`; for one of another crate, turn \
            on its or schemars' feature"
)]
pub trait Gives<D>: Serialize + Send + Sync + 'static {
    #[cfg(feature = "schema")]
    #[doc(hidden)]
    const SIDE: Option<Side> = None;
}

impl<T: DeserializeOwned + Send + 'static> Takes<Bare> for T {}

impl<T: Serialize + Send + Sync + 'static> Gives<Bare> for T {}

// Not recommended, so that the message is the trait's, which names the derive.
#[cfg(feature = "schema")]
#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + JsonSchema + Send + 'static> Takes<Described> for T {
    const SIDE: Option<Side> = Some(side::<T>);
}

#[cfg(feature = "schema")]
#[diagnostic::do_not_recommend]
impl<T: Serialize + JsonSchema + Send + Sync + 'static> Gives<Described> for T {
    const SIDE: Option<Side> = Some(side::<T>);
}

/// The types of a route.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sides {
    #[cfg(feature = "schema")]
    pub(crate) sent: Option<Side>,
    #[cfg(feature = "schema")]
    pub(crate) received: Option<Side>,
    #[cfg(feature = "schema")]
    pub(crate) progress: Option<Side>,
}

impl Sides {
    /// Those of a procedure or subscription.
    pub(crate) fn both<D, I: Takes<D>, O: Gives<D>>() -> Self {
        Self {
            #[cfg(feature = "schema")]
            sent: I::SIDE,
            #[cfg(feature = "schema")]
            received: O::SIDE,
            ..Self::default()
        }
    }

    /// The same with that of the progress reports of a procedure.
    #[cfg_attr(not(feature = "schema"), expect(unused_variables, reason = "only schemas ask for it"))]
    pub(crate) fn with_progress<I, O>(self, procedure: &Procedure<I, O>) -> Self {
        Self {
            #[cfg(feature = "schema")]
            progress: procedure.progress_side(),
            ..self
        }
    }

    /// That of an event.
    pub(crate) fn sent<D, T: Takes<D>>() -> Self {
        Self {
            #[cfg(feature = "schema")]
            sent: T::SIDE,
            ..Self::default()
        }
    }
}

/// The types of a handler.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages {
    #[cfg(feature = "schema")]
    input: Option<Side>,
    #[cfg(feature = "schema")]
    client: Option<Side>,
    #[cfg(feature = "schema")]
    server: Option<Side>,
    #[cfg(feature = "schema")]
    at: Option<&'static Location<'static>>,
}

#[cfg(feature = "schema")]
impl Messages {
    pub(crate) fn described<I: Takes<Described>, C: Takes<Described>, S: Gives<Described>>() -> Self {
        Self { input: I::SIDE, client: C::SIDE, server: S::SIDE, at: None }
    }

    /// Notes where the handler was mounted.
    pub(crate) fn mounted(&mut self, at: &'static Location<'static>) {
        self.at.get_or_insert(at);
    }

    pub(crate) fn descriptions(&self, id: &str) -> [Description; 3] {
        let describe = |kind| Description { at: self.at, ..Description::new(id, "", kind) };
        [
            Description { sent: self.input, ..describe(Kind::Input) },
            Description { sent: self.client, ..describe(Kind::ClientMessage) },
            Description { received: self.server, ..describe(Kind::ServerMessage) },
        ]
    }
}
