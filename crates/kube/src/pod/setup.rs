//! What the pod says about itself. The operator writes it into the pod (`objects::pod`), the agent reads it.

use crate::wire::{Home, Identity};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use valkeeper_kube_api::names;
use valkeeper_model::InstanceName;

/// The names of what the operator tells the agent in its environment.
pub(crate) mod variable {
    pub(crate) const INSTANCE: &str = "VALKEEPER_INSTANCE";
    pub(crate) const CLUSTER: &str = "VALKEEPER_CLUSTER";
    pub(crate) const NAMESPACE: &str = "VALKEEPER_NAMESPACE";
    pub(crate) const POD_IP: &str = "VALKEEPER_POD_IP";
    pub(crate) const POD_UID: &str = "VALKEEPER_POD_UID";
    pub(crate) const OPERATOR: &str = "VALKEEPER_OPERATOR";
    pub(crate) const HOSTNAME: &str = "VALKEEPER_HOSTNAME";
    pub(crate) const SERVER: &str = "VALKEEPER_SERVER";
    pub(crate) const CLUSTER_ID: &str = "VALKEEPER_CLUSTER_ID";
    pub(crate) const SENTINEL_ID: &str = "VALKEEPER_SENTINEL_ID";
    pub(crate) const QUORUM: &str = "VALKEEPER_QUORUM";
    /// `name=host,…`, the founder first.
    pub(crate) const SERVERS: &str = "VALKEEPER_SERVERS";

    pub(crate) fn malformed(name: &'static str) -> super::SetupError {
        super::SetupError::Variable { name, why: "is not what an operator writes".to_owned() }
    }
}
/// Where things are in the container.
pub(crate) mod place {
    pub(crate) const DATA: &str = "/data";
    pub(crate) const TLS: &str = "/run/valkeeper/tls";
    pub(crate) const AUTH: &str = "/run/valkeeper/auth";
    /// The program, in a volume that lives as long as the pod.
    pub(crate) const PROGRAM: &str = "/run/valkeeper/bin";
    /// The token of its account, where the pod has one: where every program in a pod looks for it.
    pub(crate) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    /// For a server that is asked what it knows.
    pub(crate) const SCRATCH: &str = "/tmp";
}
/// Server programs, the first that there is.
const SERVERS: [&str; 2] = ["valkey-server", "redis-server"];

/// Why the pod cannot be run in.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The operator says something that is missing, or cannot be read.
    #[error("{name}: {why}; this program is started by an operator, in a pod")]
    Variable {
        /// The environment variable.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// A file is missing, or cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The image has no server.
    #[error("the image has neither valkey-server nor redis-server in its PATH")]
    NoServer,
}

/// What the pod says.
#[derive(Debug)]
pub struct PodSetup {
    pub(crate) home: Home,
    pub(crate) instance: InstanceName,
    pub(crate) ip: IpAddr,
    pub(crate) pod_uid: String,
    /// Announced to clients.
    pub(crate) hostname: String,
    /// Where the operator takes news: host and port.
    pub(crate) operator: String,
    pub(crate) server: PathBuf,
    pub(crate) data: PathBuf,
    /// Listen to all that come to the pod.
    pub(crate) listen: IpAddr,
    tls: PathBuf,
    auth: PathBuf,
}

impl PodSetup {
    /// Reads it.
    pub fn read() -> Result<Self, SetupError> {
        let ip: IpAddr = parsed(variable::POD_IP)?;
        Ok(Self {
            home: Home { namespace: said(variable::NAMESPACE)?, cluster: parsed(variable::CLUSTER)? },
            instance: parsed(variable::INSTANCE)?,
            ip,
            pod_uid: said(variable::POD_UID)?,
            hostname: said(variable::HOSTNAME)?,
            operator: said(variable::OPERATOR)?,
            server: server()?,
            data: place::DATA.into(),
            listen: if ip.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() },
            tls: place::TLS.into(),
            auth: place::AUTH.into(),
        })
    }

    pub(crate) fn identity(&self) -> Result<Identity, SetupError> {
        let read = |name: &str| {
            let path = self.tls.join(name);
            std::fs::read_to_string(&path).map_err(|source| SetupError::File { path, source })
        };
        Ok(Identity { trusted_cas: read("ca.crt")?, certificate: read("tls.crt")?, key: read("tls.key")? })
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.auth.join(names::PASSWORD_KEY)
    }

    /// What comes from the pod and not from the spec: whom the server listens to and what it tells clients.
    pub(crate) fn own_directives(&self) -> Vec<(String, String)> {
        [
            ("bind", if self.ip.is_ipv6() { "*" } else { "0.0.0.0" }),
            ("cluster-announce-ip", &self.ip.to_string()),
            // Clients get names: what they keep is right also when the pod has come back with another address.
            ("cluster-announce-hostname", self.hostname.as_str()),
            ("cluster-preferred-endpoint-type", "hostname"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

pub(super) fn said(name: &'static str) -> Result<String, SetupError> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        Ok(_) => Err(SetupError::Variable { name, why: "is empty".to_owned() }),
        Err(error) => Err(SetupError::Variable { name, why: error.to_string() }),
    }
}

pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
) -> Result<T, SetupError> {
    said(name)?.parse().map_err(|error: T::Err| SetupError::Variable { name, why: error.to_string() })
}

pub(super) fn server() -> Result<PathBuf, SetupError> {
    if let Ok(path) = said(variable::SERVER) {
        return Ok(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = SERVERS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    found.into_iter().find(|path| is_program(path)).ok_or(SetupError::NoServer)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
