//! *Fleet*: devices with what they run, a page at a time, and filters that are links.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{CountDevices, ListDevices};
use schema::api::admin::{Device, FleetCounts};

use super::frame::{Frame, show};
use super::plot::{self, Plot, Span};
use super::shown::query;
use super::texts::ENGLISH;
use super::visit::{Visit, refused};

/// Devices on a page.
const PAGE: usize = 50;

/// What the visitor filters by.
struct Filter {
    serial: String,
    brand: String,
    model: String,
    below: String,
    missing: String,
    stale: String,
    is_set: bool,
}

impl Filter {
    fn of(visit: &Visit) -> Self {
        let [serial, brand, model, below, missing, stale] =
            ["serial", "brand", "model", "below", "missing", "stale"].map(|name| visit.value(name));
        let is_set =
            [&serial, &brand, &model, &below, &missing, &stale].iter().any(|value| !value.is_empty());
        Self { serial, brand, model, below, missing, stale, is_set }
    }

    fn pairs(&self) -> [(&str, &str); 6] {
        [
            ("serial", &self.serial),
            ("brand", &self.brand),
            ("model", &self.model),
            ("below", &self.below),
            ("missing", &self.missing),
            ("stale", &self.stale),
        ]
    }
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    f: Frame,
    counts: FleetCounts,
    plots: Vec<Plot>,
    span: Span,
    filter: Filter,
    ages: [(&'static str, &'static str); 5],
    devices: Vec<Device>,
    next: Option<String>,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    let filter = Filter::of(&visit);
    let (after, limit) = (visit.value("after"), (PAGE + 1).to_string());
    let pairs = filter.pairs().into_iter().chain([("after", &*after), ("limit", &*limit)]);
    let wanted = query(pairs);
    let asked = try_join!(visit.ask::<CountDevices>(""), visit.ask::<ListDevices>(&wanted));
    let (counts, mut devices) = match asked {
        Ok((counts, devices)) => (counts, devices.devices),
        Err(refusal) => return refusal.into_response(),
    };
    let more = devices.len() > PAGE;
    devices.truncate(PAGE);
    let next = devices.last().filter(|_| more).map(|last| {
        let after = name(last);
        format!("/pages/fleet?{}", query(filter.pairs().into_iter().chain([("after", &*after)])))
    });
    let t = &ENGLISH;
    let ages = [
        ("", t.any_time),
        ("3600", t.an_hour),
        ("86400", t.a_day),
        ("604800", t.a_week),
        ("2592000", t.a_month),
    ];
    let span = Span::of(&visit);
    let mut plots = vec![Plot::of_hours(&counts.by_hour)];
    match Plot::asked(&visit, &plot::CONTACTS, span, None).await {
        Ok(contacts) => plots.push(contacts),
        Err(refusal) => return refused(refusal),
    }
    // What devices run may have left the store since.
    if let Some(snap) = shown_snap(&devices)
        && let Ok(revisions) = Plot::asked(&visit, &plot::REVISIONS, span, Some(&snap)).await
    {
        plots.push(revisions);
    }
    show(&FleetPage { f: visit.frame("fleet", t.fleet), counts, plots, span, filter, ages, devices, next })
}

/// The snap whose revisions differ most among these devices, which is the one that tells how far an update is.
fn shown_snap(devices: &[Device]) -> Option<String> {
    let mut running: BTreeMap<&str, (BTreeSet<i64>, usize)> = BTreeMap::new();
    for snap in devices.iter().filter_map(|device| device.snaps.as_ref()).flatten() {
        let (revisions, devices) = running.entry(&snap.name).or_default();
        revisions.insert(snap.revision);
        *devices += 1;
    }
    let most = running.into_iter().max_by_key(|(_, (revisions, devices))| (revisions.len(), *devices));
    most.map(|(name, _)| name.to_owned())
}

fn name(device: &Device) -> String {
    format!("{}/{}/{}", device.brand, device.model, device.serial)
}

impl FleetPage {
    fn page_of(&self, device: &Device) -> String {
        format!("/pages/device?{}", query([("device", &*name(device))]))
    }

    fn with_brand(&self, device: &Device) -> String {
        format!("/pages/fleet?{}", query([("brand", &*device.brand)]))
    }

    fn with_model(&self, device: &Device) -> String {
        format!("/pages/fleet?{}", query([("brand", &*device.brand), ("model", &device.model)]))
            .replace('&', "&amp;")
    }
}
