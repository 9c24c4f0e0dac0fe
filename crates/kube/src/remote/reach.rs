//! The way to the API server, and which cluster is meant.

use super::error::RemoteError;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::path::PathBuf;
use std::time::Duration;
use valkeeper_kube_api::RedisCluster;
use valkeeper_model::ClusterName;

/// An API server that takes longer to be connected to is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Which Kubernetes, and where in it; everything that is not said comes from the user's configuration, or the pod's.
#[derive(Debug, Clone, Default)]
pub struct ReachOptions {
    /// The namespace.
    pub namespace: Option<String>,
    /// The context in the configuration.
    pub context: Option<String>,
    /// The configuration's file.
    pub kubeconfig: Option<PathBuf>,
}

/// A namespace of a Kubernetes.
#[derive(Clone)]
pub struct Reach {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// Its address, for people.
    pub(super) server: String,
}

/// One cluster there.
#[derive(Clone)]
pub struct Remote {
    pub(super) reach: Reach,
    pub(super) name: ClusterName,
}

impl Reach {
    /// Finds the way; nothing is asked yet.
    pub async fn new(options: ReachOptions) -> Result<Self, RemoteError> {
        let wrong = |error: &dyn std::fmt::Display| RemoteError::Config(error.to_string());
        let mut config = if options.context.is_none() && options.kubeconfig.is_none() {
            match Config::infer().await {
                Ok(config) => config,
                // In no pod, that this is none is nothing to tell.
                Err(_) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() => {
                    let error = Kubeconfig::read().err();
                    return Err(RemoteError::Config(error.map_or_else(String::new, |error| told(&error))));
                }
                Err(error) => return Err(wrong(&error)),
            }
        } else {
            let file = match &options.kubeconfig {
                Some(path) => Kubeconfig::read_from(path)
                    .map_err(|error| RemoteError::Config(format!("{}: {}", path.display(), told(&error))))?,
                None => Kubeconfig::read().map_err(|error| RemoteError::Config(told(&error)))?,
            };
            let chosen = KubeConfigOptions { context: options.context, ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(file, &chosen)
                .await
                .map_err(|error| RemoteError::Config(told(&error)))?
        };
        config.connect_timeout = Some(CONNECT_WITHIN);
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = options.namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| wrong(&error))?;
        Ok(Self { client, namespace, server })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same Kubernetes, elsewhere in it.
    #[must_use]
    pub fn in_namespace(self, namespace: String) -> Self {
        Self { namespace, ..self }
    }

    /// That cluster, or the only one there is.
    pub async fn cluster(&self, named: Option<&ClusterName>) -> Result<Remote, RemoteError> {
        let clusters = self.clusters();
        if let Some(name) = named
            && clusters.get_opt(name.as_str()).await.map_err(|error| self.failed(error))?.is_some()
        {
            return Ok(self.remote(name.clone()));
        }
        let all = clusters.list(&ListParams::default()).await.map_err(|error| self.failed(error))?;
        let all: Vec<String> = all.items.iter().map(kube::ResourceExt::name_any).collect();
        let name = choose(named, all, &self.namespace)?;
        Ok(self.remote(name.parse().map_err(|error| RemoteError::Other(format!("{name}: {error}")))?))
    }

    /// A cluster of that name, whether it exists or not.
    pub fn remote(&self, name: ClusterName) -> Remote {
        Remote { reach: self.clone(), name }
    }

    pub(super) fn clusters(&self) -> Api<RedisCluster> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn failed(&self, error: kube::Error) -> RemoteError {
        RemoteError::of(&self.server, error)
    }
}

impl Remote {
    /// Its name.
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.reach.namespace
    }

    /// The same Kubernetes and namespace.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(super) fn failed(&self, error: kube::Error) -> RemoteError {
        self.reach.failed(error)
    }

    /// It is not there.
    pub(super) fn gone(&self) -> RemoteError {
        RemoteError::NoCluster {
            name: self.name.to_string(),
            namespace: self.reach.namespace.clone(),
            others: Vec::new(),
        }
    }
}

/// The error and its causes: that a file could not be read is of no use without why.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

fn choose(named: Option<&ClusterName>, all: Vec<String>, namespace: &str) -> Result<String, RemoteError> {
    let namespace = namespace.to_owned();
    match (named, all.as_slice()) {
        (Some(name), _) => Err(RemoteError::NoCluster { name: name.to_string(), namespace, others: all }),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(RemoteError::NoClusters { namespace }),
        (None, _) => Err(RemoteError::Several { namespace, names: all }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_one_is_meant_and_others_are_listed() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(choose(None, names(&["a"]), "shop").unwrap(), "a");
        let error = choose(None, names(&["a", "b"]), "shop").unwrap_err();
        assert_eq!(
            error.hint(valkeeper_model::CalledAs::KubectlValkeeper).unwrap(),
            "say --cluster with one of: a, b"
        );
        let error = choose(None, names(&[]), "shop").unwrap_err();
        assert_eq!(error.to_string(), "there is no RedisCluster in namespace shop");
        let error = choose(Some(&"c".parse().unwrap()), names(&["a", "b"]), "shop").unwrap_err();
        assert_eq!(error.hint(valkeeper_model::CalledAs::KubectlValkeeper).unwrap(), "there are: a, b");
    }
}
