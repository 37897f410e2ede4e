use super::{Encode, WriteWith};
use crate::{error::Result, message::Kind};
use bytes::Bytes;

/// A value in all forms in which it may be sent, without the value.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// As JSON.
    pub json: Bytes,
    /// As MessagePack.
    pub msgpack: Bytes,
    /// As a whole message, where that is not its JSON.
    pub whole: Option<(Kind, Bytes)>,
}

impl Encoded {
    /// Writes a value in all forms.
    ///
    /// # Errors
    ///
    /// It does not serialise.
    pub fn of(value: &dyn Encode) -> Result<Self> {
        let (mut json, mut msgpack, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        value.encode_json(&mut json)?;
        value.encode_msgpack(&mut msgpack)?;
        let kind = value.encode_whole(&mut whole)?;
        let whole = (whole != json).then(|| (kind, exact(whole)));
        Ok(Self { json: exact(json), msgpack: exact(msgpack), whole })
    }

    /// The bytes that it holds.
    #[expect(clippy::len_without_is_empty, reason = "its JSON has a byte at least")]
    pub fn len(&self) -> usize {
        self.json.len() + self.msgpack.len() + self.whole.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }
}

/// Without the room that a buffer has left.
fn exact(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
}

impl Encode for Encoded {
    fn encode_json(&self, out: &mut Vec<u8>) -> Result {
        out.extend_from_slice(&self.json);
        Ok(())
    }

    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result {
        out.extend_from_slice(&self.msgpack);
        Ok(())
    }

    fn encode_with(&self, write: WriteWith<'_>) -> Result {
        // By way of its JSON: the value itself is gone.
        serde_json::from_slice::<serde_json::Value>(&self.json)?.encode_with(write)
    }

    fn as_whole(&self) -> Option<(Kind, &[u8])> {
        Some(self.whole.as_ref().map_or((Kind::Text, &self.json), |(kind, bytes)| (*kind, bytes)))
    }
}
