//! A manifest for this machine: what it would change there, and changing it.

use super::LocalPlatform;
use super::status::Looks;
use super::supervisor::{LOOK_WITHIN, answer};
use crate::args::AcceptLoss;
use crate::boxed::Boxed;
use crate::called::called;
use crate::document::plan::{Plan, Restarts};
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::target::{Applied, Feed as _, Wanted};
use crate::{manifest_file, program};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use valkeeper_client::AdminConnection;
use valkeeper_engine::RandomIds;
use valkeeper_local::{ClusterDir, Control, ControlAnswer, ControlRequest, StateDir};
use valkeeper_model::manifest::{Manifest, Target};
use valkeeper_model::{ClusterSpec, InstanceName, Report, Request, ZoneName};
use valkeeper_plan::controller::change;
use valkeeper_plan::placement::{self, Placing};
use valkeeper_plan::server::config::{self, AboveLimit};

/// A supervisor may take this long to try a configuration.
const CHECK_WITHIN: Duration = Duration::from_secs(30);
/// A server may take this long to tell what it uses.
const SERVER_WITHIN: Duration = Duration::from_secs(1);
/// Between looks for a cluster that becomes healthy.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A manifest, and the cluster that it is about.
pub(super) struct LocalWanted {
    file: PathBuf,
    spec: ClusterSpec,
    state: StateDir,
    dir: ClusterDir,
}

impl LocalWanted {
    pub(super) fn read(platform: &LocalPlatform, file: PathBuf, loss: AcceptLoss) -> anyhow::Result<Self> {
        let Manifest { mut spec, image, .. } = manifest_file::read_for(Target::Local, &file)?;
        loss.add_to(&mut spec);
        manifest_file::refuse_another(platform.common(), &spec.name)?;
        let state = platform.state_dir()?;
        spec.version = program::version_of_image(&state, image.as_deref())
            .map_err(|error| manifest_file::about(&file, "spec.imageName", error))?;
        let dir = state.cluster(&spec.name);
        Ok(Self { file, spec, state, dir })
    }

    /// Would the servers start with its configuration?
    async fn try_config(&self) -> anyhow::Result<()> {
        if self.dir.supervisor().is_some() {
            // It has the program that the servers run.
            let check = Request::Check { spec: Box::new(self.spec.clone()) };
            let checked = answer(&self.dir, check, CHECK_WITHIN).await?;
            return Ok(checked.map_err(|refusal| manifest_file::refused(&self.file, refusal))?);
        }
        match program::find(&self.state, None) {
            Ok(program) => {
                manifest_file::refuse_invalid_config(&self.file, &self.spec, &self.state, &program)
            }
            Err(error) => {
                eprintln!("note: the configuration is not tried: {error}");
                Ok(())
            }
        }
    }

    /// Which instances are restarted for it: for their version, and for what the server program says it does not take while it runs.
    fn restarts(&self, report: Option<&Report>) -> anyhow::Result<Option<Restarts>> {
        let Some(layout) = self.dir.layout()? else { return Ok(None) };
        let zones = placement::resize::zones_of(&layout, &[]);
        let mut placing = Placing { zones: &zones, ids: &mut RandomIds };
        let Ok(next) = change::follow(&layout, &self.spec, report, &mut placing) else { return Ok(None) };
        let runs = |name: &InstanceName| {
            let seen = report?.instances.iter().find(|one| one.name == *name)?;
            seen.version.clone()
        };
        let other_version = |name: &InstanceName| match &next.version {
            Some(wanted) => runs(name).is_some_and(|runs| runs != wanted.version),
            None => layout.version.is_some(),
        };
        let mut instances: Vec<InstanceName> =
            layout.instances.keys().filter(|name| other_version(name)).cloned().collect();
        let mut because = Vec::new();
        if !instances.is_empty() {
            because.push("server".to_owned());
        }
        let running = report.and_then(|report| report.instances.iter().find_map(|one| one.version.clone()));
        let known = |version: String| {
            let mut known = self.state.known_servers().into_iter();
            known.find(|one| one.program.version == version && one.is_current()).map(|one| one.program)
        };
        let program = match &layout.version {
            Some(version) => self.state.find_server(version).ok(),
            None => running.and_then(known).or_else(|| program::find(&self.state, None).ok()),
        };
        let directives = program.map(|program| program.taken_by_restart(&layout.config, &next.config));
        let directives = directives.unwrap_or_default();
        if !directives.is_empty() {
            instances = layout.instances.keys().cloned().collect();
            because.extend(directives);
        }
        let update = &self.spec.update;
        let restarts = Restarts {
            instances,
            because,
            restart: update.restart,
            canary_ms: update.canary_ms,
            primaries: update.primaries,
        };
        Ok(Some(restarts).filter(|restarts| !restarts.instances.is_empty()))
    }

