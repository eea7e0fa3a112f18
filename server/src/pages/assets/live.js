// Keeps a page up to date, says when it is not, and writes moments in the reader's time zone. Every page works without it.
"use strict";

const BEAT_EVERY = 15, POLL_EVERY = 30, STALE_AFTER = 50;
let heard = Date.now();
let gone = false;
let due = false, under = false;
let open = [];

// Exact moments in local time, with the zone, on hover.
function localise(root) {
  const form = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = form.format(at);
  }
}

function stale(text) {
  const line = document.getElementById("freshness");
  if (!line) return;
  const words = text ? line.dataset[text] : "";
  if (line.textContent !== words) line.textContent = words;
  line.hidden = !words;
}

// Nothing is replaced under somebody's hands.
function isBusy(live) {
  const open = live.querySelector("details[open] form");
  return Boolean(open) || (live.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));
}

// What changed while the page was being fetched, or while nothing may be replaced, is fetched afterwards.
function refresh() { due = true; renew(); }
function renew() {
  const live = document.getElementById("live");
  if (!due || under || gone || !live || isBusy(live) || document.visibilityState !== "visible") return;
  due = false;
  under = true;
  htmx.trigger(live, "renew");
}

// What somebody has opened, such as the table behind a plot, stays open.
const folds = () => [...document.querySelectorAll("#live details")];
function keepOpen() { open = folds().map((fold) => fold.open); }
function openAgain() {
  const now = folds();
  if (now.length === open.length) now.forEach((fold, at) => { fold.open = open[at]; });
}

function follow() {
  const events = new EventSource("/pages/live");
  const beat = () => { heard = Date.now(); stale(""); };
  events.addEventListener("beat", beat);
  events.addEventListener("changed", () => { beat(); refresh(); });
  events.addEventListener("ended", () => { gone = true; events.close(); stale("ended"); });
}

document.addEventListener("DOMContentLoaded", () => {
  localise(document);
  if (!document.getElementById("live")) return;
  follow();
  setInterval(() => { under = false; refresh(); }, POLL_EVERY * 1000);
  setInterval(() => { if (!gone && Date.now() - heard > STALE_AFTER * 1000) stale("stale"); }, BEAT_EVERY * 1000);
  document.addEventListener("visibilitychange", refresh);
  document.addEventListener("focusout", () => setTimeout(renew));
  document.body.addEventListener("htmx:beforeSwap", keepOpen);
  document.body.addEventListener("htmx:afterSwap", () => { openAgain(); localise(document); });
  // The new page takes the next request once it has settled.
  document.body.addEventListener("htmx:afterSettle", () => { under = false; renew(); });
  document.body.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) { heard = Date.now(); stale(""); } else { under = false; }
  });
});
