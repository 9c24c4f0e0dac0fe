//! How a cluster on Kubernetes is: what its operator has said of it last, and whether one acts.

use crate::boxed::Boxed;
use crate::document::status::{OperatorSeen, Status, WaitingFor};
use crate::failure::Failure;
use crate::target::Feed;
use std::time::{Duration, Instant};
use valkeeper_kube::api::{ConditionType, RedisCluster};
use valkeeper_kube::remote::{Lead, Remote, Watched};
use valkeeper_model::{CalledAs, ClusterName, Condition, Phase, Report, Waiting};

/// Nothing tells when an operator is gone: it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The status as it changes.
pub(super) struct StatusWatch {
    remote: Remote,
    watched: Watched,
    seen: Option<Seen>,
}

/// What was seen last.
struct Seen {
    object: RedisCluster,
    lead: Lead,
    /// When it was looked who leads.
    looked: Instant,
}

impl StatusWatch {
    pub(super) fn new(remote: Remote) -> Self {
        Self { watched: remote.watch(), remote, seen: None }
    }
}

impl Feed<Status> for StatusWatch {
    fn next(&mut self) -> Boxed<'_, Status> {
        Box::pin(async {
            let seen = match &mut self.seen {
                None => {
                    let object = self.watched.next().await.map_err(Failure::from)?;
                    let lead = lead(&self.remote).await;
                    self.seen.insert(Seen { object, lead, looked: Instant::now() })
                }
                Some(seen) => {
                    let due = seen.looked + LOOK_EVERY;
                    tokio::select! {
                        next = self.watched.next() => seen.object = next.map_err(Failure::from)?,
                        () = tokio::time::sleep_until(due.into()) => {}
                    }
                    if due <= Instant::now() {
                        (seen.lead, seen.looked) = (lead(&self.remote).await, Instant::now());
                    }
                    seen
                }
            };
            Ok(of(self.remote.name(), &seen.object, &seen.lead))
        })
    }
}

/// As it is now.
pub(super) async fn seen(remote: &Remote) -> anyhow::Result<Status> {
    let (object, lead) = (remote.object().await.map_err(Failure::from)?, lead(remote).await);
    Ok(of(remote.name(), &object, &lead))
}

/// Who looks after it. Not to know is no reason to say nothing of the cluster.
pub(super) async fn lead(remote: &Remote) -> Lead {
    remote.reach().lead().await.unwrap_or(Lead::Unknown)
}

/// What its operator has said of it last.
pub(super) fn of(name: &ClusterName, object: &RedisCluster, lead: &Lead) -> Status {
    let told = object.status.as_ref();
    let report = told.and_then(|told| told.report(jiff::Timestamp::now()));
    let is_told = report.is_some();
    let mut status = Status::new(name.clone(), report.unwrap_or_else(nothing), None);
    if let Some(told) = told {
        let shown = told.conditions.iter().map(|one| Condition {
            kind: one.type_.clone(),
            status: one.status.clone(),
            reason: one.reason.clone(),
            message: one.message.clone(),
        });
        status.conditions = shown.collect();
    }
    let refused = told.and_then(|told| told.condition(ConditionType::SpecValid));
    status.refused = refused.filter(|said| said.status == "False").map(|said| said.message.clone());
    // Who does not act is the cause of all that does not change, and the word of the others is old: it comes first.
    let mut add = |message: String| {
        status.waiting.insert(0, WaitingFor { what: Waiting::NoSupervisor, message, follows: false });
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
                None => format!("no operator acts: `{} kube manifests` installs one", CalledAs::Valkeeper),
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
        sentinels: Vec::new(),
        replica_mode: None,
        progress: Vec::new(),
        cordoned_zones: std::collections::BTreeSet::new(),
        mode: valkeeper_model::Mode::Cluster,
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
    fn what_is_followed_is_shown_as_on_this_machine() {
        let followed = serde_json::json!({
            "phase": "Healthy", "healthy": true, "mode": "standalone",
            "replicaMode": {
                "stage": "Following", "designated": "demo-0", "lagBytes": 11, "lagSeenAt": "2026-01-01T00:00:00Z",
                "source": { "clusterName": "east", "host": "10.0.0.1", "port": 6379 },
            },
        });
        let status = seen(&followed, &Lead::Unknown);
        assert_eq!(status.current_primary.as_ref().map(ToString::to_string).as_deref(), Some("demo-0"));
        let page = status.page();
        assert!(page.contains("Cluster is replicating from east (10.0.0.1:6379)\n"), "{page}");
        assert!(page.contains("designated leader: demo-0; 11 bytes behind, seen "), "{page}");
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
