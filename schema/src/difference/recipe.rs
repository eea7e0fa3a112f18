//! The recipe of a difference: numbers of seven bits a byte.

use super::DifferenceError;

/// More steps than any image needs.
const MOST: usize = 1 << 22;

/// A block of the old image that goes into the dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) kind: Kind,
}

/// How bytes are kept in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// As they are.
    Raw,
    /// In a packed block of data.
    Data,
    /// In a packed block of metadata.
    Meta,
}

/// A step in putting the new image together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes of the old image.
    Copy { offset: u64, length: u64 },
    /// The next new bytes.
    Fresh { kind: Kind, length: u32 },
}

/// What goes into the dictionary, and the steps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) sources: Vec<Source>,
    pub(super) steps: Vec<Step>,
}

impl Kind {
    fn number(self) -> u64 {
        match self {
            Self::Raw => 0,
            Self::Data => 1,
            Self::Meta => 2,
        }
    }

    fn of(number: u64) -> Result<Self, DifferenceError> {
        match number {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Data),
            2 => Ok(Self::Meta),
            _ => Err(DifferenceError::Damaged),
        }
    }
}

impl Recipe {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.sources.len() as u64);
        let mut end = 0;
        for source in &self.sources {
            // Sources are in order.
            put(&mut out, source.offset - end);
            put(&mut out, u64::from(source.length) << 2 | source.kind.number());
            end = source.offset + u64::from(source.length);
        }
        put(&mut out, self.steps.len() as u64);
        for step in &self.steps {
            match *step {
                Step::Copy { offset, length } => {
                    put(&mut out, length << 2 | 3);
                    put(&mut out, offset);
                }
                Step::Fresh { kind, length } => put(&mut out, u64::from(length) << 2 | kind.number()),
            }
        }
        out
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, DifferenceError> {
        let short = |number: u64| u32::try_from(number).map_err(|_| DifferenceError::Damaged);
        let mut recipe = Self::default();
        let mut end = 0_u64;
        for _ in 0..count(&mut bytes)? {
            let offset = end.checked_add(take(&mut bytes)?).ok_or(DifferenceError::Damaged)?;
            let packed = take(&mut bytes)?;
            let (length, kind) = (short(packed >> 2)?, Kind::of(packed & 3)?);
            end = offset.checked_add(u64::from(length)).ok_or(DifferenceError::Damaged)?;
            recipe.sources.push(Source { offset, length, kind });
        }
        for _ in 0..count(&mut bytes)? {
            let packed = take(&mut bytes)?;
            recipe.steps.push(match packed & 3 {
                3 => Step::Copy { length: packed >> 2, offset: take(&mut bytes)? },
                kind => Step::Fresh { kind: Kind::of(kind)?, length: short(packed >> 2)? },
            });
        }
        if bytes.is_empty() { Ok(recipe) } else { Err(DifferenceError::Damaged) }
    }
}

pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

pub(super) fn take(bytes: &mut &[u8]) -> Result<u64, DifferenceError> {
    let mut number = 0;
    for at in 0..9 {
        let (first, rest) = bytes.split_first().ok_or(DifferenceError::Damaged)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << (7 * at);
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DifferenceError::Damaged)
}

/// A count of things of which each takes a byte at least.
fn count(bytes: &mut &[u8]) -> Result<usize, DifferenceError> {
    let number = usize::try_from(take(bytes)?).map_err(|_| DifferenceError::Damaged)?;
    if number <= bytes.len().min(MOST) { Ok(number) } else { Err(DifferenceError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_read_as_it_was_written() {
        let recipe = Recipe {
            sources: vec![
                Source { offset: 96, length: 1 << 17, kind: Kind::Data },
                Source { offset: 1 << 20, length: 7, kind: Kind::Raw },
            ],
            steps: vec![
                Step::Copy { offset: 1 << 40, length: 1 << 33 },
                Step::Fresh { kind: Kind::Meta, length: 8192 },
            ],
        };
        let bytes = recipe.encode();
        assert_eq!(Recipe::decode(&bytes).expect("a recipe"), recipe);
        for at in 0..bytes.len() {
            assert!(Recipe::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(Recipe::decode(&[0xff; 12]).is_err());
        assert!(Recipe::decode(&[0xff, 0xff, 0x7f]).is_err());
    }
}
