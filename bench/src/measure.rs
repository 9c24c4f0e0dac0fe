//! Which things are measured, how often, and in which turns.

use crate::bare::Cluster;
use crate::native::{self, Event};
use crate::product::Product;
use crate::results::{How, Results, Series};
use crate::{machine, rest};
use std::path::{Path, PathBuf};
use std::time::Instant;
use valkeeper_bench::planning::World;

/// How often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pairs: usize,
    creations: usize,
    /// With a node timeout of 15 s each takes half a minute.
    engine_alone: usize,
    plans: usize,
}

impl Extent {
    pub(crate) fn full() -> Self {
        Self { pairs: 12, creations: 5, engine_alone: 3, plans: 25 }
    }

    pub(crate) fn quick() -> Self {
        Self { pairs: 1, creations: 1, engine_alone: 0, plans: 3 }
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.engine_alone == 0
    }
}

const NODE_TIMEOUT_MS: u64 = 15_000;
const SHORT_NODE_TIMEOUT_MS: u64 = 2_000;

/// The server of `VALKEEPER_SERVER`, or the newest that `cargo xtask servers` fetches.
fn server() -> PathBuf {
    match std::env::var_os("VALKEEPER_SERVER") {
        Some(path) => path.into(),
        None => crate::root().join(".servers/valkey-9.1.2/valkey-server"),
    }
}

pub(crate) async fn all(extent: &Extent) -> anyhow::Result<Results> {
    let server = std::path::absolute(server())?;
    let mut machine = machine::describe(&server)?;
    let mut series = creating(&server, extent).await?;
    let product = Product::new(&server)?;
    product.up().await?;
    let measured = events(&product, &server, extent).await;
    // A cluster that nobody wants any more must not stay, whatever happened.
    let resting = match &measured {
        Ok(_) => at_rest(&product).await,
        Err(_) => Ok(Vec::new()),
    };
    product.down().await?;
    series.extend(measured?);
    series.extend(resting?);
    series.extend(engine_alone(&server, extent).await?);
    series.push(planning(extent));
    machine.load_after = machine::load();
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    Ok(Results { date, machine, series })
}

async fn creating(server: &Path, extent: &Extent) -> anyhow::Result<Vec<Series>> {
    const EVENT: &str = "create 3+3, all replicas in sync";
    let product = Product::new(server)?;
    let mut ours =
        Series::new(EVENT, How::Valkeeper, "`valkeeper up --detach`, from the command to its end", "ms")
            .goal(2_500.0);
    let mut bare = Series::new(EVENT, How::Bare, "nodes.conf written before the start, delay 0", "ms");
    for number in 1..=extent.creations {
        ours.add(product.create().await?);
        let (cluster, took) = Cluster::start(server, NODE_TIMEOUT_MS).await?;
        drop(cluster);
        bare.add(took.as_secs_f64() * 1_000.0);
        eprintln!("create {number}/{}: {:?} {:?}", extent.creations, ours.values.last(), bare.values.last());
    }
    Ok(vec![ours, bare])
}

/// Failovers and switchovers, each once here and once there, in turns.
async fn events(product: &Product, server: &Path, extent: &Extent) -> anyhow::Result<Vec<Series>> {
    let (mut cluster, _) = Cluster::start(server, NODE_TIMEOUT_MS).await?;
    let mut all = Vec::new();
    for (name, drill, native, saturate, goal) in [
        ("primary killed -9", "failover", Event::KillThenForce, false, Some(25.0)),
        ("switchover", "switchover", Event::PlainFailover, false, Some(30.0)),
        // Last, because servers are busy for a while afterwards with snapshots and shorter AOFs of what was written.
        ("primary killed -9, saturated", "failover", Event::KillThenForce, true, None),
        ("switchover, saturated", "switchover", Event::PlainFailover, true, Some(100.0)),
    ] {
        let by = match native {
            Event::PlainFailover => "plain `CLUSTER FAILOVER`",
            _ => "a script that sends FORCE when the process ends",
        };
        let mut ours =
            Series::new(name, How::Valkeeper, &format!("`valkeeper drill {drill}`, nodeTimeout 15 s"), "ms");
        ours.goal = goal;
        let mut bare = Series::new(name, How::Bare, by, "ms");
        for number in 0..extent.pairs {
            ours.add_sample(product.drill(drill, saturate).await?);
            bare.add_sample(native::run(&mut cluster, native, saturate, number).await?);
            eprintln!(
                "{name} {}/{}: {:?} {:?}",
                number + 1,
                extent.pairs,
                ours.values.last(),
                bare.values.last()
            );
        }
        all.extend([ours, bare]);
    }
    Ok(all)
}

async fn engine_alone(server: &Path, extent: &Extent) -> anyhow::Result<Vec<Series>> {
    let mut all = Vec::new();
    for timeout in [SHORT_NODE_TIMEOUT_MS, NODE_TIMEOUT_MS] {
        let by = format!("the engine alone, cluster-node-timeout {} s", timeout / 1_000);
        let mut series = Series::new("primary killed -9", How::Bare, &by, "ms");
        for number in 0..extent.engine_alone {
            // A cluster of its own each time: what comes back after a failover needs its own time.
            let (mut cluster, _) = Cluster::start(server, timeout).await?;
            series.add_sample(native::run(&mut cluster, Event::Kill, false, number).await?);
            eprintln!("{by} {}/{}: {:?}", number + 1, extent.engine_alone, series.values.last());
        }
        if extent.engine_alone > 0 {
            all.push(series);
        }
    }
    Ok(all)
}

async fn at_rest(product: &Product) -> anyhow::Result<Vec<Series>> {
    const EVENT: &str = "supervisor of six instances at rest";
    let rest = rest::of(product.supervisor().await?).await?;
    let mut cpu = Series::new(EVENT, How::Valkeeper, "CPU time over 20 s", "% of a core").goal(1.0);
    cpu.add(rest.cpu_percent);
    let mut memory = Series::new(EVENT, How::Valkeeper, "resident memory", "MiB").goal(30.0);
    memory.add(rest.rss_mib);
    Ok(vec![cpu, memory])
}

pub(crate) fn planning(extent: &Extent) -> Series {
    let world = World::healthy(1_000, 2);
    let mut series =
        Series::new("plan 1,000 shards of 3", How::Valkeeper, "one round of the controller", "ms").goal(20.0);
    for _ in 0..extent.plans {
        let began = Instant::now();
        std::hint::black_box(world.plan());
        series.add(began.elapsed().as_secs_f64() * 1_000.0);
    }
    series
}
