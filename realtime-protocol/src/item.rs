use crate::{
    error::{Error, Result},
    overflow::Gap,
    text::clip,
    whole::MAX_SAFE_INTEGER,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Unexpected, Visitor},
};
use std::{fmt, str::FromStr};

/// A position in a sequence of messages, from which a client resumes after a lost connection.
///
/// Offsets are comparable only within one epoch. A source that restarts or loses messages starts a new epoch. A source
/// that spans several nodes adds a proof, which no other history has at this offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Position {
    /// The name of the sequence, 1 to 64 bytes.
    pub epoch: String,
    /// The offset within the epoch.
    #[serde(with = "offset")]
    #[cfg_attr(feature = "schema", schemars(with = "Offset"))]
    pub offset: u64,
    /// The proof of the history up to this offset, 1 to 16 ASCII letters and digits; absent where the epoch is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

impl Position {
    /// Creates the position `offset` in the sequence `epoch`.
    pub fn new(epoch: impl Into<String>, offset: u64) -> Self {
        Self { epoch: epoch.into(), offset, proof: None }
    }

    /// Adds the proof.
    #[must_use = "the position with its proof is returned"]
    pub fn with_proof(mut self, proof: impl Into<String>) -> Self {
        self.proof = Some(proof.into());
        self
    }
}

/// Formats as `epoch:offset`, or `epoch:offset~proof`: the `id` of a server-sent event.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)?;
        self.proof.as_ref().map_or(Ok(()), |proof| write!(f, "~{proof}"))
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (epoch, rest) = text.rsplit_once(':')?;
            let (offset, proof) = match rest.split_once('~') {
                Some((offset, proof)) => (offset, Some(proof)),
                None => (rest, None),
            };
            let valid = (1..=MAX_EPOCH_BYTES).contains(&epoch.len()) && proof.is_none_or(is_proof);
            let digits = offset.bytes().all(|byte| byte.is_ascii_digit());
            let proof = proof.map(str::to_owned);
            (valid && digits).then_some(Self { epoch: epoch.to_owned(), offset: offset.parse().ok()?, proof })
        };
        parse().ok_or_else(|| Error::invalid_argument("not a position: expected `epoch:offset`"))
    }
}

pub(crate) const MAX_EPOCH_BYTES: usize = 64;

pub(crate) const MAX_PROOF_BYTES: usize = 16;

/// Returns true if the text may be a proof: then a position with it has one meaning as text.
pub(crate) fn is_proof(text: &str) -> bool {
    (1..=MAX_PROOF_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The position of an entry that a call has appended to a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The name of the feed.
    pub topic: String,
    /// The place of the entry in its log.
    #[serde(flatten)]
    pub position: Position,
}

/// An offset in its wire form: a number, or from 2⁵³ on a string of digits, because JavaScript's numbers lose
/// precision there. Both forms are accepted. Binary formats always have the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(pub u64);

impl Offset {
    /// Returns true if it is sent as a string in a human-readable format.
    pub(crate) fn is_text(self) -> bool {
        self.0 > MAX_SAFE_INTEGER
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_text() && serializer.is_human_readable() {
            return serializer.collect_str(&self.0);
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(ReadOffset);
        }
        u64::deserialize(deserializer).map(Self)
    }
}

struct ReadOffset;

impl Visitor<'_> for ReadOffset {
    type Value = Offset;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from 0 to {}, or its digits", u64::MAX)
    }

    fn visit_u64<E: de::Error>(self, offset: u64) -> Result<Offset, E> {
        Ok(Offset(offset))
    }

    fn visit_i64<E: de::Error>(self, offset: i64) -> Result<Offset, E> {
        let offset = offset.try_into().map_err(|_| E::invalid_value(Unexpected::Signed(offset), &self))?;
        Ok(Offset(offset))
    }

    fn visit_str<E: de::Error>(self, digits: &str) -> Result<Offset, E> {
        let wrong = || E::custom(format_args!("{:?} is not {}", clip(digits, 40), &self as &dyn de::Expected));
        // `parse` takes a plus sign as well.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse().map(Offset).map_err(|_| wrong())
    }
}

