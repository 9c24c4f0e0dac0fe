//! `plan` and `apply`: what a manifest would change, and changing it.

use super::up::wait;
use crate::args::{Args, Format, Within};
use crate::called::called;
use crate::failure::{Failure, Kind};
use crate::output::columns;
use crate::{manifest_file, output, target};
use serde::Serialize;
use std::path::Path;
use valkeeper_engine::RandomIds;
use valkeeper_model::{ClusterSpec, InstanceName, Layout, Refusal, Request, Role, ShardName, ZoneName};
use valkeeper_plan::controller::change::{self, Difference};
use valkeeper_plan::placement;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    creates: Vec<Creation>,
    changes: Vec<Difference>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Creation {
    instance: InstanceName,
    shard: ShardName,
    zone: ZoneName,
    role: Role,
    slots: String,
}

pub(crate) fn plan(args: &Args, file: &Path, zones: &[ZoneName], format: Format) -> anyhow::Result<()> {
    let spec = manifest_file::read(file)?;
    target::refuse_another(&args.common, &spec.name)?;
    let dir = target::state_dir(&args.common)?.cluster(&spec.name);
    let plan = Plan::of(dir.layout()?.as_ref(), &spec, zones)
        .map_err(|refusal| manifest_file::refused(file, refusal))?;
    output::value(format, &plan, || plan.page())
}

impl Plan {
    /// What the controller would make of the spec: by the same functions that it uses itself.
    pub(super) fn of(
        layout: Option<&Layout>,
        spec: &ClusterSpec,
        zones: &[ZoneName],
    ) -> Result<Self, Refusal> {
        if let Some(layout) = layout {
            let next = change::follow(layout, spec)?;
            return Ok(Self { creates: Vec::new(), changes: change::differences(layout, &next) });
        }
        let layout = placement::found(spec, zones, &mut RandomIds)?;
        let creates = layout.instances.iter().map(|(name, instance)| {
            let shard = layout.shards.get(&instance.shard);
            let founder = shard.is_some_and(|shard| shard.founder == *name);
            Creation {
                instance: name.clone(),
                shard: instance.shard.clone(),
                zone: instance.zone.clone(),
                role: if founder { Role::Primary } else { Role::Replica },
                slots: shard.filter(|_| founder).map(|shard| shard.slots.to_string()).unwrap_or_default(),
            }
        });
        Ok(Self { creates: creates.collect(), changes: Vec::new() })
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        page(self)
    }

    /// Would it change nothing?
    #[cfg(feature = "kubernetes")]
    pub(super) fn is_empty(&self) -> bool {
        self.creates.is_empty() && self.changes.is_empty()
    }
}

fn page(plan: &Plan) -> String {
    if plan.creates.is_empty() && plan.changes.is_empty() {
        return "nothing would change\n".to_owned();
    }
    let mut page = String::new();
    if !plan.creates.is_empty() {
        let mut rows = vec![["CREATE", "SHARD", "ZONE", "ROLE", "SLOTS"].map(str::to_owned).to_vec()];
        rows.extend(plan.creates.iter().map(|new| {
            vec![
                new.instance.to_string(),
                new.shard.to_string(),
                new.zone.to_string(),
                new.role.to_string(),
                new.slots.clone(),
            ]
        }));
        page.push_str(&columns(&rows));
    }
    if !plan.changes.is_empty() {
        let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let mut rows = vec![["CHANGE", "FROM", "TO"].map(str::to_owned).to_vec()];
        rows.extend(
            plan.changes.iter().map(|change| vec![change.what.clone(), cell(&change.from), cell(&change.to)]),
        );
        page.push_str(&columns(&rows));
    }
    page
}

pub(crate) async fn apply(
    args: &Args,
    file: &Path,
    wait_healthy: bool,
    within: Within,
) -> anyhow::Result<()> {
    let spec = manifest_file::read(file)?;
    target::refuse_another(&args.common, &spec.name)?;
    let dir = target::state_dir(&args.common)?.cluster(&spec.name);
    if dir.layout()?.is_none() {
        let what = format!("there is no cluster `{}` yet", spec.name);
        return Err(Failure::new(
            Kind::Usage,
            what,
            format!("`{} up {} --detach` makes it", called(), file.display()),
        )
        .into());
    }
    manifest_file::check(file, &dir, &spec, &[])?;
    target::request(&dir, Request::Apply { spec: Box::new(spec) }, within.timeout).await?;
    if wait_healthy {
        let status = wait(&dir, within, || Ok(())).await?;
        return output::text(&status.page());
    }
    eprintln!("applied; `{} status` shows how it goes on", called());
    Ok(())
}
