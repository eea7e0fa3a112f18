//! *Misses*: what devices asked for and did not get, and the list that fetches it on the connected side.

use askama::Template;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schema::api::admin::FleetMiss;
use schema::api::admin::calls::ListMisses;
use schema::store::{ChannelRequest, SnapName};
use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::frame::{Frame, show};
use super::texts::ENGLISH;
use super::visit::Visit;

/// Misses on the page.
const PAGE: usize = 200;

#[derive(Template)]
#[template(path = "misses.html")]
struct MissesPage {
    f: Frame,
    misses: Vec<FleetMiss>,
    total: usize,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    match visit.ask::<ListMisses>("").await {
        Ok(mut found) => {
            let total = found.misses.len();
            found.misses.truncate(PAGE);
            show(&MissesPage { f: visit.frame("misses", ENGLISH.misses), misses: found.misses, total })
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// The list that `proxy fetch-snaps --from-yaml` takes.
pub(super) async fn list(visit: Visit) -> Response {
    match visit.ask::<ListMisses>("").await {
        Ok(found) => {
            let headers = [
                (CONTENT_TYPE, "application/yaml"),
                (CONTENT_DISPOSITION, "attachment; filename=\"snaps.yaml\""),
            ];
            (headers, shopping(&found.misses)).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// What would still be missed, once each. A device may ask for anything: what cannot be the name of a snap or a channel is left out,
/// and said so.
fn shopping(misses: &[FleetMiss]) -> String {
    let mut list =
        "# What devices asked for and did not get: proxy fetch-snaps --from-yaml snaps.yaml\npackages:\n"
            .to_owned();
    let (mut seen, mut left_out) = (BTreeSet::new(), 0);
    for miss in misses.iter().filter(|miss| miss.answered_by.is_none()) {
        let name = miss.name.parse::<SnapName>().ok();
        let revision = miss.wanted.strip_prefix("revision ").map(str::parse::<u32>);
        let wanted = match revision {
            Some(number) => number.ok().map(|number| format!("revision: {number}")),
            None => is_channel(&miss.wanted).then(|| format!("channel: {}", miss.wanted)),
        };
        match name.zip(wanted) {
            Some((name, wanted)) => {
                if seen.insert((name.to_string(), wanted.clone())) {
                    let _ = writeln!(list, "  - name: {name}\n    {wanted}  # {} devices", miss.devices);
                }
            }
            None => left_out += 1,
        }
    }
    if seen.is_empty() {
        list = list.replace("packages:\n", "packages: []\n");
    }
    if left_out > 0 {
        let _ = writeln!(
            list,
            "# {left_out} more that no store can have: their names or channels cannot be those of snaps."
        );
    }
    list
}

/// Whether a text is a channel and cannot be read as anything else.
fn is_channel(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.+_-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
        && text.parse::<ChannelRequest>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_on_the_list() {
        let miss = |name: &str, wanted: &str, answered: bool| FleetMiss {
            name: name.into(),
            snap_id: None,
            wanted: wanted.into(),
            code: "name-not-found".into(),
            devices: 3,
            models: Vec::new(),
            last_asked: String::new(),
            held: false,
            answered_by: answered.then(|| "revision 3".into()),
        };
        let misses = [
            miss("jq", "latest/stable", false),
            miss("jq", "latest/stable", false),
            miss("core24", "revision 7", false),
            miss("had", "latest/stable", true),
            miss("x\n- name: evil", "latest/stable", false),
            miss("jq", "stable # \n- evil", false),
            miss("<b>", "revision 1", false),
        ];
        let list = shopping(&misses);
        let body: Vec<&str> = list.lines().skip(1).collect();
        assert_eq!(
            body,
            [
                "packages:",
                "  - name: jq",
                "    channel: latest/stable  # 3 devices",
                "  - name: core24",
                "    revision: 7  # 3 devices",
                "# 3 more that no store can have: their names or channels cannot be those of snaps.",
            ]
        );
        assert!(shopping(&[]).ends_with("packages: []\n"));
    }
}
