//! The text that Prometheus reads, format version 0.0.4.
//!
//! ```text
//! # HELP airlock_catalog_snaps Snaps in the store.
//! # TYPE airlock_catalog_snaps gauge
//! airlock_catalog_snaps 12
//! ```

use std::fmt::{Display, Write as _};

use super::count::Histogram;

/// The metrics written so far. A sample belongs to the metric begun last.
#[derive(Default)]
pub(crate) struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    /// Begins a metric that only grows.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str) {
        self.begin(name, "counter", help);
    }

    /// Begins a metric that goes up and down.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str) {
        self.begin(name, "gauge", help);
    }

    /// Begins a histogram, written by [`Text::steps`].
    pub(super) fn histogram(&mut self, name: &'static str, help: &str) {
        self.begin(name, "histogram", help);
    }

    /// A whole metric of one number.
    pub(crate) fn single(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.sample(&[], value);
    }

    /// A number of the metric.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// Writes a histogram's samples; nothing if it is empty.
    pub(super) fn steps(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let (steps, count, sum) = histogram.read();
        if count == 0 {
            return;
        }
        let steps = steps.into_iter().map(|(bound, below)| (bound.to_string(), below));
        for (bound, below) in steps.chain([("+Inf".to_owned(), count)]) {
            self.line("_bucket", &[labels, &[("le", &bound)]].concat(), below);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, count);
    }

    /// All of it.
    pub(crate) fn into_string(self) -> String {
        self.out
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a text cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let _ = write!(self.out, "{}{name}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn metrics_look_as_prometheus_wants_them() {
        let mut text = Text::default();
        text.single("a_total", "One.", 7);
        text.gauge("b", "Two.");
        text.sample(&[("word", "quote\" slash\\ line\n"), ("other", "")], 0.5);
        text.histogram("c_seconds", "Three.");
        let histogram = Histogram::new(&[1000, 2_500_000]);
        text.steps(&[], &histogram);
        histogram.record(Duration::from_secs(1));
        text.steps(&[("kind", "x")], &histogram);
        let wanted = r#"# HELP a_total One.
# TYPE a_total gauge
a_total 7
# HELP b Two.
# TYPE b gauge
b{word="quote\" slash\\ line\n",other=""} 0.5
# HELP c_seconds Three.
# TYPE c_seconds histogram
c_seconds_bucket{kind="x",le="0.001"} 0
c_seconds_bucket{kind="x",le="2.5"} 1
c_seconds_bucket{kind="x",le="+Inf"} 1
c_seconds_sum{kind="x"} 1
c_seconds_count{kind="x"} 1
"#;
        assert_eq!(text.into_string(), wanted);
    }
}
