use super::Context;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use std::borrow::Cow;

impl Context {
    /// Returns the client's bearer token: from `Authorization: Bearer <token>`, or else from a subprotocol that the
    /// client offers, since a page can set no header on a WebSocket: `bearer.<token>`, or `bearer64.<token in base64url>`
    /// for a token that is no token of RFC 9110. Returns `None` if there is none, or an empty or unreadable one.
    ///
    /// The subprotocol is never selected or sent back.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Accepted, Context, Next, Principal, Reject};
    ///
    /// async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    ///     let token = context.bearer().ok_or_else(Reject::unauthorized)?;
    ///     let user = user_of(&token).ok_or_else(Reject::unauthorized)?;
    ///     context.set(Principal(user));
    ///     next.run(context).await
    /// }
    /// # fn user_of(_: &str) -> Option<String> { None }
    /// ```
    pub fn bearer(&self) -> Option<Cow<'_, str>> {
        let header = self.header("authorization").and_then(of_authorization).map(Cow::Borrowed);
        let token = header.or_else(|| self.header_tokens("sec-websocket-protocol").find_map(of_subprotocol));
        token.filter(|token| !token.is_empty())
    }
}

/// Returns true if a subprotocol carries a token, and is none that a server could select.
pub(crate) fn is_bearer(subprotocol: &str) -> bool {
    [PLAIN, ENCODED].iter().any(|prefix| subprotocol.starts_with(prefix))
}

fn of_authorization(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn of_subprotocol(offered: &str) -> Option<Cow<'_, str>> {
    if let Some(token) = offered.strip_prefix(PLAIN) {
        return Some(token.into());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(offered.strip_prefix(ENCODED)?).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

const PLAIN: &str = "bearer.";
const ENCODED: &str = "bearer64.";

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(headers: &[(&str, &str)]) -> Option<String> {
        let request =
            headers.iter().fold(http::Request::get("/"), |request, (name, value)| request.header(*name, *value));
        let context = Context::from_parts(request.body(()).unwrap().into_parts().0, None, false);
        context.bearer().map(Cow::into_owned)
    }

    #[test]
    fn a_token_is_found_wherever_a_client_can_put_it() {
        const OFFERS: &str = "sec-websocket-protocol";
        for (headers, token) in [
            (&[("authorization", "Bearer a.b-c==")][..], Some("a.b-c==")),
            (&[("authorization", "bearer  a ")], Some("a")),
            (&[("authorization", "Basic YTpi")], None),
            (&[("authorization", "Bearer")], None),
            (&[("authorization", "Bearer ")], None),
            (&[("authorization", "Bearera")], None),
            (&[(OFFERS, "realtime.v1.json, bearer.a.b-c_d~1")], Some("a.b-c_d~1")),
            (&[(OFFERS, "realtime.v1.json"), (OFFERS, "bearer.a")], Some("a")),
            (&[(OFFERS, "bearer64.YSBiLz0sxb4_Pg")], Some("a b/=,\u{17e}?>")),
            (&[(OFFERS, "bearer64.")], None),
            (&[(OFFERS, "bearer.")], None),
            (&[(OFFERS, "bearer64.YQ==")], None),
            (&[(OFFERS, "bearer64.!")], None),
            (&[(OFFERS, "bearer64._w")], None),
            (&[(OFFERS, "bearer64.!, bearer.a")], Some("a")),
            (&[(OFFERS, "bearera, realtime.v1.json")], None),
            (&[("authorization", "Bearer a"), (OFFERS, "bearer.b")], Some("a")),
            (&[("authorization", "Basic YTpi"), (OFFERS, "bearer.b")], Some("b")),
            (&[], None),
        ] {
            assert_eq!(bearer(headers).as_deref(), token, "{headers:?}");
        }
    }
}
