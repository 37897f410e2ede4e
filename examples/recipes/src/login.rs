use axum::{
    Router,
    extract::State,
    http::{HeaderName, header::SET_COOKIE},
    routing::post,
};
use realtime_core::{
    Context, Endpoint, Error, Event, Next, Principal, Procedure, Realtime, Reject, Result, Topic,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

pub const ME: Procedure<(), String> = Procedure::query("me");
pub const NOTIFIED: Event<String> = Event::new("notified");

/// Users by the value of their cookie. Yours are in a database.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    fn user(&self, session: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }

    fn begin(&self, user: String) -> String {
        let random = || getrandom::u64().expect("the system has random numbers");
        let session = format!("{:016x}{:016x}", random(), random());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone(), user);
        session
    }

    fn end_all(&self, user: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, of| of != user);
    }
}

pub fn realtime(sessions: &Sessions) -> Realtime {
    let sessions = sessions.clone();
    let login = move |mut context: Context, next: Next| {
        let user = context.cookie("session").and_then(|session| sessions.user(session));
        async move {
            context.set(Principal(user.ok_or_else(Reject::unauthorized)?));
            next.run(context).await
        }
    };
    let api = Endpoint::new(())
        .on_open(|client| async move { client.subscribe(&devices(user(client.context())?)) })
        .procedure(ME, |call, ()| async move { Ok(user(call.context())?.to_owned()) });
    Realtime::builder().middleware(login).endpoint("api", api).build()
}

/// Returns the user that the middleware has set.
fn user(context: &Context) -> Result<&str> {
    let principal = context.principal().ok_or_else(|| Error::internal("there is no login here"))?;
    Ok(&principal.0)
}

/// All that one user has open: tabs, phones.
fn devices(user: &str) -> Topic<()> {
    Topic::new(format!("user:{user}"))
}

/// Notifies all devices of a user, from anywhere in the application.
pub fn notify(realtime: &Realtime, user: &str, text: &str) -> Result {
    realtime.to(&devices(user)).emit(NOTIFIED, &text.to_owned())
}

/// Logs a user out everywhere. When this returns, nothing more reaches them.
pub fn log_out(sessions: &Sessions, realtime: &Realtime, user: &str) {
    sessions.end_all(user); // first: a client that comes back at once must not get in
    realtime.revoke(&Principal(user.to_owned()));
}

/// The login itself is a route of the application. Check a password here.
pub fn app(sessions: &Sessions, realtime: &Realtime) -> Router {
    let log_in = |State(sessions): State<Sessions>, user: String| async move { [cookie(&sessions.begin(user))] };
    let routes = Router::new().route("/login", post(log_in)).with_state(sessions.clone());
    routes.merge(adapter_axum::routes(realtime))
}

fn cookie(session: &str) -> (HeaderName, String) {
    (SET_COOKIE, format!("session={session}; HttpOnly; Secure; SameSite=Lax; Path=/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};
    use axum::{body::Body, http::Request};
    use tower_service::Service;

    /// Returns what a browser would send back.
    fn log_in(sessions: &Sessions, realtime: &Realtime, user: &'static str) -> String {
        let request = Request::post("/login").body(Body::from(user)).unwrap();
        let response = block_on(app(sessions, realtime).call(request)).unwrap();
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn all_devices_of_a_user_are_notified_and_logged_out() {
        let sessions = Sessions::default();
        let realtime = realtime(&sessions);
        let (ann, bob) = (log_in(&sessions, &realtime, "ann"), log_in(&sessions, &realtime, "bob"));
        let server = TestServer::new(realtime);
        block_on(async {
            let open = async |cookie: &str| server.request("api").header("cookie", cookie).open().await;
            let mut tab = open(&ann).await.unwrap();
            let mut phone = open(&ann).await.unwrap();
            let mut other = open(&bob).await.unwrap();
            assert_eq!(tab.call(ME, ()).await.unwrap(), "ann");
            notify(server.realtime(), "ann", "You have mail").unwrap();
            assert_eq!(tab.expect_event(NOTIFIED).await, "You have mail");
            assert_eq!(phone.expect_event(NOTIFIED).await, "You have mail");
            assert_eq!(other.try_event(NOTIFIED).await, None);

            log_out(&sessions, server.realtime(), "ann");
            assert!(tab.call(ME, ()).await.is_err());
            assert_eq!(open(&ann).await.unwrap_err().status(), 401);
            assert_eq!(other.call(ME, ()).await.unwrap(), "bob");
            assert_eq!(open("session=guessed").await.unwrap_err().status(), 401);
            assert_eq!(server.open("api").await.unwrap_err().status(), 401);
        });
    }
}
