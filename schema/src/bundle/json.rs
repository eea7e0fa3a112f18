//! Strict reader for JSON from outside: typed, no duplicate keys, bounded depth and number of values.
//!
//! A null field counts as absent. A list is no object: a derived reader would take its items for the fields in order, which
//! nobody writes.

use std::cell::Cell;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Number, Value};

use super::BundleError;

/// Deepest nesting; real documents have at most 6 levels.
const DEPTH: usize = 32;
/// Most values in one document; each takes a few dozen bytes of memory.
const VALUES: usize = 200_000;

/// Reads the document called `name`.
pub(super) fn parse<T: DeserializeOwned>(name: &'static str, bytes: &[u8]) -> Result<T, BundleError> {
    parse_any(bytes).map_err(|source| BundleError::Json { name, source })
}

fn parse_any<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let count = Cell::new(0);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0, count: &count }.deserialize(&mut reader)?;
    reader.end()?;
    from_value(value)
}

/// Reads a value whose lists are no objects.
pub(super) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    T::deserialize(Typed { value, place: String::new() })
}

/// A value that is read as what it is, and its place in the document, which errors name.
struct Typed {
    value: Value,
    place: String,
}

impl Typed {
    /// A member of what is at `place`.
    fn member(place: &str, name: &str, value: Value) -> Self {
        Self { value, place: if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") } }
    }
}

/// The error with its place, which the innermost value adds.
fn placed(place: &str, error: serde_json::Error) -> serde_json::Error {
    let text = error.to_string();
    match place.is_empty() || text.starts_with(PLACE) {
        true => error,
        false => {
            Error::custom(format_args!("{PLACE}{}: {text}", place.chars().take(200).collect::<String>()))
        }
    }
}

/// How an error begins that names its place.
const PLACE: &str = "in ";

impl<'de> Deserializer<'de> for Typed {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let Self { value, place } = self;
        let read = match value {
            Value::Array(list) => {
                let items = list.into_iter().enumerate();
                visitor.visit_seq(SeqDeserializer::new(
                    items.map(|(at, value)| Typed { value, place: format!("{place}[{at}]") }),
                ))
            }
            Value::Object(object) => {
                let members = object.into_iter();
                visitor.visit_map(MapDeserializer::new(members.map(|(name, value)| {
                    let value = Typed::member(&place, &name, value);
                    (name, value)
                })))
            }
            other => other.deserialize_any(visitor),
        };
        read.map_err(|error| placed(&place, error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Array(_) => Err(placed(&self.place, Error::invalid_type(Unexpected::Seq, &"an object"))),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let place = self.place.clone();
        visitor.visit_newtype_struct(self).map_err(|error| placed(&place, error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let Self { value, place } = self;
        value.deserialize_enum(name, variants, visitor).map_err(|error| placed(&place, error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl IntoDeserializer<'_, serde_json::Error> for Typed {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Reads one value of any type at this depth.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    count: &'a Cell<usize>,
}

impl<'a> Strict<'a> {
    fn inner<E: Error>(self) -> Result<Strict<'a>, E> {
        match self.depth < DEPTH {
            true => Ok(Strict { depth: self.depth + 1, ..self }),
            false => Err(E::custom(format_args!("nested deeper than {DEPTH} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count.set(self.count.get() + 1);
        if self.count.get() > VALUES {
            return Err(D::Error::custom(format_args!("more than {VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                let key: String = key.chars().take(80).collect();
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            let value = map.next_value_seed(inner)?;
            object.insert(key, value);
        }
        object.retain(|_, value| !value.is_null());
        Ok(Value::Object(object))
    }
}

/// A revision number of a snap: 1 up to what every device can hold (a signed 32-bit number).
pub(super) fn revision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number: u32 = serde::Deserialize::deserialize(deserializer)?;
    match number {
        1..=0x7fff_ffff => Ok(number),
        _ => Err(D::Error::custom("revisions are whole numbers from 1 to 2147483647")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_no_object() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only read")]
        struct Inner {
            a: u32,
        }
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only read")]
        struct Outer {
            list: Option<Vec<Inner>>,
            map: Option<std::collections::BTreeMap<String, Inner>>,
            one: Option<Inner>,
        }
        let read = |text: &str| parse_any::<Outer>(text.as_bytes()).map_err(|error| error.to_string());
        assert!(read(r#"{"list": [{"a": 1}], "map": {"x": {"a": 2}}, "one": {"a": 3}}"#).is_ok());
        for bad in ["[]", "[[], {}, {}]", r#"{"list": [[1]]}"#, r#"{"map": {"x": [1]}}"#, r#"{"one": [1]}"#] {
            let error = read(bad).unwrap_err();
            assert!(error.ends_with("invalid type: sequence, expected an object"), "{bad}: {error}");
        }
        assert_eq!(read(r#"{"map": {"x": {}}}"#).unwrap_err(), "in map.x: missing field `a`");
        assert!(
            read(r#"{"list": [{"a": 1}, {"a": "x"}]}"#)
                .unwrap_err()
                .starts_with("in list[1].a: invalid type")
        );
    }

    #[test]
    fn bombs_and_second_meanings_are_refused() {
        let read = |text: &str| parse_any::<Value>(text.as_bytes());
        assert!(read(r#"{"a": [1, -2, 3.5, null, true, "x"], "b": {}}"#).is_ok());
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nested(32)).is_ok());
        assert!(read(&nested(33)).is_err());
        assert!(read(&nested(1_000_000)).is_err());
        let wide = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert!(read(&wide(VALUES)).is_ok());
        assert!(read(&wide(VALUES + 1)).is_err());
        for bad in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"deep": [{"a": 1, "\u0061": 2}]}"#,
            "1e999",
            "[1] 2",
            "[1,]",
            "\u{feff}[]",
            "",
            "{'a': 1}",
            "[01]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
