//! The way to a cluster's supervisor.

use crate::called::called;
use crate::failure::{Failure, Kind};
use std::time::Duration;
use valkeeper_local::{ClusterDir, Control, ControlAnswer, ControlError, ControlRequest, Keeper, StateError};
use valkeeper_model::{Refusal, Request};

/// A supervisor tells how it is within this.
pub(crate) const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Asks the supervisor to do something and waits for the end of it.
pub(super) async fn request(dir: &ClusterDir, request: Request, within: Duration) -> anyhow::Result<()> {
    answer(dir, request, within).await?.map_err(|refusal| Failure::from(refusal).into())
}

/// The same, with why it is refused as a type.
pub(super) async fn answer(
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
