use super::CallCore;
use crate::seams::BoxFuture;
use realtime_protocol::Result;
use std::sync::Arc;
use tracing::{Instrument, Level, Span, debug_span};

/// Returns true if somebody wants to know of calls.
#[inline]
pub(super) fn is_on() -> bool {
    tracing::enabled!(target: "realtime_core::call", Level::DEBUG)
}

/// Runs a call in a span of its own, if somebody wants to know of it, and tells its outcome and its duration.
pub(super) fn traced<T: 'static>(
    call: &Arc<CallCore>,
    running: BoxFuture<'static, Result<T>>,
) -> BoxFuture<'static, Result<T>> {
    if !is_on() {
        return running;
    }
    let span = span_of(call);
    let call = Arc::clone(call);
    let start = call.hub().instant();
    let told = async move {
        let outcome = running.await;
        let code = outcome.as_ref().map_or_else(|error| error.code().as_str(), |_| "OK");
        let elapsed = call.hub().instant().saturating_duration_since(start);
        tracing::debug!(target: "realtime_core::call", code, ?elapsed, "answered");
        outcome
    };
    Box::pin(told.instrument(span))
}

/// A call over a connection belongs to its session; one by HTTP to the span that the framework is in.
fn span_of(call: &CallCore) -> Span {
    let (path, endpoint) = (&*call.name, call.context().endpoint());
    match call.client() {
        Some(client) => debug_span!(
            target: "realtime_core::call",
            parent: client.span().and_then(Span::id),
            "call",
            path,
            %endpoint,
            connection = %client.id
        ),
        None => debug_span!(target: "realtime_core::call", "call", path, %endpoint),
    }
}
