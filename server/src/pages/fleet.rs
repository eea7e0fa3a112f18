//! *Fleet*: devices with what they run, a page at a time, and filters that are links.

use askama::Template;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{CountDevices, ListDevices};
use schema::api::admin::{Device, FleetCounts};

use super::frame::{Frame, show};
use super::plot::Plot;
use super::shown::query;
use super::texts::ENGLISH;
use super::visit::Visit;

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
    plot: Plot,
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
    let plot = Plot::of_hours(t.plot_last_seen, &counts.by_hour);
    show(&FleetPage { f: visit.frame("fleet", t.fleet), counts, plot, filter, ages, devices, next })
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
