//! What this program finds when it is run in a pod of the cluster.

use crate::pod::{PodSetup, SetupError};
use std::net::SocketAddr;
use valkeeper_client::{Endpoint, Password};
use valkeeper_kube_api::names::{self, CLIENT_PORT};
use valkeeper_model::ClusterName;

/// Why nothing can be done from inside.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// This is no pod of a cluster.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The password cannot be read.
    #[error("the password cannot be read: {0}")]
    Password(std::io::Error),
}

/// The cluster of the pod.
#[derive(Debug)]
pub struct Inside {
    /// Its name.
    pub cluster: ClusterName,
    /// Where to ask first, and where if that server is down.
    pub seeds: Vec<Endpoint>,
    /// Its password.
    pub password: Password,
}

impl Inside {
    /// Looks around.
    pub fn read() -> Result<Self, InsideError> {
        let setup = PodSetup::read()?;
        let text = std::fs::read_to_string(setup.password_file()).map_err(InsideError::Password)?;
        let cluster = setup.home.cluster.clone();
        let others = format!("{}.{}.svc", names::headless_service(&cluster), setup.home.namespace);
        Ok(Self {
            cluster,
            seeds: vec![SocketAddr::from((setup.ip, CLIENT_PORT)).into(), Endpoint::new(others, CLIENT_PORT)],
            password: Password::new(text.trim_end_matches(['\n', '\r'])),
        })
    }
}
