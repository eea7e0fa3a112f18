//! Plots: SVG that is made here, readable without colours, with a table behind it.

use askama::Template;

use super::shown::number;
use super::texts::{ENGLISH, Texts};

/// The size of the plot, in the units of its view box.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 120;

/// A bar.
struct Bar {
    label: String,
    count: String,
    x: u64,
    width: u64,
    y: u64,
    height: u64,
}

/// Bars over time, the oldest on the left.
#[derive(Template)]
#[template(path = "plot.html")]
pub(super) struct Plot {
    t: &'static Texts,
    title: &'static str,
    highest: String,
    bars: Vec<Bar>,
}

impl Plot {
    /// How many of each hour, given with the newest first.
    pub(super) fn of_hours(title: &'static str, counts: &[u64]) -> Self {
        let t = &ENGLISH;
        let highest = counts.iter().copied().max().unwrap_or_default();
        let step = WIDTH / (counts.len() as u64).max(1);
        let bar = |(at, (hours, count)): (usize, (usize, &u64))| {
            let height = (count * HEIGHT).div_ceil(highest.max(1));
            let label = match hours {
                0 => t.last_hour.to_owned(),
                hours => t.hours_ago.replacen("{}", &format!("{hours}–{}", hours + 1), 1),
            };
            Bar {
                label,
                count: number(*count),
                x: at as u64 * step,
                width: step - 4,
                y: HEIGHT - height,
                height,
            }
        };
        let bars = counts.iter().enumerate().rev().enumerate().map(bar).collect();
        Self { t, title, highest: number(highest), bars }
    }

    /// The figure; empty where it cannot be made.
    pub(super) fn figure(&self) -> String {
        self.render().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let plot = Plot::of_hours("Contacts", &[50, 0, 100, 1]);
        let heights: Vec<u64> = plot.bars.iter().map(|bar| bar.height).collect();
        assert_eq!(heights, [2, 120, 0, 60], "the oldest on the left, and what is there is seen");
        assert_eq!(plot.bars[3].label, "last hour");
        assert_eq!(plot.bars[0].label, "3–4 h ago");
        let figure = plot.figure();
        assert_eq!(figure.matches("<rect").count(), 4);
        assert_eq!(figure.matches("<tr>").count(), 5, "{figure}");
        assert!(!Plot::of_hours("Nothing", &[0; 24]).figure().is_empty());
    }
}
