//! Finds the snaps that a search may mean without reading the others.
//!
//! Snaps lie in the order of their names, in leaves of at most 64. For every number that a fragment of a text hashes to, a
//! leaf has a row of 64 bits, one for each of its snaps. The rows of a word's fragments, intersected, leave the snaps that
//! may contain the word. Different fragments may share a row, so the caller compares the texts of the snaps that are left.

use std::ops::Bound;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::catalog::Snap;

/// How many snaps a leaf holds: one for each bit of a row.
const WIDTH: usize = 64;
/// How many rows a leaf has, as a power of two. With a description of 800 letters, a snap sets one bit in six.
const ROWS: u32 = 12;
/// The longest fragment, in bytes.
const LONGEST: usize = 3;
/// How many fragments of a search are looked up; further ones would leave hardly fewer snaps.
const LOOKED_UP: usize = 32;

/// What a fragment is part of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    /// The name.
    Name,
    /// Name, title, summary and description.
    Text,
    /// One category, whole.
    Category,
    /// One desktop id, whole.
    CommonId,
}

/// All snaps, by name and id. A clone shares everything with its original.
#[derive(Clone, Default)]
pub(in crate::catalog) struct Index {
    /// Leaves by a text that is not above any of their places; the first one's is empty.
    leaves: RedBlackTreeMapSync<String, Arc<Leaf>>,
}

#[derive(Clone)]
struct Leaf {
    snaps: Vec<Arc<Snap>>,
    rows: Vec<u64>,
}

impl Index {
    /// Adds a snap that is not here.
    pub(in crate::catalog) fn put(&mut self, snap: Arc<Snap>) {
        if self.leaves.is_empty() {
            self.leaves.insert_mut(String::new(), Arc::new(Leaf::of(Vec::new(), vec![0; 1 << ROWS])));
        }
        let first = self.leaf_of(&place(&snap)).to_owned();
        let Some(leaf) = self.leaves.get_mut(&first).map(Arc::make_mut) else { return };
        if leaf.snaps.len() < WIDTH {
            return leaf.put(snap);
        }
        let mut upper = leaf.split();
        let from = place(&upper.snaps[0]);
        if place(&snap) < from {
            leaf.put(snap)
        } else {
            upper.put(snap)
        }
        self.leaves.insert_mut(from, Arc::new(upper));
    }

    /// Removes a snap that is here.
    pub(in crate::catalog) fn remove(&mut self, snap: &Snap) {
        let first = self.leaf_of(&place(snap)).to_owned();
        let Some(leaf) = self.leaves.get_mut(&first).map(Arc::make_mut) else { return };
        leaf.remove(snap);
        if leaf.snaps.is_empty() {
            // An index without its first leaf has none at all.
            if self.leaves.size() == 1 || !first.is_empty() {
                self.leaves.remove_mut(&first);
            }
        }
    }

    /// The snaps that may have all these fragments, by name; from a little before `name`.
    pub(super) fn like<'a>(
        &'a self,
        name: &str,
        fragments: Vec<usize>,
    ) -> impl Iterator<Item = &'a Arc<Snap>> {
        let from = (Bound::Included(self.leaf_of(name)), Bound::Unbounded);
        self.leaves.range::<str, _>(from).flat_map(move |(_, leaf)| leaf.like(&fragments))
    }

    /// The key of the leaf in which a place is.
    fn leaf_of(&self, place: &str) -> &str {
        let up_to = (Bound::Unbounded, Bound::Included(place));
        self.leaves.range::<str, _>(up_to).next_back().map_or("", |(first, _)| first)
    }
}

impl Leaf {
    fn of(snaps: Vec<Arc<Snap>>, rows: Vec<u64>) -> Self {
        Self { snaps, rows }
    }

    fn put(&mut self, snap: Arc<Snap>) {
        let at = self.snaps.partition_point(|held| (&held.name, &held.id) < (&snap.name, &snap.id));
        let below = (1 << at) - 1;
        for row in &mut self.rows {
            *row = (*row & below) | ((*row & !below) << 1);
        }
        for row in rows_of(&snap) {
            self.rows[row] |= 1 << at;
        }
        self.snaps.insert(at, snap);
    }

    fn remove(&mut self, snap: &Snap) {
        let Some(at) = self.snaps.iter().position(|held| held.id == snap.id) else { return };
        let below = (1 << at) - 1;
        for row in &mut self.rows {
            *row = (*row & below) | ((*row >> 1) & !below);
        }
        self.snaps.remove(at);
    }

    /// Gives away the upper half of a full leaf.
    fn split(&mut self) -> Self {
        const HALF: usize = WIDTH / 2;
        let upper = self.rows.iter().map(|row| row >> HALF).collect();
        for row in &mut self.rows {
            *row &= (1 << HALF) - 1;
        }
        Self::of(self.snaps.split_off(HALF), upper)
    }

    fn like<'a>(&'a self, fragments: &[usize]) -> impl Iterator<Item = &'a Arc<Snap>> + use<'a> {
        let mut left = fragments.iter().fold(u64::MAX, |left, row| left & self.rows[*row]);
        std::iter::from_fn(move || {
            let at = left.trailing_zeros();
            // Without the lowest bit.
            left &= left.saturating_sub(1);
            self.snaps.get(at as usize)
        })
    }
}

/// Name and id as one text of the same order: no name contains NUL.
fn place(snap: &Snap) -> String {
    format!("{}\0{}", snap.name, snap.id)
}

fn rows_of(snap: &Snap) -> impl Iterator<Item = usize> {
    let (categories, ids) = (snap.categories.iter(), snap.common_ids.iter());
    fragments_in(Field::Name, &snap.name)
        .chain(fragments_in(Field::Text, &snap.haystack))
        .chain(categories.map(|one| fragment(Field::Category, one.as_bytes())))
        .chain(ids.map(|one| fragment(Field::CommonId, one.as_bytes())))
}

/// Every fragment of a text that a word may consist of: a word of a search has no white space.
fn fragments_in(field: Field, text: &str) -> impl Iterator<Item = usize> {
    let words = text.split_whitespace().map(str::as_bytes);
    let fragments = words.flat_map(|word| (1..=LONGEST).flat_map(|length| word.windows(length)));
    fragments.map(move |bytes| fragment(field, bytes))
}

/// The fragments that whatever contains all these words has, the longest that each offers.
pub(super) fn fragments_of(field: Field, words: &[String]) -> impl Iterator<Item = usize> {
    let fragments = words.iter().flat_map(|word| word.as_bytes().windows(word.len().clamp(1, LONGEST)));
    fragments.take(LOOKED_UP).map(move |bytes| fragment(field, bytes))
}

/// The row of a fragment: FNV-1a, of which the upper bits are taken.
pub(super) fn fragment(field: Field, bytes: &[u8]) -> usize {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = bytes.iter().fold(mix(0x811c_9dc5, &(field as u8)), mix);
    (hash >> (u32::BITS - ROWS)) as usize
}
