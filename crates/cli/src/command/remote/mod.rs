//! The same commands for a cluster on Kubernetes.

mod apply;
mod connect;
pub(super) mod inside;
pub(super) mod look;
mod pipe;
mod read;

use super::{REQUEST_WITHIN, drill};
use crate::args::{Args, Command};
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use std::time::Duration;
use valkeeper_kube::remote::{Reach, ReachOptions, Remote};

/// Does what the command says; `false` if it is about no cluster.
pub(super) async fn run(args: &Args, ending: &mut Ending) -> anyhow::Result<bool> {
    match &args.command {
        Command::Up(_) => {
            return Err(
                not_here("up", "`valkeeper apply -f FILE --wait`, or kubectl apply, makes one").into()
            );
        }
        Command::Down(_) => {
            let hint = "`valkeeper fence INSTANCE` stops one server; `kubectl delete rediscluster NAME` removes the cluster, \
                        and its volumes are kept unless the manifest says otherwise";
            return Err(not_here("down", hint).into());
        }
        Command::Delete { .. } => {
            let hint = "`kubectl delete rediscluster NAME` does; its volumes are kept unless the manifest says otherwise";
            return Err(not_here("delete", hint).into());
        }
        Command::Status { watch, output } => {
            look::status(&cluster(args).await?, *watch, output.format).await?;
        }
        Command::Plan { file, zones, output } => apply::plan(args, file, zones, output.format).await?,
        Command::Apply { file, wait, within } => apply::apply(args, file, *wait, *within).await?,
        Command::Events { follow, output } => {
            read::events(&cluster(args).await?, *follow, output.format).await?;
        }
        Command::Logs { instance, follow, lines } => {
            read::logs(&cluster(args).await?, instance, *follow, *lines).await?;
        }
        Command::Connect { output } => connect::connect(&cluster(args).await?, output.format).await?,
        Command::Cli { command, timeout, output } => {
            let within = Duration::from_secs(*timeout);
            inside::cli(&cluster(args).await?, command, within, output.format).await?;
        }
        Command::Drill(event) => drill::on_kubernetes(cluster(args).await?, event, ending).await?,
        command => {
            let Some(request) = command.request() else { return Ok(false) };
            let remote = cluster(args).await?;
            remote.ask(&request, REQUEST_WITHIN, ending.told()?).await.map_err(Failure::from)?;
        }
    }
    Ok(true)
}

/// The namespace that is meant.
async fn reach(args: &Args) -> Result<Reach, Failure> {
    let options = ReachOptions {
        namespace: args.kubernetes.namespace.clone(),
        context: args.kubernetes.context.clone(),
        kubeconfig: args.kubernetes.kubeconfig.clone(),
    };
    Ok(Reach::new(options).await?)
}

/// The cluster that is meant.
async fn cluster(args: &Args) -> Result<Remote, Failure> {
    Ok(reach(args).await?.cluster(args.cluster.as_ref()).await?)
}

fn not_here(command: &str, hint: &str) -> Failure {
    Failure::new(Kind::Usage, format!("there is no `{command}` on Kubernetes"), hint)
}
