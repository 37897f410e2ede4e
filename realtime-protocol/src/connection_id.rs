use crate::error::Error;
use std::{fmt, str::FromStr};

/// The name of one connection, the same wherever it is shown: in the `welcome`, in logs, in
/// exclusions and in `Realtime::find`.
///
/// Unique among the nodes of a cluster and over restarts. It is no secret and grants nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    #[doc(hidden)]
    pub node: u64,
    #[doc(hidden)]
    pub number: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.node, self.number)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ConnectionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (node, number) = text.split_once('-')?;
            Some(Self { node: u64::from_str_radix(node, 16).ok()?, number: u64::from_str_radix(number, 16).ok()? })
        };
        parse().ok_or_else(|| Error::invalid_argument("not a connection id"))
    }
}

impl<'de> serde::Deserialize<'de> for ConnectionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

impl serde::Serialize for ConnectionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = ConnectionId { node: 7, number: u64::MAX };
        assert_eq!(id.to_string().parse::<ConnectionId>().unwrap(), id);
        assert!("".parse::<ConnectionId>().is_err());
        assert!("x-1".parse::<ConnectionId>().is_err());
    }
}
