//! The channel maps that cohorts keep.

use schema::session::Cohort;
use schema::store::{Channel, SnapId};

use super::{Release, Snap};
use crate::storage::history::kept;
use crate::storage::records::Origin;

/// The channel map of a cohort, as a request asks for it.
#[derive(Debug)]
pub(crate) struct KeptMap {
    snap_id: SnapId,
    releases: Vec<Release>,
}

impl From<Cohort> for KeptMap {
    fn from(cohort: Cohort) -> Self {
        let release = |(channel, architecture, revision)| Release {
            channel,
            architecture,
            revision,
            released_at: String::new(),
            origin: Origin::Imported,
        };
        Self { snap_id: cohort.snap_id, releases: cohort.releases.into_iter().map(release).collect() }
    }
}

impl KeptMap {
    /// The release where a device that follows `wanted` ends. Nothing if the key is another snap's, if that revision is not
    /// held any more, or for a branch, which no key keeps.
    pub(super) fn release<'a>(
        &'a self,
        snap: &'a Snap,
        wanted: &Channel,
        architecture: Option<&str>,
    ) -> Option<&'a Release> {
        if wanted.branch.is_some() || self.snap_id != snap.id {
            return None;
        }
        wanted.risk.and_safer().find_map(|risk| {
            let here =
                |release: &&Release| release.channel.track == wanted.track && release.channel.risk == risk;
            let fitting = self.releases.iter().filter(here);
            let fitting = fitting.filter(|release| snap.offered(release, architecture).is_some());
            fitting.min_by_key(|release| release.architecture.is_all())
        })
    }
}

impl Snap {
    /// What its channels hold at `now`, in seconds since 1970. Branches are not for everybody who gets the key.
    pub(crate) fn freeze(&self, now: u64) -> Cohort {
        let all = self.releases.iter();
        let releases = kept(all.map(|it| (&it.channel, &it.architecture, it.revision, it.origin)));
        Cohort { snap_id: self.id.clone(), frozen_at: now, releases }
    }
}
