use super::{
    Reject,
    admission::{Admitted, Checked, Kind},
    headers::merge,
    target::{name_of, nothing_named},
    upgrade::choose_protocol,
};
use crate::{context::Context, hub::Hub};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use std::{borrow::Cow, sync::Arc};

/// Answers whether a WebSocket would be let in, by the checks of an upgrade except the handshake's own, and by the
/// middleware. A page asks it after a handshake that failed, about which it is told nothing else.
///
/// Takes no place, opens no session and calls nothing. If the request has the name of a call, it must exist.
pub(super) async fn probe(hub: &Arc<Hub>, context: Context) -> Result<Response<Bytes>, Reject> {
    let checked = Checked::of(hub, &context, Kind::Probe)?;
    let (protocol, _) = choose_protocol(hub, checked.mounted, &context)?;
    let mounted = checked.mounted;
    let admission = checked.look_for_place(&context)?;
    let is_named = context.name().is_some() || mounted.has_names();
    let name = name_of(&context).filter(|_| is_named).map(Cow::into_owned);
    // Beside a name the query is the input of a call, and not that of a session.
    let Admitted { headers, .. } = admission.let_through(context, name.is_none().then_some(protocol)).await?;
    let router = &mounted.service.router;
    if let Some(name) = name.filter(|name| router.find(name).is_none()) {
        return Err(Reject::from(nothing_named(router, &name)).behind(headers));
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    merge(response.headers_mut(), headers);
    Ok(response)
}

/// Returns the response of a refusal, without the body that a response to HEAD cannot have.
pub(super) fn refusal(reject: Reject) -> Response<Bytes> {
    let mut response = reject.into_response().map(|_| Bytes::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}
