use super::{DecodeError, Opcode, decoder::take};

/// A frame whose header was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFrame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) compressed: bool,
    pub(super) mask: [u8; 4],
    pub(super) done: usize,
    pub(super) remaining: usize,
}

pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) compressed: bool,
    pub(super) length: u64,
    pub(super) mask: [u8; 4],
}

/// The bytes of a header, which may arrive one at a time; each is checked as soon as it arrives.
#[derive(Debug, Default)]
pub(super) struct PartialHeader {
    bytes: [u8; 14],
    len: u8,
}

impl PartialHeader {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn read(
        &mut self,
        input: &mut &mut [u8],
        in_message: bool,
        inflates: bool,
    ) -> Result<Option<Header>, DecodeError> {
        loop {
            let have = usize::from(self.len);
            let need = match have {
                0 | 1 => 2,
                _ => 2 + extended_bytes(self.bytes[1]) + 4,
            };
            if have >= 2 && have == need {
                let header = self.parse();
                self.len = 0;
                check_length(self.bytes[1], header.length)?;
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let chunk = take(input, (need - have).min(input.len()));
            self.bytes[have..have + chunk.len()].copy_from_slice(chunk);
            self.len += chunk.len() as u8;
            if have < 1 {
                check_first(self.bytes[0], in_message, inflates)?;
            }
            if have < 2 && self.len >= 2 {
                check_second(self.bytes[0], self.bytes[1])?;
            }
        }
    }

    fn parse(&self) -> Header {
        let bytes = &self.bytes;
        let extended = extended_bytes(bytes[1]);
        let length = match extended {
            0 => u64::from(bytes[1] & 0x7f),
            2 => u64::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            _ => u64::from_be_bytes([
                bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9],
            ]),
        };
        let at = 2 + extended;
        Header {
            // `check_first` has refused every other opcode.
            opcode: Opcode::parse(bytes[0] & 0x0f).unwrap_or(Opcode::Continuation),
            fin: bytes[0] & 0x80 != 0,
            compressed: bytes[0] & RSV1 != 0,
            length,
            mask: [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]],
        }
    }
}

fn extended_bytes(second: u8) -> usize {
    match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// Marks the first frame of a compressed message (RFC 7692, section 6).
pub(super) const RSV1: u8 = 0x40;

fn check_first(first: u8, in_message: bool, inflates: bool) -> Result<(), DecodeError> {
    let begins = matches!(Opcode::parse(first & 0x0f), Some(Opcode::Text | Opcode::Binary));
    let reserved = if inflates && begins { 0x70 & !RSV1 } else { 0x70 };
    if first & reserved != 0 {
        return Err(DecodeError::ReservedBits);
    }
    let opcode = Opcode::parse(first & 0x0f).ok_or(DecodeError::ReservedOpcode)?;
    let fin = first & 0x80 != 0;
    match opcode {
        Opcode::Continuation if !in_message => Err(DecodeError::UnexpectedContinuation),
        Opcode::Text | Opcode::Binary if in_message => Err(DecodeError::ExpectedContinuation),
        opcode if opcode.is_control() && !fin => Err(DecodeError::FragmentedControl),
        _ => Ok(()),
    }
}

fn check_second(first: u8, second: u8) -> Result<(), DecodeError> {
    if second & 0x80 == 0 {
        return Err(DecodeError::Unmasked);
    }
    if first & 0x08 != 0 && second & 0x7f > 125 {
        return Err(DecodeError::LongControl);
    }
    Ok(())
}

/// Checks that a length is written in as few bytes as possible (RFC 6455, section 5.2).
fn check_length(second: u8, length: u64) -> Result<(), DecodeError> {
    let least = match extended_bytes(second) {
        0 => 0,
        2 => 126,
        _ => 1 << 16,
    };
    if length < least { Err(DecodeError::LongLength) } else { Ok(()) }
}
