//! Plots: SVG that is made here, readable without colours, with a table behind it.

use askama::Template;
use schema::api::admin::calls::{Call as _, ShowMeasures};
use schema::api::admin::{MeasureStep, Measures};
use time::format_description::well_known::Rfc3339;

use super::ask;
use super::shown::{bytes, moment, number, query};
use super::texts::{ENGLISH, Texts};
use super::visit::Visit;

/// The size of the plot, in the units of its view box.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 120;
/// Most series that can be told apart without colours; the rest are one.
const SERIES: usize = 4;

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Bars, one series upon the other.
    Stacked,
    /// Bars of equal height, whose parts are shares.
    Shares,
    /// A line for each series.
    Lines,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    Bytes,
}

/// What is plotted. A dashboard for a monitoring system has the same title over the same metrics.
#[derive(Debug)]
pub(super) struct Kind {
    /// Its name within a page.
    id: &'static str,
    pub(super) title: &'static str,
    /// The metrics, and what those are called whose labels do not matter here.
    pub(super) metrics: &'static [(&'static str, &'static str)],
    shape: Shape,
    unit: Unit,
}

/// How often devices came.
pub(super) const CONTACTS: Kind = Kind {
    id: "contacts",
    title: ENGLISH.plot_contacts,
    metrics: &[("airlock_http_requests_total", "")],
    shape: Shape::Stacked,
    unit: Unit::Count,
};
/// How requests for a session ended.
pub(super) const SESSIONS: Kind = Kind {
    id: "sessions",
    title: ENGLISH.plot_sessions,
    metrics: &[("airlock_sessions_total", "")],
    shape: Shape::Stacked,
    unit: Unit::Count,
};
/// How much was downloaded.
pub(super) const BYTES: Kind = Kind {
    id: "bytes",
    title: ENGLISH.plot_bytes,
    metrics: &[
        ("airlock_snaps_served_bytes_total", ENGLISH.whole_snaps),
        ("airlock_deltas_served_bytes_total", ENGLISH.deltas),
    ],
    shape: Shape::Stacked,
    unit: Unit::Bytes,
};
/// How much room there was at least.
pub(super) const FREE: Kind = Kind {
    id: "free",
    title: ENGLISH.plot_free,
    metrics: &[("airlock_data_free_bytes", "")],
    shape: Shape::Lines,
    unit: Unit::Bytes,
};
/// Which revisions of a snap devices run. A monitoring system is told no names of snaps, so this is on the pages alone.
pub(super) const REVISIONS: Kind = Kind {
    id: "revisions",
    title: ENGLISH.plot_revisions,
    metrics: &[("", "")],
    shape: Shape::Shares,
    unit: Unit::Count,
};

/// When devices were last seen, which are counts of now and not of then.
const LAST_SEEN: Kind = Kind {
    id: "last-seen",
    title: ENGLISH.plot_last_seen,
    metrics: &[],
    shape: Shape::Stacked,
    unit: Unit::Count,
};

/// How far back plots go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// A day, in hours.
    Hours,
    /// 30 days.
    Days,
}

impl Span {
    /// What the page's address asks for.
    pub(super) fn of(visit: &Visit) -> Self {
        if visit.value("step") == "day" { Self::Days } else { Self::Hours }
    }

    fn steps(self) -> (MeasureStep, &'static str) {
        match self {
            Self::Hours => (MeasureStep::Hour, "24"),
            Self::Days => (MeasureStep::Day, "30"),
        }
    }

