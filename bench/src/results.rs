//! What a run of the bench found, as it is kept in `bench/results/`.

use serde::{Deserialize, Serialize};

/// One run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    /// The day, UTC.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) series: Vec<Series>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) server: String,
    /// Runnable processes over the last minute, before and after: above the number of cores, others were busy too.
    pub(crate) load_before: f64,
    pub(crate) load_after: f64,
    /// The priority it ran with: below zero, others had to wait for it.
    pub(crate) niceness: i32,
}

/// One thing measured in one way, several times.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Series {
    /// What is measured. Series of the same event are compared with each other.
    pub(crate) event: String,
    /// How it was done.
    pub(crate) how: How,
    /// In words.
    pub(crate) by: String,
    pub(crate) unit: String,
    pub(crate) values: Vec<f64>,
    /// What the median is to be at most.
    pub(crate) goal: Option<f64>,
    /// Writes that an application would have seen fail, over all runs; events without writers have none.
    pub(crate) failed: Option<u64>,
    /// Acknowledged writes that were gone, over all runs.
    pub(crate) lost: Option<u64>,
    pub(crate) acknowledged: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum How {
    Valkeeper,
    Bare,
}

/// One measurement.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    pub(crate) failed: u64,
    pub(crate) lost: u64,
    pub(crate) acknowledged: u64,
}

impl Series {
    pub(crate) fn new(event: &str, how: How, by: &str, unit: &str) -> Self {
        Self {
            event: event.to_owned(),
            how,
            by: by.to_owned(),
            unit: unit.to_owned(),
            values: Vec::new(),
            goal: None,
            failed: None,
            lost: None,
            acknowledged: None,
        }
    }

    pub(crate) fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// Adds a value of an event without writers.
    pub(crate) fn add(&mut self, value: f64) {
        self.values.push((value * 100.0).round() / 100.0);
    }

    /// Adds an event under load.
    pub(crate) fn add_sample(&mut self, sample: Sample) {
        self.add(sample.value);
        let add = |count: &mut Option<u64>, more: u64| *count = Some(count.unwrap_or(0) + more);
        add(&mut self.failed, sample.failed);
        add(&mut self.lost, sample.lost);
        add(&mut self.acknowledged, sample.acknowledged);
    }

    /// The value that so many per cent of the values do not exceed; one that was measured.
    pub(crate) fn rank(&self, percent: usize) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let rank = (values.len() * percent).div_ceil(100).max(1);
        values.get(rank - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_measured_values() {
        let mut series = Series::new("e", How::Bare, "b", "ms");
        for value in [3.0, 1.0, 2.0, 4.0] {
            series.add_sample(Sample { value, failed: 1, lost: 0, acknowledged: 5 });
        }
        assert_eq!((series.rank(0), series.rank(50), series.rank(100)), (1.0, 2.0, 4.0));
        assert_eq!((series.failed, series.lost, series.acknowledged), (Some(4), Some(0), Some(20)));
    }
}
