use super::{Context, Head};
use http::Extensions;
use std::time::{Duration, SystemTime};

impl Context {
    /// Ends what is let in after this time: the credentials that middleware has checked are valid for no longer. Of
    /// several times the earliest counts. Counted from when the first middleware began, and rounded up to a
    /// [tick](crate::raw::TICK).
    ///
    /// The client of a WebSocket is asked for a fresh token before the end, and then all middleware runs again, with the
    /// same request and that token as [`bearer`](Self::bearer). It must let in the same [`Principal`](crate::Principal).
    /// A client that does not answer, and a stream of server-sent events, is closed at the end, so that it connects
    /// again. A request that is let in for no time at all is refused with 401.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Accepted, Context, Next, Principal, Reject};
    /// # use std::time::{Duration, SystemTime};
    ///
    /// async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    ///     let token = context.bearer().ok_or_else(Reject::unauthorized)?;
    ///     let claims = verify(&token).ok_or_else(Reject::unauthorized)?;
    ///     context.set(Principal(claims.subject));
    ///     context.expires_at(claims.expires);
    ///     next.run(context).await
    /// }
    /// # struct Claims { subject: String, expires: SystemTime }
    /// # fn verify(_: &str) -> Option<Claims> { None }
    /// # let _ = realtime_core::Realtime::builder().middleware(login);
    /// ```
    pub fn expires_in(&mut self, lifetime: Duration) {
        let known = self.0.lifetime.unwrap_or(Duration::MAX);
        self.0.lifetime = Some(known.min(lifetime));
    }

    /// Ends what is let in at this time, such as the `exp` of a token; see [`expires_in`](Self::expires_in).
    pub fn expires_at(&mut self, end: SystemTime) {
        self.expires_in(end.duration_since(SystemTime::now()).unwrap_or_default());
    }

    /// Returns the time for which it is let in, if that is limited.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.0.lifetime
    }

    /// Returns the variables, to be kept.
    pub(crate) fn variables(&self) -> Extensions {
        self.0.variables.clone()
    }

    /// Returns the same request with another bearer token, and with these variables alone. `None` if no header may hold
    /// such a token.
    pub(crate) fn with_token(&self, token: &str, variables: Extensions) -> Option<Self> {
        if token.trim().is_empty() || token.chars().any(char::is_control) {
            return None;
        }
        let mut headers = self.0.headers.only(|name| name != b"authorization");
        headers.push(b"authorization", format!("Bearer {token}").as_bytes());
        Some(Self(Box::new(Head {
            method: self.0.method.clone(),
            uri: self.0.uri.clone(),
            headers: headers.into(),
            endpoint: self.0.endpoint.clone(),
            variables,
            lifetime: None,
            ..*self.0
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        let request = http::Request::get("/a").header("authorization", "Bearer old").header("x-a", "b");
        Context::from_parts(request.body(()).unwrap().into_parts().0, None, false)
    }

    #[test]
    fn the_earliest_end_counts() {
        let mut context = context();
        assert_eq!(context.lifetime(), None);
        context.expires_in(Duration::from_secs(5));
        context.expires_in(Duration::from_secs(7));
        assert_eq!(context.lifetime(), Some(Duration::from_secs(5)));
        context.expires_at(SystemTime::UNIX_EPOCH);
        assert_eq!(context.lifetime(), Some(Duration::ZERO));
    }

    #[test]
    fn a_fresh_token_takes_the_place_of_the_old_one() {
        let mut old = context();
        old.set(7_u32);
        old.expires_in(Duration::from_secs(5));
        let new = old.with_token("new", Extensions::new()).unwrap();
        assert_eq!((new.bearer().as_deref(), new.header("x-a"), new.path()), (Some("new"), Some("b"), "/a"));
        assert_eq!(new.headers().filter(|(name, _)| *name == "authorization").count(), 1);
        assert_eq!((new.var::<u32>(), new.lifetime()), (None, None));
        for token in ["", " ", "a\nx-a: c", "a\r", "\0"] {
            assert!(old.with_token(token, Extensions::new()).is_none(), "{token:?}");
        }
    }
}
