//! Events under load, as clients see them. One writer a shard, a thousand writes a second each.

use super::series;
use super::watching::Watching;
use crate::results::{Sample, Series};
use anyhow::Context as _;
use std::time::{Duration, Instant};
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, WHOLE};
use valkeeper_testkit::waiting::until;

const WITHIN: Duration = Duration::from_secs(120);
/// A client that waits for longer sees its own patience, not the failover.
const PATIENCE: Duration = Duration::from_millis(200);

/// By then another instance serves the shard, however busy the bed is, and is not yet switched back for the sake of its zone. Nothing is
/// asked of anybody meanwhile.
const FAILED_OVER_AFTER: Duration = Duration::from_secs(1);
/// The same, where a kubelet or a drain has to begin with it.
const HANDED_OVER_AFTER: Duration = Duration::from_secs(4);

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
        let cluster = KubeCluster::describe(bed, &namespace, WHOLE, "");
        let watching = Watching::clusters(&namespace)?;
        cluster.until_judged();
        let begun = Instant::now();
        cluster.apply();
        let healthy = watching.until(|line| line.starts_with("Healthy True"), WITHIN)?;
        whole.add(ms(healthy - begun));
        let mut last = begun;
        for name in cluster.pods().keys() {
            let age = age(cluster.process(name, false))?;
            last = last.max(Instant::now().checked_sub(age).context("it is older than the machine")?);
        }
        after.add(ms(healthy.saturating_duration_since(last)));
        // Removing one takes the machine as making one does.
        drop(cluster);
        until("the last one is gone", || {
            bed.kubectl(&["-n", &namespace, "get", "pods", "-o", "name"]).is_empty().then_some(())
        });
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

/// What happens to a shard's primary, all found out beforehand: programs that are started meanwhile take the machine from the servers.
type Happening<'a> = Box<dyn FnOnce() -> After<'a> + 'a>;
/// Puts right what it has left.
type After<'a> = Box<dyn FnOnce() + 'a>;

fn nothing_left<'a>() -> After<'a> {
    Box::new(|| ())
}

/// One event on one cluster, again and again, once any zone may be lost (else losing one may be losing the majority, which is another
/// event): the gap of the shard that it happens to, and, to tell what of that is the bed, the longest meanwhile of the shards to which
/// nothing happens.
fn again(
    bed: &Bed,
    (namespace, runs): (&str, usize),
    (event, goal, over_after): (&str, f64, Duration),
    prepare: impl for<'a> Fn(&'a KubeCluster<'a>, String) -> Happening<'a>,
) -> anyhow::Result<Vec<Series>> {
    let mut hit = series(event, "longest time without a write", "ms").goal(goal);
    let mut others = series(event, "the same of the shards to which nothing happens", "ms");
    let cluster = KubeCluster::create(bed, namespace);
    for run in 0..runs {
        cluster.until_spread();
        let number = run % 3;
        let shard = format!("s{number}");
        let (primary, _) = cluster.roles(&shard);
        let happening = prepare(&cluster, primary.clone());
        let traffic = KubeTraffic::with_patience(&cluster, PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        traffic.mark("event");
        let after = happening();
        std::thread::sleep(over_after);
        traffic.mark("over");
        after();
        cluster.until_healthy();
        let (report, lost) = traffic.end();
        let mut outages = report.outages("event").context("the event was not marked")?;
        let totals = report.totals();
        hit.add_sample(Sample {
            value: ms(outages.remove(number).gap),
            failed: totals.failed,
            lost,
            acknowledged: totals.acknowledged,
        });
        others.add(ms(outages.iter().map(|outage| outage.gap).max().unwrap_or_default()));
        eprintln!("{event}: {:?}, others {:?}", hit.values.last(), others.values.last());
    }
    Ok(vec![hit, others])
}

pub(super) fn death(bed: &Bed, runs: usize) -> anyhow::Result<Vec<Series>> {
    let event = ("a primary's process killed in its pod", 50.0, FAILED_OVER_AFTER);
    again(bed, ("bench-death", runs), event, |cluster, primary| {
        let process = cluster.process(&primary, true);
        Box::new(move || {
            cluster.kill(process);
            nothing_left()
        })
    })
}

pub(super) fn deletion(bed: &Bed, runs: usize) -> anyhow::Result<Vec<Series>> {
    let event = ("a primary's pod deleted", 100.0, HANDED_OVER_AFTER);
    again(bed, ("bench-delete", runs), event, |cluster, primary| {
        Box::new(move || {
            cluster.kubectl(&["delete", "pod", &primary, "--wait=false"]);
            nothing_left()
        })
    })
}

pub(super) fn drain(bed: &Bed, runs: usize) -> anyhow::Result<Vec<Series>> {
    let event = ("a primary's node drained", 100.0, HANDED_OVER_AFTER);
    again(bed, ("bench-drain", runs), event, |cluster, primary| {
        let node = cluster.node_of(&primary);
        Box::new(move || {
            let mut draining = cluster.bed.drain(&node, &primary);
            let after: After<'_> = Box::new(move || {
                cluster.until("the pod has gone", || {
                    let pods = cluster.pods();
                    pods.get(&primary)?["status"]["podIP"].is_null().then_some(())
                });
                let _ = draining.kill();
                let _ = draining.wait();
                cluster.bed.kubectl(&["uncordon", &node]);
            });
            after
        })
    })
}

