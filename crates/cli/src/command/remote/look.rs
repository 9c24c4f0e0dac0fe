//! `status` of a cluster on Kubernetes.

use crate::args::Format;
use crate::failure::Failure;
use crate::output;
use crate::status::{OperatorSeen, Status, WaitingFor};
use std::time::Duration;
use valkeeper_kube::api::{ConditionType, RedisCluster};
use valkeeper_kube::remote::{Lead, Remote};
use valkeeper_model::{ClusterName, Phase, Report, Waiting};

/// Nothing tells when an operator is gone: it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn status(remote: &Remote, watch: bool, format: Format) -> anyhow::Result<()> {
    if !watch {
        let (object, lead) = (remote.object().await.map_err(Failure::from)?, lead(remote).await);
        let status = of(remote.name(), &object, &lead);
        return output::value(format, &status, || status.page());
    }
    let mut watched = remote.watch();
    let mut object = watched.next().await.map_err(Failure::from)?;
    let mut shown = None;
    loop {
        let status = of(remote.name(), &object, &lead(remote).await);
        if shown.as_ref() != Some(&status) {
            output::value(format, &status, || status.page())?;
            if format == Format::Table {
                output::text("\n")?;
            }
        }
        shown = Some(status);
        tokio::select! {
            next = watched.next() => object = next.map_err(Failure::from)?,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Who looks after it. Not to know is no reason to say nothing of the cluster.
pub(super) async fn lead(remote: &Remote) -> Lead {
    remote.reach().lead().await.unwrap_or(Lead::Unknown)
}

/// What its operator has said of it last.
pub(in crate::command) fn of(name: &ClusterName, object: &RedisCluster, lead: &Lead) -> Status {
    let told = object.status.as_ref();
    let report = told.and_then(valkeeper_kube::api::RedisClusterStatus::report);
    let is_told = report.is_some();
    let mut status = Status::new(name.clone(), report.unwrap_or_else(nothing), None);
    let refused = told.and_then(|told| told.condition(ConditionType::SpecValid));
    status.refused = refused.filter(|said| said.status == "False").map(|said| said.message.clone());
    let mut add = |message: String| {
        status.waiting.push(WaitingFor { what: Waiting::NoSupervisor, message });
    };
    status.operator = Some(match lead {
        Lead::Operator { name } => {
            if !is_told && status.refused.is_none() {
                add(format!(
                    "the operator has said nothing of it yet; {name} acts: does it watch this namespace?"
                ));
            }
            OperatorSeen::Acts { name: name.clone() }
        }
        Lead::Nobody { since } => {
            let since = since.map(|since| format!("{since:.0}"));
            add(match &since {
                Some(since) => format!("no operator acts since {since}: what is shown may be as old as that"),
                None => "no operator acts: `valkeeper kube manifests` installs one".to_owned(),
            });
            status.healthy = false;
            if is_told {
                status.phase = Phase::Unsupervised;
            }
            OperatorSeen::Absent { since }
        }
        Lead::Unknown => {
            if !is_told && status.refused.is_none() {
                add("no operator has said anything of it yet".to_owned());
            }
            OperatorSeen::Unknown
        }
    });
    status
}

fn nothing() -> Report {
    Report {
        phase: Phase::Creating,
        healthy: false,
        shards: Vec::new(),
        instances: Vec::new(),
        waiting: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: &serde_json::Value, lead: &Lead) -> Status {
        let object =
            serde_json::from_value(serde_json::json!({ "metadata": { "name": "demo" }, "status": status }));
        of(&"demo".parse().unwrap(), &object.unwrap(), lead)
    }

    #[test]
    fn without_an_operator_nothing_is_healthy() {
        let whole = serde_json::json!({ "phase": "Healthy", "healthy": true });
        let acts = seen(&whole, &Lead::Operator { name: "op-1".to_owned() });
        assert!(acts.healthy && acts.waiting.is_empty());
        assert!(acts.page().starts_with("cluster demo: healthy, operator op-1\n"), "{}", acts.page());
        let gone = seen(&whole, &Lead::Nobody { since: Some("2026-01-01T00:00:00Z".parse().unwrap()) });
        assert!(
            gone.page().starts_with("cluster demo: not healthy (unsupervised), no operator\n"),
            "{}",
            gone.page()
        );
        assert!(gone.page().contains("since 2026-01-01T00:00:00Z"), "{}", gone.page());
        assert!(seen(&whole, &Lead::Unknown).healthy);
    }

    #[test]
    fn a_spec_that_is_refused_is_told() {
        let refused = serde_json::json!({ "conditions": [{
            "type": "SpecValid", "status": "False", "reason": "InvalidSpec", "message": "spec.shards: no",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] });
        let status = seen(&refused, &Lead::Unknown);
        assert!(status.waiting.is_empty() && status.page().contains("not followed: spec.shards: no"));
        assert!(seen(&serde_json::Value::Null, &Lead::Unknown).page().contains("has said anything"));
    }
}
