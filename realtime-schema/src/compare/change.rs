//! The kinds of changes, and their effect on clients.

use crate::document::Direction;
use std::fmt;

/// A difference between two schemas, or two servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    FieldMore {
        required: bool,
    },
    FieldLess {
        was_required: bool,
        is_refused: bool,
    },
    Required,
    Optional,
    VariantMore(String),
    VariantLess(String),
    /// More values than before, other than a new variant.
    Wider(String),
    Narrower(String),
    /// Neither wider nor narrower, or not comparable.
    Other(String),
}

/// The effect of a change on clients that were built before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Fine,
    /// Clients keep working, but may miss something.
    Notice,
    /// Clients may fail.
    Break,
}

impl Change {
    /// Returns the effect on clients that were built before the change: the server must still accept what they send,
    /// and they must still understand what they receive.
    pub(super) fn severity(&self, direction: Direction) -> Severity {
        match direction {
            Direction::Sent => self.when_sent(),
            Direction::Received => self.when_received(),
        }
    }

    fn when_sent(&self) -> Severity {
        match self {
            Self::FieldMore { required: true }
            | Self::FieldLess { is_refused: true, .. }
            | Self::Required
            | Self::VariantLess(_)
            | Self::Narrower(_)
            | Self::Other(_) => Severity::Break,
            Self::FieldMore { required: false }
            | Self::FieldLess { is_refused: false, .. }
            | Self::Optional
            | Self::VariantMore(_)
            | Self::Wider(_) => Severity::Fine,
        }
    }

    fn when_received(&self) -> Severity {
        match self {
            Self::FieldLess { was_required: true, .. } | Self::Optional | Self::Wider(_) | Self::Other(_) => {
                Severity::Break
            }
            Self::FieldLess { was_required: false, .. } | Self::VariantMore(_) => Severity::Notice,
            Self::FieldMore { .. } | Self::Required | Self::VariantLess(_) | Self::Narrower(_) => Severity::Fine,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldMore { required: true } => f.write_str("added, and required"),
            Self::FieldMore { required: false } => f.write_str("added"),
            Self::FieldLess { is_refused: true, .. } => f.write_str("removed, and now refused"),
            Self::FieldLess { .. } => f.write_str("removed"),
            Self::Required => f.write_str("was optional, now required"),
            Self::Optional => f.write_str("was always present, now optional"),
            Self::VariantMore(variant) => write!(f, "variant {variant} added"),
            Self::VariantLess(variant) => write!(f, "variant {variant} removed"),
            Self::Wider(what) => write!(f, "widened: {what}"),
            Self::Narrower(what) => write!(f, "narrowed: {what}"),
            Self::Other(what) => write!(f, "changed: {what}"),
        }
    }
}