    /// The links to both, as address, text, and whether it is this one.
    pub(super) fn links(self, page: &str) -> [(String, &'static str, bool); 2] {
        [
            (format!("/pages/{page}"), ENGLISH.last_24_hours, self == Self::Hours),
            (format!("/pages/{page}?step=day"), ENGLISH.last_30_days, self == Self::Days),
        ]
    }
}

/// A moment of the horizontal axis.
struct Time {
    text: String,
    /// Exactly, RFC 3339; empty for a time that passes along.
    exact: String,
}

/// A part of a bar.
struct Part {
    place: usize,
    x: u64,
    y: u64,
    height: u64,
}

/// A line.
struct Line {
    place: usize,
    points: String,
}

/// A row of the table.
struct Row {
    time: Time,
    values: Vec<String>,
}

/// Values over time, the oldest on the left.
#[derive(Template)]
#[template(path = "plot.html")]
pub(super) struct Plot {
    t: &'static Texts,
    id: &'static str,
    title: String,
    highest: String,
    width: u64,
    series: Vec<String>,
    parts: Vec<Part>,
    lines: Vec<Line>,
    rows: Vec<Row>,
}

/// The values of one label.
type Series = (String, Vec<Option<u64>>);

impl Plot {
    /// Asks for what is plotted.
    pub(super) async fn asked(
        visit: &Visit,
        kind: &'static Kind,
        span: Span,
        snap: Option<&str>,
    ) -> Result<Self, ask::Refusal> {
        let ((step, last), mut at, mut series) = (span.steps(), Vec::new(), Vec::new());
        for (metric, called) in kind.metrics {
            let of = snap.unwrap_or_default();
            let wanted = query([("metric", *metric), ("step", step.as_str()), ("last", last), ("snap", of)]);
            let target = format!("{}?{wanted}", ShowMeasures::PATH);
            let found: Measures = ask::ask::<ShowMeasures>(&visit.pages.api, &visit.visitor, target).await?;
            at = found.at;
            let labelled: Vec<Series> = found.series.into_iter().map(|one| (one.label, one.values)).collect();
            match called.is_empty() || labelled.is_empty() {
                true => series.extend(labelled),
                false => series.push(((*called).to_owned(), sums(&labelled))),
            }
        }
        let title = snap.map_or(kind.title.to_owned(), |snap| kind.title.replacen("{}", snap, 1));
        let time = |at: &String| {
            let begin = moment(at);
            let text = begin.map(|at| match step {
                MeasureStep::Hour => format!("{:02}:00 UTC", at.hour()),
                MeasureStep::Day => at.date().to_string(),
            });
            let exact = begin.and_then(|at| at.format(&Rfc3339).ok());
            Time { text: text.unwrap_or_default(), exact: exact.unwrap_or_default() }
        };
        Ok(Self::new(kind, title, at.iter().map(time).collect(), series))
    }

    /// How many of each hour, given with the newest first.
    pub(super) fn of_hours(counts: &[u64]) -> Self {
        let time = |hours: usize| match hours {
            0 => ENGLISH.last_hour.to_owned(),
            hours => ENGLISH.hours_ago.replacen("{}", &format!("{hours}–{}", hours + 1), 1),
        };
        let times = (0..counts.len()).rev().map(|hours| Time { text: time(hours), exact: String::new() });
        let series = (ENGLISH.devices.to_owned(), counts.iter().rev().map(|count| Some(*count)).collect());
        Self::new(&LAST_SEEN, LAST_SEEN.title.to_owned(), times.collect(), vec![series])
    }

