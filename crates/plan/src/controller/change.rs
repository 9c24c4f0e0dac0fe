//! What a changed spec makes of a layout.

use super::resizing;
use crate::mode::sentinel;
use crate::operations::roll;
use crate::placement::{Placing, resize, server_config, shards};
use crate::replica_mode::{self, OwnData};
use crate::server::config;
use valkeeper_model::{
    ClusterSpec, Layout, PodTemplate, PrimaryUpdate, Refusal, ReplicaMode, ReplicaModeStage, Report,
    Sentinels, ServerConfig, ServerSetup, ServerVersion, ShardLife,
};

/// The layout that follows the spec, with the generation of the given one if nothing has to change.
///
/// What was seen of the cluster tells what would be lost by going over to following another; `None` where nobody has looked.
pub fn follow(
    layout: &Layout,
    spec: &ClusterSpec,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<Layout, Refusal> {
    let refuse = |field: &str| Err(Refusal::CannotChange { field: field.to_owned() });
    if spec.name != layout.cluster {
        return refuse("metadata.name");
    }
    // Sentinels come and go beside servers that stay as they are.
    if spec.mode.has_slots() != layout.config.mode.has_slots() {
        return refuse("spec.mode");
    }
    let mut next = layout.clone();
    let replicas = spec.replicas_per_shard;
    let resharded = layout.config.mode.has_slots() && spec.shards != shards_of(layout);
    if resharded || replicas != layout.replicas_per_shard {
        resizing::refuse_untimely(layout)?;
    }
    if resharded {
        let wanted = Layout { replicas_per_shard: replicas, ..layout.clone() };
        next = shards::with_shards(&wanted, spec.shards, report, placing)?;
    }
    // Also of shards that were to leave and stay.
    if resharded || replicas != layout.replicas_per_shard {
        next = resize::with_replicas(&next, replicas, report, placing)?;
    }
    next.zones = spec.zones;
    let config = ServerConfig { newer: next.config.newer.clone(), ..server_config(spec) };
    let pod_template = spec.pod_template.as_ref().map(|template| template.hash.clone());
    let wanted = ServerSetup {
        config,
        version: spec.version.clone(),
        pod_template: pod_template.or_else(|| layout.pod_template.clone()),
    };
    // Pods of which nobody knows how they were made are as they should be.
    let is_first = layout.pod_template.is_none();
    if is_first {
        next.pod_template.clone_from(&wanted.pod_template);
    }
    let before = next.setup();
    // What was given up is not tried again until the manifest says something else.
    if !layout.given_up.as_deref().is_some_and(|given_up| given_up.setup == wanted) {
        next.given_up = None;
        ServerSetup { config: next.config, version: next.version, pod_template: next.pod_template } = wanted;
        next.pod_templates.extend(PodTemplate::bodies(spec.pod_template.as_ref()));
        next.pod_versions.extend(PodTemplate::versions(spec.pod_template.as_ref()));
        if next.setup() != before {
            if let Some(program) = next.program_of(&next.setup()) {
                roll::refuse_unreadable(layout, program, report)?;
            }
            roll::begin(layout, &mut next, &spec.update, report);
        }
    }
    // A manifest that asks nobody any more approves of what is under way.
    if spec.update.primaries == PrimaryUpdate::Unsupervised {
        roll::approve(&mut next);
    }
    next.sentinels = sentinel::follow(layout, spec).map(Box::new);
    let own = OwnData::of(layout, report);
    next.replica_mode =
        replica_mode::follow(layout.replica_mode.as_deref(), spec.replica_mode.as_ref(), &own)?.map(Box::new);
    next = next.without_unused_templates();
    if next != *layout {
        // What is stopped is not changed: it would be changed without anybody seeing what comes of it.
        super::hibernation::refuse_meanwhile(layout)?;
        next.generation = layout.generation.next();
    }
    Ok(next)
}

/// How many shards the cluster is to have.
fn shards_of(layout: &Layout) -> u32 {
    let staying = layout.shards.values().filter(|shard| shard.life != ShardLife::Leaving);
    u32::try_from(staying.count()).unwrap_or(u32::MAX)
}

/// A change, for people: what it is now and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What.
    pub what: String,
    /// Now; `None` if it is new.
    pub from: Option<String>,
    /// Then; `None` if it is dropped.
    pub to: Option<String>,
}

/// What differs between two layouts of one cluster.
pub fn differences(from: &Layout, to: &Layout) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: &str, from: Option<String>, to: Option<String>| {
        if from != to {
            found.push(Difference { what: what.to_owned(), from, to });
        }
    };
    let shards = |layout: &Layout| Some(shards_of(layout).to_string());
    compare("shards", shards(from), shards(to));
    let replicas = |layout: &Layout| Some(layout.replicas_per_shard.to_string());
    compare("replicasPerShard", replicas(from), replicas(to));
    compare("zones", Some(from.zones.to_string()), Some(to.zones.to_string()));
    let ms = |ms: u64| Some(format!("{ms} ms"));
    compare("mode", Some(from.config.mode.to_string()), Some(to.config.mode.to_string()));
    let version = |layout: &Layout| layout.version.as_ref().map(ServerVersion::to_string);
    compare("server", version(from), version(to));
    let given_up = |layout: &Layout| layout.given_up.as_ref().map(|given_up| given_up.why.to_string());
    compare("given up", given_up(from), given_up(to));
    let sentinels = |layout: &Layout| layout.sentinels.as_deref().map(Sentinels::to_string);
    compare("sentinels", sentinels(from), sentinels(to));
    compare("unresponsiveAfter", ms(from.config.unresponsive_after_ms), ms(to.config.unresponsive_after_ms));
    let drift = |layout: &Layout| Some(layout.config.drift.as_str().to_owned());
    compare("drift", drift(from), drift(to));
    let before = config::directives(&from.config);
    let after = config::directives(&to.config);
    let value = |all: &[config::Directive], name: &str| {
        all.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone())
    };
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        compare(name, value(&before, name), value(&after, name));
    }
    let followed = |layout: &Layout| layout.replica_mode.as_deref().filter(|mode| mode.follows()).map(told);
    compare("follows", followed(from), followed(to));
    let old = to.instances.iter().filter(|(name, _)| from.instances.contains_key(*name));
    for (name, instance) in old {
        let fenced =
            |layout: &Layout| layout.instances.get(name).map(|instance| instance.is_fenced().to_string());
        compare(&format!("{name} fenced"), fenced(from), Some(instance.is_fenced().to_string()));
    }
    found
}

/// What is followed, for people.
fn told(mode: &ReplicaMode) -> String {
    let place = mode.source.place();
    match mode.stage {
        ReplicaModeStage::Promoting { .. } => format!("{place}, until a member is promoted"),
        ReplicaModeStage::Following | ReplicaModeStage::Promoted { .. } | ReplicaModeStage::Newer(_) => place,
    }
}
