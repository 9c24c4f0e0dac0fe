//! What a drill found: a document that programs may rely on (`docs/performance.md` describes it), and a page for people.

use super::event::Event;
use crate::failure::{Failure, Kind};
use crate::output::columns;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use valkeeper_model::{ClusterName, InstanceName, ShardName};

/// `drill failover|switchover -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DrillReport {
    pub(super) event: Event,
    pub(super) cluster: ClusterName,
    pub(super) saturated: bool,
    pub(super) runs: Vec<Run>,
    pub(super) summary: Summary,
}

/// One event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    #[serde(rename = "run")]
    pub(super) number: u32,
    /// The event's own shard.
    pub(super) shard: ShardName,
    pub(super) from: InstanceName,
    pub(super) to: Option<InstanceName>,
    /// Why a switchover was refused or given up.
    pub(super) refused: Option<String>,
    /// From the kill to a new primary in the status, or how long the command took.
    pub(super) took_ms: f64,
    /// Switchover: how long writes were held back, as the supervisor tells it.
    pub(super) held_ms: Option<u64>,
    /// From the event to a cluster that is healthy again; none if that took more than some seconds.
    pub(super) healed_ms: Option<f64>,
    /// By shard: the longest time without an acknowledged write that overlaps the event and its aftermath.
    pub(super) gaps_ms: BTreeMap<ShardName, f64>,
    pub(super) writes_per_second: u64,
    pub(super) acknowledged: u64,
    /// Writes of which an application that follows redirects would have seen an error.
    pub(super) failed: u64,
    pub(super) retried: u64,
    /// Writes of which nobody knows whether they were carried out.
    pub(super) unknown: u64,
    /// Acknowledged writes that could not be read back as written.
    pub(super) lost: u64,
    /// Keys evicted meanwhile: where `maxmemory` is reached, a lost key may be one of these.
    pub(super) evicted: u64,
    pub(super) errors: BTreeMap<String, u64>,
}

/// Over all runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) runs: usize,
    pub(super) refused: usize,
    /// Write gaps of the shard in which the event was, milliseconds.
    pub(super) own: Spread,
    /// Those of the other shards.
    pub(super) others: Spread,
    pub(super) shards: Vec<ShardSummary>,
    pub(super) acknowledged: u64,
    pub(super) failed: u64,
    pub(super) retried: u64,
    pub(super) unknown: u64,
    pub(super) lost: u64,
    pub(super) evicted: u64,
}

/// One shard over all runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShardSummary {
    pub(super) name: ShardName,
    pub(super) own: Spread,
    pub(super) others: Spread,
}

/// How values spread: nearest rank, so that each is one that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

impl Spread {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or_default()
        };
        Self { count: values.len(), p50: rank(50), p99: rank(99), max: rank(100) }
    }

    fn cells(&self) -> [String; 3] {
        let cell = |value: f64| if self.count == 0 { "-".to_owned() } else { format!("{value:.1}") };
        [cell(self.p50), cell(self.p99), cell(self.max)]
    }
}

impl DrillReport {
    pub(super) fn new(cluster: ClusterName, event: Event, saturated: bool, runs: Vec<Run>) -> Self {
        let gaps = |wanted: &dyn Fn(&Run, &ShardName) -> bool| {
            let of_run = |run: &Run| {
                let wanted = run.gaps_ms.iter().filter(|(shard, _)| wanted(run, shard));
                wanted.map(|(_, gap)| *gap).collect::<Vec<_>>()
            };
            Spread::of(runs.iter().flat_map(of_run))
        };
        let names: BTreeSet<&ShardName> = runs.iter().flat_map(|run| run.gaps_ms.keys()).collect();
        let shards = names.into_iter().map(|name| ShardSummary {
            name: name.clone(),
            own: gaps(&|run, shard| shard == name && run.shard == *name),
            others: gaps(&|run, shard| shard == name && run.shard != *name),
        });
        let sum = |count: fn(&Run) -> u64| runs.iter().map(count).sum();
        let summary = Summary {
            runs: runs.len(),
            refused: runs.iter().filter(|run| run.refused.is_some()).count(),
            own: gaps(&|run, shard| run.shard == *shard),
            others: gaps(&|run, shard| run.shard != *shard),
            shards: shards.collect(),
            acknowledged: sum(|run| run.acknowledged),
            failed: sum(|run| run.failed),
            retried: sum(|run| run.retried),
            unknown: sum(|run| run.unknown),
            lost: sum(|run| run.lost),
            evicted: sum(|run| run.evicted),
        };
        Self { event, cluster, saturated, runs, summary }
    }