    fn new(kind: &'static Kind, title: String, times: Vec<Time>, series: Vec<Series>) -> Self {
        let series = largest(series, kind.shape);
        let written = |value: u64| match kind.unit {
            Unit::Count => number(value),
            Unit::Bytes => bytes(value),
        };
        let value = |place: usize, at: usize| series[place].1.get(at).copied().flatten();
        let sums: Vec<u64> =
            (0..times.len()).map(|at| (0..series.len()).filter_map(|place| value(place, at)).sum()).collect();
        let each = series.iter().flat_map(|(_, values)| values.iter().copied().flatten());
        let highest = match kind.shape {
            Shape::Lines => each.max(),
            Shape::Stacked | Shape::Shares => sums.iter().copied().max(),
        }
        .unwrap_or_default();
        let width = WIDTH / (times.len() as u64).max(1);
        let (mut parts, mut lines) = (Vec::new(), Vec::new());
        for (place, (_, values)) in series.iter().enumerate() {
            if kind.shape == Shape::Lines {
                let point = |(at, value): (usize, &Option<u64>)| {
                    Some(format!("{},{}", at as u64 * width + width / 2, HEIGHT - scaled((*value)?, highest)))
                };
                let points: Vec<String> = values.iter().enumerate().filter_map(point).collect();
                lines.push(Line { place, points: points.join(" ") });
                continue;
            }
            for (at, sum) in sums.iter().enumerate() {
                let below: u64 = (0..place).filter_map(|place| value(place, at)).sum();
                let whole = if kind.shape == Shape::Shares { *sum } else { highest };
                let (from, to) = (scaled(below, whole), scaled(below + value(place, at).unwrap_or(0), whole));
                if to > from {
                    parts.push(Part { place, x: at as u64 * width, y: HEIGHT - to, height: to - from });
                }
            }
        }
        let row = |(at, time): (usize, Time)| {
            let value = |place| value(place, at).map(&written).unwrap_or_default();
            Row { time, values: (0..series.len()).map(value).collect() }
        };
        Self {
            t: &ENGLISH,
            id: kind.id,
            title,
            highest: if kind.shape == Shape::Shares { "100 %".to_owned() } else { written(highest) },
            width: width.saturating_sub(4),
            parts,
            lines,
            rows: times.into_iter().enumerate().map(row).collect(),
            series: series.into_iter().map(|(label, _)| label).collect(),
        }
    }

    /// The figure; empty where it cannot be made.
    pub(super) fn figure(&self) -> String {
        self.render().unwrap_or_default()
    }

