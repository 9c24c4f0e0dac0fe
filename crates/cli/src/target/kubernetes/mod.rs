//! Clusters on Kubernetes: what the API server says of them, with the user's own permissions. What has to be done where the servers
//! are is done by `in_pod`.

mod connection;
mod events;
mod failure;
mod manifest;
mod recipients;
mod status;

use super::in_pod;
use super::local::LocalPlatform;
use super::{
    ClusterTarget, EventsFollowed, Feed, Interrupts, LocalOnly, LogPart, Members, Platform, Trigger, Wanted,
};
use crate::args::{AcceptLoss, Args, Command, Common};
use crate::boxed::Boxed;
use crate::called::called;
use crate::conversation::Asked;
use crate::document::connection::Connection;
use crate::document::event::Event;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::load::Writers;
use crate::weighing::{ShardWeighed, ToWeigh};
use events::{News, event};
use manifest::KubernetesWanted;
use status::{StatusWatch, seen};
use std::path::Path;
use std::time::Duration;
use valkeeper_kube::remote::{AskError, Lead, LogRead, Reach, ReachOptions, Remote};
use valkeeper_model::{ClusterName, InstanceName, Request};

/// Between looks of a drill: the operator writes the status no more often.
const DRILL_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// A Kubernetes.
pub(crate) struct KubernetesPlatform {
    common: Common,
}

impl KubernetesPlatform {
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        if let Command::Logs { .. } = args.command {
            refuse_number_of_lines(&args.common)?;
        }
        Ok(Self { common: args.common.clone() })
    }

    /// The namespace that is meant.
    async fn reach(&self) -> Result<Reach, Failure> {
        let asked = &self.common.kubernetes;
        let options = ReachOptions {
            namespace: asked.namespace.clone(),
            context: asked.context.clone(),
            kubeconfig: asked.kubeconfig.clone(),
        };
        Ok(Reach::new(options).await?)
    }
}

/// `-n` is the namespace here as everywhere; whoever means lines as `tail` takes them must not be led to another namespace.
fn refuse_number_of_lines(common: &Common) -> Result<(), Failure> {
    let namespace = common.kubernetes.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() || !namespace.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let what = format!("`-n {namespace}` names a namespace");
    Err(Failure::new(Kind::Usage, what, format!("--lines {namespace} shows so many lines")))
}

/// What is not done there, and what is instead.
fn not_here(command: LocalOnly) -> Failure {
    let (command, hint) = match command {
        LocalOnly::Up => ("up", format!("`{} apply -f FILE --wait`, or kubectl apply, makes one", called())),
        LocalOnly::Down => (
            "down",
            format!(
                "`{} fence INSTANCE` stops one server; `kubectl delete rediscluster NAME` removes the cluster, and its volumes \
                 are kept unless the manifest says otherwise",
                called()
            ),
        ),
        LocalOnly::Delete => (
            "delete",
            "`kubectl delete rediscluster NAME` does; its volumes are kept unless the manifest says otherwise"
                .to_owned(),
        ),
        LocalOnly::Secret => (
            "secret",
            "kubectl create secret generic NAME --from-file=password=FILE".to_owned(),
        ),
        LocalOnly::Servers => {
            ("servers", "imageName in the manifest names the image of the servers".to_owned())
        }
        LocalOnly::DrillCreate => {
            ("drill create", format!("`{} apply -f FILE --wait` makes a cluster", called()))
        }
        LocalOnly::SwitchRegion => (
            "switch-region",
            format!("stop the writers, and `{} promote` the copy once its lag is 0", called()),
        ),
        LocalOnly::DrillChange => (
            "drill upgrade|scale|config",
            format!("`{} apply -f FILE --wait` changes a cluster", called()),
        ),
        LocalOnly::DrillPromote => {
            ("drill promote", format!("`{} promote` promotes a cluster that follows another", called()))
        }
    };
    Failure::new(Kind::Usage, format!("there is no `{command}` on Kubernetes"), hint)
}

impl Platform for KubernetesPlatform {
    fn cluster(&self) -> Boxed<'_, Box<dyn ClusterTarget>> {
        Box::pin(async {
            let reach = self.reach().await?;
            let remote = reach.cluster(self.common.cluster.as_ref()).await.map_err(Failure::from)?;
            Ok(Box::new(KubernetesTarget { remote }) as Box<dyn ClusterTarget>)
        })
    }

    /// A cluster on Kubernetes follows none yet, so that there is no loss to accept.
    fn manifest<'a>(&'a self, file: &'a Path, _: AcceptLoss) -> Boxed<'a, Box<dyn Wanted>> {
        Box::pin(async {
            Ok(Box::new(KubernetesWanted::read(self, file.to_owned()).await?) as Box<dyn Wanted>)
        })
    }

    fn local(&self, command: LocalOnly) -> Result<&LocalPlatform, Failure> {
        Err(not_here(command))
    }
}

/// A cluster on Kubernetes.
struct KubernetesTarget {
    remote: Remote,
}

impl KubernetesTarget {
    /// What the spec has to hold is written into it; all else is a request of its own.
    async fn ask(
        &self,
        request: &Request,
        within: Duration,
        ended: impl Future<Output = ()>,
    ) -> Result<(), AskError> {
        match request {
            Request::Promote => self.remote.promote(within, ended).await,
            request => self.remote.ask(request, within, ended).await,
        }
    }
}

impl ClusterTarget for KubernetesTarget {
    fn name(&self) -> &ClusterName {
        self.remote.name()
    }

