//! Finding snaps by text, name, category or desktop id (store API §9).

use std::sync::Arc;

use schema::store::Risk;

use super::{Release, Revision, Snap, View};

/// Most hits of one answer.
const MOST: usize = 250;

/// What is looked for; everything given must fit.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Words, each of which must appear in name, title, summary or description.
    pub(crate) text: Option<String>,
    /// The beginning of the name.
    pub(crate) name: Option<String>,
    /// A category; `featured` holds every snap, since a store on site has no editors.
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

/// A snap that fits, with the release shown.
pub(crate) type Hit<'a> = (&'a Snap, &'a Release, &'a Arc<Revision>);

impl<'a> View<'a> {
    /// Snaps that fit, those with the text in their name first, then by name.
    pub(crate) fn search(&self, query: &Query) -> Vec<Hit<'a>> {
        let words: Vec<String> =
            query.text.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
        let mut hits: Vec<Hit<'a>> = self
            .snaps()
            .filter(|snap| query.fits(snap, &words))
            .filter_map(|snap| query.best_release(snap))
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

    /// The safest release of the default track, else of any: the channel map is in that order.
    fn best_release<'a>(&self, snap: &'a Snap) -> Option<Hit<'a>> {
        let mut map = snap.channel_map(self.architecture.as_deref());
        let (release, revision) =
            map.find(|(release, _)| !self.stable_only || release.channel.risk == Risk::Stable)?;
        let allowed = self.confinements.is_empty() || self.confinements.contains(&revision.confinement);
        allowed.then_some((snap, release, revision))
    }
}
