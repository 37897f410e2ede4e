//! A request as plain data: its head, the client's address, and the variables of middleware.
//!
//! May import `util` alone.

mod bearer;
mod expiry;
mod headers;
mod peer;
mod principal;
mod proxies;

pub(crate) use bearer::is_bearer;
pub(crate) use peer::Peer;
pub use peer::PrivatePeers;
pub use principal::Principal;
pub use proxies::ForwardingHeader;
use proxies::{FORWARDING, client_ip};

use headers::{Headers, NewHeaders};
use http::{Extensions, Method, Version};
use ipnet::IpNet;
use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// The request that opened a connection. Middleware reads and extends it; a handler can read it for as long as the
/// connection lives.
///
/// Variables are keyed by type: one value of each type. Middleware sets them with [`set`](Self::set); those of the
/// framework (axum and tower extensions, `adapter_actix::Vars`) are there as well.
///
/// The head is copied into two compact buffers, so that a connection does not hold the framework's read buffer.
pub struct Context(Box<Head>);

struct Head {
    method: Method,
    version: Version,
    uri: Box<str>,
    headers: Headers,
    peer: Option<SocketAddr>,
    client: Option<IpAddr>,
    extended_connect: bool,
    ending: Ending,
    /// The id, where the path does not say it.
    endpoint: Option<Arc<str>>,
    variables: Extensions,
    /// The time for which it is let in, from when middleware began to look at it.
    lifetime: Option<Duration>,
}

/// The last segments of the path on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The id of a handler or endpoint.
    Id,
    /// The id of an endpoint, and the name of one of its procedures or subscriptions.
    IdAndName,
}

impl Context {
    /// Returns the request's method: of a WebSocket `GET`, or `CONNECT` over HTTP/2; `HEAD` if the client asks whether
    /// it would be let in.
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// Returns the request's target as sent: path and query.
    pub fn uri(&self) -> &str {
        &self.0.uri
    }

    /// Returns the path, still percent-encoded.
    pub fn path(&self) -> &str {
        self.uri().split_once('?').map_or(self.uri(), |(path, _)| path)
    }

