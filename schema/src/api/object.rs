//! Reads JSON objects strictly. A derived reader would also accept an array of the field values in order, which no
//! client sends and other readers reject.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A value read from a JSON object, and from nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<T>(pub T);

/// Reads one object.
///
/// # Errors
/// The bytes are not JSON, not an object, or not one of this kind.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    // Checked once as a whole, and not again text by text.
    let read = match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    };
    read.map(|Object(said)| said)
}

/// The most entries of a list: many times what a device with hundreds of snaps sends. Whatever is done for one entry is done
/// so many times at most, for a request that anybody may send.
pub const MOST_ENTRIES: usize = 2000;

/// Reads a field that is an array of at most [`MOST_ENTRIES`] objects, or null for none.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_option(Entries::<Object<T>, T>(|Object(said)| said))
}

/// Reads a field that is an array of at most [`MOST_ENTRIES`] texts, or null for none.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_option(Entries::<String, String>(|text| text))
}

/// How an entry is read, and what is kept of it.
struct Entries<R, T>(fn(R) -> T);

impl<'de, R: Deserialize<'de>, T> Visitor<'de> for Entries<R, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_none<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() == MOST_ENTRIES {
                let why = format!("a list has more than {MOST_ENTRIES} entries: ask in several requests");
                return Err(A::Error::custom(why));
            }
            list.push(self.0(entry));
        }
        Ok(list)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}
