//! Events under load, as clients see them. One writer a shard, a thousand writes a second each.

use super::series;
use super::watching::Watching;
use crate::results::{Sample, Series};
use anyhow::Context as _;
use std::process::Command;
use std::time::{Duration, Instant};
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, Shape};

const WITHIN: Duration = Duration::from_secs(120);
/// A client that waits for longer sees its own patience, not the failover.
const PATIENCE: Duration = Duration::from_millis(200);

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// From the start of the last pod's server container to a healthy cluster, and from the manifest to it.
pub(super) fn create(bed: &Bed, runs: usize) -> anyhow::Result<Vec<Series>> {
    let mut whole = series("create 3+3 on Kubernetes", "from `kubectl apply` to healthy", "ms");
    let mut after =
        series("create 3+3, after the last container has started", "to healthy", "ms").goal(1_500.0);
    for run in 0..runs {
        let namespace = format!("bench-create-{run}");
        let cluster = KubeCluster::describe(bed, &namespace, Shape { shards: 3, replicas: 1 }, "");
        let watching = Watching::start(&namespace)?;
        let begun = Instant::now();
        cluster.apply();
        let healthy = watching.until(|line| line.starts_with("Healthy True"), WITHIN)?;
        whole.add(ms(healthy - begun));
        let since_healthy = healthy.elapsed();
        let mut youngest = Duration::MAX;
        for name in cluster.pods().keys() {
            youngest = youngest.min(age(cluster.process(name, false))?);
        }
        after.add(ms(youngest.saturating_sub(since_healthy)));
        cluster.remove();
    }
    Ok(vec![after, whole])
}

/// How long a process has run.
fn age(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let started: f64 = fields.clone().nth(19).context("garbled stat")?.parse()?;
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split_whitespace().next().context("garbled uptime")?.parse()?;
    Ok(Duration::from_secs_f64((uptime - started / 100.0).max(0.0)))
}

/// After a failover two primaries may be in one zone until the controller has switched one back: losing that zone then is losing
/// the majority, which is another event.
fn until_spread(cluster: &KubeCluster<'_>) {
    cluster.until("any zone may be lost", || {
        cluster.condition("ZoneLossTolerated").filter(|(status, _)| status == "True")
    });
}

/// One event on one cluster, again and again; the longest gap of the shard it was done to.
fn again(
    bed: &Bed,
    (namespace, runs): (&str, usize),
    mut into: Series,
    event: impl Fn(&KubeCluster<'_>, &str, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Series> {
    let cluster = KubeCluster::create(bed, namespace);
    for run in 0..runs {
        until_spread(&cluster);
        let shard = format!("s{}", run % 3);
        let (primary, _) = cluster.roles(&shard);
        let traffic = KubeTraffic::with_patience(&cluster, PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        event(&cluster, &shard, &primary)?;
        cluster.until_other_primary(&shard, &primary);
        cluster.until_healthy();
        let (report, lost) = traffic.end();
        let gaps = report.shards.iter().map(|of| of.longest_gap(Duration::ZERO, report.duration).length());
        let totals = report.totals();
        into.add_sample(Sample {
            value: ms(gaps.max().unwrap_or_default()),
            failed: totals.failed,
            lost,
            acknowledged: totals.acknowledged,
        });
        eprintln!("{}: {:?}", into.event, into.values.last());
    }
    cluster.remove();
    Ok(into)
}

pub(super) fn death(bed: &Bed, runs: usize) -> anyhow::Result<Series> {
    let into =
        series("a primary's process killed in its pod", "longest time without a write", "ms").goal(50.0);
    again(bed, ("bench-death", runs), into, |cluster, _, primary| {
        cluster.kill(cluster.process(primary, true));
        Ok(())
    })
}

pub(super) fn deletion(bed: &Bed, runs: usize) -> anyhow::Result<Series> {
    let into = series("a primary's pod deleted", "longest time without a write", "ms").goal(100.0);
    again(bed, ("bench-delete", runs), into, |cluster, _, primary| {
        cluster.kubectl(&["delete", "pod", primary, "--wait=false"]);
        Ok(())
    })
}

pub(super) fn drain(bed: &Bed, runs: usize) -> anyhow::Result<Series> {
    let into = series("a primary's node drained", "longest time without a write", "ms").goal(100.0);
    again(bed, ("bench-drain", runs), into, |cluster, shard, primary| {
        let node = cluster.node_of(primary);
        let args = ["drain", &node, "--ignore-daemonsets", "--force", "--delete-emptydir-data"];
        let mut draining = Command::new("kubectl")
            .args(args)
            // The other pod of the cluster there may go first, and the budget keep this one: volumes are the node's here.
            .args([&format!("--pod-selector=redis.io/instance={primary}"), "--timeout=60s"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        cluster.until_other_primary(shard, primary);
        cluster.until("the pod has gone", || {
            let pods = cluster.pods();
            let pod = pods.get(primary)?;
            pod["status"]["podIP"].is_null().then_some(())
        });
        let _ = draining.kill();
        let _ = draining.wait();
        cluster.bed.kubectl(&["uncordon", &node]);
        Ok(())
    })
}

/// A node cut off: the gap, and how long the status goes on saying Ready.
pub(super) fn cut(bed: &Bed, runs: usize) -> anyhow::Result<Vec<Series>> {
    let mut gap = series("a primary's node cut off", "longest time without a write", "ms").goal(2_500.0);
    let mut told =
        series("a primary's node cut off: status", "from the cut to not Ready", "ms").goal(1_000.0);
    let cluster = KubeCluster::create(bed, "bench-cut");
    let watching = Watching::start("bench-cut")?;
    for _ in 0..runs {
        until_spread(&cluster);
        let operator = bed.operator_node();
        let shards = ["s0", "s1", "s2"].map(|shard| (shard, cluster.roles(shard).0));
        let away = shards.iter().find(|(_, primary)| cluster.node_of(primary) != operator);
        let (shard, primary) = away.context("all primaries are on the operator's node")?;
        let node = cluster.node_of(primary);
        let traffic = KubeTraffic::with_patience(&cluster, PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        watching.forget();
        let begun = Instant::now();
        bed.link(&node, false);
        let not_ready = watching.until(|line| line.ends_with("False"), WITHIN)?;
        told.add(ms(not_ready - begun));
        cluster.until_other_primary(shard, primary);
        traffic.flowing();
        bed.link(&node, true);
        cluster.until_healthy();
        let (report, lost) = traffic.end();
        let gaps = report.shards.iter().map(|of| of.longest_gap(Duration::ZERO, report.duration).length());
        let totals = report.totals();
        gap.add_sample(Sample {
            value: ms(gaps.max().unwrap_or_default()),
            failed: totals.failed,
            lost,
            acknowledged: totals.acknowledged,
        });
        eprintln!("{}: {:?} {:?}", gap.event, gap.values.last(), told.values.last());
    }
    cluster.remove();
    Ok(vec![gap, told])
}
