use super::{
    Failure,
    head::{Fault, Head, Reader},
};
use crate::{
    error::Error,
    format::value::describe,
    whole::{whole, whole_f32},
};
use serde::{
    Deserialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected,
        VariantAccess, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use std::iter::once;

/// Reads one value, and nothing behind it.
pub(in crate::format) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    // The quick way first: finding the path costs, and most messages are right.
    read(bytes).or_else(|_| read_slowly(bytes))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let mut deserializer = Deserializer::new(bytes);
    let value = T::deserialize(&mut deserializer)?;
    deserializer.reader.end()?;
    Ok(value)
}

/// Takes whole floats for integers, which the quick way does not where a type has a use for floats; and its errors say
/// where in the value they are.
fn read_slowly<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut deserializer = Deserializer { floats: Floats::WholeAreIntegers, ..Deserializer::new(bytes) };
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| describe(&error.path().to_string(), &error.inner().to_string()))?;
    deserializer.reader.end().map_err(|fault| describe(".", &fault.to_string()))?;
    Ok(value)
}

/// Reads values as serde_json does, so that a type has one shape in both forms.
struct Deserializer<'de> {
    reader: Reader<'de>,
    /// Levels that may still be nested.
    depth: u8,
    floats: Floats,
}

/// The type that floats are read as.
#[derive(Clone, Copy)]
enum Floats {
    Floats,
    WholeAreIntegers,
}

/// As in serde_json.
const MAX_DEPTH: u8 = 128;

impl<'de> Deserializer<'de> {
    fn new(bytes: &'de [u8]) -> Self {
        Self { reader: Reader::new(bytes), depth: MAX_DEPTH, floats: Floats::Floats }
    }

    /// The next head, without passing over it.
    fn peek(&self) -> Result<Head<'de>, Fault> {
        let mut ahead = self.reader;
        ahead.head()
    }

    /// The integer as which a float is read.
    fn integer<F>(&self, float: F, whole: fn(F) -> Option<i64>) -> Option<i64> {
        match self.floats {
            Floats::Floats => None,
            Floats::WholeAreIntegers => whole(float),
        }
    }

    fn descend(&mut self) -> Result<(), Failure> {
        if self.depth <= 1 {
            return Err(Failure::custom("recursion limit exceeded"));
        }
        self.depth -= 1;
        Ok(())
    }

    fn visit_array<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> Result<V::Value, Failure> {
        self.descend()?;
        let mut elements = Elements { deserializer: self, left: count };
        let value = visitor.visit_seq(&mut elements)?;
        check_all_read(count, elements.left)?;
        self.depth += 1;
        Ok(value)
    }

    fn visit_map<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> Result<V::Value, Failure> {
        self.descend()?;
        let mut entries = Entries { deserializer: self, left: count };
        let value = visitor.visit_map(&mut entries)?;
        check_all_read(count, entries.left)?;
        self.depth += 1;
        Ok(value)
    }

    /// A number that is text: a key, or one of more than 64 bits.
    fn visit_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Failure> {
        let start = self.reader;
        if let Head::Text(text) = self.reader.head()?
            && let Ok(text) = std::str::from_utf8(text)
        {
            if let Ok(number) = text.parse() {
                return visitor.visit_u64(number);
            }
            if let Ok(number) = text.parse() {
                return visitor.visit_i64(number);
            }
            if let Ok(number) = text.parse() {
                return visitor.visit_u128(number);
            }
            if let Ok(number) = text.parse() {
                return visitor.visit_i128(number);
            }
            if let Ok(number) = text.parse() {
                return visitor.visit_f64(number);
            }
        }
        self.reader = start;
        de::Deserializer::deserialize_any(self, visitor)
    }
}

fn visit_integer<'de, V: Visitor<'de>>(integer: i64, visitor: V) -> Result<V::Value, Failure> {
    match u64::try_from(integer) {
        Ok(unsigned) => visitor.visit_u64(unsigned),
        Err(_) => visitor.visit_i64(integer),
    }
}

