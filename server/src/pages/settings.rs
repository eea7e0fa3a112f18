//! *Settings*: each key with what it is for, a form where it may be changed, and who changed what.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::{IntoResponse, Response};
use futures_util::try_join;
use schema::api::admin::calls::{ChangeConfig, ListConfigHistory, ShowConfig, ShowStatus};
use schema::api::admin::{ConfigChange, RecordedChange};
use schema::config::{Applies, KEYS, Key, Kind};
use serde_json::Value;

use super::frame::{Frame, show};
use super::shown::LONGEST;
use super::texts::ENGLISH;
use super::visit::{Fields, Visit};

/// Changes on the page.
const CHANGES: usize = 50;

struct Setting {
    name: &'static str,
    help: &'static str,
    default: &'static str,
    value: String,
    secret: bool,
    is_switch: bool,
    /// Whole certificates, or as long: a command brings them from a file.
    is_file: bool,
    at_restart: bool,
    /// Given by the service manager, so that it cannot be changed here.
    fixed: bool,
}

struct Group {
    name: String,
    settings: Vec<Setting>,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    f: Frame,
    groups: Vec<Group>,
    changes: Vec<RecordedChange>,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    let asked = try_join!(
        visit.ask::<ShowConfig>(""),
        visit.ask::<ListConfigHistory>(""),
        visit.ask::<ShowStatus>("")
    );
    let (config, history, status) = match asked {
        Ok(answers) => answers,
        Err(refusal) => return refusal.into_response(),
    };
    let mut groups: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
    for key in KEYS.iter().filter(|key| key.has_effect()) {
        let value = config.values.get(key.name).cloned().unwrap_or_default();
        let setting = Setting {
            name: key.name,
            help: key.help,
            default: key.default,
            is_file: key.kind == Kind::Pem || value.chars().count() > LONGEST,
            value,
            secret: key.secret,
            is_switch: key.kind == Kind::Switch,
            at_restart: key.applies == Applies::AtRestart,
            fixed: status.credentials.iter().any(|given| given == key.name),
        };
        groups.entry(group_of(key)).or_default().push(setting);
    }
    show(&SettingsPage {
        f: visit.frame("settings", ENGLISH.settings),
        groups: groups.into_iter().map(|(name, settings)| Group { name, settings }).collect(),
        changes: history.changes.into_iter().rev().take(CHANGES).collect(),
    })
}

/// The part of a key before its last word: `proxy.acme`.
fn group_of(key: &Key) -> String {
    let parts: Vec<&str> = key.name.split('.').collect();
    parts[..parts.len().min(3) - 1].join(".")
}

impl SettingsPage {
    fn text(&self, value: &Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// Changes one key.
pub(super) async fn change(visit: Visit, fields: Fields) -> Response {
    let values = BTreeMap::from([(fields.get("key").to_owned(), fields.get("value").to_owned())]);
    let seen = BTreeMap::from([(fields.get("key").to_owned(), fields.basis().unwrap_or_default())]);
    visit.act::<ChangeConfig>(&ConfigChange { values, seen }, "/pages/settings", ENGLISH.was_saved).await
}
