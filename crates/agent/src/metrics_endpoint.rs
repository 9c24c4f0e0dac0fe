//! `GET /metrics`, of one instance or of several: what their agents know. No server is asked anything for it, however often somebody looks.

use crate::handle::{AgentHandle, Boxed};
use crate::plain_http::{self, Limits, Plain};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use valkeeper_metrics::{CONTENT_TYPE, Instance, sample};
use valkeeper_model::{ClusterName, InstanceName, Observed, ShardName, Unseen};

/// An agent does not wait for its server, so it answers at once or hangs.
const WITHIN: Duration = Duration::from_secs(2);
/// Connections at a time.
pub const CONNECTIONS: usize = 16;
const LIMITS: Limits = Limits { connections: CONNECTIONS, head: 8 << 10, within: Duration::from_secs(10) };

/// An instance whose agent is asked.
#[derive(Clone)]
pub struct Told {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub name: InstanceName,
    /// Its shard, where that is known.
    pub shard: Option<ShardName>,
    /// Its agent.
    pub agent: AgentHandle,
}

/// Serves `/metrics` until dropped. `instances`: those that there are now.
pub async fn serve(listener: TcpListener, instances: impl Fn() -> Vec<Told> + Send + Sync + 'static) {
    let instances = Arc::new(instances);
    let answer = move |path: String| -> Boxed<Plain> {
        let instances = Arc::clone(&instances);
        Box::pin(async move { if path == "/metrics" { tell(instances()).await } else { Plain::Unknown } })
    };
    plain_http::serve(listener, LIMITS, answer).await;
}

async fn tell(instances: Vec<Told>) -> Plain {
    let mut asked = JoinSet::new();
    for Told { cluster, name, shard, agent } in instances {
        asked.spawn(async move { Instance { cluster, name, shard, report: agent.known(WITHIN).await } });
    }
    let known = asked.join_all().await;
    // An agent that hangs knows nothing of its server: that it cannot be asked is what Prometheus is to see.
    let silent =
        |one: &Instance| !matches!(one.report, Observed::Known(_) | Observed::Unknown(Unseen::NotAsked));
    if !known.is_empty() && known.iter().all(silent) {
        return Plain::Well(false);
    }
    Plain::Text { kind: CONTENT_TYPE, body: sample(&known).text() }
}
