//! Writers on every shard, and the reading back of everything that was acknowledged.

use crate::cluster::Cluster;
use crate::waiting::DEADLINE;
use tokio::runtime::Runtime;
use valkeeper_client::load::ReadBack;
use valkeeper_client::{Endpoint, Load, LoadConfig, LoadReport, Password};

/// A load that runs.
#[derive(Debug)]
pub struct Traffic<'a> {
    cluster: &'a Cluster<'a>,
    runtime: Runtime,
    load: Load,
}

/// A load that has ended.
#[derive(Debug)]
pub struct Written {
    runtime: Runtime,
    /// What became of the writes.
    pub report: LoadReport,
}

impl<'a> Traffic<'a> {
    /// Starts one writer a shard and sees that all of them get through.
    pub fn start(cluster: &'a Cluster<'a>) -> Self {
        let runtime = runtime();
        let config = LoadConfig::new(cluster.seeds(), Some(Password::new(cluster.password())));
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

    /// Waits until every shard has taken so many writes more.
    pub fn more(&self, writes: u64) {
        let before = self.load.acknowledged();
        self.cluster.until(&format!("{writes} more writes in every shard"), || {
            let now = self.load.acknowledged();
            now.iter().zip(&before).all(|(now, before)| now - before >= writes).then_some(())
        });
    }

    /// Stops the writers.
    pub fn stop(self) -> Written {
        let Self { cluster, runtime, load } = self;
        match runtime.block_on(load.stop()) {
            Ok(report) => Written { runtime, report },
            Err(error) => cluster.fail(&error.to_string()),
        }
    }

    /// Sees that writes flow again everywhere and the cluster is whole, stops, and reads everything back. `lost` writes may be
    /// missing: an unplanned failover loses what had not left the dead process, which is at most the one write that each
    /// writer of the shard has in flight.
    pub fn finish(self, lost: u64) -> LoadReport {
        self.flowing();
        let cluster = self.cluster;
        cluster.until_whole();
        let written = self.stop();
        written.read_back(cluster, lost);
        written.report
    }
}

impl Written {
    /// Reads everything back; at most `lost` writes may be missing, none may be altered.
    pub fn read_back(&self, cluster: &Cluster<'_>, lost: u64) -> ReadBack {
        let reading = self.report.read_back_from(cluster.seeds(), DEADLINE);
        let back = match self.runtime.block_on(reading) {
            Ok(back) => back,
            Err(error) => cluster.fail(&error.to_string()),
        };
        cluster.check(back.checked > 0, "nothing was written");
        cluster.check(
            back.lost <= lost && back.altered == 0,
            &format!("acknowledged writes are missing, {lost} may be: {back:?}"),
        );
        back
    }
}

impl Cluster<'_> {
    /// Its servers, to learn the cluster from.
    pub fn seeds(&self) -> Vec<Endpoint> {
        self.addresses().into_iter().map(|(_, port)| Endpoint::new("127.0.0.1", port)).collect()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}
