//! `plan` and `apply` on Kubernetes: what a manifest would change there, and changing it.

use super::status as look;
use crate::args::{Args, Format, Within};
use crate::called::called;
use crate::command::apply::Plan;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::output::columns;
use crate::patience::Patience;
use crate::{manifest_file, manifest_text, output, target};
use anyhow::Context as _;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use valkeeper_kube::api::RedisCluster;
use valkeeper_kube::remote::{AppliesTo, Lead, PodChange, Remote, RemoteError, pod_changes};
use valkeeper_model::manifest::{Manifest, Target};
use valkeeper_model::{Layout, ZoneName};

/// Time passes although nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `plan -o json` on Kubernetes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RemotePlan {
    #[serde(flatten)]
    plan: Plan,
    pods: Vec<PodChange>,
    /// Pods whose server has never started, and that this manifest makes anew.
    made_anew: Vec<String>,
}

/// A manifest, and the cluster that it is about.
struct Wish {
    manifest: Manifest,
    /// As it is sent.
    object: serde_json::Value,
    remote: Remote,
    /// As it is.
    there: Option<RedisCluster>,
}

impl Wish {
    async fn read(args: &Args, file: &Path) -> anyhow::Result<Self> {
        let manifest = manifest_file::read_for(Target::Kubernetes, file)?;
        let name = &manifest.spec.name;
        target::refuse_another(&args.common, name)?;
        let text = manifest_text::read(file).with_context(|| manifest_text::name(file))?;
        let mut object: serde_json::Value = serde_saphyr::from_str(&text)?;
        let mut reach = super::reach(args).await?;
        if let Some(its) = object["metadata"]["namespace"].as_str() {
            match &args.common.kubernetes.namespace {
                Some(asked) if asked != its => {
                    let what = format!("the manifest is for namespace {its}, not for {asked}");
                    return Err(Failure::new(Kind::Usage, what, "leave --namespace out").into());
                }
                _ => reach = reach.in_namespace(its.to_owned()),
            }
        }
        // What Kubernetes writes is nothing to wish for; with it, an object that was read with kubectl would be refused.
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| matches!(field.as_str(), "name" | "labels" | "annotations"));
        }
        let remote = reach.remote(name.clone());
        let there = remote.object_if_any().await.map_err(Failure::from)?;
        Ok(Self { manifest, object, remote, there })
    }

    /// What it would change, or why that is refused: by the operator's own functions.
    fn plan(&self, file: &Path, layout: Option<&Layout>, zones: &[ZoneName]) -> Result<RemotePlan, Failure> {
        let refused = |refusal| manifest_file::refused(file, refusal);
        let plan = Plan::of(layout, &self.manifest.spec, zones).map_err(refused)?;
        let before = self.there.as_ref().and_then(|there| there.manifest().ok());
        let wanted = &self.manifest.kubernetes;
        let formed = layout.is_some_and(|layout| layout.formed);
        if let Some(before) = before.as_ref().filter(|_| formed)
            && let Some(refusal) = self.manifest.spec.refuse_change_from(&before.spec)
        {
            return Err(refused(refusal));
        }
        if let Some(refusal) =
            before.as_ref().and_then(|before| wanted.refuse_change_from(&before.kubernetes))
        {
            return Err(refused(refusal));
        }
        let pods = before.map(|before| pod_changes(&before.kubernetes, wanted)).unwrap_or_default();
        Ok(RemotePlan { plan, pods, made_anew: Vec::new() })
    }
}

pub(crate) async fn plan(args: &Args, file: &Path, zones: &[ZoneName], format: Format) -> anyhow::Result<()> {
    let wish = Wish::read(args, file).await?;
    let layout = wish.remote.layout().await.map_err(Failure::from)?;
    let known = if layout.is_none() { zones_there(&wish.remote).await? } else { None };
    if layout.is_none() && known.is_none() {
        let zones: Vec<&str> = zones.iter().map(ZoneName::as_str).collect();
        eprintln!("note: you may not see the nodes: as if their zones were {} (--zones)", zones.join(", "));
    }
    let mut plan = wish.plan(file, layout.as_ref(), known.as_deref().unwrap_or(zones))?;
    if plan.pods.iter().any(|change| change.applies_to == AppliesTo::NewPods) {
        let waiting = wish.remote.never_started().await.map_err(Failure::from)?;
        if waiting.is_none() {
            eprintln!(
                "note: you may not see the pods: those whose server has never started are made anew by a change"
            );
        }
        plan.made_anew = waiting.unwrap_or_default();
    }
    output::value(format, &plan, || page(&plan))
}

async fn zones_there(remote: &Remote) -> Result<Option<Vec<ZoneName>>, Failure> {
    Ok(remote.reach().zones().await?)
}

fn page(plan: &RemotePlan) -> String {
    if plan.pods.is_empty() {
        return plan.plan.page();
    }
    let mut page = if plan.plan.is_empty() { String::new() } else { plan.plan.page() };
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![["CHANGE", "FROM", "TO", "APPLIES TO"].map(str::to_owned).to_vec()];
    rows.extend(plan.pods.iter().map(|change| {
        vec![change.what.clone(), cell(&change.from), cell(&change.to), change.applies_to.to_string()]
    }));
    page.push_str(&columns(&rows));
    if !plan.made_anew.is_empty() {
        page.push_str("\nmade anew at once, as their servers have never started: ");
        page.push_str(&plan.made_anew.join(", "));
        page.push('\n');
    }
    page
}

pub(crate) async fn apply(args: &Args, file: &Path, wait: bool, within: Within) -> anyhow::Result<()> {
    let wish = Wish::read(args, file).await?;
    check(&wish, file).await?;
    let applied = wish.remote.apply(&wish.object).await.map_err(Failure::from)?;
    if !wait {
        eprintln!("applied; `{} status` shows how it goes on", called());
        return Ok(());
    }
    let status = healthy(&wish.remote, applied, within).await?;
    output::text(&status.page())
}

/// What would be refused by the operator is refused here, where somebody reads it with its line. Who may not see what that takes
/// is told by the status instead.
async fn check(wish: &Wish, file: &Path) -> Result<(), Failure> {
    let layout = match wish.remote.layout().await {
        Ok(layout) => layout,
        Err(RemoteError::Forbidden(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let zones = if layout.is_none() { zones_there(&wish.remote).await? } else { Some(Vec::new()) };
    match zones {
        Some(zones) => wish.plan(file, layout.as_ref(), &zones).map(drop),
        None => Ok(()),
    }
}

/// Waits until the operator has followed what was applied, and the cluster is healthy.
async fn healthy(remote: &Remote, applied: RedisCluster, within: Within) -> anyhow::Result<Status> {
    let wanted = applied.metadata.generation;
    let mut patience = Patience::new(within);
    let mut watched = remote.watch();
    let mut object = applied;
    loop {
        let is_seen = object.status.as_ref().is_some_and(|status| status.observed_generation >= wanted);
        let mut status = look::of(remote.name(), &object, &Lead::Unknown);
        if is_seen && let Some(why) = &status.refused {
            let what = format!("the operator does not follow the manifest: {why}");
            return Err(Failure { kind: Kind::Unsafe, what, hint: None }.into());
        }
        status.healthy &= is_seen;
        if patience.is_over(&status)? {
            return Ok(look::of(remote.name(), &object, &look::lead(remote).await));
        }
        tokio::select! {
            next = watched.next() => object = next.map_err(Failure::from)?,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
