//! Samples and their text, in Prometheus' text format 0.0.4.

use crate::metric::Metric;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a sample is of: names and values, in the order in which they are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Vec<(&'static str, String)>);

impl Labels {
    /// The same with another label; in place of the one of that name if there is one, since a name may stand only once.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &(impl ToString + ?Sized)) -> Self {
        let value = value.to_string();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = value,
            None => self.0.push((name, value)),
        }
        self
    }

    fn write(&self, text: &mut String) {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let _ = write!(text, "{}{name}=\"", if index == 0 { '{' } else { ',' });
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !self.0.is_empty() {
            text.push('}');
        }
    }
}

/// What a sample says. Whole numbers stay whole: none is rounded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// So many.
    Count(u64),
    /// Yes (1) or no (0).
    Flag(bool),
    /// Milliseconds, told as seconds.
    Millis(u64),
}

impl Value {
    fn write(self, text: &mut String) {
        let _ = match self {
            Self::Count(count) => write!(text, "{count}"),
            Self::Flag(flag) => write!(text, "{}", u8::from(flag)),
            Self::Millis(ms) => write!(text, "{}.{:03}", ms / 1_000, ms % 1_000),
        };
    }
}

/// Samples by metric and labels: no two of one metric have the same labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposition(BTreeMap<Metric, BTreeMap<Labels, Value>>);

impl Exposition {
    /// Adds a sample, in place of the one of the same metric with the same labels.
    pub fn add(&mut self, metric: Metric, labels: Labels, value: Value) {
        self.0.entry(metric).or_default().insert(labels, value);
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (metric, samples) in &self.0 {
            let (name, kind) = (metric.name(), metric.kind().as_str());
            let help = metric.help().replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                text.push_str(name);
                labels.write(&mut text);
                text.push(' ');
                value.write(&mut text);
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
