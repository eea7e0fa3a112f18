//! *Registrations*: the models whose serials are signed here, and the serials that were given out.

use askama::Template;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{ListModels, ListSerials};
use schema::api::admin::{IssuedSerial, ModelPolicy};
use schema::store::DeviceId;

use super::frame::{Frame, show};
use super::shown::{self, query};
use super::texts::ENGLISH;
use super::visit::Visit;

/// Serials on a page.
const PAGE: usize = 100;

#[derive(Template)]
#[template(path = "registrations.html")]
struct RegistrationsPage {
    f: Frame,
    models: Vec<ModelPolicy>,
    serials: Vec<IssuedSerial>,
    next: Option<String>,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    let (model, after) = (visit.value("model"), visit.value("after"));
    let wanted = query([("model", &*model), ("after", &*after)]);
    let (models, serials) = match try_join!(visit.ask::<ListModels>(""), visit.ask::<ListSerials>(&wanted)) {
        Ok((models, serials)) => (models.models, serials.serials),
        Err(refusal) => return refusal.into_response(),
    };
    let more = serials.len() > PAGE;
    let serials: Vec<IssuedSerial> = serials.into_iter().take(PAGE).collect();
    let next = serials.last().filter(|_| more).map(|last| {
        let after = last.device.to_string();
        format!("/pages/registrations?{}", query([("model", &*model), ("after", &*after)]))
    });
    show(&RegistrationsPage { f: visit.frame("registrations", ENGLISH.registrations), models, serials, next })
}

impl RegistrationsPage {
    fn of_model(&self, model: &str) -> String {
        format!("/pages/registrations?{}", query([("model", model)]))
    }

    fn device_page(&self, device: &DeviceId) -> String {
        shown::device_page(device)
    }
}
