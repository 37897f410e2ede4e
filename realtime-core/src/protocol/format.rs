use super::{Events, Plain};
use crate::websocket::{Deflate, Draft, Frame, PerMessageDeflate, compose, compose_unframed};
use realtime_protocol::{
    Error,
    format::{Json, MessagePack, Outgoing, Protocol},
};
use std::{fmt, sync::Arc};

/// The protocols of a node, and its compression.
pub(crate) struct Protocols {
    list: Vec<Arc<dyn Protocol>>,
    /// Protocols that a client may ask for at every id.
    offered: Vec<ProtocolId>,
    deflate: Option<Deflate>,
}

/// The number of a protocol in its node's [`Protocols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolId(u8);

/// The encoding for a client: clients with the same format are sent the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    protocol: ProtocolId,
    /// The compression that was negotiated.
    deflate: Option<PerMessageDeflate>,
    carrier: Carrier,
}

/// The carrier of packets to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A WebSocket, one packet in each message.
    Messages,
    /// A WebSocket without an envelope, one handler message in each message.
    WholeMessages,
    /// A response of server-sent events.
    Events,
}

impl Protocols {
    const PLAIN: ProtocolId = ProtocolId(0);
    const JSON: ProtocolId = ProtocolId(1);
    const EVENTS: ProtocolId = ProtocolId(2);
    const WHOLE_EVENTS: ProtocolId = ProtocolId(3);
    const FRAMES: ProtocolId = ProtocolId(4);
    const MESSAGE_PACK: ProtocolId = ProtocolId(5);

    /// Creates the registry with the built-in protocols.
    pub(crate) fn new(deflate: Option<Deflate>) -> Self {
        let mut protocols = Self { list: Vec::new(), offered: Vec::new(), deflate };
        let ids = [protocols.add(Arc::new(Plain)), protocols.add(Arc::new(Json))];
        debug_assert_eq!(ids, [Self::PLAIN, Self::JSON]);
        let ids = [protocols.add(Arc::new(Events::Values)), protocols.add(Arc::new(Events::Whole))];
        debug_assert_eq!(ids, [Self::EVENTS, Self::WHOLE_EVENTS]);
        let id = protocols.add(Arc::new(Events::Frames));
        debug_assert_eq!(id, Self::FRAMES);
        protocols.offered.push(Self::JSON);
        protocols.offer(Arc::new(MessagePack));
        debug_assert_eq!(protocols.offered, [Self::JSON, Self::MESSAGE_PACK]);
        protocols
    }

    /// Adds a protocol that clients may ask for by its subprotocol.
    ///
    /// # Panics
    ///
    /// See [`add`](Self::add).
    pub(crate) fn offer(&mut self, protocol: Arc<dyn Protocol>) {
        let id = self.add(protocol);
        self.offered.push(id);
    }

    /// Adds a protocol for endpoints that require it.
    ///
    /// # Panics
    ///
    /// If there are 256 protocols already.
    pub(crate) fn add(&mut self, protocol: Arc<dyn Protocol>) -> ProtocolId {
        let id = u8::try_from(self.list.len()).expect("a node has at most 256 protocols");
        self.list.push(protocol);
        ProtocolId(id)
    }

    /// Finds the protocol that a client asks for by name; a required protocol is the only choice.
    pub(crate) fn find(&self, subprotocol: &str, prescribed: Option<ProtocolId>) -> Option<ProtocolId> {
        let candidates = prescribed.as_ref().map_or(&self.offered[..], std::slice::from_ref);
        candidates.iter().copied().find(|id| self.get(*id).subprotocol() == Some(subprotocol))
    }

    /// Returns the format of the frames that feeds keep their entries in.
    pub(crate) fn shared(&self) -> Format {
        self.messages(Self::JSON, None)
    }

    /// Returns true if the frames of this format are written by this library alone.
    pub(crate) fn is_built_in(&self, format: Format) -> bool {
        format.protocol.0 <= Self::MESSAGE_PACK.0
    }

    /// Returns true if the frames of this format are of one subscription, and do not name it.
    pub(crate) fn is_nameless(&self, format: Format) -> bool {
        format.carrier == Carrier::Events && format.protocol != Self::FRAMES
    }

