use crate::{
    protocol::{Encode, Format, Outgoing, Protocols, WriteWith},
    seams::Logged,
    websocket::Frame,
};
use bytes::Bytes;
use realtime_protocol::{Kind, Position, Result};
use serde_json::value::RawValue;
use std::sync::Arc;

/// One entry of a log. Its value is kept as JSON; other forms are made of that.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) value: Stored,
    pub(super) key: Option<Arc<str>>,
    /// The tick at which it was appended; below 0 if that was well before this node has started.
    pub(super) time: i64,
}

/// An encoded value.
#[derive(Debug)]
pub(crate) struct Stored {
    json: Bytes,
    /// The value as a whole message, if that is not its JSON.
    whole: Option<(Kind, Bytes)>,
}

impl Stored {
    /// # Errors
    ///
    /// If the value does not serialise.
    pub(super) fn of(value: &dyn Encode) -> Result<Self> {
        let mut json = Vec::new();
        value.encode_json(&mut json)?;
        let whole = value.as_whole().filter(|(_, whole)| *whole != json);
        let whole = whole.map(|(kind, whole)| (kind, Bytes::copy_from_slice(whole)));
        Ok(Self { json: json.into(), whole })
    }

    /// Takes over an entry of a record.
    ///
    /// # Errors
    ///
    /// If no node has written it.
    pub(super) fn logged(logged: Logged) -> Result<(Self, Option<Arc<str>>)> {
        logged.check()?;
        Ok((Self { json: logged.json, whole: logged.whole }, logged.key.map(Arc::from)))
    }

    pub(super) fn into_logged(self, key: Option<String>) -> Logged {
        Logged { json: self.json, whole: self.whole, key }
    }

    pub(crate) fn json(&self) -> &[u8] {
        &self.json
    }

    /// Keeps the JSON as the part of a frame that contains it as its data: one allocation for both.
    pub(super) fn keep_in(&mut self, frame: &Frame) {
        // Nothing before the data looks like this: the quotes of a name are escaped.
        let Some(at) = memchr::memmem::find(frame.bytes(), DATA) else { return };
        let start = at + DATA.len();
        let end = start + self.json.len();
        if frame.bytes().get(start..end) == Some(&*self.json) {
            self.json = frame.bytes().slice(start..end);
        }
    }

    /// Returns the bytes that are kept beside those of the frame.
    pub(super) fn bytes(&self) -> usize {
        self.whole.as_ref().map_or(0, |(_, whole)| whole.len())
    }
}

const DATA: &[u8] = b",\"data\":";

impl Encode for Stored {
    fn encode_json(&self, out: &mut Vec<u8>) -> Result {
        out.extend_from_slice(&self.json);
        Ok(())
    }

    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result {
        serde_json::from_slice::<Box<RawValue>>(&self.json)?.encode_msgpack(out)
    }

    fn encode_with(&self, write: WriteWith<'_>) -> Result {
        serde_json::from_slice::<serde_json::Value>(&self.json)?.encode_with(write)
    }

    fn as_whole(&self) -> Option<(Kind, &[u8])> {
        Some(self.whole.as_ref().map_or((Kind::Text, &self.json), |(kind, whole)| (*kind, whole)))
    }
}

/// The frame of an entry that many clients are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) format: Format,
    pub(crate) kind: FormKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormKind {
    /// An item of a subscription, under the name of the feed.
    Item,
    /// A message of a handler.
    Message,
    /// The same without its place, for a protocol that is not built in. Its code is not run by appenders.
    Bare,
}

impl Form {
    fn uncompressed(self) -> Self {
        Self { format: self.format.uncompressed(), ..self }
    }

    fn packet<'a>(self, topic: &'a str, entry: &'a Entry) -> Outgoing<'a> {
        let (value, position) = (&entry.value, &entry.position);
        match self.kind {
            FormKind::Item => Outgoing::Entry { topic, data: value, position },
            FormKind::Message => Outgoing::Followed { topic, value, position },
            FormKind::Bare => Outgoing::Message(value),
        }
    }
}

/// The frames of one entry that are known, and those that are made as they are needed.
pub(super) struct Frames<'a> {
    pub(super) protocols: &'a Protocols,
    pub(super) topic: &'a str,
    pub(super) entry: &'a Entry,
    pub(super) known: Vec<(Form, Frame)>,
    /// Forms that the protocol does not have.
    pub(super) none: Vec<Form>,
    /// Forms in which the entry cannot be written.
    pub(super) failed: Vec<Form>,
}

impl Frames<'_> {
    /// Returns the frame of this form, if its protocol has one.
    #[inline]
    pub(super) fn of(&mut self, form: Form) -> Option<&Frame> {
        // Most followers have the form in which the entry is kept.
        if self.known.first().is_some_and(|(first, _)| *first == form) {
            return self.known.first().map(|(_, frame)| frame);
        }
        self.find(form)
    }

    /// Returns true if the entry cannot be written in this form: whoever has it is to be told.
    pub(super) fn has_failed(&self, form: Form) -> bool {
        self.failed.contains(&form)
    }

    #[inline(never)]
    fn find(&mut self, form: Form) -> Option<&Frame> {
        if let Some(at) = self.known.iter().position(|(known, _)| *known == form) {
            return Some(&self.known[at].1);
        }
        if self.none.contains(&form) || self.failed.contains(&form) {
            return None;
        }
        self.make(form);
        self.known.iter().find(|(known, _)| *known == form).map(|(_, frame)| frame)
    }

    #[inline(never)]
    fn make(&mut self, form: Form) {
        let plain = form.uncompressed();
        let known = self.known.iter().find(|(known, _)| *known == plain).map(|(_, frame)| frame.clone());
        let frame = match known {
            Some(frame) => frame,
            None => {
                let written = self.protocols.frame(plain.format, &form.packet(self.topic, self.entry));
                let frame = match written {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return self.none.push(form),
                    Err(error) => {
                        let topic = self.topic;
                        tracing::error!(topic, ?error, "an entry cannot be written in a client's format");
                        return self.failed.push(form);
                    }
                };
                self.known.push((plain, frame.clone()));
                frame
            }
        };
        if form != plain {
            self.known.push((form, self.protocols.compress(form.format, frame)));
        }
    }
}
