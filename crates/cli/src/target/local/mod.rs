//! Clusters on this machine: their state directory, and each one's supervisor.

mod events;
pub(crate) mod manifest;
pub(crate) mod primary;
pub(crate) mod status;
pub(crate) mod supervisor;

use crate::args::{AcceptLoss, Common};
use crate::boxed::Boxed;
use crate::called::called;
use crate::conversation::{Asked, Talk, To};
use crate::document::connection::{ByRole, Connection, PasswordPlace};
use crate::document::event::Event;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::load::{LoadHere, Writers};
use crate::target::kill::kill;
use crate::target::{
    ClusterTarget, EventsFollowed, Feed, Interrupts, LocalOnly, LogPart, Members, Platform, Trigger, Wanted,
};
use crate::weighing::{self, ShardWeighed, ToWeigh};
use events::{EventsAfter, LogFile, event};
use manifest::LocalWanted;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use valkeeper_client::Endpoint;
use valkeeper_local::{ClusterDir, EventLog, StateDir};
use valkeeper_model::{ClusterName, Happened, InstanceName, Request};

/// Between looks of who watches a status.
const WATCH_EVERY: Duration = Duration::from_millis(200);
/// Between looks of a drill. Each costs the supervisor a moment, and the supervisor is what is measured.
const DRILL_LOOKS_EVERY: Duration = Duration::from_millis(20);

/// This machine.
pub(crate) struct LocalPlatform {
    common: Common,
}

impl LocalPlatform {
    pub(crate) fn new(common: Common) -> Self {
        Self { common }
    }

    /// What was said of which cluster.
    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    /// Where clusters are kept: as told, or in the user's data folder.
    pub(crate) fn state_dir(&self) -> anyhow::Result<StateDir> {
        let path = match &self.common.state_dir {
            Some(path) => path.clone(),
            None => data_home()?.join("valkeeper"),
        };
        // Servers run in folders of their own: what they are told must hold there too.
        let path = std::path::absolute(&path)?;
        Ok(StateDir::new(path))
    }

    /// The cluster named, or the only one there is.
    pub(crate) fn cluster_dir(&self) -> anyhow::Result<ClusterDir> {
        let state = self.state_dir()?;
        let names = state.clusters()?;
        let listed = || names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", ");
        let name = match (&self.common.cluster, names.as_slice()) {
            (Some(name), all) if all.contains(name) => name,
            (Some(name), _) => {
                let hint = if names.is_empty() {
                    format!("`{} up FILE` makes one", called())
                } else {
                    format!("there are: {}", listed())
                };
                return Err(Failure::new(Kind::Usage, format!("there is no cluster `{name}`"), hint).into());
            }
            (None, [only]) => only,
            (None, []) => {
                let what = format!("there is no cluster in {}", state.path().display());
                let hint = format!("`{} up FILE` makes one; --state-dir looks elsewhere", called());
                return Err(Failure::new(Kind::Usage, what, hint).into());
            }
            (None, _) => {
                let hint = format!("say --cluster with one of: {}", listed());
                return Err(Failure::new(Kind::Usage, "there is more than one cluster", hint).into());
            }
        };
        Ok(state.cluster(name))
    }
}

fn data_home() -> anyhow::Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || from("HOME").map(|home| home.join(".local/share"));
    from("XDG_DATA_HOME").or_else(home).ok_or_else(|| {
        Failure::new(
            Kind::Usage,
            "neither XDG_DATA_HOME nor HOME is set",
            "say where to keep state with --state-dir",
        )
        .into()
    })
}

impl Platform for LocalPlatform {
    fn cluster(&self) -> Boxed<'_, Box<dyn ClusterTarget>> {
        Box::pin(async {
            let (dir, state) = (self.cluster_dir()?, self.state_dir()?);
            Ok(Box::new(LocalTarget { dir, state }) as Box<dyn ClusterTarget>)
        })
    }

    fn manifest<'a>(&'a self, file: &'a Path, loss: AcceptLoss) -> Boxed<'a, Box<dyn Wanted>> {
        Box::pin(
            async move { Ok(Box::new(LocalWanted::read(self, file.to_owned(), loss)?) as Box<dyn Wanted>) },
        )
    }

    fn local(&self, _: LocalOnly) -> Result<&LocalPlatform, Failure> {
        Ok(self)
    }
}

/// A cluster on this machine.
struct LocalTarget {
    dir: ClusterDir,
    state: StateDir,
}

impl LocalTarget {
    fn log(&self) -> EventLog {
        EventLog::new(self.dir.clone())
    }
}

impl ClusterTarget for LocalTarget {
    fn name(&self) -> &ClusterName {
        self.dir.name()
    }