fn check_all_read(count: usize, left: usize) -> Result<(), Failure> {
    match left {
        0 => Ok(()),
        _ => Err(Failure::invalid_length(count, &"fewer elements")),
    }
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.reader.head()? {
            Head::Nil => visitor.visit_unit(),
            Head::Bool(yes) => visitor.visit_bool(yes),
            Head::Unsigned(number) => visitor.visit_u64(number),
            Head::Signed(number) => visitor.visit_i64(number),
            Head::F32(float) => match self.integer(float, whole_f32) {
                Some(integer) => visit_integer(integer, visitor),
                None => visitor.visit_f32(float),
            },
            Head::F64(float) => match self.integer(float, whole) {
                Some(integer) => visit_integer(integer, visitor),
                None => visitor.visit_f64(float),
            },
            Head::Text(text) => {
                let text = std::str::from_utf8(text).map_err(|_| Failure::custom("a string that is not UTF-8"))?;
                visitor.visit_borrowed_str(text)
            }
            Head::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Head::Extension => Err(Failure::invalid_type(Unexpected::Other("an extension type"), &visitor)),
            Head::Array(count) => self.visit_array(count, visitor),
            Head::Map(count) => self.visit_map(count, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.peek()? == Head::Nil {
            self.reader.head()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name == RAW_VALUE {
            // The name is the type's own: JSON text is what this type holds.
            let json = serde_json::Value::deserialize(self)?.to_string();
            return visitor.visit_map(MapDeserializer::new(once((RAW_VALUE, json))));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.peek()? {
            Head::Text(_) => visitor.visit_enum(NameOnly(self)),
            Head::Map(1) => {
                self.reader.head()?;
                self.descend()?;
                let value = visitor.visit_enum(NameAndContent(self))?;
                self.depth += 1;
                Ok(value)
            }
            Head::Map(_) => Err(Failure::invalid_value(Unexpected::Map, &"a map with a single key")),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Also of byte strings: they are sequences of numbers to a type that knows nothing better.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let Head::Bytes(bytes) = self.peek()? else { return self.deserialize_any(visitor) };
        self.reader.head()?;
        let mut elements = SeqDeserializer::<_, Failure>::new(bytes.iter().copied());
        let value = visitor.visit_seq(&mut elements)?;
        elements.end()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    /// Fields and variants have names here, and no numbers.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.peek()? {
            Head::Text(_) => self.deserialize_any(visitor),
            _ => Err(Failure::custom("the name of a field or variant must be a string")),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.visit_number(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.visit_number(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.reader.value()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct map struct
    }
}

/// By this name serde_json's raw values make themselves known, and its trees take a string for JSON.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// A hint is the peer's: it saves a few allocations, and makes no large ones.
const HINTED: usize = 64;

struct Elements<'a, 'de> {
    deserializer: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.deserializer).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(HINTED))
    }
}

struct Entries<'a, 'de> {
    deserializer: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        // Behind such a key a `serde_json::Value` would read JSON, with a depth of its own.
        if matches!(self.deserializer.peek()?, Head::Text(key) if key.starts_with(PRIVATE.as_bytes())) {
            return Err(Failure::custom(format_args!("a key may not begin with {PRIVATE:?}")));
        }
        seed.deserialize(Key(self.deserializer)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        seed.deserialize(&mut *self.deserializer)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(HINTED))
    }
}

const PRIVATE: &str = "$serde_json::private::";

/// A key: text also where its type is a number, as in JSON.
struct Key<'a, 'de>(&'a mut Deserializer<'de>);

impl<'de> de::Deserializer<'de> for Key<'_, 'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let yes = match self.0.peek()? {
            Head::Text(b"true") => true,
            Head::Text(b"false") => false,
            _ => return self.0.deserialize_any(visitor),
        };
        self.0.reader.head()?;
        visitor.visit_bool(yes)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.visit_number(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.deserialize_identifier(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.deserialize_ignored_any(visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
    }
}

/// A variant that is nothing but its name.
struct NameOnly<'a, 'de>(&'a mut Deserializer<'de>);

impl<'de> EnumAccess<'de> for NameOnly<'_, 'de> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        Ok((seed.deserialize(&mut *self.0)?, self))
    }
}

impl<'de> VariantAccess<'de> for NameOnly<'_, 'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Failure> {
        Err(Failure::invalid_type(Unexpected::UnitVariant, &"newtype variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Failure> {
        Err(Failure::invalid_type(Unexpected::UnitVariant, &"tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Failure> {
        Err(Failure::invalid_type(Unexpected::UnitVariant, &"struct variant"))
    }
}

/// A map of one entry: the variant's name, and what is in it.
struct NameAndContent<'a, 'de>(&'a mut Deserializer<'de>);

impl<'de> EnumAccess<'de> for NameAndContent<'_, 'de> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        Ok((seed.deserialize(&mut *self.0)?, self))
    }
}

impl<'de> VariantAccess<'de> for NameAndContent<'_, 'de> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        de::Deserializer::deserialize_tuple(self.0, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        de::Deserializer::deserialize_struct(self.0, "", fields, visitor)
    }
}
