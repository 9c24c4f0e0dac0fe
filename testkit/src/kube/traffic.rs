//! Writers on every shard of a cluster in the bed, and the reading back of everything that was acknowledged.

use super::cluster::KubeCluster;
use crate::waiting::DEADLINE;
use std::time::Duration;
use tokio::runtime::Runtime;
use valkeeper_client::{Load, LoadConfig, LoadReport, Password};

/// How long a writer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A load that runs.
#[derive(Debug)]
pub struct KubeTraffic<'a> {
    cluster: &'a KubeCluster<'a>,
    runtime: Runtime,
    load: Load,
}

impl<'a> KubeTraffic<'a> {
    /// Starts one writer a shard and sees that all of them get through.
    pub fn start(cluster: &'a KubeCluster<'a>) -> Self {
        Self::with_patience(cluster, PATIENCE)
    }

    /// The same, where the password is the user's own.
    pub fn with_password(cluster: &'a KubeCluster<'a>, password: &str) -> Self {
        Self::begin(cluster, password.to_owned(), PATIENCE)
    }

    /// The same; a writer gives up on an answer after so long, and asks the others. A host that is gone answers nothing at all.
    pub fn with_patience(cluster: &'a KubeCluster<'a>, patience: Duration) -> Self {
        Self::begin(cluster, cluster.password(), patience)
    }

    fn begin(cluster: &'a KubeCluster<'a>, password: String, patience: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let config = LoadConfig::new(cluster.seeds(), Some(Password::new(password)));
        let config = LoadConfig { reply_timeout: patience, ..config };
        let load = match runtime.block_on(Load::start(config)) {
            Ok(load) => load,
            Err(error) => cluster.fail(&format!("the load: {error}")),
        };
        let traffic = Self { cluster, runtime, load };
        traffic.flowing();
        traffic
    }

    /// Waits until every shard has taken a write from now on.
    pub fn flowing(&self) {
        if let Err(error) = self.runtime.block_on(self.load.flowing(DEADLINE)) {
            self.cluster.fail(&error.to_string());
        }
    }

    /// Notes when something happened.
    pub fn mark(&self, name: &str) {
        self.load.mark(name);
    }

    /// Stops, and reads everything back; at most `lost` writes may be missing.
    pub fn finish(self, lost: u64) -> LoadReport {
        let cluster = self.cluster;
        let (report, found) = self.end();
        cluster.check(found <= lost, &format!("{found} acknowledged writes are missing, {lost} may be"));
        report
    }

    /// The same; no write may be missing, and no client may have seen an error.
    pub fn finish_unnoticed(self) {
        let cluster = self.cluster;
        let totals = self.finish(0).totals();
        cluster.check(totals.failed == 0, &format!("clients saw errors: {totals:?}"));
    }

    /// Stops, reads everything back, and says how many acknowledged writes are missing.
    pub fn end(self) -> (LoadReport, u64) {
        self.flowing();
        let Self { cluster, runtime, load } = self;
        let report = match runtime.block_on(load.stop()) {
            Ok(report) => report,
            Err(error) => cluster.fail(&error.to_string()),
        };
        let back = match runtime.block_on(report.read_back_from(cluster.seeds(), DEADLINE)) {
            Ok(back) => back,
            Err(error) => cluster.fail(&error.to_string()),
        };
        cluster.check(back.checked > 0, "nothing was written");
        cluster.check(back.altered == 0, &format!("acknowledged writes are altered: {back:?}"));
        let totals = report.totals();
        let gaps: Vec<Duration> = report
            .shards
            .iter()
            .map(|shard| shard.longest_gap(Duration::ZERO, report.duration).length())
            .collect();
        eprintln!(
            "{}: {} acknowledged, {} lost, {} failed {:?}, longest gaps {gaps:?}",
            cluster.namespace, totals.acknowledged, back.lost, totals.failed, totals.errors
        );
        (report, back.lost)
    }
}
