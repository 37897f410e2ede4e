//! What stands in for `deflate.rs` where its feature is off: nothing is ever agreed on.

use super::{Data, DecodeError, Frame, Kind};
use crate::{config::Config, context::Context};
use http::HeaderValue;
use std::borrow::Cow;

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

    pub(crate) fn work() -> usize {
        0
    }

    pub(crate) fn take_work() -> usize {
        0
    }
}

/// There is none: a frame that says that it is compressed is refused at its first byte.
#[derive(Debug)]
pub(super) enum Inflation {}

#[expect(dead_code, reason = "the decoder asks for them")]
pub(super) enum Begun {
    Whole(Data<'static>),
    Long(Box<Inflation>, usize),
}

impl Inflation {
    pub(super) fn begin(_: Kind, _: Cow<'_, [u8]>, _: usize) -> Result<Begun, DecodeError> {
        Err(DecodeError::ReservedBits)
    }

    pub(super) fn go_on(&mut self) -> Result<usize, DecodeError> {
        match *self {}
    }

    pub(super) fn is_whole(&self) -> bool {
        match *self {}
    }

    pub(super) fn rewind(&mut self) {
        match *self {}
    }

    pub(super) fn into_message(self) -> Data<'static> {
        match self {}
    }
}
