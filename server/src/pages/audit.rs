//! *Audit*: what operators did, searched by time, person, action and subject, and taken away as CSV or JSON.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schema::api::admin::calls::ListAudit;
use schema::api::admin::{AuditEntry, AuditHead};

use super::frame::{self, Frame, show};
use super::shown::query;
use super::texts::ENGLISH;
use super::visit::Visit;

/// Events on a page.
const PAGE: usize = 100;
/// Events in a file.
const FILE: &str = "100000";

struct Filter {
    who: String,
    what: String,
    subject: String,
    from: String,
    to: String,
    is_set: bool,
}

impl Filter {
    fn of(visit: &Visit) -> Self {
        let [who, what, subject, from, to] =
            ["who", "what", "subject", "from", "to"].map(|name| visit.value(name));
        let is_set = [&who, &what, &subject, &from, &to].iter().any(|value| !value.is_empty());
        Self { who, what, subject, from, to, is_set }
    }

    fn pairs(&self) -> [(&str, &str); 5] {
        [
            ("who", &self.who),
            ("what", &self.what),
            ("subject", &self.subject),
            ("from", &self.from),
            ("to", &self.to),
        ]
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    f: Frame,
    filter: Filter,
    query: String,
    events: Vec<AuditEntry>,
    head: Option<AuditHead>,
    next: Option<String>,
}

/// The page, newest first.
pub(super) async fn page(visit: Visit) -> Response {
    let filter = Filter::of(&visit);
    let (before, limit) = (visit.value("before"), (PAGE + 1).to_string());
    let wanted = query(filter.pairs().into_iter().chain([("before", &*before), ("limit", &*limit)]));
    let found = match visit.ask::<ListAudit>(&wanted).await {
        Ok(found) => found,
        Err(refusal) => return refusal.into_response(),
    };
    let more = found.events.len() > PAGE;
    let events: Vec<AuditEntry> = found.events.into_iter().rev().take(PAGE).collect();
    let next = events.last().filter(|_| more).map(|last| {
        let before = last.sequence.to_string();
        format!("/pages/audit?{}", query(filter.pairs().into_iter().chain([("before", &*before)])))
    });
    let query = query(filter.pairs());
    show(&AuditPage { f: visit.frame("audit", ENGLISH.audit), filter, query, events, head: found.head, next })
}

impl AuditPage {
    fn only(&self, name: &str, value: &str) -> String {
        format!("/pages/audit?{}", query([(name, value)]))
    }

    fn has_detail(&self, event: &AuditEntry) -> bool {
        !event.detail.is_null() && event.detail.as_object().is_none_or(|detail| !detail.is_empty())
    }
}

/// What was found, as a file.
pub(super) async fn export(visit: Visit, Path(file): Path<String>) -> Response {
    let wanted = query(Filter::of(&visit).pairs().into_iter().chain([("limit", FILE)]));
    let as_csv = match &*file {
        "events.csv" => true,
        "events.json" => false,
        _ => return frame::trouble(StatusCode::NOT_FOUND, ENGLISH.nothing_here, Vec::new()),
    };
    let found = match visit.ask::<ListAudit>(&wanted).await {
        Ok(found) => found,
        Err(refusal) => return refusal.into_response(),
    };
    let named = format!("attachment; filename=\"{file}\"");
    match as_csv {
        true => {
            ([(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, &*named)], csv(&found.events))
                .into_response()
        }
        false => {
            let text = serde_json::to_vec_pretty(&found.events).unwrap_or_default();
            ([(CONTENT_TYPE, "application/json"), (CONTENT_DISPOSITION, &*named)], text).into_response()
        }
    }
}

/// Rows of RFC 4180.
fn csv(events: &[AuditEntry]) -> String {
    let mut text = "sequence,at,who,what,subject,outcome,detail,hash\r\n".to_owned();
    for event in events {
        let detail = event.detail.to_string();
        let fields =
            [&event.at, &event.who, &event.what, &event.subject, &event.outcome, &detail, &event.hash];
        text.push_str(&event.sequence.to_string());
        for field in fields {
            text.push(',');
            text.push_str(&cell(field));
        }
        text.push_str("\r\n");
    }
    text
}

/// A quoted field. A spreadsheet takes one that begins like a formula for one, unless it begins with an apostrophe.
fn cell(text: &str) -> String {
    let apart = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{apart}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_field_is_text_wherever_it_is_opened() {
        assert_eq!(cell("uid 0"), "\"uid 0\"");
        assert_eq!(cell("a \"b\", c\n"), "\"a \"\"b\"\", c\n\"");
        for formula in ["=HYPERLINK(\"x\")", "+1", "-1", "@SUM", "\tx"] {
            assert!(cell(formula).starts_with("\"'"), "{formula}");
        }
    }
}