    /// Returns the protocol of a client that asks for none.
    pub(crate) fn default_id(&self) -> ProtocolId {
        Self::JSON
    }

    /// Returns the protocol without an envelope.
    pub(crate) fn plain(&self) -> ProtocolId {
        Self::PLAIN
    }

    pub(crate) fn get(&self, id: ProtocolId) -> &dyn Protocol {
        &*self.list[usize::from(id.0)]
    }

    /// Returns the format of a WebSocket with this protocol.
    pub(crate) fn messages(&self, protocol: ProtocolId, deflate: Option<PerMessageDeflate>) -> Format {
        let carrier = if self.get(protocol).is_plain() { Carrier::WholeMessages } else { Carrier::Messages };
        Format { protocol, deflate, carrier }
    }

    /// Returns the format of server-sent events, at an endpoint whose WebSockets have this protocol.
    pub(crate) fn events(&self, protocol: Option<ProtocolId>) -> Format {
        let plain = protocol.is_some_and(|protocol| self.get(protocol).is_plain());
        let protocol = if plain { Self::WHOLE_EVENTS } else { Self::EVENTS };
        Format { protocol, deflate: None, carrier: Carrier::Events }
    }

    /// Returns the format of a stream of frames.
    pub(crate) fn frames(&self) -> Format {
        Format { protocol: Self::FRAMES, deflate: None, carrier: Carrier::Events }
    }

    /// Negotiates compression with a client that makes these offers, one for each header line.
    pub(crate) fn negotiate<'a>(
        &self,
        offers: impl Iterator<Item = &'a [u8]>,
    ) -> Option<(PerMessageDeflate, http::HeaderValue)> {
        self.deflate.as_ref().and_then(|_| PerMessageDeflate::negotiate(offers))
    }

    /// Returns true if messages are compressed for clients that offer it.
    pub(crate) fn compresses(&self) -> bool {
        self.deflate.is_some()
    }

    /// Encodes a packet and passes it to `with`, ready for the wire. Returns `None` if the protocol has no such packet.
    ///
    /// # Errors
    ///
    /// If a value does not serialise.
    pub(crate) fn encode<T>(
        &self,
        format: Format,
        packet: &Outgoing<'_>,
        with: impl FnOnce(Draft<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let protocol = self.get(format.protocol);
        if format.carrier == Carrier::Events {
            return compose_unframed(|out| Ok(protocol.encode(packet, out)?.is_some()), with);
        }
        if format.deflate.is_some() {
            let Some(frame) = self.frame(format, packet)? else { return Ok(None) };
            return Ok(Some(with(Draft::of(&frame))));
        }
        if let Some((kind, payload)) = protocol.borrow(packet) {
            return Ok(Some(with(Draft::new(kind.into(), payload))));
        }
        compose(|out| Ok(protocol.encode(packet, out)?.map(Into::into)), with)
    }

    /// Encodes a packet as a frame; `None` if the protocol has no such packet.
    ///
    /// # Errors
    ///
    /// If a value does not serialise.
    pub(crate) fn frame(&self, format: Format, packet: &Outgoing<'_>) -> Result<Option<Frame>, Error> {
        let protocol = self.get(format.protocol);
        if format.carrier == Carrier::Events {
            return compose_unframed(
                |out| Ok(protocol.encode(packet, out)?.is_some()),
                |draft| draft.into_frame(),
            );
        }
        let frame = Frame::build(|out| Ok::<_, Error>(protocol.encode(packet, out)?.map(Into::into)))?;
        Ok(frame.map(|frame| self.compress(format, frame)))
    }

    /// Compresses a frame of the same protocol, if that was negotiated.
    pub(crate) fn compress(&self, format: Format, frame: Frame) -> Frame {
        match (format.deflate, &self.deflate) {
            (Some(agreed), Some(settings)) => agreed.compress(&frame, settings),
            _ => frame,
        }
    }
}

impl Format {
    pub(crate) fn protocol(self) -> ProtocolId {
        self.protocol
    }

    pub(crate) fn carrier(self) -> Carrier {
        self.carrier
    }

    pub(crate) fn deflate(self) -> Option<PerMessageDeflate> {
        self.deflate
    }

    /// Returns the same format without compression.
    pub(crate) fn uncompressed(self) -> Self {
        Self { deflate: None, ..self }
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}
