//! The same commands for a cluster on Kubernetes.

mod connect;
mod manifest;

pub(crate) mod status;

mod read;

use crate::args::{Args, Command};
use crate::called::called;
use crate::command::{REQUEST_WITHIN, done, drill};
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use crate::target::in_pod;
use valkeeper_kube::remote::{Reach, ReachOptions, Remote};

/// Does what the command says; `false` if it is about no cluster.
pub(crate) async fn run(args: &Args, ending: &mut Ending) -> anyhow::Result<bool> {
    match &args.command {
        Command::Up(_) => {
            let hint = format!("`{} apply -f FILE --wait`, or kubectl apply, makes one", called());
            return Err(not_here("up", &hint).into());
        }
        Command::Down(_) => {
            let hint = format!(
                "`{} fence INSTANCE` stops one server; `kubectl delete rediscluster NAME` removes the cluster, and its volumes \
                 are kept unless the manifest says otherwise",
                called()
            );
            return Err(not_here("down", &hint).into());
        }
        Command::Delete { .. } => {
            let hint = "`kubectl delete rediscluster NAME` does; its volumes are kept unless the manifest says otherwise";
            return Err(not_here("delete", hint).into());
        }
        Command::Status { watch, output } => {
            status::status(&cluster(args).await?, *watch, output.format, ending).await?;
        }
        Command::Plan { manifest, zones, output } => {
            manifest::plan(args, manifest.path(), zones, output.format).await?;
        }
        Command::Apply { manifest, wait, within } => {
            manifest::apply(args, manifest.path(), *wait, *within).await?;
        }
        Command::Events { follow, only, output } => {
            read::events(&cluster(args).await?, *follow, only, output.format).await?;
        }
        Command::Logs { instance, follow, lines } => {
            refuse_number_of_lines(args)?;
            read::logs(&cluster(args).await?, instance, *follow, *lines).await?;
        }
        Command::Connect { output } => connect::connect(&cluster(args).await?, output.format).await?,
        Command::Cli { command, to, timeout, output } => {
            in_pod::cli(&cluster(args).await?, command, to, *timeout, output.format).await?;
        }
        Command::Drill(event) => drill::on_kubernetes(cluster(args).await?, event, ending).await?,
        command => {
            let Some(request) = command.request() else { return Ok(false) };
            let remote = cluster(args).await?;
            let before = status::seen(&remote).await?;
            remote.ask(&request, REQUEST_WITHIN, ending.told()?).await.map_err(Failure::from)?;
            let after = status::seen(&remote).await?;
            eprintln!("{}", done::told(&request, &before, &after));
        }
    }
    Ok(true)
}

/// The namespace that is meant.
async fn reach(args: &Args) -> Result<Reach, Failure> {
    let options = ReachOptions {
        namespace: args.common.kubernetes.namespace.clone(),
        context: args.common.kubernetes.context.clone(),
        kubeconfig: args.common.kubernetes.kubeconfig.clone(),
    };
    Ok(Reach::new(options).await?)
}

/// The cluster that is meant.
async fn cluster(args: &Args) -> Result<Remote, Failure> {
    Ok(reach(args).await?.cluster(args.common.cluster.as_ref()).await?)
}

/// `-n` is the namespace here as everywhere; whoever means lines as `tail` takes them must not be led to another namespace.
fn refuse_number_of_lines(args: &Args) -> Result<(), Failure> {
    let namespace = args.common.kubernetes.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() || !namespace.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    let what = format!("`-n {namespace}` names a namespace");
    Err(Failure::new(Kind::Usage, what, format!("--lines {namespace} shows so many lines")))
}

fn not_here(command: &str, hint: &str) -> Failure {
    Failure::new(Kind::Usage, format!("there is no `{command}` on Kubernetes"), hint)
}
