//! The operator: one process for the clusters of all namespaces, or of some.
//!
//! | room | what |
//! | --- | --- |
//! | `election/` | which of several operators acts |
//! | `cache/` | what there is in Kubernetes, and the watches that keep it up to date |
//! | `cluster/` | one task for each cluster: what users want, what agents say |
//! | `platform/` | the controller's ports: pods and agents, the layout, a cluster's CA |
//! | `apply/` | which objects are missing or wrong, and doing something about it |
//! | `dns/` | the names of instances, and whether they lead to them |
//! | `status/` | what people are told: status, role labels, events |
//! | `agent_upgrade.rs` | agents go on as the operator's version |
//! | `webhook/` | judges what users write before it is stored |
//! | `metrics.rs` | metrics and health |

mod agent_upgrade;
mod apply;
mod cache;
mod cluster;
mod dns;
mod election;
mod metrics;
mod platform;
mod status;
pub(crate) mod webhook;

pub use cache::Scope;
pub(crate) use cache::has_started;
pub(crate) use election::{LABEL_LEADING, LEASE};

use crate::ca::Lifetimes;
use crate::objects::pod::OperatorFacts;
use crate::{METRICS_PORT, NEWS_PORT, WEBHOOK_PORT};
use cache::{Cache, Watches};
use cluster::{ClusterHandle, Context, agent_news, dispatch};
use dns::domain;
use election::{Candidate, other_installs};
use kube::Client;
use metrics::Phases;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Clusters that are set up at a time.
const SETTING_UP: usize = 8;

/// What an operator needs to know.
#[derive(Debug, Clone)]
pub struct OperatorSetup {
    /// Its own namespace.
    pub namespace: String,
    /// Its pod's name, or any that no other operator has.
    pub name: String,
    /// The image that it runs from: agents come from it too.
    pub image: String,
    /// Where agents find it: host and port.
    pub news: String,
    /// Whose clusters it looks after.
    pub scope: Scope,
    /// Where it listens.
    pub listen: IpAddr,
    /// How long certificates are valid.
    pub lifetimes: Lifetimes,
    /// The DNS domain of this Kubernetes; that of `/etc/resolv.conf` if none is said.
    pub domain: Option<String>,
}

/// Why an operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Kubernetes cannot be talked to.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    /// Its configuration cannot be found.
    #[error("Kubernetes: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Another operator leads now.
    #[error("the lease was lost: another operator acts now; started again, this one stands by")]
    Deposed,
}

/// Runs until it is told to end (`told` completes) or loses its lease.
pub async fn run(setup: OperatorSetup, told: impl Future<Output = ()>) -> Result<(), OperatorError> {
    let system = |what| move |source| OperatorError::System { what, source };
    tokio::pin!(told);
    let client = Client::try_from(kube::Config::infer().await?)?;
    let phases = Arc::new(Phases::new());
    let probes =
        TcpListener::bind((setup.listen, METRICS_PORT)).await.map_err(system("the metrics' port"))?;
    tokio::spawn(metrics::serve(probes, Arc::clone(&phases)));
    tokio::spawn(crate::memory::give_back());
    let news = TcpListener::bind((setup.listen, NEWS_PORT)).await.map_err(system("the news' port"))?;
    let asked =
        TcpListener::bind((setup.listen, WEBHOOK_PORT)).await.map_err(system("the webhook's port"))?;
    webhook::start(client.clone(), setup.namespace.clone(), setup.lifetimes, asked, Arc::clone(&phases));
    let candidate = Candidate {
        client: client.clone(),
        namespace: setup.namespace.clone(),
        name: setup.name.clone(),
        scope: setup.scope.clone(),
    };
    tokio::select! {
        () = candidate.elected() => {}
        () = &mut told => return Ok(()),
    }
    tokio::select! {
        () = acting(&client, &setup, news, phases) => {}
        () = candidate.keep() => return Err(OperatorError::Deposed),
        () = told => {}
    }
    candidate.resign().await;
    Ok(())
}

/// Leads for as long as no other install does so in its place.
async fn acting(client: &Client, setup: &OperatorSetup, news: TcpListener, phases: Arc<Phases>) {
    other_installs::until_none(client, &setup.namespace).await;
    phases.leading.store(true, Ordering::Relaxed);
    tokio::select! {
        () = lead(client, setup, news, phases) => {}
        // Started again, it stands by.
        () = other_installs::until_one(client, &setup.namespace) => {}
    }
}

async fn lead(client: &Client, setup: &OperatorSetup, news: TcpListener, phases: Arc<Phases>) {
    let (context, watches) = observe(client, setup, phases).await;
    tokio::spawn(agent_news::serve(news, Arc::clone(&context.listeners)));
    follow_clusters(&context, &watches).await;
}

/// Starts the watches that say what is there, and waits until each has looked once.
async fn observe(client: &Client, setup: &OperatorSetup, phases: Arc<Phases>) -> (Arc<Context>, Watches) {
    let cache = Arc::new(Cache::default());
    let (zones, known_zones) = watch::channel(BTreeSet::new());
    let watches = Watches {
        client: client.clone(),
        scope: setup.scope.clone(),
        cache: Arc::clone(&cache),
        zones,
        phases: Arc::clone(&phases),
    };
    let (count, mut completed) = watches.observe();
    for _ in 0..count {
        if completed.recv().await.is_none() {
            break;
        }
    }
    let context = Context {
        client: client.clone(),
        cache,
        zones: known_zones,
        operator: OperatorFacts {
            image: setup.image.clone(),
            news: setup.news.clone(),
            domain: setup.domain.clone().unwrap_or_else(domain::of_this_pod),
        },
        operator_namespace: setup.namespace.clone(),
        life: setup.lifetimes,
        listeners: Arc::default(),
        reporter: setup.name.clone(),
        setting_up: Semaphore::new(SETTING_UP),
        phases,
    };
    (Arc::new(context), watches)
}

/// Has each cluster looked after by a task of its own, for ever.
async fn follow_clusters(context: &Arc<Context>, watches: &Watches) {
    let mut wished = watches.listen();
    let mut clusters: BTreeMap<crate::wire::Home, ClusterHandle> = BTreeMap::new();
    while let Some(wish) = wished.recv().await {
        dispatch(context, &mut clusters, wish);
    }
}

/// Where agents find the operator of that namespace.
pub fn news_address(namespace: &str) -> String {
    format!("{LEASE}.{namespace}.svc:{NEWS_PORT}")
}

#[cfg(test)]
mod fake_api;
#[cfg(test)]
mod tests;
