use super::{Failure, read::RAW_VALUE};
use serde::{
    Serialize,
    ser::{
        self, Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};
use std::ops::Range;

/// Appends a value.
pub(in crate::format) fn write(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) -> Result<(), Failure> {
    value.serialize(&mut Serializer { out, key: false })
}

/// Appends the header of a map: so many keys and values follow.
#[inline]
pub(super) fn write_map(count: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    Form::Map.write(count, out)
}

/// Appends a string.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), Failure> {
    match text.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len => write_length([Some(0xd9), Some(0xda), Some(0xdb)], len, out)?,
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Appends the marker of the first width that the length fits, of 8, 16 and 32 bits, and the length.
fn write_length(markers: [Option<u8>; 3], length: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let length = u32::try_from(length).map_err(|_| Failure::custom("more than MessagePack can count"))?;
    let bytes = length.to_be_bytes();
    let [narrow, middle, wide] = markers;
    match (length, narrow, middle, wide) {
        (0..=0xff, Some(marker), ..) => out.extend_from_slice(&[marker, bytes[3]]),
        (0..=0xffff, _, Some(marker), _) => out.extend_from_slice(&[marker, bytes[2], bytes[3]]),
        (_, _, _, marker) => {
            out.extend(marker);
            out.extend_from_slice(&bytes);
        }
    }
    Ok(())
}

/// The two values that have elements.
#[derive(Clone, Copy)]
enum Form {
    Array,
    Map,
}

impl Form {
    fn write(self, count: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
        let (short, markers) = match self {
            Self::Array => (0x90, [None, Some(0xdc), Some(0xdd)]),
            Self::Map => (0x80, [None, Some(0xde), Some(0xdf)]),
        };
        match count {
            0..16 => out.push(short | count as u8),
            _ => write_length(markers, count, out)?,
        }
        Ok(())
    }
}

/// Writes values as serde_json does, so that a type has one shape in both forms: fields and variants
/// have names, and keys are text.
struct Serializer<'a> {
    out: &'a mut Vec<u8>,
    /// The next value is a key.
    key: bool,
}

impl<'a> Serializer<'a> {
    fn compound<'b>(&'b mut self, form: Form, count: Option<usize>) -> Result<Compound<'b, 'a>, Failure> {
        self.refuse_key()?;
        let (start, declared) = (self.out.len(), count.unwrap_or(0));
        form.write(declared, self.out)?;
        let header = start..self.out.len();
        Ok(Compound { serializer: self, form, header, declared, count: 0 })
    }

    /// Writes the JSON that a raw value is.
    #[cold]
    fn raw<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        let json = serde_json::to_value(value).map_err(Failure::custom)?;
        let json = json.as_str().ok_or_else(|| Failure::custom("a raw value is no text"))?;
        let value: serde_json::Value = serde_json::from_str(json).map_err(Failure::custom)?;
        value.serialize(self)
    }

    /// A variant with content: a map of one entry.
    fn variant(&mut self, name: &str) -> Result<(), Failure> {
        self.refuse_key()?;
        Form::Map.write(1, self.out)?;
        write_text(name, self.out)
    }

    fn refuse_key(&self) -> Result<(), Failure> {
        match self.key {
            true => Err(Failure::custom("a key must be a string or a number")),
            false => Ok(()),
        }
    }

    fn append(&mut self, marker: u8, bytes: &[u8]) {
        self.out.push(marker);
        self.out.extend_from_slice(bytes);
    }
}