/// Serializes a `u64` field as an [`Offset`], for `#[serde(with = …)]`.
pub(crate) mod offset {
    use super::{Deserialize, Deserializer, Offset, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(offset: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        Offset(*offset).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Offset::deserialize(deserializer).map(|offset| offset.0)
    }

    /// Serializes an `Option<u64>` field the same way.
    pub(crate) mod option {
        use super::{Deserialize, Deserializer, Offset, Serialize, Serializer};

        pub(crate) fn serialize<S: Serializer>(offset: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
            offset.map(Offset).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
            Ok(Option::<Offset>::deserialize(deserializer)?.map(|offset| offset.0))
        }
    }
}

/// An item of a subscription, with an optional position, event name, and gap before it.
///
/// # Examples
///
/// ```
/// use realtime_core::{Item, Position};
///
/// let item = Item::new("text").with_position(Position::new("2026", 7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    #[doc(hidden)]
    pub value: T,
    #[doc(hidden)]
    pub position: Option<Position>,
    #[doc(hidden)]
    pub event: Option<&'static str>,
    #[doc(hidden)]
    pub after: Option<Gap>,
}

impl<T> Item<T> {
    /// Creates an item with a value only.
    pub fn new(value: T) -> Self {
        Self { value, position: None, event: None, after: None }
    }

    /// Sets the position. A client that resumes sends the last position it received.
    #[must_use = "the changed item is returned"]
    pub fn with_position(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Sets the name of the server-sent event; it is not sent over other transports.
    #[must_use = "the changed item is returned"]
    pub fn with_event(mut self, name: &'static str) -> Self {
        self.event = Some(name);
        self
    }

    /// Adds a gap before the item: messages after the client's position that are no longer available.
    #[must_use = "the changed item is returned"]
    pub fn with_gap(mut self, gap: Gap) -> Self {
        self.after = Some(gap);
        self
    }
}

/// Types that a subscription's stream may yield: `T`, [`Item<T>`](Item), or a [`Result`](crate::Result) of either. An
/// error ends the subscription.
#[diagnostic::on_unimplemented(
    message = "a stream of `{Self}` is not one of `{T}`",
    label = "the subscription's stream must yield `{T}`, `Item<{T}>`, or a `Result` of either"
)]
pub trait IntoItem<T> {
    /// Converts into an item.
    ///
    /// # Errors
    ///
    /// Returns the error that ends the subscription.
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
        let proven = Position::new("a~b:c", 7).with_proof("0123456789abcdef");
        assert_eq!(proven.to_string(), "a~b:c:7~0123456789abcdef");
        for position in [Position::new("a:b", 7), Position::new("x", u64::MAX), proven] {
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
        assert!("e:+7".parse::<Position>().is_err());
        let long = [format!("{}:1", "e".repeat(65)), format!("e:1~{}", "p".repeat(17))];
        let long = long.iter().map(String::as_str);
        let wrong = ["", ":", "7", ":7", "a:", "a:-1", "a:x", "a:1~", "a:~p", "a:1~p~p", "a:1~é", "a~p"];
        for wrong in wrong.into_iter().chain(long) {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_offset_that_javascript_cannot_hold_travels_as_text() {
        for (offset, json) in [
            (0, "0"),
            ((1 << 53) - 1, "9007199254740991"),
            (1 << 53, "\"9007199254740992\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            assert_eq!(serde_json::to_string(&Offset(offset)).unwrap(), json);
            for read in [offset.to_string(), format!("\"{offset}\"")] {
                assert_eq!(serde_json::from_str::<Offset>(&read).unwrap(), Offset(offset));
            }
        }
        for wrong in ["-1", "0.5", "null", "[]", "\"\"", "\"+1\"", "\"-1\"", "\"1 \"", "18446744073709551616"] {
            assert!(serde_json::from_str::<Offset>(wrong).is_err(), "{wrong}");
        }
    }
}
