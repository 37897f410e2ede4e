use crate::{
    error::{Error, Result},
    overflow::Gap,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A place in a sequence of messages, from which a client that lost its connection goes on.
///
/// Offsets are compared within one epoch only: a source that was restarted, or lost some of its messages, begins
/// another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The name of the sequence, of 1 to 64 bytes.
    pub epoch: String,
    /// The place in it.
    pub offset: u64,
}

impl Position {
    /// The place `offset` in the sequence `epoch`.
    pub fn new(epoch: impl Into<String>, offset: u64) -> Self {
        Self { epoch: epoch.into(), offset }
    }
}

/// `epoch:offset`, as in the `id` of a server-sent event.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (epoch, offset) = text.rsplit_once(':')?;
            let valid = (1..=MAX_EPOCH_BYTES).contains(&epoch.len());
            valid.then_some(Self { epoch: epoch.to_owned(), offset: offset.parse().ok()? })
        };
        parse().ok_or_else(|| Error::invalid_argument("not a position: epoch, colon, number"))
    }
}

pub(crate) const MAX_EPOCH_BYTES: usize = 64;

/// One message of a subscription, with what is to be said about it.
///
/// # Examples
///
/// ```
/// use realtime_core::{Item, Position};
///
/// let item = Item::new("text").at(Position::new("2026", 7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    pub(crate) value: T,
    pub(crate) position: Option<Position>,
    pub(crate) event: Option<&'static str>,
    pub(crate) after: Option<Gap>,
}

impl<T> Item<T> {
    /// A message.
    pub fn new(value: T) -> Self {
        Self { value, position: None, event: None, after: None }
    }

    /// Sets its position: a client that resumes says the last one that it has seen.
    #[must_use = "the changed item is returned"]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Names the event as which it is sent over server-sent events; elsewhere it is not told.
    #[must_use = "the changed item is returned"]
    pub fn event(mut self, name: &'static str) -> Self {
        self.event = Some(name);
        self
    }

    /// Says that messages before it are missing: those that a client asked for which resumes, and that are gone.
    #[must_use = "the changed item is returned"]
    pub fn after(mut self, gap: Gap) -> Self {
        self.after = Some(gap);
        self
    }
}

/// What a subscription's stream may yield: a `T`, an [`Item`] of it, or a [`Result`](crate::Result) of either.
/// After an error the subscription ends.
#[diagnostic::on_unimplemented(
    message = "a stream of `{Self}` is not one of `{T}`",
    label = "the subscription's stream must yield `{T}`, `Item<{T}>`, or a `Result` of either"
)]
pub trait IntoItem<T> {
    /// The item.
    ///
    /// # Errors
    ///
    /// That with which the subscription ends.
    fn into_item(self) -> Result<Item<T>>;
}

impl<T> IntoItem<T> for T {
    fn into_item(self) -> Result<Item<T>> {
        Ok(Item::new(self))
    }
}

impl<T> IntoItem<T> for Item<T> {
    fn into_item(self) -> Result<Item<T>> {
        Ok(self)
    }
}

impl<T> IntoItem<T> for Result<T> {
    fn into_item(self) -> Result<Item<T>> {
        self.map(Item::new)
    }
}

impl<T> IntoItem<T> for Result<Item<T>> {
    fn into_item(self) -> Result<Item<T>> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text() {
        for position in [Position::new("a:b", 7), Position::new("x", u64::MAX)] {
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
        for wrong in ["", ":", "7", ":7", "a:", "a:-1", "a:x", &format!("{}:1", "e".repeat(65))] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
