//! Tells open pages when something changed: an import, a release, a step of a rollout. All of these make a new generation, but for the
//! progress of an import, which has a mark of its own.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Interval, interval};

use super::visit::Visit;
use crate::clock;

/// How often a look is taken.
const LOOK: Duration = Duration::from_secs(2);
/// Looks from one sign of life to the next.
const BEAT: u32 = 7;

struct Following {
    visit: Visit,
    looks: Interval,
    quiet: u32,
    generation: Option<(i64, u64)>,
    over: bool,
}

/// Answers with events for as long as the visit lasts.
pub(super) async fn follow(visit: Visit) -> Response {
    let stop = visit.pages.stop.clone();
    let begun = Following { visit, looks: interval(LOOK), quiet: 0, generation: None, over: false };
    let events = stream::unfold(begun, next).map(Ok::<_, Infallible>);
    Sse::new(events.take_until(stop.cancelled_owned())).into_response()
}

async fn next(mut following: Following) -> Option<(Event, Following)> {
    if following.over {
        return None;
    }
    loop {
        following.looks.tick().await;
        let site = &following.visit.pages.site;
        if site.visits().visitor(&following.visit.secret, false, clock::seconds()).is_none() {
            following.over = true;
            return Some((Event::default().event("ended").data(""), following));
        }
        let now = (site.catalog().position.generation, following.visit.pages.carried.mark());
        let before = following.generation.replace(now);
        following.quiet += 1;
        if before.is_some_and(|before| before != now) {
            following.quiet = 0;
            return Some((Event::default().event("changed").data(now.0.to_string()), following));
        }
        if before.is_none() || following.quiet >= BEAT {
            following.quiet = 0;
            return Some((Event::default().event("beat").data(now.0.to_string()), following));
        }
    }
}
