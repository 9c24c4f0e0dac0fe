//! A Sentinel in a pod of its own: what the operator says in its environment, and keeping it running.

use super::setup::{parsed, said, server, variable};
use super::{PodError, orphans, place, program_file, server_log, system};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;
use valkeeper_agent::{SentinelSetup, ServerHome, keep_sentinel};
use valkeeper_client::Password;
use valkeeper_kube_api::names::{self, BUS_PORT, CLIENT_PORT, SENTINEL_PORT};
use valkeeper_model::{
    Address, ClusterId, ClusterName, Format, Generation, InstanceName, NodeId, SentinelMember, SentinelOrder,
};

/// Pods come back at other addresses: a replica at one that no server has any more is none to send clients to.
const RESOLVED_EVERY: Duration = Duration::from_secs(5);
const RESOLVED_WITHIN: Duration = Duration::from_secs(2);

/// What the pod says.
#[derive(Debug)]
pub struct SentinelPod {
    name: InstanceName,
    cluster: ClusterName,
    cluster_id: ClusterId,
    id: NodeId,
    quorum: u32,
    ip: IpAddr,
    /// The servers by their host names.
    servers: BTreeMap<InstanceName, String>,
    founder: InstanceName,
    program: PathBuf,
}

impl SentinelPod {
    /// Reads it.
    pub fn read() -> Result<Self, PodError> {
        let listed = said(variable::SERVERS)?;
        let mut servers = Vec::new();
        for entry in listed.split(',') {
            let (name, host) = entry.split_once('=').ok_or_else(|| variable::malformed(variable::SERVERS))?;
            let name: InstanceName = name.parse().map_err(|_| variable::malformed(variable::SERVERS))?;
            servers.push((name, host.to_owned()));
        }
        let founder = servers.first().ok_or_else(|| variable::malformed(variable::SERVERS))?.0.clone();
        Ok(Self {
            name: parsed(variable::INSTANCE)?,
            cluster: parsed(variable::CLUSTER)?,
            cluster_id: parsed(variable::CLUSTER_ID)?,
            id: parsed(variable::SENTINEL_ID)?,
            quorum: parsed(variable::QUORUM)?,
            ip: parsed(variable::POD_IP)?,
            servers: servers.into_iter().collect(),
            founder,
            program: server()?,
        })
    }

    /// What is wanted, with the servers that have an address now; `None` while the founder has none.
    async fn order(&self) -> Option<SentinelOrder> {
        let mut servers = BTreeMap::new();
        for (name, host) in &self.servers {
            if let Some(ip) = resolved(host).await {
                servers.insert(name.clone(), Address { ip, port: CLIENT_PORT, bus_port: BUS_PORT });
            }
        }
        let own = Address {
            ip: self.ip,
            port: SENTINEL_PORT,
            bus_port: SENTINEL_PORT.wrapping_add(Address::BUS_OFFSET),
        };
        // The others are found by their own messages.
        let myself = SentinelMember { id: self.id, address: Some(own) };
        servers.contains_key(&self.founder).then(|| SentinelOrder {
            format: Format,
            generation: Generation(0),
            cluster: self.cluster_id,
            name: self.cluster.clone(),
            sentinel: self.name.clone(),
            quorum: self.quorum,
            sentinels: BTreeMap::from([(self.name.clone(), myself)]),
            servers,
            founder: self.founder.clone(),
        })
    }
}

async fn resolved(host: &str) -> Option<IpAddr> {
    let found = tokio::time::timeout(RESOLVED_WITHIN, lookup_host((host, CLIENT_PORT))).await;
    Some(found.ok()?.ok()?.next()?.ip())
}

/// Keeps the Sentinel running until it is told to end (`told` completes).
pub async fn run_sentinel(pod: SentinelPod, told: impl Future<Output = ()>) -> Result<(), PodError> {
    orphans::reap().map_err(system("SIGCHLD"))?;
    let program = Arc::new(program_file::probe(&pod.program)?);
    let home = ServerHome::new(place::DATA.into());
    let log = home.log();
    let password_file = Path::new(place::AUTH).join(names::PASSWORD_KEY);
    let handle = keep_sentinel(SentinelSetup {
        name: pod.name.clone(),
        home,
        trials: Arc::new(valkeeper_agent::Trials::new(program)),
        passwords: Arc::new(move || Password::read(std::fs::read(&password_file))),
        password_overlap: valkeeper_agent::PASSWORD_OVERLAP,
        record: Arc::new(|happened| tracing::info!("{happened}")),
    });
    tokio::spawn(server_log::follow(log));
    let keeping = handle.clone();
    let ordering = async move {
        loop {
            if let Some(order) = pod.order().await {
                keeping.order(order);
            } else {
                tracing::info!(founder = %pod.founder, "waits for a server's address");
            }
            tokio::time::sleep(RESOLVED_EVERY).await;
        }
    };
    tokio::select! {
        () = told => {}
        () = ordering => {}
    }
    handle.stop().await;
    Ok(())
}
