//! *Device*: what one device runs and why, what happened to it, and what may be done to it.

use askama::Template;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{
    BlockDevice, Call, Explain, ExplainRollouts, ListAudit, SetDeviceTags, ShowDevice,
};
use schema::api::admin::{
    Device, DeviceBlock, DeviceDownload, DownloadOutcome, Explanation, RolloutReason, TagDevices,
};
use schema::store::DeviceId;

use super::ask;
use super::frame::{self, Frame, show};
use super::shown::{device_page, moment, query};
use super::texts::ENGLISH;
use super::visit::{Fields, Visit};
use crate::clock;

/// Something that happened to a device.
struct Happening {
    at: String,
    kind: &'static str,
    text: String,
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    f: Frame,
    id: String,
    device: Device,
    snap: String,
    channel: String,
    explanation: Option<Explanation>,
    refusal: Option<String>,
    timeline: Vec<Happening>,
    reasons: Vec<RolloutReason>,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    let id = visit.value("device");
    let named = query([("device", &*id)]);
    let about = query([("subject", &*id), ("limit", "20")]);
    let asked = try_join!(
        visit.ask::<ShowDevice>(&named),
        visit.ask::<ExplainRollouts>(&named),
        visit.ask::<ListAudit>(&about)
    );
    let (device, reasons, log) = match asked {
        Ok(answers) => answers,
        Err(refusal) => return refusal.into_response(),
    };
    let (snap, channel) = (visit.value("snap"), visit.value("channel"));
    let (mut explanation, mut refusal) = (None, None);
    if !snap.is_empty() {
        let doubt = query([("device", &*id), ("snap", &*snap), ("channel", &*channel)]);
        let target = format!("{}?{doubt}", Explain::PATH);
        match ask::ask::<Explain>(&visit.pages.api, &visit.visitor, target).await {
            Ok(found) => explanation = Some(found),
            Err(refused) => refusal = Some(refused.failure.message),
        }
    }
    let t = &ENGLISH;
    let mut timeline = vec![
        Happening { at: device.first_seen.clone(), kind: "seen", text: t.first_contact.to_owned() },
        Happening { at: device.last_seen.clone(), kind: "seen", text: t.last_contact.to_owned() },
    ];
    timeline.extend(device.misses.iter().map(|miss| Happening {
        at: miss.last_asked.clone(),
        kind: "miss",
        text: format!("{}: {} {} ({})", t.asked_for, miss.name, miss.wanted, miss.code),
    }));
    timeline.extend(log.events.into_iter().map(|event| Happening {
        at: event.at,
        kind: "done",
        text: format!("{} {} ({})", event.who, event.what, event.outcome),
    }));
    timeline.sort_by(|one, other| other.at.cmp(&one.at));
    show(&DevicePage {
        f: visit.frame("fleet", &device.serial),
        id,
        device,
        snap,
        channel,
        explanation,
        refusal,
        timeline,
        reasons: reasons.rollouts,
    })
}

/// Days of the strip.
const DAYS: i64 = 30;

impl DevicePage {
    /// What happened within the last 30 days as marks on a line: a disc for a contact, a triangle for a miss, a square for what operators
    /// did. The list below it has the same.
    fn strip(&self) -> String {
        let now = clock::now();
        let mut strip = format!(
            r#"<svg class="plot strip" viewBox="0 0 720 44" role="img" aria-label="{}"><line class="axis" x1="0" y1="14.5" x2="720" y2="14.5"/>"#,
            ENGLISH.strip
        );
        for happening in &self.timeline {
            let Some(at) = moment(&happening.at) else { continue };
            let age = (now - at).whole_minutes();
            if !(0..=DAYS * 1440).contains(&age) {
                continue;
            }
            let x = 712 - age * 704 / (DAYS * 1440);
            let mark = match happening.kind {
                "miss" => format!(r#"<path class="s1" d="M{} 20 L{} 20 L{x} 8 Z"/>"#, x - 7, x + 7),
                "done" => format!(r#"<rect class="s2" x="{}" y="8" width="12" height="12"/>"#, x - 6),
                _ => format!(r#"<circle class="s0" cx="{x}" cy="14" r="6"/>"#),
            };
            strip += &mark;
        }
        let [ago, now] = [ENGLISH.days_ago.replacen("{}", &DAYS.to_string(), 1), ENGLISH.now.to_owned()];
        format!(
            r#"{strip}<text x="0" y="40">{ago}</text><text x="716" y="40" text-anchor="end">{now}</text></svg>"#
        )
    }

    fn outcome(&self, one: &DeviceDownload) -> &'static str {
        match one.outcome {
            DownloadOutcome::Offered => ENGLISH.nothing_sent,
            DownloadOutcome::Delta => ENGLISH.took_delta,
            DownloadOutcome::Whole => ENGLISH.took_whole,
            DownloadOutcome::WholeInstead => ENGLISH.took_whole_instead,
            DownloadOutcome::FellBack => ENGLISH.fell_back,
        }
    }

    fn fell_back(&self, one: &DeviceDownload) -> bool {
        one.outcome == DownloadOutcome::FellBack
    }

    fn why(&self, snap: &str) -> String {
        format!("/pages/device?{}#explain", query([("device", &*self.id), ("snap", snap)]))
            .replace('&', "&amp;")
    }
}

/// The device that a form names, and where its page is.
fn named(fields: &Fields) -> Result<(DeviceId, String), Box<Response>> {
    let device = fields.get("device").parse::<DeviceId>().map_err(|error| {
        Box::new(frame::trouble(axum::http::StatusCode::UNPROCESSABLE_ENTITY, &error.to_string(), Vec::new()))
    })?;
    let there = device_page(&device);
    Ok((device, there))
}

/// Blocks a device, or lets it in again.
pub(super) async fn block(visit: Visit, fields: Fields) -> Response {
    let (device, there) = match named(&fields) {
        Ok(named) => named,
        Err(refusal) => return *refusal,
    };
    let blocked = fields.get("blocked") == "true";
    let well = if blocked { ENGLISH.was_blocked } else { ENGLISH.was_unblocked };
    visit.act::<BlockDevice>(&DeviceBlock { device, blocked, unseen: false }, &there, well).await
}

/// Gives a device a tag, or takes it back.
pub(super) async fn tag(visit: Visit, fields: Fields) -> Response {
    let (device, there) = match named(&fields) {
        Ok(named) => named,
        Err(refusal) => return *refusal,
    };
    let remove = !fields.get("remove").is_empty();
    let wanted = TagDevices { devices: vec![device.to_string()], tag: fields.get("tag").to_owned(), remove };
    let well = if remove { ENGLISH.was_untagged } else { ENGLISH.was_tagged };
    visit.act::<SetDeviceTags>(&wanted, &there, well).await
}