    fn status(&self) -> Boxed<'_, Status> {
        Box::pin(seen(&self.remote))
    }

    fn watch_status(&self) -> Box<dyn Feed<Status>> {
        Box::new(StatusWatch::new(self.remote.clone()))
    }

    fn request<'a>(
        &'a self,
        request: Request,
        within: Duration,
        interrupts: Interrupts<'a>,
    ) -> Boxed<'a, ()> {
        Box::pin(async move {
            let asked = match interrupts {
                Interrupts::Target(ending) => self.ask(&request, within, ending.told()?).await,
                Interrupts::Caller => self.ask(&request, within, std::future::pending()).await,
            };
            Ok(asked.map_err(Failure::from)?)
        })
    }

    fn members(&self) -> Boxed<'_, Members> {
        Box::pin(async {
            let object = self.remote.object().await.map_err(Failure::from)?;
            let instances = object.status.iter().flat_map(|status| &status.instances_status);
            let shards = instances.map(|(name, instance)| (name.clone(), instance.shard.clone()));
            Ok(Members::Some(shards.collect()))
        })
    }

    fn events(&self) -> Boxed<'_, Vec<Event>> {
        Box::pin(async {
            let kept = self.remote.events().await.map_err(Failure::from)?;
            Ok(kept.into_iter().map(event).collect())
        })
    }

    fn follow_events(&self) -> Boxed<'_, EventsFollowed> {
        Box::pin(async {
            let news = Box::new(News(self.remote.follow_events().await.map_err(Failure::from)?));
            Ok(EventsFollowed { kept: Vec::new(), news })
        })
    }

    fn logs<'a>(
        &'a self,
        instance: &'a InstanceName,
        part: LogPart,
    ) -> Boxed<'a, Box<dyn Feed<Option<Vec<u8>>>>> {
        Box::pin(async move {
            let log = self.remote.logs(instance, part.follow, part.lines).await.map_err(Failure::from)?;
            Ok(Box::new(log) as Box<dyn Feed<Option<Vec<u8>>>>)
        })
    }

    fn connection(&self) -> Boxed<'_, Connection> {
        Box::pin(connection::connection(&self.remote))
    }

    fn converse<'a>(&'a self, asked: Asked<'a>) -> Boxed<'a, ()> {
        Box::pin(async move {
            let to = recipients::recipients(&self.remote, asked.to).await?;
            in_pod::converse(&self.remote, asked, to).await
        })
    }

    fn weigh<'a>(&'a self, asked: &'a ToWeigh) -> Boxed<'a, Vec<ShardWeighed>> {
        Box::pin(in_pod::weigh(&self.remote, asked))
    }

    fn drill_status(&self) -> Boxed<'_, Status> {
        Box::pin(async {
            let object = self.remote.object().await.map_err(Failure::from)?;
            Ok(status::of(self.remote.name(), &object, &Lead::Unknown))
        })
    }

    fn drill_looks_every(&self) -> Duration {
        DRILL_LOOKS_EVERY
    }

    fn refuse_unattended<'a>(&'a self, _: &'a Status) -> Boxed<'a, ()> {
        Box::pin(async {
            match self.remote.reach().lead().await.map_err(Failure::from)? {
                Lead::Nobody { .. } => {
                    let what = format!("no operator looks after cluster {}", self.remote.name());
                    let hint = format!("`{} status` says since when", called());
                    Err(Failure::new(Kind::Failed, what, hint).into())
                }
                Lead::Operator { .. } | Lead::Unknown => Ok(()),
            }
        })
    }

    fn writers<'a>(&'a self, status: &'a Status, saturate: bool) -> Boxed<'a, Box<dyn Writers>> {
        Box::pin(in_pod::writers(&self.remote, status, saturate))
    }

    fn aim<'a>(&'a self, instance: &'a InstanceName, pid: u32) -> Boxed<'a, Trigger> {
        Box::pin(in_pod::aim(&self.remote, instance, pid))
    }

    /// It is told in words alone.
    fn writes_held_ms(&self, _: jiff::Timestamp) -> anyhow::Result<Option<u64>> {
        Ok(None)
    }
}

impl Feed<Option<Vec<u8>>> for LogRead {
    fn next(&mut self) -> Boxed<'_, Option<Vec<u8>>> {
        Box::pin(async { Ok(LogRead::next(self).await.map_err(Failure::from)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_on_this_machine_alone_has_a_hint() {
        for (command, name, instead) in [
            (LocalOnly::Up, "up", "apply -f FILE --wait"),
            (LocalOnly::Down, "down", "fence INSTANCE"),
            (LocalOnly::Delete, "delete", "kubectl delete rediscluster NAME"),
            (LocalOnly::Secret, "secret", "kubectl create secret"),
            (LocalOnly::Servers, "servers", "imageName"),
            (LocalOnly::DrillCreate, "drill create", "apply -f FILE --wait"),
            (LocalOnly::DrillPromote, "drill promote", "promote"),
            (LocalOnly::DrillChange, "drill upgrade|scale|config", "apply -f FILE --wait"),
            (LocalOnly::SwitchRegion, "switch-region", "promote"),
        ] {
            let failure = not_here(command);
            assert_eq!(failure.kind, Kind::Usage);
            assert_eq!(failure.what, format!("there is no `{name}` on Kubernetes"));
            assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains(instead)), "{failure:?}");
        }
    }

    #[test]
    fn a_number_of_lines_is_no_namespace() {
        let platform = |line: &[&str]| {
            KubernetesPlatform::new(&<Args as clap::Parser>::try_parse_from(line).unwrap()).map(drop)
        };
        let refused = platform(&["valkeeper", "logs", "demo-0", "-n", "5"]).unwrap_err();
        assert_eq!(refused.hint.as_deref(), Some("--lines 5 shows so many lines"));
        assert!(platform(&["valkeeper", "logs", "demo-0", "-n", "shop"]).is_ok());
        assert!(platform(&["valkeeper", "status", "-n", "5"]).is_ok());
    }
}