    fn status(&self) -> Boxed<'_, Status> {
        Box::pin(status::status(&self.dir))
    }

    fn watch_status(&self) -> Box<dyn Feed<Status>> {
        Box::new(status::Looks::new(self.dir.clone(), WATCH_EVERY))
    }

    /// The supervisor itself withdraws what nobody waits for any more: an interrupt just ends this program.
    fn request<'a>(&'a self, request: Request, within: Duration, _: Interrupts<'a>) -> Boxed<'a, ()> {
        Box::pin(supervisor::request(&self.dir, request, within))
    }

    fn members(&self) -> Boxed<'_, Members> {
        Box::pin(async {
            let Some(layout) = self.dir.layout()? else { return Ok(Members::Some(BTreeMap::new())) };
            let shards = layout.instances.iter().map(|(name, one)| (name.clone(), one.shard.clone()));
            Ok(Members::All(shards.collect()))
        })
    }

    fn events(&self) -> Boxed<'_, Vec<Event>> {
        Box::pin(async { Ok(self.log().read()?.into_iter().map(event).collect()) })
    }

    fn follow_events(&self) -> Boxed<'_, EventsFollowed> {
        Box::pin(async {
            let kept = self.events().await?;
            let shown = kept.last().map(|last| last.at);
            Ok(EventsFollowed { kept, news: Box::new(EventsAfter { log: self.log(), shown }) })
        })
    }

    fn logs<'a>(
        &'a self,
        instance: &'a InstanceName,
        part: LogPart,
    ) -> Boxed<'a, Box<dyn Feed<Option<Vec<u8>>>>> {
        Box::pin(async move {
            Ok(Box::new(LogFile::open(&self.dir, instance, part)?) as Box<dyn Feed<Option<Vec<u8>>>>)
        })
    }

    fn connection(&self) -> Boxed<'_, Connection> {
        Box::pin(async {
            let seeds = self.dir.server_addresses()?.values().map(ToString::to_string).collect();
            if self.dir.supervisor().is_none() && self.dir.running_servers()?.is_empty() {
                eprintln!("note: cluster {} is down: `{} up FILE` starts it", self.dir.name(), called());
            }
            let password = PasswordPlace::File { password_file: self.dir.password_path() };
            let sentinels = self.dir.sentinel_addresses()?;
            let by_role = self.dir.client_ports()?.map(|ports| ByRole {
                primary: ports.primary.to_string(),
                replica: ports.replica.to_string(),
                any: ports.any.to_string(),
                sentinels: sentinels.values().map(ToString::to_string).collect(),
                sentinel_name: self.dir.name().to_string(),
            });
            Ok(Connection { service: None, seeds, by_role, username: "default", password })
        })
    }

    fn converse<'a>(&'a self, asked: Asked<'a>) -> Boxed<'a, ()> {
        Box::pin(async move {
            let names: BTreeMap<Endpoint, String> = self
                .dir
                .server_addresses()?
                .iter()
                .map(|(name, address)| (address.into(), name.to_string()))
                .collect();
            if names.is_empty() {
                let what = format!("cluster {} has no addresses yet", self.dir.name());
                let hint = format!("`{} up FILE` starts it", called());
                return Err(Failure::new(Kind::Failed, what, hint).into());
            }
            let words: Vec<&[u8]> = asked.command.iter().map(|word| word.as_encoded_bytes()).collect();
            let seeds = names.keys().cloned().collect();
            let client = valkeeper_client::ClusterClient::new(seeds, Some(self.dir.password()?));
            let talk = Talk {
                cluster: self.dir.name().clone(),
                to: To::of(asked.to, &client, &names, asked.within).await?,
                client,
                names,
                within: asked.within,
                manner: asked.manner,
                history: Some(self.state.path().join(".cli_history")),
            };
            talk.converse(&words).await
        })
    }

    fn weigh<'a>(&'a self, asked: &'a ToWeigh) -> Boxed<'a, Vec<ShardWeighed>> {
        Box::pin(async { Ok(weighing::weigh(asked, &self.dir.password()?).await) })
    }

    fn drill_status(&self) -> Boxed<'_, Status> {
        self.status()
    }

    fn drill_looks_every(&self) -> Duration {
        DRILL_LOOKS_EVERY
    }

    fn refuse_unattended<'a>(&'a self, status: &'a Status) -> Boxed<'a, ()> {
        Box::pin(async {
            if status.supervisor_pid.is_some() {
                return Ok(());
            }
            let what = format!("no supervisor looks after cluster {}", status.cluster);
            let hint = format!("`{} up FILE --detach` starts one", called());
            Err(Failure::new(Kind::Failed, what, hint).into())
        })
    }

    fn writers<'a>(&'a self, _: &'a Status, saturate: bool) -> Boxed<'a, Box<dyn Writers>> {
        Box::pin(async move {
            // Without slots as an application does it, through the port that follows the primary.
            let seeds: Vec<Endpoint> = match self.dir.client_ports()? {
                Some(ports) => vec![ports.primary.into()],
                None => self.dir.server_addresses()?.values().map(Endpoint::from).collect(),
            };
            let load = LoadHere::start(seeds, self.dir.password()?, saturate).await?;
            Ok(Box::new(load) as Box<dyn Writers>)
        })
    }

    fn aim<'a>(&'a self, _: &'a InstanceName, pid: u32) -> Boxed<'a, Trigger> {
        let trigger: Trigger = Box::new(move || Box::pin(std::future::ready(kill(pid))));
        Box::pin(std::future::ready(Ok(trigger)))
    }

    fn writes_held_ms(&self, since: jiff::Timestamp) -> anyhow::Result<Option<u64>> {
        let lines = self.log().read()?;
        let told =
            lines.iter().rev().take_while(|line| line.at >= since).find_map(|line| match &line.happened {
                Happened::SwitchedOver { paused_ms, .. } => Some(*paused_ms),
                _ => None,
            });
        Ok(told)
    }
}
