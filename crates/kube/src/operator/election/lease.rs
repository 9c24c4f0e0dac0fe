//! Which of several operators acts. Should two believe it for a moment, nothing breaks: layouts are compared and set, agents refuse
//! older orders. It saves doing everything twice.

use super::other_installs;
use crate::operator::cache::Scope;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The lease's name, and the label of the pod that holds it.
pub(crate) const LEASE: &str = "valkeeper-operator";
pub(crate) const LABEL_LEADING: &str = "valkeeper.io/leading";
/// Who has not renewed for so long has lost it. By our own clock, from when we saw the last renewal.
const HELD_FOR: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// The holder gives up by then: before anybody else can take it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_secs(1);
pub(crate) const WITHIN: Duration = Duration::from_secs(3);

/// One that may lead.
pub(crate) struct Candidate {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Its pod.
    pub(crate) name: String,
    /// Whose clusters it looks after.
    pub(crate) scope: Scope,
}

impl Candidate {
    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until it leads.
    pub(crate) async fn elected(&self) {
        self.label(false).await;
        let mut seen: Option<(Option<String>, Instant)> = None;
        loop {
            match tokio::time::timeout(WITHIN, self.try_once(&mut seen)).await {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be read or taken"),
                Err(_) => tracing::warn!("the lease cannot be read in time"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.label(true).await;
        tracing::info!("leading");
    }

    async fn try_once(&self, seen: &mut Option<(Option<String>, Instant)>) -> Result<bool, kube::Error> {
        let leases = self.leases();
        let Some(mut lease) = leases.get_opt(LEASE).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    annotations: Some(self.watches()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(0)),
            };
            return taken(leases.create(&PostParams::default(), &lease).await);
        };
        let version = lease.metadata.resource_version.clone();
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let ours = holder.as_ref() == Some(&self.name);
        if seen.as_ref().is_none_or(|(before, _)| *before != version) {
            *seen = Some((version, Instant::now()));
        }
        let stale = seen.as_ref().is_some_and(|(_, since)| since.elapsed() >= HELD_FOR);
        if holder.is_some_and(|holder| !holder.is_empty()) && !ours && !stale {
            return Ok(false);
        }
        let changes = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        lease.spec = Some(self.spec(changes.saturating_add(1)));
        lease.metadata.annotations.get_or_insert_default().extend(self.watches());
        taken(leases.replace(LEASE, &PostParams::default(), &lease).await)
    }

    fn watches(&self) -> BTreeMap<String, String> {
        [(other_installs::WATCHES.to_owned(), other_installs::as_text(&self.scope))].into()
    }

    fn spec(&self, changes: i32) -> LeaseSpec {
        let now = MicroTime(jiff::Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.name.clone()),
            lease_duration_seconds: i32::try_from(HELD_FOR.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(changes),
            ..LeaseSpec::default()
        }
    }

    /// Renews it until it is lost.
    pub(crate) async fn keep(&self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < GIVE_UP_AFTER {
            tokio::time::sleep(RENEW_EVERY).await;
            match tokio::time::timeout(WITHIN, self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return tracing::warn!("another operator leads"),
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_) => tracing::warn!("the lease cannot be renewed in time"),
            }
        }
        tracing::warn!("the lease could not be renewed for too long");
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        let leases = self.leases();
        let Some(mut lease) = leases.get_opt(LEASE).await? else { return Ok(false) };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.name))
        else {
            return Ok(false);
        };
        spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
        taken(leases.replace(LEASE, &PostParams::default(), &lease).await)
    }

    /// Gives it up, so that the next one need not wait.
    pub(crate) async fn resign(&self) {
        let resigning = async {
            let leases = self.leases();
            let mut lease = leases.get(LEASE).await?;
            if let Some(spec) =
                lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.name))
            {
                spec.holder_identity = None;
                leases.replace(LEASE, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        let _ = tokio::time::timeout(WITHIN, resigning).await;
        self.label(false).await;
    }

    /// Agents' news come to the pod that has this label.
    async fn label(&self, leading: bool) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let value = if leading { json!("true") } else { json!(null) };
        let patch = Patch::Merge(json!({ "metadata": { "labels": { LABEL_LEADING: value } } }));
        let patched =
            tokio::time::timeout(WITHIN, pods.patch(&self.name, &PatchParams::default(), &patch)).await;
        if let Ok(Err(error)) = patched {
            // Outside of a pod, as in a test: agents' news do not come then.
            tracing::debug!(%error, "cannot label our own pod");
        }
    }
}

fn taken<T>(result: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