    /// A failover may lose what was not replicated yet; a switchover must not lose anything, and must happen.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        let Summary { lost, evicted, refused, .. } = self.summary;
        if evicted > 0 {
            eprintln!("note: the servers evicted {evicted} keys meanwhile: maxmemory is reached");
        }
        let what = match self.event {
            Event::Switchover if lost > evicted => {
                format!("{lost} acknowledged writes were lost in switchovers")
            }
            Event::Switchover if refused > 0 => format!("{refused} switchovers did not happen"),
            Event::Failover | Event::Switchover => return Ok(()),
        };
        Err(Failure { kind: Kind::Failed, what, hint: None }.into())
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        let Summary { runs, own, others, shards, acknowledged, failed, retried, unknown, lost, .. } =
            &self.summary;
        let event = match self.event {
            Event::Failover => "failovers (kill -9 of a primary)",
            Event::Switchover => "switchovers",
        };
        let load = if self.saturated { "writers at full speed" } else { "about 1,000 writes/s a shard" };
        let mut rows = vec![["WRITE GAP, ms", "P50", "P99", "MAX"].map(str::to_owned).to_vec()];
        let mut row = |name: String, spread: &Spread| {
            let mut cells = vec![name];
            cells.extend(spread.cells());
            rows.push(cells);
        };
        row("the event's own shard".to_owned(), own);
        row("the other shards".to_owned(), others);
        for shard in shards {
            row(format!("{}, own events", shard.name), &shard.own);
            row(format!("{}, events elsewhere", shard.name), &shard.others);
        }
        format!(
            "cluster {}: {runs} {event}, {load}\n\n{}\nwrites: {acknowledged} acknowledged, {failed} failed, {retried} retries, \
             {unknown} unknown, {lost} acknowledged ones lost\n",
            self.cluster,
            columns(&rows),
        )
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.gaps_ms.get(&self.shard).copied().unwrap_or_default();
        let others = self.gaps_ms.iter().filter(|(name, _)| **name != self.shard).map(|(_, gap)| *gap);
        let others = others.fold(0.0, f64::max);
        match (&self.to, &self.refused) {
            (Some(to), _) => write!(f, "{} from {} to {to}: ", self.shard, self.from)?,
            (None, why) => write!(f, "{}: {}: ", self.shard, why.as_deref().unwrap_or("nothing happened"))?,
        }
        write!(
            f,
            "no write for {own:.1} ms (other shards {others:.1} ms), {} failed, {} lost of {} ({}/s)",
            self.failed, self.lost, self.acknowledged, self.writes_per_second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_values_that_were_measured() {
        let all = Spread::of((1..=200).rev().map(f64::from));
        assert_eq!(all, Spread { count: 200, p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Spread::of([7.0]), Spread { count: 1, p50: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]).count, 0);
    }

    fn run(shard: &str, gaps: &[(&str, f64)], lost: u64) -> Run {
        Run {
            number: 1,
            shard: shard.parse().unwrap(),
            from: "demo-0".parse().unwrap(),
            to: None,
            refused: None,
            took_ms: 1.0,
            held_ms: None,
            healed_ms: None,
            gaps_ms: gaps.iter().map(|(name, gap)| (name.parse().unwrap(), *gap)).collect(),
            writes_per_second: 1,
            acknowledged: 10,
            failed: 0,
            retried: 0,
            unknown: 0,
            lost,
            evicted: 0,
            errors: BTreeMap::new(),
        }
    }

    #[test]
    fn own_and_other_shards_are_told_apart() {
        let runs = vec![run("s0", &[("s0", 9.0), ("s1", 2.0)], 0), run("s1", &[("s0", 3.0), ("s1", 8.0)], 1)];
        let report = DrillReport::new("demo".parse().unwrap(), Event::Switchover, false, runs);
        let Summary { own, others, shards, lost, .. } = &report.summary;
        assert_eq!((own.p50, own.max, others.p50, others.max, *lost), (8.0, 9.0, 2.0, 3.0, 1));
        assert_eq!((shards[0].own.max, shards[0].others.max), (9.0, 3.0));
        assert!(report.verdict().is_err());
        assert!(report.page().contains("the other shards"));
    }
}
