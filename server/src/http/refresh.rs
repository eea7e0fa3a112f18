//! `POST /v2/snaps/refresh`: installs, refreshes, downloads and bulk assertion updates. See
//! `schema/docs/store-api.md#refresh`.
//!
//! Results are built by iterating over the actions, never over the context: a `refresh` result for a snap without a
//! refresh action crashes snapd since 2.65.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use schema::api::device::{Action, Installed, RefreshRequest, WantedAssertion};
use schema::api::object;
use schema::assertion::{Assertion, AssertionType, Ref};
use schema::store::{DeltaFormat, Risk};
use serde_json::{Value, json};

use super::App;
use super::caller::Caller;
use super::download::downloader;
use super::error::ApiError;
use super::json;
use crate::catalog::{Ask, KeptMap, Layer, NotOffered, Offer, Snap, Target, View, unheard};
use crate::clock;
use crate::fleet::cut;
use crate::storage::devices::Missed;
use crate::storage::downloads::Step;

/// The pattern of its path.
pub(super) const PATTERN: &str = "/v2/snaps/refresh";

/// Answers every action, in order, with 200; each result reports its own error.
pub(super) async fn refresh(
    State(app): State<App>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: RefreshRequest<'_> = object::read(&body)
        .map_err(|error| ApiError::Invalid("invalid-request", json::unreadable(&error)))?;
    let installed = InstalledSnaps::of(&request.context);
    let names_cohorts = request.context.iter().any(|own| own.cohort_key.is_some())
        || request.actions.iter().any(|action| action.cohort_key.is_some());
    // Boxed, because few requests name a cohort, and what waits for one would make the task of every request larger.
    let cohorts = match names_cohorts {
        true => Box::pin(cohorts(&app, &request.actions, &installed)).await,
        false => Cohorts::new(),
    };
    results(&app, &caller, &request, &installed, &cohorts).map(json::respond)
}

/// Installed snaps, in the order of their instance keys: a request chooses the keys, and no choice makes this slow to ask.
struct InstalledSnaps<'a>(Vec<&'a Installed<'a>>);

impl<'a> InstalledSnaps<'a> {
    fn of(context: &'a [Installed<'a>]) -> Self {
        let mut sorted: Vec<_> = context.iter().collect();
        sorted.sort_by_key(|own| own.instance_key.as_str());
        Self(sorted)
    }

    /// The last one with this key.
    fn get(&self, key: &str) -> Option<&'a Installed<'a>> {
        let through = self.0.partition_point(|own| own.instance_key.as_str() <= key);
        let last = self.0.get(through.checked_sub(1)?)?;
        (last.instance_key.as_str() == key).then_some(*last)
    }
}

/// What cohorts keep, by their keys.
type Cohorts<'a> = HashMap<&'a str, KeptMap>;

/// The key of the cohort that an action is for: its own, or else that of the installed snap.
fn cohort_key<'a>(action: &'a Action<'a>, own: Option<&'a Installed<'a>>) -> Option<&'a str> {
    let key = action.cohort_key.as_deref().or(own.and_then(|own| own.cohort_key.as_deref()));
    key.filter(|key| !key.is_empty())
}

/// What the cohorts that actions are for keep, as far as their keys are this store's.
async fn cohorts<'a>(app: &App, actions: &'a [Action<'a>], installed: &InstalledSnaps<'a>) -> Cohorts<'a> {
    let mut cohorts = Cohorts::new();
    for action in actions {
        let own = installed.get(&action.instance_key);
        if let Some(key) = cohort_key(action, own)
            && !cohorts.contains_key(key)
            && let Some(cohort) = app.sessions().cohort(key, app.database()).await
        {
            cohorts.insert(key, cohort.into());
        }
    }
    cohorts
}

/// The longest answer, in bytes: a thousand snaps with a snap.yaml of 8 KiB each have room. A short request can name one
/// snap many times.
const MOST: usize = 16 * 1024 * 1024;

