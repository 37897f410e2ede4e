use crate::error::Error;
use std::{error::Error as StdError, fmt};

/// So that `?` works in functions of other errors: `main`, tests, and what returns an `anyhow::Error`.
///
/// # Examples
///
/// ```
/// use realtime_protocol::{Error, Result};
/// use std::error::Error as StdError;
///
/// fn lookup() -> Result<u32> {
///     Err(Error::not_found("no such room"))
/// }
///
/// fn run() -> Result<(), Box<dyn StdError>> {
///     lookup()?;
///     Ok(())
/// }
/// assert_eq!(run().unwrap_err().to_string(), "NOT_FOUND: no such room");
///
/// // And back, with a code of one's own or as the cause of an internal error:
/// fn open(path: &str) -> Result<Vec<u8>> {
///     std::fs::read(path).map_err(|error| Error::unavailable("the store is away").with_source(error))
/// }
///
/// fn migrate() -> Result {
///     run().map_err(|error| Error::internal(error.to_string()))?;
///     boxed().map_err(Error::internal) // what is no error itself: a box, an `anyhow::Error`, a text
/// }
///
/// fn boxed() -> Result<(), Box<dyn StdError + Send + Sync>> {
///     Err("it broke".into())
/// }
/// assert!(open("/no such file").is_err() && migrate().is_err());
/// ```
impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        Box::new(Standard(error))
    }
}

impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        Box::new(Standard(error))
    }
}

/// An [`Error`] that implements the trait, which the type itself cannot.
struct Standard(Error);

impl StdError for Standard {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().map(|source| source as _)
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boxed_error_has_its_text_and_its_cause() {
        let error = Error::unavailable("later").with_source("the disk is full");
        let boxed: Box<dyn StdError + Send + Sync> = error.into();
        assert_eq!(boxed.to_string(), "UNAVAILABLE: later");
        assert_eq!(boxed.source().map(|source| source.to_string()).as_deref(), Some("the disk is full"));
        assert_eq!(format!("{boxed:?}"), "UNAVAILABLE: later: the disk is full");
    }
}