impl<'b, 'a> ser::Serializer for &'b mut Serializer<'a> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Compound<'b, 'a>;
    type SerializeTuple = Compound<'b, 'a>;
    type SerializeTupleStruct = Compound<'b, 'a>;
    type SerializeTupleVariant = Compound<'b, 'a>;
    type SerializeMap = Compound<'b, 'a>;
    type SerializeStruct = Fields<'b, 'a>;
    type SerializeStructVariant = Compound<'b, 'a>;

    fn serialize_bool(self, yes: bool) -> Result<(), Failure> {
        if self.key {
            return self.collect_str(&yes);
        }
        self.out.push(if yes { 0xc3 } else { 0xc2 });
        Ok(())
    }

    fn serialize_i8(self, number: i8) -> Result<(), Failure> {
        self.serialize_i64(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<(), Failure> {
        self.serialize_i64(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<(), Failure> {
        self.serialize_i64(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<(), Failure> {
        if let Ok(number) = u64::try_from(number) {
            return self.serialize_u64(number);
        }
        if self.key {
            return self.collect_str(&number);
        }
        if let Ok(number) = i8::try_from(number) {
            match number {
                -32.. => self.out.push(number as u8),
                _ => self.append(0xd0, &number.to_be_bytes()),
            }
        } else if let Ok(number) = i16::try_from(number) {
            self.append(0xd1, &number.to_be_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.append(0xd2, &number.to_be_bytes());
        } else {
            self.append(0xd3, &number.to_be_bytes());
        }
        Ok(())
    }

    /// Beyond 64 bits as text: MessagePack has no such numbers.
    fn serialize_i128(self, number: i128) -> Result<(), Failure> {
        match i64::try_from(number) {
            Ok(number) => self.serialize_i64(number),
            Err(_) => self.collect_str(&number),
        }
    }

    fn serialize_u8(self, number: u8) -> Result<(), Failure> {
        self.serialize_u64(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<(), Failure> {
        self.serialize_u64(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<(), Failure> {
        self.serialize_u64(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<(), Failure> {
        if self.key {
            return self.collect_str(&number);
        }
        if let Ok(number) = u8::try_from(number) {
            match number {
                0..0x80 => self.out.push(number),
                _ => self.append(0xcc, &[number]),
            }
        } else if let Ok(number) = u16::try_from(number) {
            self.append(0xcd, &number.to_be_bytes());
        } else if let Ok(number) = u32::try_from(number) {
            self.append(0xce, &number.to_be_bytes());
        } else {
            self.append(0xcf, &number.to_be_bytes());
        }
        Ok(())
    }

    fn serialize_u128(self, number: u128) -> Result<(), Failure> {
        match u64::try_from(number) {
            Ok(number) => self.serialize_u64(number),
            Err(_) => self.collect_str(&number),
        }
    }

    fn serialize_f32(self, number: f32) -> Result<(), Failure> {
        if self.key {
            return self.collect_str(&format_args!("{number:?}"));
        }
        self.append(0xca, &number.to_be_bytes());
        Ok(())
    }

    fn serialize_f64(self, number: f64) -> Result<(), Failure> {
        if self.key {
            return self.collect_str(&format_args!("{number:?}"));
        }
        self.append(0xcb, &number.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, char: char) -> Result<(), Failure> {
        write_text(char.encode_utf8(&mut [0; 4]), self.out)
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Failure> {
        write_text(text, self.out)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        self.refuse_key()?;
        write_length([Some(0xc4), Some(0xc5), Some(0xc6)], bytes.len(), self.out)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Failure> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Failure> {
        self.refuse_key()?;
        self.out.push(0xc0);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Failure> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Failure> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.variant(variant)?;
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'b, 'a>, Failure> {
        self.compound(Form::Array, len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'b, 'a>, Failure> {
        self.compound(Form::Array, Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'b, 'a>, Failure> {
        self.compound(Form::Array, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'b, 'a>, Failure> {
        self.variant(variant)?;
        self.compound(Form::Array, Some(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'b, 'a>, Failure> {
        self.compound(Form::Map, len)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields<'b, 'a>, Failure> {
        if name == RAW_VALUE {
            self.refuse_key()?;
            return Ok(Fields::Json(self));
        }
        self.compound(Form::Map, Some(len)).map(Fields::Map)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'b, 'a>, Failure> {
        self.variant(variant)?;
        self.compound(Form::Map, Some(len))
    }
}

/// An array or a map whose elements are being written.
struct Compound<'b, 'a> {
    serializer: &'b mut Serializer<'a>,
    form: Form,
    header: Range<usize>,
    declared: usize,
    count: usize,
}

impl Compound<'_, '_> {
    fn element(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        self.count += 1;
        value.serialize(&mut *self.serializer)
    }

    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Failure> {
        write_text(name, self.serializer.out)?;
        self.element(value)
    }

    /// Where there were not as many elements as was said, the header is written anew.
    fn finish(self) -> Result<(), Failure> {
        if self.count == self.declared {
            return Ok(());
        }
        let mut header = Vec::new();
        self.form.write(self.count, &mut header)?;
        self.serializer.out.splice(self.header, header);
        Ok(())
    }
}

impl SerializeSeq for Compound<'_, '_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.element(value)
    }

    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

impl SerializeTuple for Compound<'_, '_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.element(value)
    }

    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

impl SerializeTupleStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.element(value)
    }

    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

impl SerializeTupleVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.element(value)
    }

    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

impl SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Failure> {
        self.serializer.key = true;
        key.serialize(&mut *self.serializer)?;
        self.serializer.key = false;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.element(value)
    }

    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

impl SerializeStructVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Failure> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

/// A struct that is being written.
enum Fields<'b, 'a> {
    Map(Compound<'b, 'a>),
    /// A raw value of serde_json: its one field is JSON text.
    Json(&'b mut Serializer<'a>),
}

impl SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Failure> {
        match self {
            Self::Map(map) => map.field(name, value),
            Self::Json(serializer) => serializer.raw(value),
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Map(map) => map.finish(),
            Self::Json(_) => Ok(()),
        }
    }
}