/// The answer.
fn results(
    app: &App,
    caller: &Caller,
    request: &RefreshRequest<'_>,
    installed: &InstalledSnaps<'_>,
    cohorts: &Cohorts<'_>,
) -> Result<String, ApiError> {
    let view = caller.view();
    let target = caller.target(&request.context);
    let (mut missed, mut offered) = (Vec::new(), Vec::new());
    let mut out = String::with_capacity(2048 + 2048 * request.actions.len());
    out.push_str("{\"error-list\":[],\"results\":[");
    for (at, action) in request.actions.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if out.len() > MOST {
            let why = "the answer has more than 16 MiB: ask for fewer snaps at a time";
            return Err(ApiError::Invalid("answer-too-large", why.into()));
        }
        let own = installed.get(&action.instance_key);
        let cohort = cohort_key(action, own).and_then(|key| cohorts.get(key));
        let wish = Wish::of(action, own, cohort);
        match &wish {
            Wish::Install(ask) | Wish::Refresh(ask) => {
                let answer = view.resolve(&target, ask, &mut unheard);
                missed.extend(answer.as_ref().err().and_then(|why| miss(ask, why)));
                match answer {
                    Ok(offer) => {
                        let client = downloader(&caller.principal, caller.client.address);
                        app.observed().deltas.update_begins(client, &offer.revision.blob.digest);
                        offered.extend((offer.layer == Layer::Rollout).then(|| offer.snap.id.clone()));
                        let deltas = deltas_of(app, caller, ask, &offer);
                        push_offer(&mut out, &view, action, &offer, deltas, request.fields.want_snap_yaml());
                    }
                    Err(why) => push_error(&mut out, &view, action, &why, why.code(ask), &target),
                }
            }
            Wish::FetchAssertions => {
                let formats = &request.assertion_max_formats;
                push_streams(&mut out, &view, &target, action, formats, caller.base_url());
            }
            Wish::Unknown(other) => {
                let other: String = other.chars().take(40).collect();
                let why = NotOffered::Invalid(format!("this store knows no action {other:?}"));
                push_error(&mut out, &view, action, &why, why.code(&Ask::default()), &target);
            }
        }
    }
    out.push_str("]}");
    let contacts = view.contacts(&target, &offered);
    app.sightings().note(&caller.principal, &caller.client, &request.context, missed, contacts);
    app.sightings().follows(&caller.principal, followed(&request.actions));
    Ok(out)
}

