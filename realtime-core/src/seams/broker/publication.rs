use super::wire;
use bytes::Bytes;
use realtime_protocol::{
    ConnectionId, Kind, Result,
    format::{Encode, WriteWith},
    internal::Encoded,
};

/// A message on its way to the members of a topic on other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication {
    /// The number of the node that published it.
    pub node: u64,
    /// The topic's name.
    pub topic: String,
    /// The message as JSON.
    pub json: Bytes,
    /// The message as MessagePack. Without it, the receiving node converts the JSON, in which byte strings are arrays
    /// and numbers such as NaN are null.
    pub msgpack: Option<Bytes>,
    /// The message as a whole WebSocket message, if that differs from its JSON.
    pub whole: Option<(Kind, Bytes)>,
    /// The event's name, if it is an event.
    pub event: Option<String>,
    /// The key of the messages that it replaces for members who do not keep up, if it has one.
    pub key: Option<String>,
    /// Connections to leave out.
    pub except: Vec<ConnectionId>,
}

impl Publication {
    /// Creates a publication without MessagePack: see [`with_msgpack`](Self::with_msgpack).
    pub fn new(
        node: u64,
        topic: String,
        json: Bytes,
        whole: Option<(Kind, Bytes)>,
        except: Vec<ConnectionId>,
    ) -> Self {
        Self { node, topic, json, msgpack: None, whole, event: None, key: None, except }
    }

    /// Adds the message as MessagePack.
    #[must_use = "the publication with its MessagePack is returned"]
    pub fn with_msgpack(mut self, msgpack: Bytes) -> Self {
        self.msgpack = Some(msgpack);
        self
    }

    /// Makes it an event of this name.
    #[must_use = "the changed publication is returned"]
    pub fn with_event(mut self, name: String) -> Self {
        self.event = Some(name);
        self
    }

    /// Sets the key of the messages that it replaces.
    #[must_use = "the changed publication is returned"]
    pub fn with_key(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }

    /// Encodes the publication for a broker to carry.
    pub fn encode(&self) -> Bytes {
        wire::write_publication(self)
    }

    /// Decodes a publication without copying its message.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the bytes are not those of a publication.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        wire::read_publication(bytes)
    }

    /// Returns the bytes that it takes in a queue.
    pub(crate) fn size(&self) -> usize {
        let whole = self.whole.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let names = self.topic.len()
            + self.event.as_ref().map_or(0, String::len)
            + self.key.as_ref().map_or(0, String::len);
        let except = self.except.len() * size_of::<ConnectionId>();
        size_of::<Self>() + names + except + self.json.len() + self.msgpack.as_ref().map_or(0, Bytes::len) + whole
    }

    pub(crate) fn of(
        node: u64,
        topic: &str,
        event: Option<&str>,
        message: &dyn Encode,
        key: Option<String>,
        except: &[ConnectionId],
    ) -> Result<Self> {
        let Encoded { json, msgpack, whole } = Encoded::of(message)?;
        let publication = Self::new(node, topic.to_owned(), json, whole, except.to_vec());
        Ok(Self { event: event.map(str::to_owned), key, ..publication.with_msgpack(msgpack) })
    }
}

impl Encode for Publication {
    fn encode_json(&self, out: &mut Vec<u8>) -> Result {
        out.extend_from_slice(&self.json);
        Ok(())
    }

    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result {
        let Some(msgpack) = &self.msgpack else {
            return serde_json::from_slice::<serde_json::Value>(&self.json)?.encode_msgpack(out);
        };
        out.extend_from_slice(msgpack);
        Ok(())
    }

    fn encode_with(&self, write: WriteWith<'_>) -> Result {
        serde_json::from_slice::<serde_json::Value>(&self.json)?.encode_with(write)
    }

    fn as_whole(&self) -> Option<(Kind, &[u8])> {
        Some(self.whole.as_ref().map_or((Kind::Text, &self.json), |(kind, bytes)| (*kind, bytes)))
    }
}
