//! What an agent in a pod takes while nothing happens, and after operators have come and gone.

use super::series;
use crate::rest;
use crate::results::Series;
use std::time::Duration;
use valkeeper_testkit::kube::{Bed, KubeCluster};

/// What was used to start is given back by then.
const SETTLE: Duration = Duration::from_secs(70);

/// The agents of one cluster, each for itself: a primary's beats and is beaten more than a replica's.
pub(super) fn at_rest(bed: &Bed) -> anyhow::Result<Vec<Series>> {
    let cluster = KubeCluster::create(bed, "bench-agent");
    let mut all = measured(&cluster, "an agent in a pod, at rest")?;
    for _ in 0..3 {
        bed.kill_operator();
        bed.operators(1);
        cluster.until_healthy();
    }
    all.extend(measured(&cluster, "an agent in a pod, after three operators")?);
    Ok(all)
}

fn measured(cluster: &KubeCluster<'_>, event: &str) -> anyhow::Result<Vec<Series>> {
    std::thread::sleep(SETTLE);
    let mut processor = series(event, "CPU time over 20 s", "% of a core").goal(0.3);
    let mut memory = series(event, "resident memory", "MiB").goal(12.0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for name in cluster.pods().keys() {
        let rest = runtime.block_on(rest::of(cluster.process(name, false)))?;
        processor.add(rest.cpu_percent);
        memory.add(rest.rss_mib);
    }
    eprintln!("{event}: {:?} {:?}", processor.values, memory.values);
    Ok(vec![processor, memory])
}