/// The validation sets of which newer sequences are asked for, as `ACCOUNT/NAME=SEQUENCE`.
fn followed(actions: &[Action<'_>]) -> Vec<String> {
    let wanted = actions.iter().flat_map(|action| &action.assertions);
    let set = |wanted: &WantedAssertion| match wanted.sequence_key.as_deref() {
        Some([_, account, name]) if wanted.kind == AssertionType::ValidationSet.to_string() => {
            Some(format!("{account}/{name}={}", wanted.if_sequence_equal_or_newer_than?))
        }
        _ => None,
    };
    wanted.filter_map(set).collect()
}

/// What an action wants.
enum Wish<'a> {
    /// A snap to install or download.
    Install(Ask<'a>),
    /// An installed snap's next revision.
    Refresh(Ask<'a>),
    /// Assertions that are newer than the device's.
    FetchAssertions,
    /// Something of a later time.
    Unknown(&'a str),
}

impl<'a> Wish<'a> {
    fn of(action: &'a Action<'a>, own: Option<&'a Installed<'a>>, cohort: Option<&'a KeptMap>) -> Self {
        let ask = Ask {
            revision: action.revision,
            channel: action.channel.as_deref(),
            cohort,
            validation_sets: &action.validation_sets,
            ignore_validation: action
                .ignore_validation
                .unwrap_or(own.is_some_and(|own| own.ignore_validation)),
            epoch: action.epoch.as_ref(),
            ..Ask::default()
        };
        match action.action.as_str() {
            "install" | "download" => {
                let (name, snap_id) = (action.name.as_deref(), action.snap_id.as_deref());
                Self::Install(Ask { name, snap_id, ..ask })
            }
            "refresh" => {
                let snap_id = action.snap_id.as_deref().or(own.map(|own| own.snap_id.as_str()));
                Self::Refresh(Ask { snap_id, own, ..ask })
            }
            "fetch-assertions" => Self::FetchAssertions,
            other => Self::Unknown(other),
        }
    }
}

/// What the operator could import so that the action succeeds next time.
fn miss(ask: &Ask<'_>, why: &NotOffered<'_>) -> Option<Missed> {
    if matches!(why, NotOffered::Invalid(_)) {
        return None;
    }
    let name = ask.name.or(why.snap().map(|snap| &*snap.name)).or(ask.snap_id)?;
    let wanted = match ask.revision.filter(|number| *number != 0) {
        Some(number) => format!("revision {number}"),
        None => cut(ask.channel().unwrap_or(Risk::Stable.as_str())),
    };
    Some(Missed { name: cut(name), wanted, code: why.code(ask).to_owned(), at_micros: clock::micros() })
}

/// What a revision says of deltas when it is written down.
const NO_DELTAS: &str = "\"deltas\":[]";

/// The deltas from what the device has to what it is offered, in the formats that it takes: a snapd before 2.75 names one and wants no
/// other beside it. A device looks for its file by the snap's name, so a second instance of the snap never finds one.
fn deltas_of(app: &App, caller: &Caller, ask: &Ask<'_>, offer: &Offer<'_>) -> Option<Value> {
    let own = ask.own.filter(|own| own.instance_key == own.snap_id)?;
    let mut formats = caller.delta_formats().peekable();
    let _ = formats.peek()?;
    // The offer comes from the caller's view, and who sees a snap sees all of its revisions.
    let (snap, target) = (offer.snap, offer.revision);
    let source = u32::try_from(own.revision).ok().filter(|_| snap.id == *own.snap_id)?;
    let (held, mut offered) = (&snap.revisions.get(&source)?.blob, Vec::new());
    let entry = |format: DeltaFormat| {
        let delta = app.deltas().between(held, &target.blob, format)?;
        app.observed().deltas.offered(format, delta.size);
        offered.push((format, delta.size));
        let path = format!("{}_{source}_{}_{}.delta", snap.id, target.number, format.as_str());
        Some(json!({
            "format": format,
            "source": source,
            "target": target.number,
            "size": delta.size,
            "sha3-384": delta.digest.to_hex(),
            "url": format!("{}/api/v1/snaps/download/{path}", caller.base_url()),
        }))
    };
    let entries: Vec<Value> = formats.filter_map(entry).collect();
    if entries.is_empty() {
        return None;
    }
    app.sightings().downloads.note(
        &caller.principal,
        &snap.id,
        target.number,
        &Step::Offered(source, offered),
    );
    Some(entries.into())
}

fn push_offer(
    out: &mut String,
    view: &View<'_>,
    action: &Action<'_>,
    answer: &Offer<'_>,
    deltas: Option<Value>,
    with_yaml: bool,
) {
    out.push_str("{\"result\":");
    json::push_text(out, &action.action);
    out.push_str(",\"instance-key\":");
    json::push_text(out, &action.instance_key);
    out.push(',');
    out.push_str(&answer.snap.identity);
    // The parts of a channel need no escaping.
    let _ = write!(out, ",\"effective-channel\":\"{}\"", answer.effective);
    if let Some(channel) = &answer.redirect {
        let _ = write!(out, ",\"redirect-channel\":\"{channel}\"");
    }
    out.push_str(",\"released-at\":");
    match answer.release {
        Some(release) => json::push_text(out, &release.released_at),
        None => out.push_str("null"),
    }
    out.push_str(",\"snap\":{");
    view.push_about(answer.snap, out);
    out.push(',');
    match deltas {
        // A text in it cannot look like this, because quotes in a text are escaped.
        Some(deltas) => {
            out.push_str(&answer.revision.json.replacen(NO_DELTAS, &format!("\"deltas\":{deltas}"), 1))
        }
        None => out.push_str(&answer.revision.json),
    }
    out.push(',');
    answer.revision.push_resources(out);
    if with_yaml {
        out.push(',');
        out.push_str(&answer.revision.snap_yaml_json);
    }
    out.push_str("}}");
}

/// `name` and `instance-key` tie the error to its snap.
fn push_error(
    out: &mut String,
    view: &View<'_>,
    action: &Action<'_>,
    why: &NotOffered<'_>,
    code: &'static str,
    target: &Target<'_>,
) {
    let snap = match why {
        NotOffered::NothingThere(snap) => Some(*snap),
        _ => None,
    };
    let mut error = json!({ "code": code, "message": why.to_string() });
    if let Some(snap) = snap {
        error["extra"] = json!({ "releases": elsewhere(view, snap, target) });
    }
    let name = action.name.as_deref().or(snap.map(|snap| snap.name.as_str()));
    let id = action.snap_id.as_deref().or(snap.map(|snap| snap.id.as_str()));
    let result = json!({
        "result": "error",
        "instance-key": action.instance_key,
        "name": name,
        "snap-id": id,
        "error": error,
    });
    json::push(out, &result);
}

/// Where the snap has releases, so that snapd can tell another channel from another architecture.
fn elsewhere(view: &View<'_>, snap: &Snap, target: &Target<'_>) -> Vec<Value> {
    view.channel_map(snap, &Target::anyone(target.now_micros))
        .map(|(release, _)| {
            // A release for all architectures also runs on this device, and snapd looks for its own name.
            let place = target
                .architecture
                .filter(|_| release.architecture.is_all())
                .unwrap_or(&release.architecture);
            json!({ "architecture": place, "channel": release.channel.to_string() })
        })
        .collect()
}

/// One group of requested assertions. An assertion that the device has but this store does not is silently skipped:
/// an error would end all refreshes of that device.
fn push_streams(
    out: &mut String,
    view: &View<'_>,
    target: &Target<'_>,
    action: &Action<'_>,
    formats: &HashMap<String, u32>,
    base_url: &str,
) {
    let mut urls = Vec::new();
    let mut errors = Vec::new();
    for wanted in &action.assertions {
        let max_format = formats.get(&wanted.kind).copied().unwrap_or_default();
        match find(view, target, wanted, max_format) {
            Found::Newer(assertion) => urls.push(stream_url(base_url, &assertion, max_format)),
            Found::Same => {}
            Found::Nothing if wanted.if_newer_than.is_some() => {}
            Found::Nothing if wanted.if_sequence_equal_or_newer_than.is_some() => {}
            Found::Nothing => errors.push(missing(wanted)),
        }
    }
    let result = json!({
        "result": "fetch-assertions",
        "key": action.key,
        "assertion-stream-urls": urls,
        "error-list": errors,
    });
    json::push(out, &result);
}

enum Found {
    Newer(Arc<Assertion>),
    Same,
    Nothing,
}

fn find(view: &View<'_>, target: &Target<'_>, wanted: &WantedAssertion, max_format: u32) -> Found {
    let Ok(kind) = wanted.kind.parse::<AssertionType>() else { return Found::Nothing };
    let from = wanted.if_sequence_equal_or_newer_than;
    let found = match (&wanted.primary_key, &wanted.sequence_key, wanted.sequence) {
        (Some(key), _, _) => {
            Ref::new(kind, key.clone()).ok().and_then(|wanted| view.assertion(&wanted, max_format))
        }
        (None, Some(key), Some(point)) => {
            let key = key.iter().cloned().chain([point.to_string()]).collect();
            Ref::new(kind, key).ok().and_then(|wanted| view.assertion(&wanted, max_format))
        }
        // With a number it is a whole key: of as many parts, and of such characters.
        (None, Some(key), None)
            if kind.is_sequence()
                && Ref::new(kind, key.iter().cloned().chain(["1".into()]).collect()).is_ok() =>
        {
            let from = from.map_or(1, |from| u32::try_from(from).unwrap_or(u32::MAX));
            view.latest_in_sequence(target, kind, key, from, max_format)
        }
        _ => None,
    };
    let Some(found) = found else { return Found::Nothing };
    // The revision that the device reports belongs to exactly the sequence point it has.
    let is_at =
        |point: i64| found.decode().is_some_and(|found| found.text("sequence") == Some(&point.to_string()));
    let same_point = from.is_none_or(is_at);
    let known = wanted.if_newer_than.filter(|_| same_point);
    if known.is_some_and(|known| i64::from(found.revision()) <= known) {
        Found::Same
    } else {
        found.decode().map_or(Found::Nothing, Found::Newer)
    }
}

/// snapd adds no query of its own, so the link includes the format.
fn stream_url(base_url: &str, assertion: &Assertion, max_format: u32) -> String {
    let mut url = format!("{base_url}/v2/assertions/{}", assertion.kind());
    for part in assertion.reference().reduced() {
        url.push('/');
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    let _ = write!(url, "?max-format={max_format}");
    url
}

fn missing(wanted: &WantedAssertion) -> serde_json::Value {
    let mut error = json!({
        "code": "not-found",
        "message": "this store holds no such assertion",
        "type": wanted.kind,
    });
    if let Some(key) = &wanted.primary_key {
        error["primary-key"] = json!(key);
    }
    if let Some(key) = &wanted.sequence_key {
        error["sequence-key"] = json!(key);
    }
    error
}
