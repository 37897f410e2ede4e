use super::{
    Mounted, Reject,
    admission::{Admitted, Checked, Kind},
    body::RequestBody,
    headers::merge,
    method_mismatch,
    posted::{Asked, AskedCall, AskedEvent, posted},
    target::nothing_named,
};
use crate::{
    calls::{CallCore, Origin, Starts, begin, begin_call, run_call, run_to_end},
    context::Context,
    hub::Hub,
    util::panics::catch,
};
use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderValue, Method, Response, StatusCode, header};
use realtime_protocol::{Error, internal::check_path};
use std::sync::Arc;

/// Answers a call by GET or POST, or an event by POST.
pub(super) async fn call<B, E>(
    hub: &Arc<Hub>,
    context: Context,
    body: &mut RequestBody<'_, B>,
) -> Result<Response<Bytes>, Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let admission = Checked::of(hub, &context, Kind::Call)?.take_place(&context)?;
    let mounted = admission.mounted;
    let Admitted { context, headers, permit: _permit, term, .. } = admission.let_through(context, None).await?;
    let principal = context.principal().cloned();
    let answer = async {
        check_name(mounted, &context)?;
        let (asked, _account) = match *context.method() {
            Method::GET => (AskedCall::by_get(&context).map(Asked::Call)?, None),
            _ => posted(hub, &context, body).await.map(|(asked, account)| (asked, Some(account)))?,
        };
        Ok(match asked {
            Asked::Call(asked) => run(hub, mounted, context, asked).await?,
            Asked::Event(asked) => emit(hub, mounted, context, asked).await?,
        })
    };
    let answered: Result<_, Reject> = hub.unless_revoked(principal, term.since, answer).await;
    let mut response = match answered {
        Ok(response) => response,
        Err(reject) => return Err(reject.behind(headers)),
    };
    merge(response.headers_mut(), headers);
    Ok(response)
}

/// Checks a name in the path, before the body is read.
fn check_name(mounted: &Mounted, context: &Context) -> Result<(), Error> {
    let Some(name) = context.name() else { return Ok(()) };
    check_path(&name)?;
    let router = &mounted.service.router;
    router.find(&name).map(drop).ok_or_else(|| nothing_named(router, &name))
}

/// Runs a call to its end; dropping the future cancels it.
async fn run(
    hub: &Arc<Hub>,
    mounted: &Mounted,
    context: Context,
    asked: AskedCall,
) -> Result<Response<Bytes>, Error> {
    let path = &asked.path;
    let router = &mounted.service.router;
    let route = router.find(path).ok_or_else(|| nothing_named(router, path))?;
    let Starts::Call { query, timeout: allowed, .. } = &*route.starts else {
        let what = format!(
            "{path:?} is a subscription: ask for it by GET with Accept: text/event-stream, or over a WebSocket"
        );
        return Ok(method_mismatch("GET", what).into_response());
    };
    if asked.query && !query {
        return Ok(method_mismatch("POST", format!("{path:?} changes something: call it by POST")).into_response());
    }
    if asked.expected.is_some_and(|expected| expected != *query) {
        let (is, other) = if *query { ("query", "mutation") } else { ("mutation", "query") };
        let allow = if *query { "GET, POST" } else { "POST" };
        return Ok(method_mismatch(allow, format!("{path:?} is a {is}, not a {other}")).into_response());
    }
    let timeout = asked.timeout.map_or(*allowed, |timeout| timeout.min(*allowed));
    let origin = Origin::Request { hub: Arc::clone(hub), context: Arc::new(context) };
    let mut core = CallCore::of_route(origin, route, "");
    core.deadline = hub.clock.past(timeout);
    let running = Running { call: Arc::new(core) };
    let future = begin_call(hub, route, &running.call, asked.input, asked.key.as_deref())?;
    let data = run_call(hub, &running.call, future).await?;
    let mut json = br#"{"ok":true,"data":"#.to_vec();
    // The output's own `Serialize` may panic.
    catch(|| data.encode_json(&mut json)).map_err(|panic| Error::internal(panic.0))??;
    let wrote = running.call.take_wrote();
    if !wrote.is_empty() {
        json.extend_from_slice(br#","wrote":"#);
        serde_json::to_writer(&mut json, &wrote).map_err(Error::internal)?;
    }
    json.push(b'}');
    let mut response = Response::new(Bytes::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Handles an event without a connection; dropping the future drops its handler.
async fn emit(
    hub: &Arc<Hub>,
    mounted: &Mounted,
    context: Context,
    asked: AskedEvent,
) -> Result<Response<Bytes>, Error> {
    let AskedEvent { name, data } = asked;
    let no_event = || Error::not_found(format!("no event is named {name:?} here"));
    let route = mounted.service.router.find_event(&name).ok_or_else(no_event)?;
    let origin = Origin::Request { hub: Arc::clone(hub), context: Arc::new(context) };
    let running = Running { call: Arc::new(CallCore::of_route(origin, route, "")) };
    let future = begin(&running.call, || route.start(&running.call, data, Starts::as_event))?;
    run_to_end(&running.call, future).await?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Marks a call as ended when it returns or is dropped.
struct Running {
    call: Arc<CallCore>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.call.end();
    }
}
