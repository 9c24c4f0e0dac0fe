//! How what failed on the way to Kubernetes is told.

use crate::called::called;
use crate::failure::{Failure, Kind};
use valkeeper_kube::remote::{AskError, RemoteError};

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let kind = if error.is_usage() { Kind::Usage } else { Kind::Failed };
        Self { kind, what: error.to_string(), hint: error.hint(called()) }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let (kind, hint) = match error {
            AskError::Refused(refusal) => return refusal.into(),
            AskError::Remote(error) => return error.into(),
            AskError::NotFollowed(_) => {
                return Self { kind: Kind::Unsafe, what: error.to_string(), hint: None };
            }
            AskError::NobodyLeads { .. } => (
                Kind::Failed,
                "nothing was done; `kubectl get pods -A -l app.kubernetes.io/name=valkeeper-operator` shows why".to_owned(),
            ),
            AskError::TimedOut(_) => (
                Kind::TimedOut,
                format!("what was begun goes on: see `{0} status` and `{0} events`", called()),
            ),
            AskError::Interrupted | AskError::TakenAway => {
                (Kind::Failed, format!("what was begun goes on: see `{} status`", called()))
            }
        };
        Self::new(kind, error.to_string(), hint)
    }
}
