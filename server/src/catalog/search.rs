//! Search for snaps by text, name, category or desktop id.

use std::sync::Arc;

use schema::store::Risk;

use super::{CatalogRevision, Release, Snap, Target, View};

/// Maximum number of hits.
const MOST: usize = 250;

/// The query; all given fields must match.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Words, each of which must appear in name, title, summary or description.
    pub(crate) text: Option<String>,
    /// A prefix of the name.
    pub(crate) name: Option<String>,
    /// A category; `featured` contains every snap, because a store on site has no editors.
    pub(crate) category: Option<String>,
    /// A desktop id.
    pub(crate) common_id: Option<String>,
    /// Stable releases only.
    pub(crate) stable_only: bool,
    /// Accepted confinements; empty for any.
    pub(crate) confinements: Vec<String>,
    /// The device's architecture.
    pub(crate) architecture: Option<String>,
}

/// A matching snap, with the release to show.
pub(crate) type Hit<'a> = (&'a Snap, &'a Release, &'a Arc<CatalogRevision>);

impl<'a> View<'a> {
    /// Matching snaps, those with the text in their name first, then by name.
    pub(crate) fn search(&self, query: &Query) -> Vec<Hit<'a>> {
        let words: Vec<String> =
            query.text.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
        let mut hits: Vec<Hit<'a>> = self
            .snaps()
            .filter(|snap| query.fits(snap, &words))
            .filter_map(|snap| query.best_release(self, snap))
            .collect();
        hits.sort_by_key(|(snap, ..)| !words.iter().all(|word| snap.name.contains(word)));
        hits.truncate(MOST);
        hits
    }
}

impl Query {
    fn fits(&self, snap: &Snap, words: &[String]) -> bool {
        let category = |wanted: &String| wanted == "featured" || snap.categories.contains(wanted);
        words.iter().all(|word| snap.haystack.contains(word))
            && self.name.as_ref().is_none_or(|start| snap.name.starts_with(start.as_str()))
            && self.category.as_ref().is_none_or(category)
            && self.common_id.as_ref().is_none_or(|id| snap.common_ids.contains(id))
    }

    /// The safest release of the default track, else of any track: the channel map is in this order.
    fn best_release<'a>(&self, view: &View<'a>, snap: &'a Snap) -> Option<Hit<'a>> {
        let target = Target { architecture: self.architecture.as_deref(), ..Target::default() };
        let mut map = view.channel_map(snap, &target);
        let (release, revision) =
            map.find(|(release, _)| !self.stable_only || release.channel.risk == Risk::Stable)?;
        let allowed = self.confinements.is_empty()
            || self.confinements.iter().any(|one| one == revision.confinement.as_str());
        allowed.then_some((snap, release, revision))
    }
}
