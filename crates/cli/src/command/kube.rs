//! What runs on Kubernetes, and what installs it there.

use crate::args::{Kube, KubernetesCommand, KubernetesInner, Operator};
use crate::ending::Ending;
use crate::{output, target};
use anyhow::Context as _;
use std::net::Ipv6Addr;
use std::path::Path;
use valkeeper_kube::install::{Install, crds, manifests};
use valkeeper_kube::operator::{OperatorSetup, Scope};
use valkeeper_kube::pod::{self, PodSetup, SentinelPod};
use valkeeper_kube::{Lifetimes, operator};

/// As many waiting connections as the servers ask for (`tcp-backlog` 511) and some more.
const SOMAXCONN: &str = "1024";

pub(super) async fn command(command: &KubernetesCommand, ending: &mut Ending) -> anyhow::Result<()> {
    match command {
        KubernetesCommand::Operator(asked) => operator(asked, ending).await,
        KubernetesCommand::Kube(command) => kube(command),
    }
}

/// What the program says to itself there.
pub(super) async fn inner(command: &KubernetesInner, ending: &mut Ending) -> anyhow::Result<()> {
    match command {
        KubernetesInner::Agent => agent(ending).await,
        KubernetesInner::Sentinel => sentinel(ending).await,
        KubernetesInner::Install { folder } => install(folder),
        KubernetesInner::TuneKernel => tune_kernel(),
        KubernetesInner::Inside => target::in_pod::inside().await,
    }
}

async fn operator(asked: &Operator, ending: &mut Ending) -> anyhow::Result<()> {
    let scope = if asked.watch.is_empty() { Scope::All } else { Scope::Only(asked.watch.clone()) };
    let setup = OperatorSetup {
        namespace: asked.own_namespace.clone(),
        name: asked.name.clone(),
        image: asked.image.clone(),
        news: operator::news_address(&asked.own_namespace),
        scope,
        // Both families, where the pod has both.
        listen: Ipv6Addr::UNSPECIFIED.into(),
        lifetimes: Lifetimes::default(),
        domain: asked.cluster_domain.clone(),
    };
    operator::run(setup, ending.told()?).await.context("the operator ended")
}

async fn agent(ending: &mut Ending) -> anyhow::Result<()> {
    pod::run(PodSetup::read()?, ending.told()?).await.context("the agent ended")
}

async fn sentinel(ending: &mut Ending) -> anyhow::Result<()> {
    let sentinel = SentinelPod::read()?;
    pod::run_sentinel(sentinel, ending.told()?).await.context("the keeper of the Sentinel ended")
}

fn install(folder: &Path) -> anyhow::Result<()> {
    pod::install(folder).with_context(|| format!("cannot copy this program to {}", folder.display()))
}

fn tune_kernel() -> anyhow::Result<()> {
    let file = "/proc/sys/net/core/somaxconn";
    std::fs::write(file, SOMAXCONN).with_context(|| file.to_owned())
}

fn kube(command: &Kube) -> anyhow::Result<()> {
    let objects = match command {
        Kube::Crds => crds(),
        Kube::Manifests { namespace, image, replicas, watch, no_webhook, cluster_domain } => {
            manifests(&Install {
                namespace: namespace.clone(),
                image: image.clone(),
                replicas: *replicas,
                namespaces: watch.clone(),
                webhook: !no_webhook,
                domain: cluster_domain.clone(),
            })
        }
    };
    let texts: Result<Vec<String>, _> = objects.iter().map(serde_saphyr::to_string).collect();
    output::text(&texts?.iter().flat_map(|text| ["---\n", text]).collect::<String>())
}
