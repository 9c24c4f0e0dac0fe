//! How long the promotion of a cluster that follows another takes, once its source is lost: a source and a follower of its own, in a folder
//! for the time of it.

use super::interrupted;
use super::place::Place;
use super::report::Spread;
use crate::args::Drill;
use crate::failure::{Failure, Kind};
use crate::output::{columns, milliseconds};
use crate::target::local::primary::primary_connection;
use anyhow::{Context as _, ensure};
use serde::Serialize;
use std::pin::Pin;
use std::time::{Duration, Instant};
use valkeeper_client::AdminConnection;
use valkeeper_local::{ClusterDir, Control, ControlAnswer, ControlRequest};
use valkeeper_model::{InstanceName, ReplicaModeStage, Request};

const SOURCE: &str = "drill-source";
const COPY: &str = "drill-copy";

/// One server: what is measured begins when it is lost.
const SOURCE_MANIFEST: &str = "\
apiVersion: redis.io/v1
kind: RedisCluster
metadata:
  name: drill-source
spec:
  mode: standalone
  instances: 1
";
/// Keys that the source is given, and that have to be there after the promotion.
const KEYS: usize = 1_000;
const ASKED_WITHIN: Duration = Duration::from_secs(2);
const EQUAL_WITHIN: Duration = Duration::from_secs(30);
const PROMOTED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(1);

fn copy_manifest(port: u16) -> String {
    format!(
        "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: {COPY}\nspec:\n  mode: standalone\n  instances: 3\n  \
         replicaMode:\n    enabled: true\n    source:\n      host: 127.0.0.1\n      port: {port}\n      clusterName: {SOURCE}\n      \
         authSecretName: {SOURCE}-auth\n"
    )
}

/// `drill promote -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromoteReport {
    event: &'static str,
    runs: Vec<PromoteRun>,
    summary: PromoteSummary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PromoteRun {
    run: u32,
    /// From the wish to the first write that the leader's port takes.
    writes_ms: f64,
    /// From the wish until all others follow the new primary.
    following_ms: f64,
    /// Copies that were sent whole to the others meanwhile.
    full_syncs: u64,
    /// Keys of the source that are not there.
    lost: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PromoteSummary {
    runs: usize,
    writes: Spread,
    following: Spread,
    full_syncs: u64,
    lost: usize,
}

impl PromoteReport {
    fn new(runs: Vec<PromoteRun>) -> Self {
        let summary = PromoteSummary {
            runs: runs.len(),
            writes: Spread::of(runs.iter().map(|run| run.writes_ms)),
            following: Spread::of(runs.iter().map(|run| run.following_ms)),
            full_syncs: runs.iter().map(|run| run.full_syncs).sum(),
            lost: runs.iter().map(|run| run.lost).sum(),
        };
        Self { event: "promote", runs, summary }
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        let row = |what: &str, Spread { p50, p99, max, .. }: Spread| {
            vec![what.to_owned(), format!("{p50:.0}"), format!("{p99:.0}"), format!("{max:.0}")]
        };
        let head = ["PROMOTE, source lost, ms", "P50", "P99", "MAX"].map(str::to_owned).to_vec();
        let PromoteSummary { writes, following, full_syncs, lost, .. } = self.summary;
        let rows = [head, row("first write", writes), row("others follow", following)];
        format!("{}\n{full_syncs} full copies, {lost} keys lost\n", columns(&rows).trim_end())
    }

    /// Why the drill has failed, if it has.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        if self.summary.lost == 0 {
            return Ok(());
        }
        let what = format!("{} keys that the source had acknowledged are not there", self.summary.lost);
        Err(Failure { kind: Kind::Failed, what, hint: None }.into())
    }
}

