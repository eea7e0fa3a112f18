//! Search for snaps by text, name, category or desktop id.

mod index;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use schema::store::Risk;

pub(super) use self::index::Index;
use self::index::{Field, fragment, fragments_of};
use super::{CatalogRevision, Release, Snap, Target, View};

/// Maximum number of hits.
const MOST: usize = 250;
/// The category of every snap, because a store on site has no editors.
const FEATURED: &str = "featured";

/// The query; all given fields must match.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Words, each of which must appear in name, title, summary or description.
    pub(crate) text: Option<String>,
    /// A prefix of the name.
    pub(crate) name: Option<String>,
    /// A category.
    pub(crate) category: Option<String>,
    /// A desktop id.
    pub(crate) common_id: Option<String>,
    /// Stable releases only.
    pub(crate) stable_only: bool,
    /// Accepted confinements; empty for any.
    pub(crate) confinements: Vec<String>,
}

/// A matching snap, with the release to show.
pub(crate) type Hit<'a> = (&'a Snap, &'a Release, &'a Arc<CatalogRevision>);

impl<'a> View<'a> {
    /// Matching snaps with the releases that the target finds, those with the text in their name first, then by name.
    pub(crate) fn search(&self, query: &Query, target: &Target<'_>) -> Vec<Hit<'a>> {
        let words: Vec<String> =
            query.text.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
        let few = self.few();
        let in_text = |text: &str| words.iter().all(|word| text.contains(word));
        let hit = |snap: &'a Snap| {
            let fits = query.fits(snap) && self.seen(snap).is_some();
            fits.then(|| query.best_release(self, snap, target)).flatten()
        };
        let candidates = |field| self.candidates(query, field, &words, few.as_deref());
        let named = candidates(Field::Name).filter(|snap| in_text(&snap.name));
        let mut hits: Vec<Hit<'a>> = named.filter_map(hit).take(MOST).collect();
        if !words.is_empty() {
            let others =
                candidates(Field::Text).filter(|snap| !in_text(&snap.name) && in_text(&snap.haystack));
            hits.extend(others.filter_map(hit).take(MOST - hits.len()));
        }
        hits
    }

    /// The snaps that may have all words of the query in a field and fit the rest of it, by name: among `few`, or
    /// those that the index leaves.
    fn candidates<'q>(
        &self,
        query: &'q Query,
        field: Field,
        words: &[String],
        few: Option<&'q [&'a Snap]>,
    ) -> Box<dyn Iterator<Item = &'a Snap> + 'q>
    where
        'a: 'q,
    {
        if let Some(few) = few {
            return Box::new(few.iter().copied());
        }
        let category = query.category.as_ref().filter(|category| *category != FEATURED);
        let category = category.map(|category| fragment(Field::Category, category.as_bytes()));
        let common_id = query.common_id.as_ref().map(|id| fragment(Field::CommonId, id.as_bytes()));
        let fragments = fragments_of(field, words).chain(category).chain(common_id).collect();
        let start = query.name.as_deref().unwrap_or_default();
        let from = self.catalog.search.like(start, fragments).map(Arc::as_ref);
        let from = from.skip_while(move |snap| snap.name.as_str() < start);
        Box::new(from.take_while(move |snap| snap.name.starts_with(start)))
    }

    /// Every snap that the scope may see, by name, if lists name few of the catalog's.
    fn few(&self) -> Option<Vec<&'a Snap>> {
        let ids = self.listed(self.catalog.count_snaps() / 8)?;
        let snaps = ids.into_iter().filter_map(|id| self.catalog.snap_by_id(id));
        let mut snaps: Vec<&Snap> = snaps.map(Arc::as_ref).collect();
        snaps.sort_by_key(|snap| (&snap.name, &snap.id));
        snaps.dedup_by_key(|snap| &snap.id);
        Some(snaps)
    }
}

impl Query {
    /// Whether a snap is one of those asked for, whatever the words are.
    fn fits(&self, snap: &Snap) -> bool {
        let category = |wanted: &String| wanted == FEATURED || snap.categories.contains(wanted);
        self.name.as_ref().is_none_or(|start| snap.name.starts_with(start.as_str()))
            && self.category.as_ref().is_none_or(category)
            && self.common_id.as_ref().is_none_or(|id| snap.common_ids.contains(id))
    }

    /// The safest release of the default track, else of any track: the channel map is in this order.
    fn best_release<'a>(&self, view: &View<'a>, snap: &'a Snap, target: &Target<'_>) -> Option<Hit<'a>> {
        let mut map = view.channel_map(snap, target);
        let (release, revision) =
            map.find(|(release, _)| !self.stable_only || release.channel.risk == Risk::Stable)?;
        let allowed = self.confinements.is_empty()
            || self.confinements.iter().any(|one| one == revision.confinement.as_str());
        allowed.then_some((snap, release, revision))
    }
}
