use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Adds headers to a response. They replace those of the same name, except for the headers in [`JOINED`].
pub(crate) fn merge(headers: &mut HeaderMap, more: HeaderMap) {
    let mut name = None;
    for (next, value) in more {
        // The iterator yields a name only with its first value.
        let first = next.is_some();
        name = next.or(name);
        let Some(name) = name.clone() else { continue };
        if first && !JOINED.contains(&name) {
            headers.insert(name, value);
        } else if !headers.get_all(&name).iter().any(|known| *known == value) {
            headers.append(name, value);
        }
    }
}

/// Returns the header that closes an HTTP/1 connection after the response.
pub(super) fn closing() -> HeaderMap {
    HeaderMap::from_iter([(header::CONNECTION, HeaderValue::from_static("close"))])
}

/// Headers that a response may have several times, each for its own reason.
const JOINED: [HeaderName; 4] =
    [header::VARY, header::SET_COOKIE, header::ACCESS_CONTROL_EXPOSE_HEADERS, header::CONNECTION];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_added_replaces_or_joins_what_is_there() {
        let mut merged = headers(&[
            (header::VARY, "Accept-Language"),
            (header::CACHE_CONTROL, "no-store"),
            (header::SET_COOKIE, "a=1"),
        ]);
        let more = [
            (header::VARY, "Origin"),
            (header::VARY, "Accept-Language"),
            (header::CACHE_CONTROL, "private"),
            (header::CACHE_CONTROL, "max-age=1"),
            (header::SET_COOKIE, "b=2"),
        ];
        merge(&mut merged, headers(&more));
        let all = |name| merged.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all(header::VARY), ["Accept-Language", "Origin"]);
        assert_eq!(all(header::CACHE_CONTROL), ["private", "max-age=1"]);
        assert_eq!(all(header::SET_COOKIE), ["a=1", "b=2"]);
    }
}