pub(super) async fn runs(
    drill: &Drill,
    ended: &mut Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<PromoteReport> {
    let mut runs = Vec::new();
    for number in 1..=drill.runs {
        let place = Place::make(number)?;
        let ran = tokio::select! {
            ran = run(&place, drill, number) => ran,
            () = ended.as_mut() => Err(interrupted()),
        };
        let removed = place.remove(&[COPY, SOURCE]).await;
        let ran = ran?;
        removed?;
        eprintln!(
            "run {number}/{}: a write after {:.0} ms, all follow after {:.0} ms",
            drill.runs, ran.writes_ms, ran.following_ms
        );
        runs.push(ran);
    }
    Ok(PromoteReport::new(runs))
}

async fn run(place: &Place, drill: &Drill, run: u32) -> anyhow::Result<PromoteRun> {
    place.up(SOURCE, SOURCE_MANIFEST, drill).await?;
    let source = primary_connection(&place.cluster(SOURCE)?)?;
    let port = source.endpoint().port;
    place.up(COPY, &copy_manifest(port), drill).await?;
    let dir = place.cluster(COPY)?;
    let copy = primary_connection(&dir)?;
    for key in 0..KEYS {
        source.raw(&["SET", &format!("drill:{key}"), "1"], ASKED_WITHIN).await?;
    }
    until_equal(&source, &copy).await?;
    place.down(SOURCE).await?;
    let before = full_syncs(&dir).await?;
    let began = Instant::now();
    let control = Control::new(dir.clone());
    let wish = ControlRequest::Do(Request::Promote);
    let (answer, writes) = tokio::join!(control.ask(&wish, PROMOTED_WITHIN), first_write(&copy, began));
    if let ControlAnswer::Refused(refusal) = answer? {
        anyhow::bail!("the promotion was refused: {refusal}");
    }
    let writes = writes?;
    let following = until_followed(&control, began).await?;
    let lost = lost(&copy).await?;
    let full_syncs = full_syncs(&dir).await?.saturating_sub(before);
    Ok(PromoteRun {
        run,
        writes_ms: milliseconds(writes),
        following_ms: milliseconds(following),
        full_syncs,
        lost,
    })
}

async fn until_equal(source: &AdminConnection, copy: &AdminConnection) -> anyhow::Result<()> {
    let until = Instant::now() + EQUAL_WITHIN;
    loop {
        let (theirs, ours) = (source.replication(ASKED_WITHIN).await?, copy.replication(ASKED_WITHIN).await?);
        if theirs.offset == ours.offset {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the copy does not come to where its source is");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When the port has taken a write.
async fn first_write(copy: &AdminConnection, began: Instant) -> anyhow::Result<Duration> {
    loop {
        if copy.raw(&["SET", "drill:first", "1"], ASKED_WITHIN).await.is_ok() {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PROMOTED_WITHIN, "the promoted cluster takes no write");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When the cluster is promoted and all its replicas are in sync with the new primary.
async fn until_followed(control: &Control, began: Instant) -> anyhow::Result<Duration> {
    loop {
        let answer = control.ask(&ControlRequest::Status, ASKED_WITHIN).await?;
        let ControlAnswer::Status(seen) = answer else { anyhow::bail!("the supervisor tells no status") };
        let is_over = seen.report.as_ref().is_some_and(|report| {
            let stage = report.replica_mode.as_ref().map(|mode| &mode.stage);
            report.healthy && matches!(stage, Some(ReplicaModeStage::Promoted { .. }))
        });
        if is_over {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PROMOTED_WITHIN, "the others do not follow the promoted server");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Keys that the source had and the copy has not.
async fn lost(copy: &AdminConnection) -> anyhow::Result<usize> {
    let mut found = 0;
    for key in 0..KEYS {
        let answer = copy.raw(&["EXISTS", &format!("drill:{key}")], ASKED_WITHIN).await?;
        found += usize::from(answer == valkeeper_client::Value::Int(1));
    }
    Ok(KEYS - found)
}

/// What all servers of the cluster have sent whole.
async fn full_syncs(dir: &ClusterDir) -> anyhow::Result<u64> {
    let password = dir.password()?;
    let mut sum = 0;
    let servers: Vec<(InstanceName, _)> = dir.server_addresses()?.into_iter().collect();
    for (name, address) in servers {
        let connection = AdminConnection::new(address.socket(), Some(password.clone()));
        let stats = connection.info("stats", ASKED_WITHIN).await?;
        let line = stats.lines().find_map(|line| line.strip_prefix("sync_full:"));
        let count: u64 = line
            .and_then(|text| text.trim().parse().ok())
            .with_context(|| format!("{name} tells no sync_full"))?;
        sum += count;
    }
    Ok(sum)
}
