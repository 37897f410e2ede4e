//! What may have changed, and whom it harms.

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
    /// More values than before, and not as one variant more.
    Wider(String),
    Narrower(String),
    /// Neither more nor less: another.
    Other(String),
}

/// Whom a change harms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Fine,
    /// Clients may want to know.
    Notice,
    /// Clients that are out there fail.
    Break,
}

impl Change {
    /// What the change is for clients that were built before it. A value that they send must still be taken; one that
    /// they receive must still be what they know.
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
            Self::FieldMore { required: true } => f.write_str("is new, and required"),
            Self::FieldMore { required: false } => f.write_str("is new"),
            Self::FieldLess { is_refused: true, .. } => f.write_str("is gone, and refused"),
            Self::FieldLess { .. } => f.write_str("is gone"),
            Self::Required => f.write_str("was optional, is required"),
            Self::Optional => f.write_str("was always there, is optional"),
            Self::VariantMore(variant) => write!(f, "has the variant {variant} more"),
            Self::VariantLess(variant) => write!(f, "has the variant {variant} no more"),
            Self::Wider(what) => write!(f, "is wider: {what}"),
            Self::Narrower(what) => write!(f, "is narrower: {what}"),
            Self::Other(what) => write!(f, "is another: {what}"),
        }
    }
}