    /// Returns the query after the `?`, still percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.uri().split_once('?').map(|(_, query)| query)
    }

    /// Returns the HTTP version of the request.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// Returns the first header of this name, ignoring case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.headers.iter();
        let (_, value) = headers.find(|(header, _)| header.eq_ignore_ascii_case(name.as_bytes()))?;
        std::str::from_utf8(value).ok()
    }

    /// Returns the value of a cookie as sent (RFC 6265): not percent-decoded, and with its quotes if it has some. Of several
    /// with the same name, the first: browsers send the one with the longest path first. Parts without a `=` are skipped.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.header_lines("cookie").flat_map(|line| line.split(|&byte| byte == b';'));
        let mut pairs = cookies.filter_map(|cookie| {
            let equals = cookie.iter().position(|&byte| byte == b'=')?;
            Some((cookie[..equals].trim_ascii(), cookie[equals + 1..].trim_ascii()))
        });
        let (_, value) = pairs.find(|(found, _)| *found == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// Returns all headers in the order received, with names in lower case. Once the connection is open, the headers
    /// of the WebSocket handshake are gone. Cookies are one header, even if HTTP/2 has split it.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
    }

    /// Returns the address of the socket's other end, if the adapter knows it: the client's, or that of a proxy.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// Returns the client's address: that of [`peer`](Self::peer), or the one reported by [trusted proxies]. An
    /// IPv4-mapped IPv6 address is returned as IPv4.
    ///
    /// [trusted proxies]: crate::Config::trusted_proxies
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.0.client
    }

    /// Returns the client, as counted by the limits of one peer.
    pub(crate) fn client_peer(&self) -> Option<Peer> {
        self.client_ip().map(Peer::from)
    }

    /// Returns the id of the requested handler, decoded: the last segment of the path, or the one before a name
    /// where the [route has both](crate::raw::Ending). On a [path of its own](crate::Mount::at) it is the handler's id.
    pub fn endpoint(&self) -> Cow<'_, str> {
        if let Some(endpoint) = &self.0.endpoint {
            return Cow::Borrowed(endpoint);
        }
        let behind = usize::from(self.0.ending == Ending::IdAndName);
        percent_decoded(self.segments().nth(behind).unwrap_or_default())
    }

    /// Sets the last segments of the path, as the [`Route`](crate::raw::Route) has them; [`Ending::Id`] by default.
    pub(crate) fn with_ending(mut self, ending: Ending) -> Self {
        self.0.ending = ending;
        self
    }

    /// Sets the id of a path that does not say it.
    pub(crate) fn set_endpoint(&mut self, endpoint: Arc<str>) {
        self.0.ending = Ending::Id;
        self.0.endpoint = Some(endpoint);
    }

    /// Returns the name in the path, decoded, if the route has one.
    pub(crate) fn name(&self) -> Option<Cow<'_, str>> {
        let name = (self.0.ending == Ending::IdAndName).then(|| self.segments().next())?;
        name.map(percent_decoded)
    }

    /// Returns the segments of the path, the last one first.
    fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().trim_end_matches('/').rsplit('/')
    }

    /// Returns the variable of type `T`.
    pub fn var<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.variables.get()
    }

    /// Sets the variable of type `T`; returns the previous one.
    pub fn set<T: Clone + Send + Sync + 'static>(&mut self, value: T) -> Option<T> {
        self.0.variables.insert(value)
    }

    /// Drops the headers of the handshake, which are no longer needed, to save memory.
    pub(crate) fn forget_handshake(&mut self) {
        self.0.headers = self.0.headers.only(|name| !HANDSHAKE.contains(&name)).into();
    }

    /// Resolves the client's address from the headers of proxies in the `trusted` networks.
    pub(crate) fn resolve_client(&mut self, trusted: &[IpNet], header: ForwardingHeader) {
        let peer = self.0.peer.map(|address| address.ip());
        self.0.client = client_ip(peer, self.headers(), trusted, header);
    }

    /// Returns true if the socket's other end counts as the client although it forwards for another.
    pub(crate) fn is_unresolved(&self) -> bool {
        let peer = self.0.peer.map(|address| address.ip().to_canonical());
        self.0.client == peer && FORWARDING.iter().any(|name| self.header_lines(name).next().is_some())
    }

    pub(crate) fn is_extended_connect(&self) -> bool {
        self.0.extended_connect
    }

    pub(crate) fn is_http1(&self) -> bool {
        self.version() < Version::HTTP_2
    }

    /// Returns the values of all headers of this name, given in lower case.
    pub(crate) fn header_lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.headers.of(name)
    }

    /// Returns true if a comma-separated header, its name given in lower case, contains `token`.
    pub(crate) fn header_has(&self, name: &str, token: &str) -> bool {
        self.header_tokens(name).any(|found| found.eq_ignore_ascii_case(token))
    }

    /// Returns the comma-separated parts of all headers of this name, given in lower case.
    pub(crate) fn header_tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.header_lines(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|token| !token.is_empty())
    }
}

const HANDSHAKE: [&[u8]; 5] =
    [b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"];

/// Omits values: headers and queries may hold secrets.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("method", self.method())
            .field("path", &self.path())
            .field("headers", &self.0.headers)
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}

/// The head of a request in any framework's types, from which an adapter creates a [`Context`].
#[derive(Debug)]
pub struct RequestHead<'a, H> {
    /// The method.
    pub method: Method,
    /// The version.
    pub version: Version,
    /// Path and query.
    pub target: &'a str,
    /// The authority of the target: always present in HTTP/2, sometimes in HTTP/1. It replaces the `host` header
    /// (RFC 9113, section 8.3.1; RFC 9112, section 3.2.2).
    pub authority: Option<&'a str>,
    /// Names and values of the headers.
    pub headers: H,
    /// The client's address, if the framework knows it.
    pub peer: Option<SocketAddr>,
    /// True for an extended CONNECT with `:protocol` `websocket` (RFC 8441).
    pub extended_connect: bool,
    /// The framework's typed extensions, without those meant for the framework itself.
    pub extensions: Extensions,
}

