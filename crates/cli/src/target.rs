//! Which cluster a command is about, and the way to its supervisor.

use crate::args::Args;
use crate::failure::{Failure, Kind};
use std::path::PathBuf;
use std::time::Duration;
use valkeeper_local::{ClusterDir, Control, ControlAnswer, ControlError, ControlRequest, StateDir};
use valkeeper_model::{ClusterName, Refusal, Request};

/// Where clusters are kept: as told, or in the user's data folder.
pub(crate) fn state_dir(args: &Args) -> anyhow::Result<StateDir> {
    let path = match &args.state_dir {
        Some(path) => path.clone(),
        None => data_home()?.join("valkeeper"),
    };
    // Servers run in folders of their own: what they are told must hold there too.
    let path = std::path::absolute(&path)?;
    Ok(StateDir::new(path))
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

/// The cluster named, or the only one there is.
pub(crate) fn cluster(args: &Args) -> anyhow::Result<ClusterDir> {
    let state = state_dir(args)?;
    let names = state.clusters()?;
    let listed = || names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", ");
    let name = match (&args.cluster, names.as_slice()) {
        (Some(name), all) if all.contains(name) => name,
        (Some(name), _) => {
            let hint = if names.is_empty() {
                "`valkeeper up FILE` makes one".to_owned()
            } else {
                format!("there are: {}", listed())
            };
            return Err(Failure::new(Kind::Usage, format!("there is no cluster `{name}`"), hint).into());
        }
        (None, [only]) => only,
        (None, []) => {
            let what = format!("there is no cluster in {}", state.path().display());
            return Err(Failure::new(
                Kind::Usage,
                what,
                "`valkeeper up FILE` makes one; --state-dir looks elsewhere",
            )
            .into());
        }
        (None, _) => {
            return Err(Failure::new(
                Kind::Usage,
                "there is more than one cluster",
                format!("say --cluster with one of: {}", listed()),
            )
            .into());
        }
    };
    Ok(state.cluster(name))
}

/// Asks the supervisor to do something and waits for the end of it.
pub(crate) async fn request(dir: &ClusterDir, request: Request, within: Duration) -> anyhow::Result<()> {
    answer(dir, request, within).await?.map_err(|refusal| Failure::from(refusal).into())
}

/// The same, with why it is refused as a type.
pub(crate) async fn answer(
    dir: &ClusterDir,
    request: Request,
    within: Duration,
) -> anyhow::Result<Result<(), Refusal>> {
    match Control::new(dir.clone()).ask(&ControlRequest::Do(request), within).await {
        Ok(ControlAnswer::Refused(refusal)) => Ok(Err(refusal)),
        Ok(_) => Ok(Ok(())),
        Err(error) => Err(control_failure(&error).into()),
    }
}

/// A supervisor that cannot be asked.
pub(crate) fn control_failure(error: &ControlError) -> Failure {
    let what = error.to_string();
    match error {
        ControlError::NoSupervisor => Failure::new(Kind::Failed, what, "`valkeeper up FILE` starts one"),
        ControlError::Timeout => Failure::new(
            Kind::TimedOut,
            what,
            "what was asked may still happen: see `valkeeper status` and `valkeeper events`",
        ),
        ControlError::Lost(_) => Failure::new(Kind::Failed, what, "see `valkeeper status`"),
    }
}
