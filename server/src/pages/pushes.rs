//! What a body holds is imported as a kind of file, and told in lines: for a form's file and for a folder's.

use axum::body::Body;
use schema::api::admin::calls::{Call, PushArchive, PushAssertions, PushSnaps, PushStores};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ask::{self, Refusal};
use super::visit::Visit;

/// Imports what a body holds, and tells what it did.
pub(super) async fn push_as(
    visit: &Visit,
    kind: &str,
    wanted: &str,
    body: Body,
) -> Result<Vec<String>, Refusal> {
    match kind {
        "archive" => push::<PushArchive>(visit, wanted, body).await,
        "stores" => push::<PushStores>(visit, wanted, body).await,
        "assertions" => push::<PushAssertions>(visit, wanted, body).await,
        _ => push::<PushSnaps>(visit, wanted, body).await,
    }
}

async fn push<C>(visit: &Visit, wanted: &str, body: Body) -> Result<Vec<String>, Refusal>
where
    C: Call,
    C::Answer: DeserializeOwned + serde::Serialize,
{
    let target = format!("{}?{wanted}", C::PATH);
    let answer = ask::call::<C>(&visit.pages.api, &visit.visitor, target, body).await?;
    Ok(told(&serde_json::to_value(&answer).unwrap_or_default()))
}

/// What an import did, a line each: all kinds of answers name the same things alike.
fn told(answer: &Value) -> Vec<String> {
    let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let text = |of: &Value| of.as_str().map_or_else(|| of.to_string(), str::to_owned);
    let mut lines = Vec::new();
    for snap in list(answer, "snaps") {
        let revisions: Vec<String> =
            list(&snap, "revisions").iter().map(|one| one["revision"].to_string()).collect();
        lines.push(format!("{} {}", text(&snap["name"]), revisions.join(", ")));
        for moved in list(&snap, "moves") {
            let number =
                |name: &str| moved[name].as_u64().map_or("–".to_owned(), |number| number.to_string());
            let (before, after) = (number("before"), number("after"));
            lines.push(format!(
                "{} {}: {before} → {after}",
                text(&moved["channel"]),
                text(&moved["architecture"])
            ));
        }
    }
    lines.extend(list(answer, "added").iter().map(text));
    lines.extend(list(answer, "stores").iter().map(|store| text(&store["id"])));
    lines.extend(list(answer, "warnings").iter().map(text));
    lines
}
