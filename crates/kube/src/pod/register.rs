//! The register as a Lease of this Kubernetes: its votes stand in an annotation, and are replaced by compare-and-set.

use crate::wire::Home;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use std::path::Path;
use std::time::Duration;
use valkeeper_agent::{Boxed, Register, fresh_register_life};
use valkeeper_kube_api::names::{self, ANNOTATION_REGISTER};
use valkeeper_model::{Format, RegisterFault, RegisterRecord};
use valkeeper_plan::mode::standalone::register::{self, RegisterAnswer, RegisterAsk};

/// The register of one cluster, as one of its agents reaches it.
#[derive(Clone)]
pub(crate) struct LeaseRegister {
    leases: Api<Lease>,
    name: String,
}

impl LeaseRegister {
    pub(crate) fn new(client: Client, home: &Home) -> Self {
        let name = names::register(&home.cluster);
        Self { leases: Api::namespaced(client, &home.namespace), name }
    }

    /// With the token of the pod's account; `None` in a pod that has none, as one of a cluster with slots, or one that an older operator made.
    pub(super) fn of_this_pod(home: &Home) -> Option<Self> {
        if !Path::new(super::place::TOKEN).join("token").exists() {
            return None;
        }
        let told = |error: &dyn std::fmt::Display| tracing::warn!(%error, "the register cannot be asked");
        let config = kube::Config::incluster().inspect_err(|error| told(error)).ok()?;
        let client = Client::try_from(config).inspect_err(|error| told(error)).ok()?;
        Some(Self::new(client, home))
    }

    async fn answer(&self, ask: &RegisterAsk) -> Result<RegisterAnswer, RegisterFault> {
        loop {
            // Read without a version: what the API server says is no older than the question.
            let found = self.leases.get_opt(&self.name).await.map_err(|error| unreachable(&error))?;
            let Some(mut lease) = found else {
                return Err(RegisterFault::Unreachable { why: format!("there is no Lease {}", self.name) });
            };
            // A register of another cluster that was here before says nothing of this one.
            let stored = read(&lease)?.filter(|record| record.cluster == ask.cluster);
            let stage = stored.as_ref().map(|record| &record.stage);
            let (next, answer) = register::asked(stage, fresh_register_life(), ask);
            let Some(stage) = next else { return Ok(answer) };
            let newer = stored.map(|record| record.newer).unwrap_or_default();
            let record = RegisterRecord { format: Format, cluster: ask.cluster, stage, newer };
            let text = serde_json::to_string(&record)
                .map_err(|error| RegisterFault::NotWritten { why: error.to_string() })?;
            lease.metadata.annotations.get_or_insert_default().insert(ANNOTATION_REGISTER.to_owned(), text);
            // The version that was read goes with it.
            match self.leases.replace(&self.name, &PostParams::default(), &lease).await {
                Ok(_) => return Ok(answer),
                // Another agent was faster: what it has stored may change the answer.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(kube::Error::Api(status)) => {
                    return Err(RegisterFault::NotWritten { why: status.message.clone() });
                }
                Err(error) => return Err(unreachable(&error)),
            }
        }
    }
}

fn unreachable(error: &kube::Error) -> RegisterFault {
    RegisterFault::Unreachable { why: error.to_string() }
}

fn read(lease: &Lease) -> Result<Option<RegisterRecord>, RegisterFault> {
    let annotations = lease.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|all| all.get(ANNOTATION_REGISTER)) else { return Ok(None) };
    let unreadable = |error: &dyn std::fmt::Display| RegisterFault::Unreadable {
        why: format!("annotation {ANNOTATION_REGISTER}: {error}"),
    };
    RegisterRecord::read(text.as_bytes()).map(Some).map_err(|error| unreadable(&error))
}

impl Register for LeaseRegister {
    fn ask(&self, ask: RegisterAsk, within: Duration) -> Boxed<Result<RegisterAnswer, RegisterFault>> {
        let register = self.clone();
        Box::pin(async move {
            // What is stored late is a vote that nobody counts, or a lease that nobody uses.
            tokio::time::timeout(within, register.answer(&ask)).await.unwrap_or(Err(RegisterFault::Silent))
        })
    }
}