impl<'a, H: Iterator<Item = (&'a str, &'a [u8])>> From<RequestHead<'a, H>> for Context {
    fn from(head: RequestHead<'a, H>) -> Self {
        let (mut headers, mut cookies) = (NewHeaders::default(), Vec::new());
        let mut host = head.authority.map(|authority| ("host", host_of(authority).as_bytes()));
        for (name, value) in head.headers {
            if name.eq_ignore_ascii_case("cookie") {
                cookies.push(value);
            } else if name.eq_ignore_ascii_case("host") {
                // The authority replaces the first. A second one stays, and is refused by the check of the head.
                let (name, value) = host.take().unwrap_or((name, value));
                headers.push(name.as_bytes(), value);
            } else {
                headers.push(name.as_bytes(), value);
            }
        }
        host.into_iter().for_each(|(name, value)| headers.push(name.as_bytes(), value));
        if !cookies.is_empty() {
            // RFC 9113, section 8.2.3.
            headers.push(b"cookie", &cookies.join(&b"; "[..]));
        }
        Self(Box::new(Head {
            method: head.method,
            version: head.version,
            uri: head.target.into(),
            headers: headers.into(),
            peer: head.peer,
            client: head.peer.map(|address| address.ip().to_canonical()),
            extended_connect: head.extended_connect,
            ending: Ending::Id,
            endpoint: None,
            // A map that was emptied keeps its table.
            lifetime: None,
            variables: if head.extensions.is_empty() { Extensions::new() } else { head.extensions },
        }))
    }
}

impl Context {
    /// Creates a context from a request of the `http` crate, for adapters. All `extensions` become variables.
    pub fn from_parts(parts: http::request::Parts, peer: Option<SocketAddr>, extended_connect: bool) -> Self {
        RequestHead {
            version: parts.version,
            target: parts.uri.path_and_query().map_or("/", |target| target.as_str()),
            authority: parts.uri.authority().map(|authority| authority.as_str()),
            headers: parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
            method: parts.method,
            peer,
            extended_connect,
            extensions: parts.extensions,
        }
        .into()
    }
}

/// Decodes a segment; a malformed one is returned as it is, since no id contains a `%`.
fn percent_decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return segment.into();
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(hex_byte);
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(decoded).map_or(segment.into(), Cow::Owned)
}

fn hex_byte(digits: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(digits[0])? * 16 + digit(digits[1])?) as u8)
}

