//! What stands in for `deflate.rs` where its feature is off: nothing is ever agreed on.

use crate::websocket::{DecodeError, Frame};
use crate::config::Config;
use crate::context::Context;
use http::HeaderValue;

/// The compression that was agreed on with one client. There is none without the feature
/// `deflate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerMessageDeflate {}

impl PerMessageDeflate {
    pub(crate) fn class(_: Option<Self>) -> usize {
        0
    }

    pub(crate) fn of_class(_: usize) -> Option<Self> {
        None
    }

    pub(crate) fn is_on(_: &Config) -> bool {
        false
    }

    pub(crate) fn accept(_: &Config, _: &Context) -> Option<(Self, HeaderValue)> {
        None
    }

    pub(crate) fn apply(self, _: &Config, _: &Frame) -> Frame {
        match self {}
    }
}

pub(super) fn inflate(_: &[u8], _: usize) -> Result<Vec<u8>, DecodeError> {
    Err(DecodeError::ReservedBits)
}
