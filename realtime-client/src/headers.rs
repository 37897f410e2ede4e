use crate::{handlers::BoxFuture, state::Cause, url::Url};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::fmt;

/// The headers that the application adds to each request for a connection.
#[derive(Default)]
pub(crate) struct Headers {
    token: Option<Fetch>,
    others: Vec<(HeaderName, Source)>,
}

/// A function that returns a new value.
pub(crate) type Fetch = Box<dyn Fn() -> BoxFuture<realtime_protocol::Result<String>> + Send + Sync>;

enum Source {
    Fixed(HeaderValue),
    Fetched(Fetch),
}

impl Headers {
    pub(crate) fn set_token(&mut self, token: Fetch) {
        self.token = Some(token);
    }

    /// # Errors
    ///
    /// The name or value is invalid.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = check_name(name)?;
        let value = check_value(&name, value)?;
        self.others.push((name, Source::Fixed(value)));
        Ok(())
    }

    /// # Errors
    ///
    /// The name is invalid.
    pub(crate) fn add_fetched(&mut self, name: &str, fetch: Fetch) -> Result<(), String> {
        self.others.push((check_name(name)?, Source::Fetched(fetch)));
        Ok(())
    }

    /// Returns true if the next request may have other credentials than the last.
    pub(crate) fn are_fetched(&self) -> bool {
        self.token.is_some() || self.others.iter().any(|(_, source)| matches!(source, Source::Fetched(_)))
    }

    /// Fetches a fresh token, if there is a way to.
    pub(crate) fn fetch_token(&self) -> Option<BoxFuture<realtime_protocol::Result<String>>> {
        self.token.as_ref().map(|token| token())
    }

    /// Returns the headers of one request. As authorization, a token takes precedence over a header, and a header over
    /// the URL.
    pub(crate) async fn fetch(&self, url: &Url) -> Result<HeaderMap, Cause> {
        let mut headers = HeaderMap::new();
        for (name, source) in &self.others {
            let value = match source {
                Source::Fixed(value) => value.clone(),
                Source::Fetched(fetch) => {
                    let value = fetch().await.map_err(|error| Cause::Header(format!("{name}: {error:?}")))?;
                    check_value(name, &value).map_err(Cause::Header)?
                }
            };
            headers.append(name, value);
        }
        if let Some(token) = &self.token {
            let token = token().await.map_err(|error| Cause::Token(format!("{error:?}")))?;
            let value = check_value(&header::AUTHORIZATION, &format!("Bearer {token}"));
            let value = value.map_err(|_| Cause::Token("it has invalid characters".to_owned()))?;
            headers.insert(header::AUTHORIZATION, value);
        }
        if let Some(authorization) = &url.authorization {
            headers.entry(header::AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        Ok(headers)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.others.iter().map(|(name, _)| name.as_str())).finish()
    }
}

fn check_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::try_from(name).map_err(|_| format!("invalid header name: {name:?}"))?;
    let lower = parsed.as_str();
    if RESERVED.contains(&lower) || lower.starts_with("sec-websocket-") {
        return Err(format!("the header {lower} is reserved"));
    }
    Ok(parsed)
}

fn check_value(name: &HeaderName, value: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::try_from(value);
    let mut value = value.map_err(|_| format!("the value of the header {name} has invalid characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The headers of the handshake, and those that frame a request.
const RESERVED: [&str; 5] = ["host", "connection", "upgrade", "content-length", "transfer-encoding"];
