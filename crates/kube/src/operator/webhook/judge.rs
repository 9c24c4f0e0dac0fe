//! What is allowed, and why not.

use serde::Deserialize;
use valkeeper_kube_api::RedisCluster;
use valkeeper_model::manifest::{FieldNote, Manifest, Refused};
use valkeeper_model::{FencedInstances, HibernationWish, Refusal, ResizeRefusal};
use valkeeper_plan::replica_mode;

/// The API server cuts longer warnings, or leaves them out.
const LONGEST_WARNING: usize = 256;

/// What the API server wants to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdmissionRequest {
    /// Of the question.
    pub(crate) uid: String,
    pub(crate) kind: Kind,
    /// What is about to happen to it.
    pub(crate) operation: String,
    /// Empty for the object itself.
    #[serde(default)]
    pub(crate) sub_resource: String,
    /// As it would be stored.
    #[serde(default)]
    pub(crate) object: serde_json::Value,
    /// As it is stored.
    #[serde(default)]
    pub(crate) old_object: serde_json::Value,
}

/// What kind of object it is about.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) kind: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be stored; these are to be told.
    Allowed { warnings: Vec<String> },
    /// It may not, for this reason.
    Denied { why: String },
}

impl Verdict {
    const NOTHING_TO_SAY: Self = Self::Allowed { warnings: Vec::new() };
}

/// The object in question cannot be read, so that nothing can be said about it.
#[derive(Debug, thiserror::Error)]
#[error("the {which} is no RedisCluster: {why}")]
pub(crate) struct Unreadable {
    which: &'static str,
    why: serde_json::Error,
}

/// Why a spec is not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Invalid(#[from] Refused),
    #[error("{}", .0.with_hint(valkeeper_model::CalledAs::KubectlValkeeper))]
    Unfit(#[from] Refusal),
}

/// May it be stored?
pub(crate) fn judge(request: &AdmissionRequest) -> Result<Verdict, Unreadable> {
    let (created, updated) = (request.operation == "CREATE", request.operation == "UPDATE");
    let ours = request.kind.kind == RedisCluster::KIND
        && request.kind.group == valkeeper_kube_api::names::GROUP
        && request.sub_resource.is_empty();
    if !ours || !(created || updated) {
        return Ok(Verdict::NOTHING_TO_SAY);
    }
    let object = read("object", &request.object)?;
    // Whatever it says: it is going, and finalizers have to come off.
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Verdict::NOTHING_TO_SAY);
    }
    let before = updated.then(|| read("old object", &request.old_object)).transpose()?;
    // Also of a spec that was stored before there was a webhook, and that would not be taken today.
    if before.as_ref().is_some_and(|before| before.spec == object.spec) {
        return Ok(weigh_annotations(&object, before.as_ref()));
    }
    Ok(match weigh(&object, before.as_ref()) {
        Ok(manifest) => {
            let notes = manifest.without_effect.iter().chain(&manifest.warnings);
            Verdict::Allowed { warnings: notes.map(warning).collect() }
        }
        Err(why) => Verdict::Denied { why: why.to_string() },
    })
}

/// What annotations ask for is judged although the spec is as it was, and only that is.
fn weigh_annotations(object: &RedisCluster, before: Option<&RedisCluster>) -> Verdict {
    let of = |cluster: &RedisCluster| {
        let value = |name| cluster.metadata.annotations.as_ref().and_then(|all| all.get(name).cloned());
        [FencedInstances::ANNOTATION, HibernationWish::ANNOTATION].map(value)
    };
    if before.is_some_and(|before| of(before) == of(object)) {
        return Verdict::NOTHING_TO_SAY;
    }
    let Err(mut refused) = object.manifest() else { return Verdict::NOTHING_TO_SAY };
    refused.problems.retain(|problem| problem.field.starts_with("metadata.annotations."));
    refused.left_out = 0;
    if refused.problems.is_empty() {
        return Verdict::NOTHING_TO_SAY;
    }
    Verdict::Denied { why: refused.to_string() }
}

fn read(which: &'static str, object: &serde_json::Value) -> Result<RedisCluster, Unreadable> {
    RedisCluster::deserialize(object).map_err(|why| Unreadable { which, why })
}

fn weigh(object: &RedisCluster, before: Option<&RedisCluster>) -> Result<Manifest, NotTaken> {
    let manifest = object.manifest()?;
    match before.and_then(|before| refuse_change(&manifest, before)) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(manifest),
    }
}

/// Why what is there cannot become this.
fn refuse_change(wanted: &Manifest, before: &RedisCluster) -> Option<Refusal> {
    // One that would not be taken today says nothing about what runs.
    let old = before.manifest().ok();
    if let Some(replicas) = running_replicas(before) {
        let spec = &wanted.spec;
        // The old value is no change. What runs is none either: it is how to go back from a wish that was never followed.
        let old_replicas = old.as_ref().map(|old| old.spec.replicas_per_shard);
        let changes = spec.replicas_per_shard != replicas && Some(spec.replicas_per_shard) != old_replicas;
        if !spec.mode.has_slots() && changes {
            return Some(ResizeRefusal::VotesWouldChange { mode: spec.mode }.into());
        }
        if let Some(refusal) = refuse_to_follow(wanted, before, old.as_ref()) {
            return Some(refusal);
        }
    }
    wanted.kubernetes.refuse_change_from(&old?.kubernetes)
}

/// Why what runs does not follow another cluster as this says, or follow it no more.
fn refuse_to_follow(wanted: &Manifest, before: &RedisCluster, old: Option<&Manifest>) -> Option<Refusal> {
    let wanted = wanted.spec.replica_mode.as_ref();
    // The old value is no change.
    if old.is_some_and(|old| old.spec.replica_mode.as_ref() == wanted) {
        return None;
    }
    let told = before.status.as_ref().and_then(|status| status.replica_mode.as_ref());
    // What a newer version has written cannot be judged here: the operator does.
    let held = match told {
        Some(told) => Some(told.report(jiff::Timestamp::now())?),
        None => None,
    };
    replica_mode::refuse_change(held.as_ref(), wanted)
}

/// Replicas of each shard, by the status; `None` if there is no layout yet.
fn running_replicas(cluster: &RedisCluster) -> Option<u32> {
    let status = cluster.status.as_ref()?;
    let shards = u32::try_from(status.shards.len()).ok()?;
    Some(status.instances.checked_div(shards)?.saturating_sub(1))
}

fn warning(note: &FieldNote) -> String {
    let text = note.to_string();
    if text.chars().count() <= LONGEST_WARNING {
        return text;
    }
    text.chars().take(LONGEST_WARNING - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
