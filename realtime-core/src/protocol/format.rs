use super::{Events, Plain};
use crate::websocket::{Deflate, Draft, Frame, PerMessageDeflate, compose, compose_unframed};
use realtime_protocol::{
    Error,
    format::{Json, MessagePack, Outgoing, Protocol},
};
use std::{fmt, sync::Arc};

/// The protocols of a node, and how it compresses.
pub(crate) struct Protocols {
    list: Vec<Arc<dyn Protocol>>,
    /// Those that a client may ask for, wherever it connects.
    offered: Vec<ProtocolId>,
    deflate: Option<Deflate>,
}

/// A protocol in its node's [`Protocols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolId(u8);

/// Those whose format is the same are sent the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    protocol: ProtocolId,
    /// The compression that was agreed on.
    deflate: Option<PerMessageDeflate>,
    carrier: Carrier,
}

/// What carries packets to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The messages of a WebSocket, each of which is a packet.
    Messages,
    /// The messages of a WebSocket, each of which is a message of the handler's.
    WholeMessages,
    /// A response of server-sent events.
    Events,
}

impl Protocols {
    const PLAIN: ProtocolId = ProtocolId(0);
    const JSON: ProtocolId = ProtocolId(1);
    const EVENTS: ProtocolId = ProtocolId(2);
    const WHOLE_EVENTS: ProtocolId = ProtocolId(3);

    /// The built-in ones.
    pub(crate) fn new(deflate: Option<Deflate>) -> Self {
        let mut protocols = Self { list: Vec::new(), offered: Vec::new(), deflate };
        let ids = [protocols.add(Arc::new(Plain)), protocols.add(Arc::new(Json))];
        debug_assert_eq!(ids, [Self::PLAIN, Self::JSON]);
        let ids = [protocols.add(Arc::new(Events::Values)), protocols.add(Arc::new(Events::Whole))];
        debug_assert_eq!(ids, [Self::EVENTS, Self::WHOLE_EVENTS]);
        protocols.offered.push(Self::JSON);
        protocols.offer(Arc::new(MessagePack));
        protocols
    }

    /// Adds a protocol that clients may ask for by its subprotocol.
    ///
    /// # Panics
    ///
    /// As [`add`](Self::add).
    pub(crate) fn offer(&mut self, protocol: Arc<dyn Protocol>) {
        let id = self.add(protocol);
        self.offered.push(id);
    }

    /// Adds a protocol for endpoints that prescribe it.
    ///
    /// # Panics
    ///
    /// If there are 256 already.
    pub(crate) fn add(&mut self, protocol: Arc<dyn Protocol>) -> ProtocolId {
        let id = u8::try_from(self.list.len()).expect("a node has at most 256 protocols");
        self.list.push(protocol);
        ProtocolId(id)
    }

    /// The protocol that a client asks for by this name; where one is prescribed, that is the only one.
    pub(crate) fn find(&self, subprotocol: &str, prescribed: Option<ProtocolId>) -> Option<ProtocolId> {
        let candidates = prescribed.as_ref().map_or(&self.offered[..], std::slice::from_ref);
        candidates.iter().copied().find(|id| self.get(*id).subprotocol() == Some(subprotocol))
    }

    /// The protocol of who asks for none.
    pub(crate) fn default_id(&self) -> ProtocolId {
        Self::JSON
    }

    /// The protocol without an envelope.
    pub(crate) fn plain(&self) -> ProtocolId {
        Self::PLAIN
    }

    pub(crate) fn get(&self, id: ProtocolId) -> &dyn Protocol {
        &*self.list[usize::from(id.0)]
    }

    /// The format of a WebSocket with this protocol.
    pub(crate) fn messages(&self, protocol: ProtocolId, deflate: Option<PerMessageDeflate>) -> Format {
        let carrier = if self.get(protocol).is_plain() { Carrier::WholeMessages } else { Carrier::Messages };
        Format { protocol, deflate, carrier }
    }

    /// The format of server-sent events, of an endpoint whose WebSockets have this protocol.
    pub(crate) fn events(&self, protocol: Option<ProtocolId>) -> Format {
        let plain = protocol.is_some_and(|protocol| self.get(protocol).is_plain());
        let protocol = if plain { Self::WHOLE_EVENTS } else { Self::EVENTS };
        Format { protocol, deflate: None, carrier: Carrier::Events }
    }

    /// Agrees on compression with a client that makes these offers, one for each header line. `None` for none.
    pub(crate) fn negotiate<'a>(
        &self,
        offers: impl Iterator<Item = &'a [u8]>,
    ) -> Option<(PerMessageDeflate, http::HeaderValue)> {
        self.deflate.as_ref().and_then(|_| PerMessageDeflate::negotiate(offers))
    }

    /// Whether messages are compressed for those who agree.
    pub(crate) fn compresses(&self) -> bool {
        self.deflate.is_some()
    }

    /// Writes a packet and hands it to `with`, ready for the wire; `None` where the protocol has no such packet.
    ///
    /// # Errors
    ///
    /// A value does not serialise.
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

    /// Frames a packet; `None` where the protocol has no such packet.
    ///
    /// # Errors
    ///
    /// A value does not serialise.
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

    /// Compresses a frame of the same protocol, where that was agreed on.
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

    /// The same without compression.
    pub(crate) fn uncompressed(self) -> Self {
        Self { deflate: None, ..self }
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}