    /// What fills a series: a colour and, from the second on, a pattern.
    fn fill(&self, place: &usize) -> String {
        if *place == 0 { r#"class="s0""#.to_owned() } else { format!(r#"fill="url(#{}-{place})""#, self.id) }
    }
}

/// A value as a height; what is there is seen.
fn scaled(value: u64, whole: u64) -> u64 {
    let height = u128::from(value) * u128::from(HEIGHT);
    u64::try_from(height.div_ceil(u128::from(whole.max(1)))).unwrap_or(HEIGHT).min(HEIGHT)
}

/// The largest series, and all others as one. Lines that are the same are one.
fn largest(mut series: Vec<Series>, shape: Shape) -> Vec<Series> {
    if shape == Shape::Lines {
        series.dedup_by(|one, before| one.1 == before.1);
    }
    let sum = |(_, values): &Series| values.iter().flatten().sum::<u64>();
    series.sort_by(|one, other| sum(other).cmp(&sum(one)).then_with(|| one.0.cmp(&other.0)));
    if series.len() > SERIES {
        let rest = series.split_off(SERIES - 1);
        series.push((ENGLISH.all_others.to_owned(), sums(&rest)));
    }
    series
}

/// All series as one: none where none of them has a value.
fn sums(series: &[Series]) -> Vec<Option<u64>> {
    let steps = series.first().map_or(0, |(_, values)| values.len());
    let sum = |at| {
        let values: Vec<u64> =
            series.iter().filter_map(|(_, values)| values.get(at).copied().flatten()).collect();
        Some(values.iter().sum()).filter(|_| !values.is_empty())
    };
    (0..steps).map(sum).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn plot(kind: &'static Kind, series: &[(&str, &[u64])]) -> Plot {
        let time = |at: usize| Time { text: format!("{at}:00 UTC"), exact: String::new() };
        let times = (0..series[0].1.len()).map(time).collect();
        let values = |values: &[u64]| values.iter().map(|value| Some(*value)).collect();
        let series = series.iter().map(|(label, all)| ((*label).to_owned(), values(all))).collect();
        Plot::new(kind, kind.title.to_owned(), times, series)
    }

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let plot = Plot::of_hours(&[50, 0, 100, 1]);
        let heights: Vec<(u64, u64)> = plot.parts.iter().map(|part| (part.x, part.height)).collect();
        assert_eq!(
            heights,
            [(0, 2), (180, 120), (540, 60)],
            "the oldest on the left, and what is there is seen"
        );
        assert_eq!(plot.rows[3].time.text, "last hour");
        assert_eq!(plot.rows[0].time.text, "3–4 h ago");
        let figure = plot.figure();
        assert_eq!(figure.matches(r#"class="s0""#).count(), 3, "{figure}");
        assert_eq!(figure.matches("<tr>").count(), 5, "{figure}");
        assert!(!Plot::of_hours(&[0; 24]).figure().is_empty());
    }

    #[test]
    fn series_stand_upon_each_other_and_few_are_told_apart() {
        let plot = plot(&SESSIONS, &[("begun", &[6, 60]), ("refused", &[6, 40]), ("late", &[0, 20])]);
        let of = |place: usize| -> Vec<(u64, u64)> {
            let parts = plot.parts.iter().filter(|part| part.place == place);
            parts.map(|part| (part.y, part.height)).collect()
        };
        assert_eq!(of(0), [(114, 6), (60, 60)]);
        assert_eq!(of(1), [(108, 6), (20, 40)]);
        assert_eq!(of(2), [(0, 20)]);
        let many: Vec<(String, Vec<u64>)> =
            (0..9_u64).map(|at| (format!("check {at}"), vec![at, 1])).collect();
        let many: Vec<(&str, &[u64])> = many.iter().map(|(label, values)| (&**label, &**values)).collect();
        let plot = super::tests::plot(&SESSIONS, &many);
        assert_eq!(plot.series, ["check 8", "check 7", "check 6", ENGLISH.all_others]);
        assert_eq!(plot.rows[0].values, ["8", "7", "6", "15"], "none is left out");
    }

    #[test]
    fn shares_fill_the_height_and_lines_do_not_add_up() {
        let shares = plot(&REVISIONS, &[("2", &[3, 90]), ("1", &[1, 0])]);
        let heights: Vec<(usize, u64, u64)> =
            shares.parts.iter().map(|part| (part.place, part.x, part.height)).collect();
        assert_eq!(heights, [(0, 0, 90), (0, 360, 120), (1, 0, 30)]);
        let lines = plot(&FREE, &[("data", &[100, 50]), ("blobs", &[10, 10])]);
        assert_eq!(lines.lines[0].points, "180,0 540,60");
        assert_eq!(lines.lines[1].points, "180,108 540,108");
        assert_eq!(plot(&FREE, &[("data", &[7, 7]), ("blobs", &[7, 7])]).lines.len(), 1, "one file system");
    }

    #[test]
    fn no_number_is_too_large() {
        let plot = plot(&BYTES, &[("whole", &[u64::MAX / 4, 0]), ("deltas", &[u64::MAX / 4, 1])]);
        assert!(plot.parts.iter().all(|part| part.height <= HEIGHT && part.y <= HEIGHT));
        assert!(plot.figure().contains("TB"));
    }

    #[test]
    fn the_dashboard_of_a_monitoring_system_has_the_same_names() {
        let dashboard = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../packaging/monitoring/grafana-dashboard.json"
        ));
        let dashboard: Value = serde_json::from_str(dashboard).unwrap();
        for kind in [&CONTACTS, &SESSIONS, &BYTES, &FREE] {
            let panel =
                dashboard["panels"].as_array().unwrap().iter().find(|panel| panel["title"] == kind.title);
            let panel = panel.unwrap_or_else(|| panic!("the dashboard has no {:?}", kind.title));
            let asked = panel["targets"].to_string();
            for (metric, _) in kind.metrics {
                assert!(asked.contains(metric), "{:?} does not show {metric}: {asked}", kind.title);
            }
            let metrics: BTreeSet<&str> = asked
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(|word| word.starts_with("airlock_"))
                .collect();
            assert_eq!(metrics, kind.metrics.iter().map(|(metric, _)| *metric).collect(), "{:?}", kind.title);
        }
    }
}
