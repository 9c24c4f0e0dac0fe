//! A manifest for Kubernetes: what it would change there, and changing it.

use super::KubernetesPlatform;
use super::status::{lead, of};
use crate::boxed::Boxed;
use crate::document::plan::{Plan, PodChange, PodPlan};
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::target::{Applied, Wanted};
use crate::{manifest_file, manifest_text};
use anyhow::Context as _;
use std::path::PathBuf;
use std::time::Duration;
use valkeeper_kube::api::RedisCluster;
use valkeeper_kube::remote::{self, AppliesTo, Lead, Remote, RemoteError, Watched};
use valkeeper_model::manifest::{Manifest, Target};
use valkeeper_model::{Layout, ZoneName};

/// Time passes although nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A manifest, and the cluster that it is about.
pub(super) struct KubernetesWanted {
    file: PathBuf,
    manifest: Manifest,
    /// As it is sent.
    object: serde_json::Value,
    remote: Remote,
    /// As it is.
    there: Option<RedisCluster>,
}

impl KubernetesWanted {
    pub(super) async fn read(platform: &KubernetesPlatform, file: PathBuf) -> anyhow::Result<Self> {
        let manifest = manifest_file::read_for(Target::Kubernetes, &file)?;
        let name = &manifest.spec.name;
        manifest_file::refuse_another(&platform.common, name)?;
        let text = manifest_text::read(&file).with_context(|| manifest_text::name(&file))?;
        let mut object: serde_json::Value = serde_saphyr::from_str(&text)?;
        let mut reach = platform.reach().await?;
        if let Some(its) = object["metadata"]["namespace"].as_str() {
            match &platform.common.kubernetes.namespace {
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
        Ok(Self { file, manifest, object, remote, there })
    }

    /// What it would change, or why that is refused: by the operator's own functions.
    fn plan_beside(&self, layout: Option<&Layout>, zones: &[ZoneName]) -> Result<Beside, Failure> {
        let refused = |refusal| manifest_file::refused(&self.file, refusal);
        let plan = Plan::of(layout, &self.manifest.spec, zones, None).map_err(refused)?;
        let before = self.there.as_ref().and_then(|there| there.manifest().ok());
        let wanted = &self.manifest.kubernetes;
        let founded = layout.is_some_and(|layout| !layout.is_founding());
        if let Some(before) = before.as_ref().filter(|_| founded)
            && let Some(refusal) = self.manifest.spec.refuse_change_from(&before.spec)
        {
            return Err(refused(refusal));
        }
        if let Some(refusal) =
            before.as_ref().and_then(|before| wanted.refuse_change_from(&before.kubernetes))
        {
            return Err(refused(refusal));
        }
        let pods = before.map(|before| remote::pod_changes(&before.kubernetes, wanted)).unwrap_or_default();
        Ok(Beside { plan, pods })
    }

    async fn zones_there(&self) -> Result<Option<Vec<ZoneName>>, Failure> {
        Ok(self.remote.reach().zones().await?)
    }

    /// What would be refused by the operator is refused here, where somebody reads it with its line. Who may not see what that takes
    /// is told by the status instead.
    async fn check(&self) -> Result<(), Failure> {
        let layout = match self.remote.layout().await {
            Ok(layout) => layout,
            Err(RemoteError::Forbidden(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let zones = if layout.is_none() { self.zones_there().await? } else { Some(Vec::new()) };
        match zones {
            Some(zones) => self.plan_beside(layout.as_ref(), &zones).map(drop),
            None => Ok(()),
        }
    }

    /// Pods that a change makes anew at once, if it makes any.
    async fn made_anew(&self, changes: &[remote::PodChange]) -> Result<Vec<String>, Failure> {
        let of_pods =
            |change: &remote::PodChange| matches!(change.applies_to, AppliesTo::NewPods | AppliesTo::AllPods);
        if !changes.iter().any(of_pods) {
            return Ok(Vec::new());
        }
        let waiting = self.remote.never_started().await?;
        if waiting.is_none() {
            eprintln!(
                "note: you may not see the pods: those whose server has never started are made anew by a change"
            );
        }
        Ok(waiting.unwrap_or_default())
    }
}

/// What a manifest changes of the layout, and of pods and volumes.
struct Beside {
    plan: Plan,
    pods: Vec<remote::PodChange>,
}

impl Wanted for KubernetesWanted {
    fn plan<'a>(&'a self, zones: &'a [ZoneName]) -> Boxed<'a, Plan> {
        Box::pin(async {
            let layout = self.remote.layout().await.map_err(Failure::from)?;
            let known = if layout.is_none() { self.zones_there().await? } else { None };
            if layout.is_none() && known.is_none() {
                let zones: Vec<&str> = zones.iter().map(ZoneName::as_str).collect();
                eprintln!(
                    "note: you may not see the nodes: as if their zones were {} (--zones)",
                    zones.join(", ")
                );
            }
            let Beside { mut plan, pods } =
                self.plan_beside(layout.as_ref(), known.as_deref().unwrap_or(zones))?;
            let made_anew = self.made_anew(&pods).await?;
            let pods = pods.into_iter().map(pod_change).collect();
            plan.pods = Some(PodPlan { pods, made_anew });
            Ok(plan)
        })
    }

    fn apply(&self, _: Duration) -> Boxed<'_, Box<dyn Applied>> {
        Box::pin(async {
            self.check().await?;
            let object = self.remote.apply(&self.object).await.map_err(Failure::from)?;
            let wanted = object.metadata.generation;
            let (remote, watched) = (self.remote.clone(), None);
            Ok(Box::new(KubernetesApplied { remote, wanted, object, watched }) as Box<dyn Applied>)
        })
    }
}

fn pod_change(change: remote::PodChange) -> PodChange {
    let remote::PodChange { what, from, to, applies_to } = change;
    PodChange { what, from, to, applies_to: applies_to.to_string() }
}

/// An object that was applied: the operator has still to follow it.
struct KubernetesApplied {
    remote: Remote,
    /// The generation that is to be followed.
    wanted: Option<i64>,
    /// As it was seen last.
    object: RedisCluster,
    /// None before the first look, which is at the object as it was answered.
    watched: Option<Watched>,
}

impl KubernetesApplied {
    /// What is told is of this generation, or refused.
    fn judged(&self) -> anyhow::Result<Status> {
        let told = self.object.status.as_ref();
        let is_seen = told.is_some_and(|status| status.observed_generation >= self.wanted);
        let mut status = of(self.remote.name(), &self.object, &Lead::Unknown);
        if is_seen && let Some(why) = &status.refused {
            let what = format!("the operator does not follow the manifest: {why}");
            return Err(Failure { kind: Kind::Unsafe, what, hint: None }.into());
        }
        status.healthy &= is_seen;
        Ok(status)
    }
}

impl Applied for KubernetesApplied {
    fn next(&mut self) -> Boxed<'_, Status> {
        Box::pin(async {
            match &mut self.watched {
                None => self.watched = Some(self.remote.watch()),
                Some(watched) => tokio::select! {
                    next = watched.next() => self.object = next.map_err(Failure::from)?,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                },
            }
            self.judged()
        })
    }

    fn settled(&mut self, _: Status) -> Boxed<'_, Status> {
        Box::pin(async { Ok(of(self.remote.name(), &self.object, &lead(&self.remote).await)) })
    }
}
