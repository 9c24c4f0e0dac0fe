//! Which cluster a command is about, and the way to its supervisor.

use crate::args::Common;
use crate::called::called;
use crate::failure::{Failure, Kind};
use std::path::PathBuf;
use std::time::Duration;
use valkeeper_local::{
    ClusterDir, Control, ControlAnswer, ControlError, ControlRequest, Keeper, StateDir, StateError,
};
use valkeeper_model::{ClusterName, Refusal, Request};

/// A supervisor tells how it is within this.
pub(crate) const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Where clusters are kept: as told, or in the user's data folder.
pub(crate) fn state_dir(common: &Common) -> anyhow::Result<StateDir> {
    let path = match &common.state_dir {
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
pub(crate) fn cluster(common: &Common) -> anyhow::Result<ClusterDir> {
    let state = state_dir(common)?;
    let names = state.clusters()?;
    let listed = || names.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", ");
    let name = match (&common.cluster, names.as_slice()) {
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
            return Err(Failure::new(
                Kind::Usage,
                what,
                format!("`{} up FILE` makes one; --state-dir looks elsewhere", called()),
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

/// A manifest is of one cluster: it must not change another than the one that was named.
pub(crate) fn refuse_another(common: &Common, manifests: &ClusterName) -> Result<(), Failure> {
    match common.cluster.as_ref().filter(|named| *named != manifests) {
        None => Ok(()),
        Some(named) => {
            let what = format!("the manifest is of cluster `{manifests}`, not of `{named}`");
            Err(Failure::new(Kind::Usage, what, "leave --cluster out, or give the manifest of that cluster"))
        }
    }
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

/// Somebody supervises the cluster already: who answers can be told to end, who does not cannot.
pub(crate) async fn supervised(dir: &ClusterDir, by: Keeper) -> Failure {
    let seen = Control::new(dir.clone()).ask(&ControlRequest::Status, LOOK_WITHIN).await;
    match seen.map_err(|error| silent(dir, error)) {
        Err(error @ ControlError::Silent { .. }) => control_failure(&error),
        _ => Failure::new(
            Kind::Unsafe,
            StateError::Supervised { by }.to_string(),
            format!("`{0} status` shows it, `{0} down` ends it", called()),
        ),
    }
}

/// A supervisor that has not even told how it is does not answer at all.
pub(crate) fn silent(dir: &ClusterDir, error: ControlError) -> ControlError {
    match (error, dir.supervisor()) {
        (ControlError::Timeout, Some(keeper)) => ControlError::Silent { keeper, path: dir.socket_path() },
        (error, _) => error,
    }
}

/// A supervisor that cannot be asked.
pub(crate) fn control_failure(error: &ControlError) -> Failure {
    let what = error.to_string();
    match error {
        ControlError::NoSupervisor => {
            Failure::new(Kind::Failed, what, format!("`{} up FILE` starts one", called()))
        }
        ControlError::Silent { keeper, .. } => {
            let end =
                keeper.pid.map_or_else(|| "end it".to_owned(), |pid| format!("end it with `kill {pid}`"));
            let hint = format!(
                "{end}, with -9 if it does not end; then `{} up FILE --detach` takes its servers over",
                called()
            );
            Failure::new(Kind::TimedOut, what, hint)
        }
        ControlError::Timeout => Failure::new(
            Kind::TimedOut,
            what,
            format!("what was asked may still happen: see `{0} status` and `{0} events`", called()),
        ),
        ControlError::Lost(_) => Failure::new(Kind::Failed, what, format!("see `{} status`", called())),
    }
}
