//! A promotion: a wish in the object's spec, so that it is the same whether it was typed or applied, and stays wished whoever dies.

use super::ask::AskError;
use super::lead::Lead;
use super::reach::Remote;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::future::Future;
use std::time::Duration;
use valkeeper_kube_api::names::field_managers;
use valkeeper_kube_api::{ConditionType, RedisCluster, StageWord};
use valkeeper_model::Refusal;

impl Remote {
    /// Sets `spec.replicaMode.promote`, and waits until the cluster is promoted.
    pub async fn promote(&self, within: Duration, ended: impl Future<Output = ()>) -> Result<(), AskError> {
        let object = self.object().await?;
        if stage(&object).ok_or(Refusal::FollowsNobody)? == StageWord::Promoted && is_wished(&object) {
            return Ok(());
        }
        // Before anything is written: it would be carried out when an operator comes back hours later.
        if let Ok(Lead::Nobody { since }) = self.reach().lead().await {
            return Err(AskError::NobodyLeads { since });
        }
        let patch = Patch::Merge(json!({ "spec": { "replicaMode": { "promote": true } } }));
        let params =
            PatchParams { field_manager: Some(field_managers::CLI.to_owned()), ..PatchParams::default() };
        let written = self.reach.clusters().patch(self.name.as_str(), &params, &patch).await;
        let generation = written.map_err(|error| self.failed(error))?.metadata.generation;
        tokio::select! {
            promoted = self.until_promoted(generation) => promoted,
            () = tokio::time::sleep(within) => Err(AskError::TimedOut(within)),
            () = ended => Err(AskError::Interrupted),
        }
    }

    async fn until_promoted(&self, generation: Option<i64>) -> Result<(), AskError> {
        let mut watched = self.watch();
        loop {
            let object = watched.next().await?;
            if let Some(why) = refused(&object, generation) {
                return Err(AskError::NotFollowed(why));
            }
            if stage(&object) == Some(StageWord::Promoted) {
                return Ok(());
            }
        }
    }
}

/// How far it is, as the operator has said last; `None` of one that has never followed.
fn stage(object: &RedisCluster) -> Option<StageWord> {
    Some(object.status.as_ref()?.replica_mode.as_ref()?.stage)
}

fn is_wished(object: &RedisCluster) -> bool {
    object.spec["replicaMode"]["promote"] == true
}

/// Why the operator does not follow that generation of the spec, or a newer one.
fn refused(object: &RedisCluster, generation: Option<i64>) -> Option<String> {
    let valid = object.status.as_ref()?.condition(ConditionType::SpecValid)?;
    (valid.status == "False" && valid.observed_generation >= generation).then(|| valid.message.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;

    #[test]
    fn a_refusal_of_an_older_spec_is_no_answer() {
        let object: RedisCluster = serde_json::from_value(json!({
            "metadata": { "name": "dr" },
            "spec": { "replicaMode": { "enabled": true, "promote": true } },
            "status": {
                "replicaMode": { "stage": "Promoting", "source": { "host": "h", "port": 6379 } },
                "conditions": [{
                    "type": "SpecValid", "status": "False", "reason": "ChangeRefused", "message": "no",
                    "observedGeneration": 4, "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap();
        assert_eq!(refused(&object, Some(4)).as_deref(), Some("no"));
        assert_eq!(refused(&object, Some(5)), None);
        assert_eq!(stage(&object), Some(StageWord::Promoting));
        assert!(is_wished(&object));
        assert_eq!(stage(&RedisCluster::default()), None);
    }
}
