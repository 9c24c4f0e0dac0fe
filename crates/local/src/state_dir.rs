//! Where everything of the local clusters is kept.
//!
//! ```text
//! <state-dir>/<cluster>/
//!   lock               held by the supervisor, as the folder itself is; its process id
//!   layout.json        the layout in force
//!   addresses.json     the instances' ports
//!   password           of all servers, for their owner's eyes only
//!   events.jsonl       what happened
//!   supervisor.log     what a detached supervisor said
//!   control.sock       where the supervisor listens
//!   instances/<name>/  server.conf, server.log, process.json, data/
//! ```

use crate::lock::{self, Keeper, Lock};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use valkeeper_agent::{ServerHome, make_private_dir, replace};
use valkeeper_client::Password;
use valkeeper_model::PasswordFault;
use valkeeper_model::{Address, ClusterName, InstanceName, Layout};

/// A socket's path must fit `sun_path`: 104 bytes on macOS, 108 on Linux.
const LONGEST_SOCKET: usize = 100;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What.
        source: io::Error,
    },
    /// A file holds what it should not.
    #[error("{path}: is damaged: {why}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// The servers' configuration files are text, and hold the folder's name.
    #[error("{}: its name is not UTF-8, so that no server can be told of it", .path.display())]
    NotText {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody supervises the cluster already.
    #[error("{by} runs this cluster already")]
    Supervised {
        /// Who.
        by: Keeper,
    },
}

impl StateError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// The folder of all local clusters.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// At that place; it need not exist.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }
    /// Where.
    pub fn path(&self) -> &Path {
        &self.root
    }
    /// The folder of one cluster.
    pub fn cluster(&self, name: &ClusterName) -> ClusterDir {
        ClusterDir { name: name.clone(), root: self.root.join(name.as_str()) }
    }
    /// The clusters that have a folder here.
    pub fn clusters(&self) -> Result<Vec<ClusterName>, StateError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StateError::io(&self.root)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StateError::io(&self.root))?;
            if entry.path().join("layout.json").exists()
                && let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The folder of one cluster.
#[derive(Debug, Clone)]
pub struct ClusterDir {
    name: ClusterName,
    root: PathBuf,
}

impl ClusterDir {
    /// Which cluster.
    pub fn name(&self) -> &ClusterName {
        &self.name
    }
    /// Where.
    pub fn path(&self) -> &Path {
        &self.root
    }
    /// The layout's file.
    pub fn layout_path(&self) -> PathBuf {
        self.root.join("layout.json")
    }
    /// The password's file.
    pub fn password_path(&self) -> PathBuf {
        self.root.join("password")
    }
    /// The log of a detached supervisor.
    pub fn supervisor_log(&self) -> PathBuf {
        self.root.join("supervisor.log")
    }
    pub(crate) fn events_path(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }
    pub(crate) fn addresses_path(&self) -> PathBuf {
        self.root.join("addresses.json")
    }
    /// The folder of one server.
    pub fn server(&self, instance: &InstanceName) -> ServerHome {
        ServerHome::new(self.root.join("instances").join(instance.as_str()))
    }

    /// Where the supervisor listens: in the folder, or, if that path is too long for a socket, in a folder of the user's own
    /// under the system's one for temporary files, named after the path.
    pub fn socket_path(&self) -> PathBuf {
        let near = self.root.join("control.sock");
        if near.as_os_str().len() <= LONGEST_SOCKET {
            return near;
        }
        // FNV-1a: any stable hash does.
        let hash =
            near.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let user = rustix::process::getuid().as_raw();
        std::env::temp_dir().join(format!("valkeeper-{user}-{hash:016x}")).join("control.sock")
    }

    /// Makes the folder, for its owner only.
    pub fn make(&self) -> Result<(), StateError> {
        if self.root.to_str().is_none() {
            return Err(StateError::NotText { path: self.root.clone() });
        }
        make_private_dir(&self.root).map_err(StateError::io(&self.root))
    }

    /// Takes the lock, or says who has it.
    pub(crate) fn lock(&self) -> Result<Lock, StateError> {
        Lock::take(&self.root)
    }

    /// The supervisor, if there is one.
    pub fn supervisor(&self) -> Option<Keeper> {
        lock::keeper(&self.root)
    }

    /// The stored layout.
    pub fn layout(&self) -> Result<Option<Layout>, StateError> {
        let path = self.layout_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io(&path)(error)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| StateError::Damaged { path, why: error.to_string() })
    }

    /// The instances whose servers run, as the system tells. One that cannot be looked at is an error: it may run.
    pub fn running_servers(&self) -> Result<Vec<InstanceName>, StateError> {
        let mut running = Vec::new();
        for name in self.layout()?.iter().flat_map(|layout| layout.instances.keys()) {
            let home = self.server(name);
            if home.running().map_err(StateError::io(home.data().path()))?.is_some() {
                running.push(name.clone());
            }
        }
        Ok(running)
    }

    /// Where the instances answer: empty before they have been given ports.
    pub fn addresses(&self) -> Result<BTreeMap<InstanceName, Address>, StateError> {
        let path = self.addresses_path();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| StateError::Damaged { path, why: error.to_string() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(StateError::io(&path)(error)),
        }
    }

    /// The password of the servers.
    pub fn password(&self) -> Result<Password, StateError> {
        self.wanted_password()
            .map_err(|fault| StateError::Damaged { path: self.password_path(), why: fault.to_string() })
    }

    /// The same, with why it cannot be used as a type.
    pub(crate) fn wanted_password(&self) -> Result<Password, PasswordFault> {
        Password::read(fs::read(self.password_path()))
    }

    /// Makes the password if there is none yet. A cluster that has a layout has had one: a new one would lock us out of its
    /// servers.
    pub(crate) fn ensure_password(&self) -> Result<(), StateError> {
        let path = self.password_path();
        if path.exists() {
            return self.password().map(drop);
        }
        if self.layout()?.is_some() {
            let why =
                "it is gone although the cluster exists; put it back, it also stands in every server.conf"
                    .to_owned();
            return Err(StateError::Damaged { path, why });
        }
        replace(&path, valkeeper_engine::password().reveal().as_bytes()).map_err(StateError::io(&path))
    }

    /// Removes the folder with all data in it, and the socket's where that is another.
    pub fn purge(&self) -> Result<(), StateError> {
        let socket = self.socket_path();
        if let Some(folder) = socket.parent().filter(|folder| *folder != self.root) {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::io(folder)(error));
                }
                _ => {}
            }
        }
        fs::remove_dir_all(&self.root).map_err(StateError::io(&self.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_cluster_outlives_its_purge() {
        let root =
            std::env::temp_dir().join(format!("purge-{}-{}", std::process::id(), "x".repeat(LONGEST_SOCKET)));
        let dir = StateDir::new(root.clone()).cluster(&"demo".parse().unwrap());
        dir.make().unwrap();
        let folder = dir.socket_path().parent().unwrap().to_owned();
        assert!(!folder.starts_with(&root), "the path is not too long for a socket");
        make_private_dir(&folder).unwrap();
        fs::write(dir.socket_path(), "").unwrap();
        dir.purge().unwrap();
        assert!(!dir.path().exists() && !folder.exists());
        fs::remove_dir_all(root).unwrap();
    }
}