/// From the moment at which a watch tells that a pod has gone to the one at which the same watch tells of its successor: the operator has
/// heard of it, has decided, and the API server has stored the new one.
pub(super) fn reaction(bed: &Bed, runs: usize) -> anyhow::Result<Vec<Series>> {
    let mut successor = series("a pod has gone", "until the next of its name is made", "ms").goal(50.0);
    let cluster = KubeCluster::create(bed, "bench-react");
    let watching = Watching::pods("bench-react")?;
    for run in 0..runs {
        cluster.until_spread();
        let (_, replica) = cluster.roles(&format!("s{}", run % 3));
        watching.forget();
        cluster.kubectl(&["delete", "pod", &replica, "--grace-period=0", "--force", "--wait=false"]);
        let told = |event: &str| {
            let (event, pod) = (event.to_owned(), replica.clone());
            move |line: &str| line.split_whitespace().take(2).eq([event.as_str(), pod.as_str()])
        };
        let gone = watching.until(told("DELETED"), WITHIN)?;
        let made = watching.until(told("ADDED"), WITHIN)?;
        successor.add(ms(made - gone));
        cluster.until_healthy();
    }
    Ok(vec![successor])
}

/// A node cut off: the gap, and how long the status goes on saying Ready.
pub(super) fn cut(bed: &Bed, runs: usize) -> anyhow::Result<Vec<Series>> {
    let mut gap = series("a primary's node cut off", "longest time without a write", "ms").goal(2_500.0);
    let mut told =
        series("a primary's node cut off: status", "from the cut to not Ready", "ms").goal(1_000.0);
    let cluster = KubeCluster::create(bed, "bench-cut");
    let watching = Watching::clusters("bench-cut")?;
    for _ in 0..runs {
        cluster.until_spread();
        let operator = bed.operator_node();
        let shards = ["s0", "s1", "s2"].map(|shard| (shard, cluster.roles(shard).0));
        let away = shards.iter().find(|(_, primary)| cluster.node_of(primary) != operator);
        let (shard, primary) = away.context("all primaries are on the operator's node")?;
        let node = cluster.node_of(primary);
        let traffic = KubeTraffic::with_patience(&cluster, PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        watching.forget();
        let begun = Instant::now();
        let off = bed.unlinked(&node);
        let not_ready = watching.until(|line| line.ends_with("False"), WITHIN)?;
        told.add(ms(not_ready - begun));
        cluster.until_other_primary(shard, primary);
        traffic.flowing();
        off.mend();
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
    Ok(vec![gap, told])
}
