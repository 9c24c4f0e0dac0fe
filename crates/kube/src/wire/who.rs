//! Who somebody is. A certificate names exactly one of these, so that an address that was given to another pod since is
//! never taken for the one it was (law 10).

use rustls::pki_types::ServerName;
use std::fmt;
use valkeeper_model::{ClusterName, InstanceName};

/// Where a cluster lives. Two clusters of one name in two namespaces have nothing to do with each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Home {
    pub(crate) namespace: String,
    pub(crate) cluster: ClusterName,
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.cluster)
    }
}

/// One side of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    /// The controller of the cluster.
    Controller,
    /// The agent of an instance.
    Agent(InstanceName),
}

impl Who {
    /// As it stands in a request: what its sender says it is. Believed only when the certificate says so too.
    pub(crate) fn claim(&self) -> &str {
        match self {
            Self::Controller => CONTROLLER,
            Self::Agent(instance) => instance.as_str(),
        }
    }

    /// Who a claim is of. No instance is called `controller`: its name ends in a number.
    pub(crate) fn of_claim(claim: &str) -> Option<Self> {
        if claim == CONTROLLER { Some(Self::Controller) } else { claim.parse().ok().map(Self::Agent) }
    }

    /// The name in its certificate. It has the cluster's in it: the operator answers for many clusters on one port, and finds
    /// by this name as whom it was called.
    pub(crate) fn name(&self, home: &Home) -> String {
        format!("{}.{}.{}", self.claim(), home.cluster, home.namespace)
    }

    /// The same as TLS wants it. Names of Kubernetes objects are DNS labels.
    pub(crate) fn server_name(&self, home: &Home) -> Option<ServerName<'static>> {
        ServerName::try_from(self.name(home)).ok()
    }
}

const CONTROLLER: &str = "controller";

impl Home {
    /// The cluster that is meant by the name under which its controller is called.
    pub(crate) fn of_controller_name(name: &str) -> Option<Self> {
        let (who, rest) = name.split_once('.')?;
        let (cluster, namespace) = rest.split_once('.')?;
        let cluster = cluster.parse().ok()?;
        (who == CONTROLLER).then(|| Self { namespace: namespace.to_owned(), cluster })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_clusters_of_one_name_apart() {
        let home = Home { namespace: "shop".to_owned(), cluster: "cache".parse().unwrap() };
        let agent = Who::Agent("cache-3".parse().unwrap());
        assert_eq!(agent.name(&home), "cache-3.cache.shop");
        assert_eq!(Home::of_controller_name(&Who::Controller.name(&home)), Some(home.clone()));
        assert_eq!(Home::of_controller_name(&agent.name(&home)), None);
        assert_eq!(Who::of_claim(agent.claim()), Some(agent));
        assert_eq!(Who::of_claim("controller"), Some(Who::Controller));
    }
}
