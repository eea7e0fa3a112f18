//! *Snaps*: what is held, and for each snap its channels as a grid of track, architecture and risk.

use std::collections::BTreeMap;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{ListDeltas, ListSnaps};
use schema::api::admin::{DeltaState, DeltaStatus, Snap};

use super::frame::{self, Frame, show};
use super::plot::{self, Plot, Span};
use super::shown::{bytes, query};
use super::texts::ENGLISH;
use super::visit::Visit;

/// Snaps on a page.
const PAGE: usize = 100;
/// The columns of the grid.
const RISKS: [&str; 4] = ["stable", "candidate", "beta", "edge"];

#[derive(Template)]
#[template(path = "snaps.html")]
struct SnapsPage {
    f: Frame,
    name: String,
    snaps: Vec<Snap>,
    next: Option<String>,
}

/// All snaps.
pub(super) async fn page(visit: Visit) -> Response {
    let snaps = match visit.ask::<ListSnaps>("").await {
        Ok(snaps) => snaps.snaps,
        Err(refusal) => return refusal.into_response(),
    };
    let (name, after) = (visit.value("name"), visit.value("after"));
    let wanted = |snap: &Snap| snap.name.contains(&name) && snap.name > after;
    let mut snaps: Vec<Snap> = snaps.into_iter().filter(wanted).take(PAGE + 1).collect();
    let more = snaps.len() > PAGE;
    snaps.truncate(PAGE);
    let next = snaps.last().filter(|_| more);
    let next = next.map(|last| format!("/pages/snaps?{}", query([("name", &*name), ("after", &*last.name)])));
    show(&SnapsPage { f: visit.frame("snaps", ENGLISH.snaps), name, snaps, next })
}

impl SnapsPage {
    fn page_of(&self, name: &str) -> String {
        snap_page(name)
    }

    fn total(&self, snap: &Snap) -> String {
        bytes(snap.revisions.iter().map(|revision| revision.size).sum())
    }
}

/// Where a snap's page is.
pub(super) fn snap_page(name: &str) -> String {
    format!("/pages/snap?{}", query([("name", name)]))
}

/// A revision and its version in a channel.
type Cell = Option<(u32, String)>;

struct Row {
    track: String,
    architecture: String,
    cells: [Cell; RISKS.len()],
}

#[derive(Template)]
#[template(path = "snap.html")]
struct SnapPage {
    f: Frame,
    snap: Snap,
    risks: [&'static str; RISKS.len()],
    grid: Vec<Row>,
    deltas: Vec<DeltaStatus>,
    plot: Option<Plot>,
}

/// One snap.
pub(super) async fn one(visit: Visit) -> Response {
    let name = visit.value("name");
    let wanted = query([("snap", &*name)]);
    let (snaps, deltas) = match try_join!(visit.ask::<ListSnaps>(""), visit.ask::<ListDeltas>(&wanted)) {
        Ok(answers) => answers,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(mut snap) = snaps.snaps.into_iter().find(|snap| snap.name == name) else {
        return frame::trouble(StatusCode::NOT_FOUND, ENGLISH.no_such_snap, Vec::new());
    };
    snap.revisions.reverse();
    let plot = Plot::asked(&visit, &plot::REVISIONS, Span::of(&visit), Some(&name)).await.ok();
    let (f, grid) = (visit.frame("snaps", &snap.name), grid(&snap));
    show(&SnapPage { f, grid, snap, risks: RISKS, deltas: deltas.deltas, plot })
}

/// The channels: branches have a row of their own.
fn grid(snap: &Snap) -> Vec<Row> {
    let mut rows: BTreeMap<(String, String), [Cell; RISKS.len()]> = BTreeMap::new();
    for revision in &snap.revisions {
        for channel in &revision.channels {
            let mut parts = channel.splitn(3, '/');
            let (track, risk) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let Some(column) = RISKS.iter().position(|known| *known == risk) else { continue };
            let track = parts.next().map_or_else(|| track.to_owned(), |branch| format!("{track} ({branch})"));
            for architecture in &revision.architectures {
                let row = rows.entry((track.clone(), architecture.clone())).or_default();
                row[column] = Some((revision.revision, revision.version.clone()));
            }
        }
    }
    let row = |((track, architecture), cells)| Row { track, architecture, cells };
    rows.into_iter().map(row).collect()
}

impl SnapPage {
    fn older(&self, revision: &u32) -> String {
        let below = format!("{}={revision}", self.snap.name);
        format!("/pages/fleet?{}", query([("below", &*below)]))
    }

    fn state(&self, delta: &DeltaStatus) -> &'static str {
        match delta.state {
            DeltaState::Made => ENGLISH.delta_made,
            DeltaState::Waiting => ENGLISH.delta_waiting,
            DeltaState::TooLarge => ENGLISH.delta_too_large,
            DeltaState::Failed => ENGLISH.failed,
            DeltaState::Dropped => ENGLISH.delta_dropped,
        }
    }
}
