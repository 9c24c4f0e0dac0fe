//! Instances as processes of this machine, agents as tasks of this supervisor.

use crate::ports;
use crate::register::FileRegister;
use crate::sentinels::LocalSentinels;
use crate::state_dir::{ClusterDir, StateDir, StateError};
use crate::storage_fault::storage_fault;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use valkeeper_agent::metrics_endpoint::Told;
use valkeeper_agent::{AgentHandle, AgentSetup, Neighbours, Peers, Programs};
use valkeeper_engine::{Boxed, Platform};
use valkeeper_model::{
    Address, AgentOrder, Answer, Ask, AskFailed, ClusterName, Happened, InstanceName, Layout, ProvisionError,
    Report, Role, ShardName, Unseen,
};

type Agents = Arc<Mutex<BTreeMap<InstanceName, AgentHandle>>>;

/// The platform of one supervisor.
pub(crate) struct LocalPlatform {
    pub(crate) state: StateDir,
    pub(crate) dir: ClusterDir,
    pub(crate) programs: Arc<Programs>,
    /// Move all instances to ports from here on, once.
    pub(crate) move_to: Mutex<Option<u16>>,
    pub(crate) record: Arc<dyn Fn(Happened) + Send + Sync>,
    pub(crate) nudge: Arc<Notify>,
    pub(crate) origin: Instant,
    pub(crate) password_overlap: Duration,
    pub(crate) agents: Agents,
    pub(crate) sentinels: Arc<LocalSentinels>,
    pub(crate) register: FileRegister,
}

struct Others(Agents);

fn ask(agents: &Agents, to: &InstanceName, ask: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>> {
    let agent = agents.lock().unwrap_or_else(PoisonError::into_inner).get(to).cloned();
    Box::pin(async move {
        match agent {
            Some(agent) => agent.ask(ask, within).await,
            None => Err(AskFailed::Unseen(Unseen::NotAsked)),
        }
    })
}

impl Peers for Others {
    fn ask(&self, to: &InstanceName, question: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>> {
        ask(&self.0, to, question, within)
    }
}

impl LocalPlatform {
    fn assign(&self, layout: &Layout) -> Result<BTreeMap<InstanceName, Address>, ProvisionError> {
        let mut move_to = self.move_to.lock().unwrap_or_else(PoisonError::into_inner);
        let assigned = ports::assign(&self.state, &self.dir, layout.placed(), *move_to);
        let addresses = assigned.map_err(not_provisioned)?;
        *move_to = None;
        Ok(addresses)
    }

    /// Ends the agents of instances that are none any more. Their servers are down: they were before the layout let go of them.
    fn end_retired(&self, layout: &Layout) {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *agents);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.into_iter().partition(|(name, _)| layout.instances.contains_key(name));
        *agents = kept;
        for agent in gone.into_values() {
            tokio::spawn(async move { agent.stop().await });
        }
    }

    fn spawn(&self, name: &InstanceName) -> AgentHandle {
        let (dir, state) = (self.dir.clone(), self.state.clone());
        valkeeper_agent::spawn(AgentSetup {
            name: name.clone(),
            home: self.dir.server(name),
            programs: Arc::clone(&self.programs),
            passwords: Arc::new(move || dir.wanted_password()),
            secrets: Arc::new(move |name| state.secret(name)),
            password_overlap: self.password_overlap,
            register: Some(Arc::new(self.register.clone())),
            peers: Arc::new(Others(Arc::clone(&self.agents))),
            record: Arc::clone(&self.record),
            nudge: Arc::clone(&self.nudge),
            origin: self.origin,
            neighbours: Neighbours::SameProcess,
        })
    }

    /// The instances whose agents there are, for their metrics; the report knows their shards.
    pub(crate) fn told(&self, cluster: &ClusterName, report: Option<&Report>) -> Vec<Told> {
        let shards: BTreeMap<&InstanceName, &ShardName> = report
            .into_iter()
            .flat_map(|report| &report.instances)
            .map(|one| (&one.name, &one.shard))
            .collect();
        let agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents
            .iter()
            .map(|(name, agent)| Told {
                cluster: cluster.clone(),
                name: name.clone(),
                shard: shards.get(name).copied().cloned(),
                agent: agent.clone(),
            })
            .collect()
    }

    /// Stops all servers in an orderly way: replicas after their primaries, which end once their replicas have everything. So what a shard
    /// leaves is the same data on every disk, each as good as the others.
    pub(crate) async fn stop(&self) {
        self.sentinels.stop().await;
        let agents = std::mem::take(&mut *self.agents.lock().unwrap_or_else(PoisonError::into_inner));
        let mut asked = JoinSet::new();
        for agent in agents.into_values() {
            asked.spawn(async move { (is_replica(&agent).await, agent) });
        }
        let (replicas, primaries): (Vec<_>, Vec<_>) =
            asked.join_all().await.into_iter().partition(|(replica, _)| *replica);
        let mut stopping = JoinSet::new();
        for (_, agent) in primaries {
            stopping.spawn(async move { agent.stop().await });
        }
        let ended = async { while stopping.join_next().await.is_some() {} };
        // A primary that takes longer writes its snapshot by now: its replicas are not needed for that.
        let _ = tokio::time::timeout(PRIMARIES_FIRST, ended).await;
        for (_, agent) in replicas {
            stopping.spawn(async move {
                // What the primary sent at last goes into the record of the replica's copy.
                let _ = agent.ask(Ask::Report { fresh: true }, LOOK).await;
                agent.stop().await;
            });
        }
        while stopping.join_next().await.is_some() {}
    }
}

/// As long as the engine itself waits for its replicas when it is told to end (`shutdown-timeout`).
const PRIMARIES_FIRST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(500);

/// What cannot be seen ends with the primaries.
async fn is_replica(agent: &AgentHandle) -> bool {
    match agent.ask(Ask::Report { fresh: false }, LOOK).await {
        Ok(Answer::Report(report)) => report.role() == Some(Role::Replica),
        _ => false,
    }
}

fn not_provisioned(error: StateError) -> ProvisionError {
    let why = error.to_string();
    match error {
        StateError::NoFreePort { .. } => ProvisionError::NoFreePort { why },
        StateError::Io { source, .. } => {
            ProvisionError::AddressesNotKept { fault: storage_fault(&source), why }
        }
        StateError::Damaged { .. }
        | StateError::Layout { .. }
        | StateError::NotText { .. }
        | StateError::Supervised { .. } => ProvisionError::AddressesUnreadable { why },
    }
}

impl Platform for LocalPlatform {
    fn provision(&self, layout: &Layout) -> Boxed<Result<BTreeMap<InstanceName, Address>, ProvisionError>> {
        let assigned = self.assign(layout);
        if assigned.is_ok() {
            self.end_retired(layout);
            for name in layout.instances.keys() {
                let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
                if !agents.contains_key(name) {
                    agents.insert(name.clone(), self.spawn(name));
                }
            }
        }
        if let Ok(addresses) = &assigned {
            self.sentinels.provide(layout, addresses);
        }
        Box::pin(std::future::ready(assigned))
    }

    fn order(&self, order: AgentOrder) {
        if let Some(agent) = self.agents.lock().unwrap_or_else(PoisonError::into_inner).get(&order.instance) {
            agent.order(order);
        }
    }

    fn ask(&self, to: &InstanceName, question: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>> {
        ask(&self.agents, to, question, within)
    }
}