    /// Which servers hold more than the memory limit that is wanted. What does not answer says nothing.
    async fn above_limit(&self) -> anyhow::Result<Vec<AboveLimit>> {
        let Ok(password) = self.dir.password() else { return Ok(Vec::new()) };
        let mut used = BTreeMap::new();
        let asked: Vec<_> = self
            .dir
            .server_addresses()?
            .into_iter()
            .map(|(name, address)| {
                let server = AdminConnection::new(address.socket(), Some(password.clone()));
                tokio::spawn(async move { (name, server.server_info(SERVER_WITHIN).await) })
            })
            .collect();
        for one in asked {
            if let Ok((name, Ok(info))) = one.await {
                used.insert(name, info.used_memory);
            }
        }
        Ok(config::above_limit(&placement::server_config(&self.spec), &used))
    }

    /// What the supervisor has seen; `None` without one.
    async fn report(&self) -> Option<Report> {
        match Control::new(self.dir.clone()).ask(&ControlRequest::Status, LOOK_WITHIN).await {
            Ok(ControlAnswer::Status(seen)) => seen.report,
            Ok(_) | Err(_) => None,
        }
    }

    fn refuse_missing(&self) -> anyhow::Result<()> {
        if self.dir.layout()?.is_some() {
            return Ok(());
        }
        let what = format!("there is no cluster `{}` yet", self.spec.name);
        let hint = format!("`{} up {} --detach` makes it", called(), self.file.display());
        Err(Failure::new(Kind::Usage, what, hint).into())
    }
}

impl Wanted for LocalWanted {
    fn plan<'a>(&'a self, zones: &'a [ZoneName]) -> Boxed<'a, Plan> {
        Box::pin(async {
            let report = self.report().await;
            let mut plan = Plan::of(self.dir.layout()?.as_ref(), &self.spec, zones, report.as_ref())
                .map_err(|refusal| manifest_file::refused(&self.file, refusal))?;
            self.try_config().await?;
            plan.restarts = self.restarts(report.as_ref())?;
            plan.above_limit = self.above_limit().await?;
            Ok(plan)
        })
    }

    fn apply(&self, within: Duration) -> Boxed<'_, Box<dyn Applied>> {
        Box::pin(async move {
            self.refuse_missing()?;
            let report = self.report().await;
            manifest_file::check(&self.file, &self.dir, &self.spec, &[], report.as_ref())?;
            for one in self.above_limit().await? {
                eprintln!("warning: {one}");
            }
            let apply = Request::Apply { spec: Box::new(self.spec.clone()) };
            let applied = answer(&self.dir, apply, within).await?;
            applied.map_err(|refusal| manifest_file::refused(&self.file, refusal))?;
            let looks = Looks::new(self.dir.clone(), LOOK_EVERY);
            Ok(Box::new(LocalApplied(looks)) as Box<dyn Applied>)
        })
    }
}

/// The supervisor has taken it: its next word is about it.
struct LocalApplied(Looks);

impl Applied for LocalApplied {
    fn next(&mut self) -> Boxed<'_, Status> {
        self.0.next()
    }

    fn settled(&mut self, last: Status) -> Boxed<'_, Status> {
        Box::pin(std::future::ready(Ok(last)))
    }
}
