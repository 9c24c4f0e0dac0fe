//! Writers on every shard, and the reading back of everything that was acknowledged.

use crate::cluster::Cluster;
use crate::waiting::DEADLINE;
use tokio::runtime::Runtime;
use valkeeper_client::load::ReadBack;
use valkeeper_client::{Endpoint, Load, LoadConfig, LoadReport, Password};

/// What is written to: a cluster of this machine, or one in a bed.
pub trait Subject {
    /// Its servers, to learn the cluster from.
    fn seeds(&self) -> Vec<Endpoint>;
    /// Of its servers.
    fn password(&self) -> String;
    /// Fails the scenario with what there is to know.
    fn fail(&self, why: &str) -> !;
}

/// A load that runs.
#[derive(Debug)]
pub struct Traffic<'a, S = Cluster<'a>> {
    pub(crate) subject: &'a S,
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

impl<'a, S: Subject> Traffic<'a, S> {
    /// Starts one writer a shard and sees that all of them get through.
    pub fn start(subject: &'a S) -> Self {
        Self::begin(subject, LoadConfig::new(subject.seeds(), Some(Password::new(subject.password()))))
    }

    pub(crate) fn begin(subject: &'a S, config: LoadConfig) -> Self {
        let runtime = runtime();
        let load = match runtime.block_on(Load::start(config)) {
            Ok(load) => load,
            Err(error) => subject.fail(&format!("the load: {error}")),
        };
        let traffic = Self { subject, runtime, load };
        traffic.flowing();
        traffic
    }

    /// Waits until every shard has taken a write from now on.
    pub fn flowing(&self) {
        if let Err(error) = self.runtime.block_on(self.load.flowing(DEADLINE)) {
            self.subject.fail(&error.to_string());
        }
    }

    /// Notes when something happened.
    pub fn mark(&self, name: &str) {
        self.load.mark(name);
    }

    /// Stops the writers.
    pub fn stop(self) -> Written {
        let Self { subject, runtime, load } = self;
        match runtime.block_on(load.stop()) {
            Ok(report) => Written { runtime, report },
            Err(error) => subject.fail(&error.to_string()),
        }
    }
}

impl<'a> Traffic<'a, Cluster<'a>> {
    /// Waits until every shard has taken so many writes more.
    pub fn more(&self, writes: u64) {
        let before = self.load.acknowledged();
        self.subject.until(&format!("{writes} more writes in every shard"), || {
            let now = self.load.acknowledged();
            now.iter().zip(&before).all(|(now, before)| now - before >= writes).then_some(())
        });
    }

    /// Sees that writes flow again everywhere and the cluster is whole, stops, and reads everything back. `lost` writes may be
    /// missing: an unplanned failover loses what had not left the dead process, which is at most the one write that each
    /// writer of the shard has in flight.
    pub fn finish(self, lost: u64) -> LoadReport {
        self.flowing();
        let cluster = self.subject;
        cluster.until_whole();
        let written = self.stop();
        written.read_back(cluster, lost);
        written.report
    }
}

impl Written {
    /// Reads everything back; at most `lost` writes may be missing, none may be altered.
    pub fn read_back(&self, subject: &impl Subject, lost: u64) -> ReadBack {
        let reading =
            self.report.read_back_from(subject.seeds(), Some(Password::new(subject.password())), DEADLINE);
        let back = match self.runtime.block_on(reading) {
            Ok(back) => back,
            Err(error) => subject.fail(&error.to_string()),
        };
        if back.checked == 0 {
            subject.fail("nothing was written");
        }
        if back.lost > lost || back.altered > 0 {
            subject.fail(&format!("acknowledged writes are missing, {lost} may be: {back:?}"));
        }
        back
    }
}

impl Cluster<'_> {
    /// Its servers, to learn the cluster from.
    pub fn seeds(&self) -> Vec<Endpoint> {
        self.addresses().into_iter().map(|(_, port)| Endpoint::new("127.0.0.1", port)).collect()
    }
}

impl Subject for Cluster<'_> {
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

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}
