//! Which samples a report is worth. What is not known is left out: a zero would say something.

use crate::exposition::{Exposition, Labels, Value};
use crate::metric::Metric;
use valkeeper_model::{
    AgentReport, ClusterName, InstanceName, Link, Observed, Part, Role, SeenPosition, ServerView, ShardName,
    Unseen,
};

/// An instance, and what its agent knows of it.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub name: InstanceName,
    /// Its shard, where that is known.
    pub shard: Option<ShardName>,
    /// What its agent knows. [`Unseen::NotAsked`]: the agent has no order yet, and so no server that answers it.
    pub report: Observed<AgentReport>,
}

impl Instance {
    fn view(&self) -> Option<&ServerView> {
        self.report.known().and_then(AgentReport::view)
    }

    fn labels(&self) -> Labels {
        let role = match self.view().map(|view| view.replication.role()) {
            Some(Role::Primary) => "master",
            Some(Role::Replica) => "slave",
            None => "unknown",
        };
        let labels = Labels::default().with("cluster", &self.cluster).with("instance", &self.name);
        let labels = match &self.shard {
            Some(shard) => labels.with("shard", shard),
            None => labels,
        };
        labels.with("role", role)
    }
}

/// The samples of these instances. Whose primary is among them, is compared with that one.
pub fn sample(instances: &[Instance]) -> Exposition {
    let mut exposition = Exposition::default();
    for instance in instances {
        let labels = instance.labels();
        let up = match &instance.report {
            Observed::Known(report) => report.view().is_some(),
            Observed::Unknown(Unseen::NotAsked) => false,
            // Its server may well run.
            Observed::Unknown(_) => continue,
        };
        exposition.add(Metric::Up, labels.clone(), Value::Flag(up));
        if let Some(view) = instance.view() {
            sample_server(&mut exposition, &labels, view);
        }
        if let Some(lag) = lag(instance, instances) {
            exposition.add(Metric::ReplicationLagBytes, labels.clone(), Value::Count(lag.bytes));
            if let Some(ms) = lag.seen_ms_ago {
                exposition.add(Metric::ReplicationLagAgeSeconds, labels, Value::Millis(ms));
            }
        }
    }
    exposition
}

fn sample_server(exposition: &mut Exposition, labels: &Labels, view: &ServerView) {
    let mut add = |metric, value| exposition.add(metric, labels.clone(), value);
    let offset = Value::Count(view.replication.offset.0);
    add(Metric::MemoryUsedBytes, Value::Count(view.memory_bytes));
    match &view.replication.part {
        Part::Primary { replicas } => {
            add(Metric::AttachedReplicas, Value::Count(replicas.len() as u64));
            add(Metric::PrimaryOffset, offset);
            for replica in replicas.iter().filter(|replica| replica.online) {
                let labels = labels
                    .clone()
                    .with("slave_ip", &replica.address.ip())
                    .with("slave_port", &replica.address.port())
                    .with("slave_state", "online");
                let acknowledged = Value::Count(replica.acknowledged.0);
                exposition.add(Metric::AttachedReplicaOffsetBytes, labels, acknowledged);
            }
        }
        Part::Replica { link } => {
            add(Metric::ReplicaOffset, offset);
            add(Metric::LinkUp, Value::Flag(*link == Link::Up));
            add(Metric::SyncInProgress, Value::Flag(*link == Link::Syncing));
        }
    }
    let info = labels.clone().with("redis_version", &view.version);
    exposition.add(Metric::InstanceInfo, info, Value::Flag(true));
}

/// How far a replica is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lag {
    bytes: u64,
    /// How long ago the offset was seen that it is behind.
    seen_ms_ago: Option<u64>,
}

/// Behind whom it follows: a member that is seen here, one that has told where it is, or the source.
fn lag(instance: &Instance, all: &[Instance]) -> Option<Lag> {
    let report = instance.report.known()?;
    let own = report.view().filter(|view| view.replication.role() == Role::Replica)?;
    let is_primary = |other: &&Instance| {
        other.view().is_some_and(|view| {
            Some(view.node_id) == own.primary() && view.replication.role() == Role::Primary
        })
    };
    if let Some(primary) = all.iter().find(is_primary) {
        let bytes = primary.view()?.replication.position().ahead_of(&own.replication)?;
        return Some(Lag { bytes, seen_ms_ago: primary.report.known()?.seen_ms_ago });
    }
    if let Some(SeenPosition { position, seen_ms_ago }) = report.primary_position {
        let bytes = position.ahead_of(&own.replication)?;
        return Some(Lag { bytes, seen_ms_ago: Some(seen_ms_ago) });
    }
    let source = report.source.as_ref()?;
    Some(Lag { bytes: source.lag_bytes?, seen_ms_ago: source.seen_ms_ago })
}

#[cfg(test)]
mod tests;
