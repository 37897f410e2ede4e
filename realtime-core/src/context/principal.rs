use super::Context;

/// The identity of a client, such as a user name, wherever it connects from. Middleware sets it as a variable of the
/// context.
///
/// Idempotency keys are scoped to it. Without one, a key is scoped to its connection, and refused over HTTP with
/// `FAILED_PRECONDITION`, since many clients may share an address. [`Realtime::to_principal`](crate::Realtime::to_principal)
/// sends to all its connections, [`RateLimit::by_principal`](crate::RateLimit::by_principal) counts them together,
/// [`Presence::by_principal`](crate::Presence::by_principal) shows it once, and
/// [`Realtime::revoke`](crate::Realtime::revoke) ends all that it has.
///
/// # Examples
///
/// ```
/// use realtime_core::{Accepted, Context, Next, Principal, Reject};
///
/// async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
///     let user = context.header("authorization").ok_or_else(Reject::unauthorized)?.to_owned();
///     context.set(Principal(user));
///     next.run(context).await
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(pub String);

impl Context {
    /// Returns the identity of the client, if middleware has set it.
    pub fn principal(&self) -> Option<&Principal> {
        self.var()
    }
}
