//! What the operator takes at rest, with many clusters. Their pods are faked: no node runs them, their status is written through
//! the API server; the operator tries to reach their agents and finds nobody.

use super::series;
use crate::rest;
use crate::results::Series;
use anyhow::{Context as _, bail};
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use valkeeper_testkit::kube::Bed;

const NAMESPACE: &str = "bench-fleet";
const PODS: usize = 6;
/// Where faked pods say that they are.
const FAKED: &str = "10.99.0.0/16";
/// Until what follows from the last pod has been done, and until clusters that do not get on are looked at as seldom as they ever are:
/// every two minutes, a tenth of the time for which they have shown the same.
const SETTLE: Duration = Duration::from_secs(1_230);
const WITHIN: Duration = Duration::from_secs(600);

/// Has so many clusters, those of an earlier call among them, and looks at the operator at rest.
pub(super) fn at_rest(bed: &Bed, count: usize) -> anyhow::Result<Vec<Series>> {
    let _ = bed.try_kubectl(&["create", "namespace", NAMESPACE]);
    let mut text = String::new();
    for number in 0..count {
        let _ = write!(
            text,
            "---\napiVersion: redis.io/v1\nkind: RedisCluster\nmetadata: {{name: f{number}, namespace: {NAMESPACE}}}\nspec: {{mode: cluster, shards: 3, replicasPerShard: 1, storage: {{type: emptyDir, size: 1Gi}}, nodeSelector: {{nowhere: \"true\"}}}}\n"
        );
    }
    bed.nobody_listens_at(FAKED);
    bed.apply_text(&text, &["--server-side"]);
    fake_pods(count * PODS)?;
    std::thread::sleep(SETTLE);
    let pid = bed.operator_process(&bed.acting_operator()).context("no operator acts here")?;
    let (before, begun) = (requests(bed)?, Instant::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rest = runtime.block_on(rest::of(pid))?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let sent = (requests(bed)? - before) / minutes / f64::from(u32::try_from(count)?);
    let by = format!("{count} clusters, {} faked pods", count * PODS);
    let mut all = Vec::new();
    let mut one = |event: &str, unit: &str, value: f64, goal: Option<f64>| {
        let mut series = series(event, &by, unit);
        series.goal = goal;
        series.add(value);
        eprintln!("{event}, {by}: {value:.2} {unit}");
        all.push(series);
    };
    let most = if count <= 100 { 40.0 } else { 120.0 };
    one("the operator's memory", "MiB", rest.rss_mib, Some(most));
    one("the operator's CPU at rest", "% of a core", rest.cpu_percent, Some(1.0));
    one("API requests at rest, a cluster and minute", "requests", sent, None);
    Ok(all)
}

/// Writes the status of all pods until as many as are wanted say that they run.
fn fake_pods(wanted: usize) -> anyhow::Result<()> {
    let script = format!(
        r#"
import json, subprocess, sys, time, threading, queue
import urllib.request
proxy = subprocess.Popen(["kubectl", "proxy", "--port=8901"], stdout=subprocess.DEVNULL)
base = "http://127.0.0.1:8901/api/v1/namespaces/{NAMESPACE}/pods"
def call(method, url, body=None):
    request = urllib.request.Request(url, method=method, data=body, headers={{"Content-Type": "application/merge-patch+json"}})
    return json.load(urllib.request.urlopen(request, timeout=30))
try:
    end = time.time() + 540
    done = set()
    while len(done) < {wanted}:
        if time.time() > end: sys.exit("only %d pods" % len(done))
        try: pods = call("GET", base + "?resourceVersion=0")["items"]
        except OSError: time.sleep(1); continue
        work = queue.Queue()
        for pod in pods:
            if pod["metadata"]["name"] not in done: work.put(pod["metadata"]["name"])
        def write():
            while True:
                try: name = work.get_nowait()
                except queue.Empty: return
                cluster, number = name.rsplit("-", 1)
                ip = "10.99.%d.%d" % (int(cluster[1:]) % 250, int(number) + 1 + 10 * (int(cluster[1:]) // 250))
                status = {{"status": {{"phase": "Running", "podIP": ip, "podIPs": [{{"ip": ip}}], "conditions": [{{"type": "Ready", "status": "True"}}, {{"type": "PodScheduled", "status": "True"}}]}}}}
                try: call("PATCH", base + "/" + name + "/status", json.dumps(status).encode()); done.add(name)
                except OSError as error: print(error, file=sys.stderr)
        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        time.sleep(0.5)
finally:
    proxy.kill()
"#
    );
    let mut child = Command::new("python3").args(["-c", &script]).stdin(Stdio::null()).spawn()?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(()) } else { bail!("the pods could not be faked") };
        }
        if begun.elapsed() > WITHIN {
            let _ = child.kill();
            let _ = child.wait();
            bail!("the pods were not faked in time");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Requests of service accounts that the API server has taken; nobody but the operator has one that asks in this bed.
fn requests(bed: &Bed) -> anyhow::Result<f64> {
    let metrics = bed.kubectl(&["get", "--raw", "/metrics"]);
    let counted = metrics.lines().filter(|line| {
        line.starts_with("apiserver_flowcontrol_dispatched_requests_total")
            && line.contains("flow_schema=\"service-accounts\"")
    });
    let values: Result<Vec<f64>, _> =
        counted.filter_map(|line| line.split_whitespace().last()).map(str::parse).collect();
    Ok(values.context("garbled metrics")?.iter().sum())
}
