//! What history tells of two generations: what was in force in each.

use std::collections::BTreeMap;

use crate::storage::span::Span;

/// What was in force before and after.
pub(super) struct Sides<'a, T> {
    pub(super) before: Vec<&'a T>,
    pub(super) after: Vec<&'a T>,
}

impl<T> Default for Sides<'_, T> {
    fn default() -> Self {
        Self { before: Vec::new(), after: Vec::new() }
    }
}

/// What ended and began in each generation.
pub(super) fn turns<T>(spans: &[Span<T>]) -> BTreeMap<i64, Sides<'_, T>> {
    let mut turns: BTreeMap<i64, Sides<'_, T>> = BTreeMap::new();
    for span in spans {
        turns.entry(span.began).or_default().after.push(&span.held);
        if let Some(generation) = span.ended {
            turns.entry(generation).or_default().before.push(&span.held);
        }
    }
    turns
}

/// What was in force after one generation and after another one.
pub(super) fn sides<T>(spans: &[Span<T>], (from, to): (i64, i64)) -> Sides<'_, T> {
    let at = |generation: i64| {
        let in_force =
            |span: &&Span<T>| span.began <= generation && span.ended.is_none_or(|ended| ended > generation);
        spans.iter().filter(in_force).map(|span| &span.held).collect()
    };
    Sides { before: at(from), after: at(to) }
}
