//! What stands in for `deflate.rs` where its feature is off: nothing is ever agreed on.

use super::{DecodeError, Frame};
use http::HeaderValue;

/// The compression that was agreed on with one client. There is none without the feature
/// `deflate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerMessageDeflate {}

/// How messages are compressed: not at all.
#[derive(Clone, Debug)]
pub(crate) enum Deflate {}

impl PerMessageDeflate {
    pub(crate) fn negotiate<'a>(_: impl IntoIterator<Item = &'a [u8]>) -> Option<(Self, HeaderValue)> {
        None
    }

    pub(crate) fn compress(self, _: &Frame, _: &Deflate) -> Frame {
        match self {}
    }
}

pub(super) fn inflate(_: &[u8], _: usize) -> Result<Vec<u8>, DecodeError> {
    Err(DecodeError::ReservedBits)
}
