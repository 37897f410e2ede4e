//! The pages that may connect: checks `Origin` against `Host` and the application's list.

use std::fmt;

/// The pages that may connect. Browsers send `Origin` with every WebSocket request, and send cookies to whatever host
/// the page names, so a foreign page could act as the user (RFC 6455, section 10.2).
///
/// Requests without `Origin` do not come from a browser's page and are allowed.
///
/// Origins are compared by meaning: a default port may be left out (`https://app.example.com` equals
/// `https://app.example.com:443`), case and a trailing slash do not matter. An international domain is compared in the
/// form that browsers send, `https://xn--…`.
///
/// If a proxy or a development server (Vite on port 5173) rewrites `Host`, or serves the page on another port, the
/// request's host is not the page's: add the page's origin to a [`List`](Self::List). The refusal, and a warning in the
/// log, name both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// The origin's host and port equal those of the request's `Host`. A `Host` without a port has the default port
    /// of the origin's scheme, since a proxy may end TLS.
    SameHost,
    /// One of these origins, as browsers write them (`https://app.example.com`), or the same host.
    List(Vec<String>),
    /// Any page. Only safe if nothing depends on cookies or on the network that a browser is in.
    Any,
}

impl Origins {
    pub(crate) fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let page = Page::parse(origin);
        let same_host = || page.as_ref().zip(host).is_some_and(|(page, host)| page.is_on(host));
        match self {
            Self::Any => true,
            Self::SameHost => same_host(),
            Self::List(list) => list.iter().any(|allowed| is_same(allowed, origin, page.as_ref())) || same_host(),
        }
    }

    /// Panics if the list has an origin that no browser sends.
    #[track_caller]
    pub(crate) fn check(&self) {
        let Self::List(list) = self else { return };
        for allowed in list {
            let valid = allowed == "null" || (allowed.is_ascii() && Page::parse(allowed).is_some());
            assert!(
                valid,
                "Origins::List has {allowed:?}, which is not an origin: browsers send \"https://app.example.com\", with \
                 the port if it is not the default one, without a path, and international domains as \"xn--…\"",
            );
        }
    }
}

/// Compares origins; those without a host, such as `null`, as text.
fn is_same(allowed: &str, origin: &str, page: Option<&Page<'_>>) -> bool {
    match (Page::parse(allowed), page) {
        (Some(allowed), Some(page)) => allowed == *page,
        _ => allowed.eq_ignore_ascii_case(origin),
    }
}

/// The parts of an origin that names a host.
#[derive(Debug)]
struct Page<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Page<'a> {
    fn parse(origin: &'a str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#', '@', '\\']) {
            return None;
        }
        let (host, port) = split_port(authority)?;
        let port = port.or_else(|| default_port(scheme));
        Some(Self { scheme, host, port })
    }

    fn is_on(&self, host: &str) -> bool {
        let Some((host, port)) = split_port(host) else { return false };
        let port = port.or_else(|| default_port(self.scheme));
        self.host.eq_ignore_ascii_case(host) && self.port == port
    }
}

impl PartialEq for Page<'_> {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        same(self.scheme, other.scheme) && same(self.host, other.host) && self.port == other.port
    }
}

/// Splits a non-empty host from its port. IPv6 addresses are in brackets.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = authority[end..].find(':').map(|at| end + at);
    let (host, port) = match colon {
        Some(colon) => (&authority[..colon], &authority[colon + 1..]),
        None => (authority, ""),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    if host.is_empty() || !digits || (colon.is_none() && end > 0 && end < authority.len()) {
        return None;
    }
    match port {
        // RFC 3986, section 3.2.3: an empty port means the default.
        "" => Some((host, None)),
        port => Some((host, Some(port.parse().ok()?))),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    match () {
        () if is("https") || is("wss") => Some(443),
        () if is("http") || is("ws") => Some(80),
        () => None,
    }
}

/// The reason why a page may not connect, and the setting that would allow it.
pub(crate) struct Foreign<'a> {
    pub(crate) origin: &'a str,
    pub(crate) host: Option<&'a str>,
}

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.unwrap_or_default();
        let clip = |text| realtime_protocol::internal::clip(text, MAX_SHOWN);
        write!(
            f,
            "pages of the origin {:?} may not connect to the host {:?}: if they should, add the origin to \
             Config::origins, an Origins::List",
            clip(self.origin),
            clip(host),
        )
    }
}

/// The longest host name.
const MAX_SHOWN: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_host_compares_host_and_port() {
        let same = |origin| Origins::SameHost.allows(origin, Some("app.example.com:8080"));
        assert!(same("https://app.example.com:8080"));
        assert!(same("http://APP.example.com:8080"));
        assert!(same("http://app.example.com:8080/"));
        for foreign in [
            "https://app.example.com",
            "https://evil.com",
            "null",
            "",
            "https://app.example.com:8080.evil.com",
            "https://app.example.com:8080@evil.com",
            "https://app.example.com:8080/path",
            "https://app.example.com:+8080",
            "https://app.example.com:73616",
        ] {
            assert!(!same(foreign), "{foreign}");
        }
        assert!(!Origins::SameHost.allows("https://a", None));
        assert!(!Origins::SameHost.allows("file://", Some("")));
    }

    #[test]
    fn a_default_port_may_be_left_out() {
        let same = |origin, host| Origins::SameHost.allows(origin, Some(host));
        for (origin, host) in [
            ("https://app.test", "app.test:443"),
            ("https://app.test:443", "app.test"),
            ("http://app.test", "app.test:80"),
            ("http://app.test:80", "App.Test"),
            ("https://app.test", "app.test:"),
            ("https://[2001:DB8::1]", "[2001:db8::1]:443"),
        ] {
            assert!(same(origin, host), "{origin} on {host}");
        }
        for (origin, host) in [
            ("https://app.test", "app.test:80"),
            ("http://app.test", "app.test:443"),
            ("https://app.test:80", "app.test"),
            ("other://app.test", "app.test:443"),
            ("https://[2001:db8::1]", "[2001:db8::1]443"),
        ] {
            assert!(!same(origin, host), "{origin} on {host}");
        }
    }

    #[test]
    fn a_list_adds_to_the_same_host() {
        let list = Origins::List(vec!["https://a.example".into(), "HTTP://C.example:80/".into(), "null".into()]);
        list.check();
        assert!(list.allows("https://a.example", Some("b")));
        assert!(list.allows("https://A.example:443", Some("b")));
        assert!(list.allows("http://c.example", Some("b")));
        assert!(list.allows("null", Some("b")));
        assert!(list.allows("https://b", Some("b")));
        assert!(!list.allows("http://a.example", Some("b")));
        assert!(!list.allows("https://a.example:8443", Some("b")));
    }

    /// In the form that browsers send, on either side.
    #[test]
    fn an_international_domain_is_compared_in_ascii() {
        let list = Origins::List(vec!["https://xn--bcher-kva.example".into()]);
        list.check();
        assert!(list.allows("https://xn--bcher-kva.example", Some("b")));
        assert!(list.allows("https://XN--BCHER-KVA.example:443", Some("b")));
        assert!(!list.allows("https://bücher.example", Some("b")));
        assert!(Origins::SameHost.allows("https://xn--bcher-kva.example", Some("xn--bcher-kva.example")));
    }

    #[test]
    fn a_list_has_nothing_that_no_browser_sends() {
        for wrong in ["app.example.com", "*", "https://app.example.com/chat", "https://bücher.example", "https://"]
        {
            let check = || Origins::List(vec![wrong.into()]).check();
            assert!(std::panic::catch_unwind(check).is_err(), "{wrong}");
        }
    }
}
