//! What can go wrong between a user and the API server, in words that say what to do.

use kube::runtime::watcher;

/// Why something could not be had of Kubernetes.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nothing says where Kubernetes is, or what does cannot be used.
    #[error("Kubernetes cannot be found: {0}")]
    Config(String),
    /// The API server does not answer.
    #[error("the API server {server} cannot be reached: {why}")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        why: String,
    },
    /// It does not know the user.
    #[error("the API server does not accept who you are: {0}")]
    Unauthorized(String),
    /// The user may not do that.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// Our kinds are not defined there.
    #[error("Valkeeper is not installed in this Kubernetes: it does not know the kind RedisCluster")]
    NotInstalled,
    /// No cluster of that name.
    #[error("there is no RedisCluster `{name}` in namespace {namespace}")]
    NoCluster {
        /// The name given.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// Those that there are.
        others: Vec<String>,
    },
    /// No cluster at all.
    #[error("there is no RedisCluster in namespace {namespace}")]
    NoClusters {
        /// Where they were looked for.
        namespace: String,
    },
    /// More than one, and none was named.
    #[error("there is more than one RedisCluster in namespace {namespace}")]
    Several {
        /// Where they were looked for.
        namespace: String,
        /// Their names.
        names: Vec<String>,
    },
    /// No such instance.
    #[error("there is no instance `{0}`, or it has no pod now")]
    NoPod(String),
    /// No pod in which anything could be run.
    #[error("no pod of cluster {0} runs")]
    NothingRuns(String),
    /// Another tool has set fields that are to be set.
    #[error("{0}")]
    Conflict(String),
    /// The object is refused: by its definition, or by a webhook.
    #[error("{0}")]
    Invalid(String),
    /// A program in a pod could not be run.
    #[error("{pod}: {why}")]
    Exec {
        /// Where.
        pod: String,
        /// Why.
        why: String,
    },
    /// Something else.
    #[error("Kubernetes: {0}")]
    Other(String),
}

impl RemoteError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Config(_) => {
                "name a file with --kubeconfig or KUBECONFIG, and what is meant in it with --context".to_owned()
            }
            Self::Unreachable { .. } => {
                "does it run, and is it the one you mean? `kubectl config get-contexts` lists them, --context chooses one"
                    .to_owned()
            }
            Self::Unauthorized(_) => "log in again, or choose another user with --context".to_owned(),
            Self::Forbidden(_) => {
                "ask who may grant it; `kubectl auth can-i --list -n NAMESPACE` shows what you may do, and -N looks in \
                 another namespace"
                    .to_owned()
            }
            Self::NotInstalled => {
                "`valkeeper kube crds | kubectl apply --server-side -f -` installs it".to_owned()
            }
            Self::NoCluster { others, .. } if others.is_empty() => {
                "`valkeeper apply -f FILE` makes one; -N looks in another namespace".to_owned()
            }
            Self::NoCluster { others, .. } => format!("there are: {}", others.join(", ")),
            Self::NoClusters { .. } => {
                "`valkeeper apply -f FILE` makes one; -N looks in another namespace".to_owned()
            }
            Self::Several { names, .. } => format!("say --cluster with one of: {}", names.join(", ")),
            Self::NoPod(_) => "`valkeeper status` lists them".to_owned(),
            Self::NothingRuns(_) => "`valkeeper status` says why".to_owned(),
            Self::Conflict(_) => {
                "change them with the tool that has set them, or `kubectl apply --server-side --force-conflicts`".to_owned()
            }
            Self::Exec { .. } => "is its agent of an older version? `valkeeper status` shows the cluster".to_owned(),
            Self::Invalid(_) | Self::Other(_) => return None,
        })
    }

    /// Is it the command that is wrong, and not the world?
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::NoCluster { .. }
                | Self::NoClusters { .. }
                | Self::Several { .. }
                | Self::NoPod(_)
                | Self::Invalid(_)
        )
    }

    /// Is it worth trying again? An API server that is started anew is back in a moment; a permission is not.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Other(_))
    }

    pub(crate) fn of(server: &str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status),
            kube::Error::Auth(error) => Self::Unauthorized(error.to_string()),
            kube::Error::Service(error) => Self::unreachable(server, error.as_ref()),
            kube::Error::HyperError(error) => Self::unreachable(server, &error),
            other => Self::Other(other.to_string()),
        }
    }

    pub(crate) fn of_watch(server: &str, error: watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::of(server, error),
            watcher::Error::WatchError(status) => Self::of_status(&status),
            other @ watcher::Error::NoResourceVersion => Self::Other(other.to_string()),
        }
    }

    fn of_status(status: &kube::core::Status) -> Self {
        let message = status.message.clone();
        match status.code {
            401 => Self::Unauthorized(message),
            403 if message.starts_with("admission webhook") => Self::Invalid(message),
            403 => Self::Forbidden(message),
            // A path that is not there is answered by the router, in plain text; an object that is not there, with its name.
            404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => {
                Self::NotInstalled
            }
            409 => Self::Conflict(message),
            422 => Self::Invalid(message),
            _ => Self::Other(if message.is_empty() { status.reason.clone() } else { message }),
        }
    }

    fn unreachable(server: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        // The innermost cause says it: those around it say that it was about a connection.
        let mut cause = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Unreachable { server: server.to_owned(), why: cause.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    fn said(status: Status) -> RemoteError {
        RemoteError::of("https://a", kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_kind_that_is_not_defined_is_told_from_an_object_that_is_not_there() {
        let router = Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        assert!(matches!(said(router), RemoteError::NotInstalled));
        let details: StatusDetails =
            serde_json::from_value(serde_json::json!({ "name": "demo", "kind": "redisclusters" })).unwrap();
        let object = Status::failure("\"demo\" not found", "NotFound").with_code(404).with_details(details);
        assert!(matches!(said(object), RemoteError::Other(_)));
    }

    #[test]
    fn what_the_api_server_says_is_said() {
        let error = said(Status::failure("pods is forbidden: User \"a\"", "Forbidden").with_code(403));
        assert_eq!(error.to_string(), "not allowed: pods is forbidden: User \"a\"");
        assert!(!error.passes() && !error.is_usage() && error.hint().is_some());
    }

    #[test]
    fn the_innermost_cause_of_a_broken_connection_is_told() {
        let refused = std::io::Error::other(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let error = RemoteError::of("https://a:1", kube::Error::Service(Box::new(refused)));
        assert_eq!(error.to_string(), "the API server https://a:1 cannot be reached: connection refused");
        assert!(error.passes());
    }
}
