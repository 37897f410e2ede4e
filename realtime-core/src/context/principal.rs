use super::Context;

/// The identity of a client, such as a user name, wherever it connects from. Middleware sets it as a variable of the
/// context.
///
/// Idempotency keys are scoped to it. Without one, a key is scoped to its connection, and refused over HTTP with
/// `FAILED_PRECONDITION`, since many clients may share an address. [`Realtime::revoke`](crate::Realtime::revoke) ends
/// all that it has.
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
    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.var()
    }
}
