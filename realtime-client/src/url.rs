use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use std::fmt;

/// The address of an endpoint. `Debug` leaves out user info and query, which may be secret.
pub(crate) struct Url {
    pub(crate) is_secure: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Host`: the host, and the port if the URL has one.
    pub(crate) authority: String,
    /// The path and the query.
    pub(crate) path: String,
    /// The user info, as Basic authorization.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Url {
    /// # Errors
    ///
    /// The text is not a WebSocket URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        Self::read(url).map_err(|wrong| format!("invalid WebSocket URL {}: {wrong}", redacted(url)))
    }

    fn read(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let is_secure = match &*scheme {
            "ws" => false,
            "wss" if cfg!(feature = "rustls") => true,
            "wss" => return Err("it needs the feature `rustls`".to_owned()),
            _ => return Err("it begins with neither ws:// nor wss://".to_owned()),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (user, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("it has no host".to_owned());
        }
        let default = if is_secure { 443 } else { 80 };
        let port = authority.strip_prefix(uri.host().unwrap_or_default()).and_then(|port| port.strip_prefix(':'));
        let port = port.filter(|port| !port.is_empty()).map_or(Ok(default), str::parse);
        let port = port.map_err(|_| "its port is not a number up to 65535".to_owned())?;
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            is_secure,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: format!("{slash}{path}"),
            authorization: basic(user),
        })
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

/// Converts the user info of a URL to Basic authorization (RFC 7617).
fn basic(user: &str) -> Option<HeaderValue> {
    if user.is_empty() {
        return None;
    }
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut credentials = percent_decoded(name);
    credentials.push(b':');
    credentials.extend(percent_decoded(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let hex = after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                decoded.push(escaped);
                rest = &after[2..];
            }
            None => decoded.push(*byte),
        }
    }
    decoded
}

/// Quotes an invalid URL without the parts that may be secret.
fn redacted(url: &str) -> String {
    if !url.contains(['@', '?', '#']) {
        return format!("{url:?}");
    }
    match url.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            format!("\"{scheme}://…\"")
        }
        _ => "\"…\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, host, port, authority, path) in [
            ("ws://a/b", "a", 80, "a", "/b"),
            ("WS://A.b:81/c?d=e&f", "A.b", 81, "A.b:81", "/c?d=e&f"),
            ("ws://a", "a", 80, "a", "/"),
            ("ws://[::1]", "::1", 80, "[::1]", "/"),
            ("ws://a:", "a", 80, "a:", "/"),
            ("ws://a?x=1", "a", 80, "a", "/?x=1"),
            ("ws://[::1]:3000/x#y", "::1", 3000, "[::1]:3000", "/x"),
            ("ws://u:p@a:81/", "a", 81, "a:81", "/"),
        ] {
            let read = Url::parse(url).unwrap();
            assert_eq!((&*read.host, read.port, &*read.authority, &*read.path), (host, port, authority, path));
            assert!(!read.is_secure);
        }
        assert_eq!(
            Url::parse("Wss://a/").is_ok_and(|url| url.is_secure && url.port == 443),
            cfg!(feature = "rustls")
        );
    }

    #[test]
    fn user_info_becomes_basic_authorization() {
        for (url, authorization) in [
            ("ws://Aladdin:open%20sesame@a/", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ("ws://a%3:%C3%A4%40@a/", Some("Basic YSUzOsOkQA==")),
            ("ws://name@a/", Some("Basic bmFtZTo=")),
            ("ws://@a/", None),
            ("ws://a/", None),
        ] {
            let found = Url::parse(url).unwrap().authorization;
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), authorization, "{url}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let url = Url::parse("ws://name:secret@host:81/path?token=secret").unwrap();
        assert_eq!(format!("{url:?}"), "ws://host:81/path");
        for url in [
            "http://name:secret@host/",
            "ws://name:sec ret@host/",
            "ws://name:s?cret@host/",
            "ws://host /?token=secret@x",
            "ws//name:secret@host",
            "wss:/host?secret",
            "ws://host:65536/?secret",
        ] {
            let wrong = Url::parse(url).unwrap_err();
            assert!(!wrong.contains("s?cret") && !wrong.contains("sec"), "{wrong}");
            assert!(wrong.starts_with("invalid WebSocket URL \""), "{wrong}");
        }
        assert!(Url::parse("http://host/").unwrap_err().contains("\"http://host/\""));
    }
}