/// Returns the authority without its user part.
fn host_of(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(headers: &[(&str, &str)]) -> Context {
        RequestHead {
            method: Method::GET,
            version: Version::HTTP_11,
            target: "/__realtime/room?input=1",
            authority: None,
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())),
            peer: None,
            extended_connect: false,
            extensions: Extensions::new(),
        }
        .into()
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let context = context(&[("Host", "a:b"), ("X-Many", "a, B"), ("x-many", " c,,")]);
        assert_eq!(context.header("host"), Some("a:b"));
        assert_eq!(context.header("X-MANY"), Some("a, B"));
        assert_eq!(context.header_tokens("x-many").collect::<Vec<_>>(), ["a", "B", "c"]);
        assert!(context.header_has("x-many", "b"));
        assert_eq!(context.header("none"), None);
    }

    #[test]
    fn the_host_is_that_of_the_target_if_it_has_one() {
        let host = |target: &str| {
            let request = http::Request::get(target).header("host", "evil.example").body(()).unwrap();
            let context = Context::from_parts(request.into_parts().0, None, false);
            assert_eq!(context.headers().filter(|(name, _)| *name == "host").count(), 1);
            context.header("host").map(str::to_owned)
        };
        assert_eq!(host("https://app.example:8080/a").as_deref(), Some("app.example:8080"));
        assert_eq!(host("https://user@app.example/a").as_deref(), Some("app.example"));
        assert_eq!(host("/a").as_deref(), Some("evil.example"));
    }

    #[test]
    fn the_target_is_taken_apart() {
        let context = context(&[]);
        assert_eq!((context.path(), context.query()), ("/__realtime/room", Some("input=1")));
        assert_eq!(context.endpoint(), "room");
    }

    #[test]
    fn a_name_stands_behind_the_id_where_the_route_says_so() {
        let of = |target: &str| {
            let parts = http::Request::get(target).body(()).unwrap().into_parts().0;
            let context = Context::from_parts(parts, None, false).with_ending(Ending::IdAndName);
            (context.endpoint().into_owned(), context.name().map(Cow::into_owned))
        };
        assert_eq!(of("/a/room/users.me?x=/y"), ("room".into(), Some("users.me".into())));
        assert_eq!(of("/r%6fom/%C5%BE%2Fb%20"), ("room".into(), Some("\u{17e}/b ".into())));
        assert_eq!(of("/room/%zz"), ("room".into(), Some("%zz".into())));
        assert_eq!(context(&[]).name(), None);
    }

    #[test]
    fn an_id_may_be_encoded() {
        for (segment, decoded) in [
            ("til%7Ede", "til~de"),
            ("%72%6F%6f%6D", "room"),
            ("a+b", "a+b"),
            ("%", "%"),
            ("%7", "%7"),
            ("%7g%61", "%7ga"),
            ("%é", "%é"),
            ("%+1", "%+1"),
            ("%ff", "%ff"),
        ] {
            assert_eq!(percent_decoded(segment), decoded);
        }
    }

    #[test]
    fn cookies_are_one_header_and_found_by_name() {
        let context =
            context(&[("Cookie", "a=1"), ("cookie", "session=s=3d;b = 2 "), ("COOKIE", "a=3; flag; c=")]);
        assert_eq!(context.header("cookie"), Some("a=1; session=s=3d;b = 2 ; a=3; flag; c="));
        let cookies = ["a", "b", "c", "session", "A", "flag", ""].map(|name| context.cookie(name));
        assert_eq!(cookies, [Some("1"), Some("2"), Some(""), Some("s=3d"), None, None, None]);
        assert_eq!(super::tests::context(&[]).cookie("a"), None);
        let context = super::tests::context(&[("cookie", r#";; a="x y"; =b;b=%41"#)]);
        assert_eq!(["a", "b"].map(|name| context.cookie(name)), [Some(r#""x y""#), Some("%41")]);
    }

    #[test]
    fn the_client_is_the_peer_unless_a_trusted_proxy_says_otherwise() {
        let mut context = context(&[("X-Forwarded-For", "203.0.113.7")]);
        assert_eq!(context.client_ip(), None);
        context.0.peer = Some("[::ffff:10.0.0.1]:4711".parse().unwrap());
        context.resolve_client(&[], ForwardingHeader::default());
        assert!(context.is_unresolved());
        assert_eq!(context.client_ip(), Some([10, 0, 0, 1].into()));
        context.resolve_client(&["10.0.0.0/8".parse().unwrap()], ForwardingHeader::default());
        assert_eq!(context.client_ip(), Some([203, 0, 113, 7].into()));
        assert!(!context.is_unresolved());
    }

    #[test]
    fn variables_are_found_by_type() {
        let mut context = context(&[]);
        assert_eq!(context.set(7_u32), None);
        assert_eq!(context.set(8_u32), Some(7));
        assert_eq!((context.var::<u32>(), context.var::<u64>()), (Some(&8), None));
    }
}
