//! Replaces `deflate.rs` without its feature: compression is never negotiated.

use super::{Data, DecodeError, Frame, Kind};
use http::HeaderValue;
use std::borrow::Cow;

/// The compression negotiated with one client; uninhabited without the feature `deflate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerMessageDeflate {}

/// The settings of compression; uninhabited.
#[derive(Clone, Debug)]
pub(crate) enum Deflate {}

impl PerMessageDeflate {
    pub(crate) fn negotiate<'a>(_: impl IntoIterator<Item = &'a [u8]>) -> Option<(Self, HeaderValue)> {
        None
    }

    pub(crate) fn compress(self, _: &Frame, _: &Deflate) -> Frame {
        match self {}
    }

    pub(crate) fn work() -> usize {
        0
    }

    pub(crate) fn take_work() -> usize {
        0
    }

    pub(crate) fn add_work(_: usize) {}
}

/// Uninhabited: a frame marked as compressed is refused at its first byte.
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

    pub(super) fn held_bytes(&self) -> usize {
        match *self {}
    }

    pub(super) fn rewind(&mut self) {
        match *self {}
    }

    pub(super) fn into_message(self) -> Data<'static> {
        match self {}
    }
}
