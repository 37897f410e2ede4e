use super::cbor;
use crate::unreadable;
use realtime_core::{
    Error, Result,
    protocol::{Encode, Outgoing, Packet, Protocol, Value},
    websocket::{Data, Kind},
};
use std::borrow::Cow;

/// The frames of `@manyducks.co/chatter` 2: binary messages of a type, then texts and values behind their lengths.
///
/// The ids of client and session in the URL are left to the application: a [`Context`](realtime_core::Context) has them.
#[derive(Clone, Copy, Debug)]
pub struct Chatter;

const READY: u8 = 0;
const PING: u8 = 1;
const PONG: u8 = 2;
const PROC: u8 = 3;
const ACK: u8 = 4;
const BROADCAST: u8 = 5;

/// The kinds of values.
const EMPTY: u8 = 0;
const CBOR: u8 = 1;
const BINARY: u8 = 2;

impl Protocol for Chatter {
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        let Data::Binary(frame) = data else { return Ok(Packet::Ignored) };
        let mut rest = &frame[..];
        let kind = read_byte(&mut rest)?;
        if kind == PING {
            return Ok(Packet::Ping);
        }
        if kind != PROC && kind != ACK {
            return Ok(Packet::Ignored);
        }
        let id = read_text(&mut rest)?;
        Ok(match kind {
            PROC => read_proc(&id, rest).unwrap_or_else(|error| Packet::Invalid { id, error }),
            _ => read_ack(&id, rest).unwrap_or_else(|error| Packet::Error { id, error }),
        })
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        match packet {
            Outgoing::Opened => out.push(READY),
            Outgoing::Pong => out.push(PONG),
            Outgoing::Call { id, path, input, .. } => {
                out.push(PROC);
                write_bytes(id.as_bytes(), out);
                write_bytes(path.as_bytes(), out);
                write_value(*input, out)?;
            }
            Outgoing::Reply { id, data, .. } => {
                out.push(ACK);
                write_bytes(id.as_bytes(), out);
                out.push(1);
                write_value(*data, out)?;
            }
            Outgoing::Error { id: Some(id), error } => {
                out.push(ACK);
                write_bytes(id.as_bytes(), out);
                out.push(0);
                write_bytes(error.message().as_bytes(), out);
            }
            Outgoing::Event { name, data } => {
                out.push(BROADCAST);
                write_bytes(name.as_bytes(), out);
                write_value(*data, out)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Kind::Binary))
    }
}

fn read_proc<'a>(id: &Cow<'a, str>, mut rest: &'a [u8]) -> Result<Packet<'a>> {
    let path = read_text(&mut rest)?;
    Ok(Packet::Call { id: id.clone(), path, input: read_value(rest)?, timeout: None, key: None })
}

fn read_ack<'a>(id: &Cow<'a, str>, mut rest: &'a [u8]) -> Result<Packet<'a>> {
    let id = id.clone();
    if read_byte(&mut rest)? != 0 {
        return Ok(Packet::Reply { id, data: read_value(rest)? });
    }
    let message = read_text(&mut rest)?.into_owned();
    Ok(Packet::Error { id, error: Error::new("PROC_FAILED", message) })
}

fn read_value(mut rest: &[u8]) -> Result<Value<'static>> {
    let mut value = Vec::new();
    match read_byte(&mut rest)? {
        EMPTY => value.push(cbor::NIL),
        CBOR => value = cbor::to_msgpack(read_bytes(&mut rest)?)?,
        BINARY => cbor::write_bytes(cbor::BIN, read_bytes(&mut rest)?, &mut value),
        other => return Err(unreadable(format!("unknown kind of value: {other}"))),
    }
    Ok(Value::MessagePack(value.into()))
}

fn read_byte(rest: &mut &[u8]) -> Result<u8> {
    let (&first, after) = rest.split_first().ok_or_else(|| unreadable("the frame is cut off"))?;
    *rest = after;
    Ok(first)
}

/// Reads a length, seven bits in each byte, and as many bytes.
fn read_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = read_byte(rest)?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
        if shift > 28 {
            return Err(unreadable("a length is too long"));
        }
    }
    let (bytes, after) = rest.split_at_checked(length).ok_or_else(|| unreadable("the frame is cut off"))?;
    *rest = after;
    Ok(bytes)
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Result<Cow<'a, str>> {
    std::str::from_utf8(read_bytes(rest)?).map(Cow::Borrowed).map_err(unreadable)
}

fn write_value(value: &dyn Encode, out: &mut Vec<u8>) -> Result {
    out.push(CBOR);
    write_bytes(&cbor::written(value)?, out);
    Ok(())
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}
