//! `plan` and `apply`: what a manifest would change, and changing it.

use super::up::wait;
use crate::args::{Args, Format, Within};
use crate::called::called;
use crate::failure::{Failure, Kind};
use crate::output::columns;
use crate::{manifest_file, output, program, target};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use valkeeper_client::AdminConnection;
use valkeeper_engine::RandomIds;
use valkeeper_local::ClusterDir;
use valkeeper_model::{ClusterSpec, InstanceName, Layout, Refusal, Request, Role, ShardName, ZoneName};
use valkeeper_plan::controller::change::{self, Difference};
use valkeeper_plan::placement;
use valkeeper_plan::server::config::{self, AboveLimit};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    creates: Vec<Creation>,
    changes: Vec<Difference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    above_limit: Vec<AboveLimit>,
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

/// A supervisor may take this long to try a configuration.
const CHECK_WITHIN: Duration = Duration::from_secs(30);
/// A server may take this long to tell what it uses.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

pub(crate) async fn plan(args: &Args, file: &Path, zones: &[ZoneName], format: Format) -> anyhow::Result<()> {
    let spec = manifest_file::read(file)?;
    target::refuse_another(&args.common, &spec.name)?;
    let state = target::state_dir(&args.common)?;
    let dir = state.cluster(&spec.name);
    let plan = Plan::of(dir.layout()?.as_ref(), &spec, zones)
        .map_err(|refusal| manifest_file::refused(file, refusal))?;
    if dir.supervisor().is_some() {
        // It has the program that the servers run.
        let check = Request::Check { spec: Box::new(spec.clone()) };
        let checked = target::answer(&dir, check, CHECK_WITHIN).await?;
        checked.map_err(|refusal| manifest_file::refused(file, refusal))?;
    } else {
        match program::find(&state, None) {
            Ok(program) => manifest_file::refuse_invalid_config(file, &spec, &state, &program)?,
            Err(error) => eprintln!("note: the configuration is not tried: {error}"),
        }
    }
    let plan = Plan { above_limit: above_limit(&dir, &spec).await?, ..plan };
    plan.warn();
    output::value(format, &plan, || plan.page())
}

/// Which servers hold more than the memory limit that is wanted. What does not answer says nothing.
async fn above_limit(dir: &ClusterDir, spec: &ClusterSpec) -> anyhow::Result<Vec<AboveLimit>> {
    let Ok(password) = dir.password() else { return Ok(Vec::new()) };
    let mut used = BTreeMap::new();
    let asked: Vec<_> = dir
        .addresses()?
        .into_iter()
        .map(|(name, address)| {
            let server = AdminConnection::new(address.socket(), Some(password.clone()));
            tokio::spawn(async move { (name, server.server_info(LOOK_WITHIN).await) })
        })
        .collect();
    for one in asked {
        if let Ok((name, Ok(info))) = one.await {
            used.insert(name, info.used_memory);
        }
    }
    Ok(config::above_limit(&placement::server_config(spec), &used))
}

impl Plan {
    /// What the controller would make of the spec: by the same functions that it uses itself.
    pub(crate) fn of(
        layout: Option<&Layout>,
        spec: &ClusterSpec,
        zones: &[ZoneName],
    ) -> Result<Self, Refusal> {
        if let Some(layout) = layout {
            let next = change::follow(layout, spec)?;
            return Ok(Self {
                creates: Vec::new(),
                changes: change::differences(layout, &next),
                above_limit: Vec::new(),
            });
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
        Ok(Self { creates: creates.collect(), changes: Vec::new(), above_limit: Vec::new() })
    }

    /// What of it harms.
    fn warn(&self) {
        for one in &self.above_limit {
            eprintln!("warning: {one}");
        }
    }

    /// For people.
    pub(crate) fn page(&self) -> String {
        page(self)
    }

    /// Would it change nothing?
    #[cfg(feature = "kubernetes")]
    pub(crate) fn is_empty(&self) -> bool {
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
    for one in above_limit(&dir, &spec).await? {
        eprintln!("warning: {one}");
    }
    let apply = Request::Apply { spec: Box::new(spec) };
    let applied = target::answer(&dir, apply, within.timeout).await?;
    applied.map_err(|refusal| manifest_file::refused(file, refusal))?;
    if wait_healthy {
        let status = wait(&dir, within, || Ok(())).await?;
        return output::text(&status.page());
    }
    eprintln!("applied; `{} status` shows how it goes on", called());
    Ok(())
}
