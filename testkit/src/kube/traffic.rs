//! What only writers to a cluster in the bed need.

use super::cluster::KubeCluster;
use crate::traffic::{Subject, Traffic};
use std::time::Duration;
use valkeeper_client::{Endpoint, LoadConfig, LoadReport, Password};

/// A load that runs on a cluster in the bed.
pub type KubeTraffic<'a> = Traffic<'a, KubeCluster<'a>>;

impl Subject for KubeCluster<'_> {
    fn seeds(&self) -> Vec<Endpoint> {
        self.seeds()
    }
    fn password(&self) -> String {
        self.password()
    }
    fn fail(&self, why: &str) -> ! {
        self.fail(why)
    }
}

impl<'a> Traffic<'a, KubeCluster<'a>> {
    /// Starts as always, where the password is the user's own.
    pub fn with_password(cluster: &'a KubeCluster<'a>, password: &str) -> Self {
        Self::begin(cluster, LoadConfig::new(cluster.seeds(), Some(Password::new(password))))
    }

    /// Starts as always, and a writer gives up on an answer after so long, and asks the others. A host that is gone answers nothing at all.
    pub fn with_patience(cluster: &'a KubeCluster<'a>, patience: Duration) -> Self {
        let config = LoadConfig::new(cluster.seeds(), Some(Password::new(cluster.password())));
        Self::begin(cluster, LoadConfig { reply_timeout: patience, ..config })
    }

    /// Stops, and reads everything back; at most `lost` writes may be missing.
    pub fn finish(self, lost: u64) -> LoadReport {
        let cluster = self.subject;
        let (report, found) = self.end();
        cluster.check(found <= lost, &format!("{found} acknowledged writes are missing, {lost} may be"));
        report
    }

    /// The same; no write may be missing, and no client may have seen an error.
    pub fn finish_unnoticed(self) {
        let cluster = self.subject;
        let totals = self.finish(0).totals();
        cluster.check(totals.failed == 0, &format!("clients saw errors: {totals:?}"));
    }

    /// Stops, reads everything back, and says how many acknowledged writes are missing.
    pub fn end(self) -> (LoadReport, u64) {
        self.flowing();
        let cluster = self.subject;
        let written = self.stop();
        let back = written.read_back(cluster, u64::MAX);
        let (report, totals) = (&written.report, written.report.totals());
        let gap = |shard: &valkeeper_client::load::ShardReport| {
            shard.longest_gap(Duration::ZERO, report.duration).length()
        };
        let gaps: Vec<Duration> = report.shards.iter().map(gap).collect();
        eprintln!(
            "{}: {} acknowledged, {} lost, {} failed {:?}, longest gaps {gaps:?}",
            cluster.namespace, totals.acknowledged, back.lost, totals.failed, totals.errors
        );
        (written.report, back.lost)
    }
}
