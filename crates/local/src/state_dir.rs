//! Where everything of the local clusters is kept.
//!
//! ```text
//! <state-dir>/.secrets/<name>/password   passwords by the names that manifests give them
//! <state-dir>/.servers.json              server programs that are known
//! <state-dir>/<cluster>/
//!   lock               held by the supervisor, as the folder itself is; its process id
//!   layout.json        the layout in force
//!   layout.json.copy   the same, for who loses that file
//!   addresses.json     the instances' ports
//!   client-ports.json  in mode standalone: the ports that lead to the primary, a replica, any server
//!   register.json      in mode standalone, where the number of instances is even: the votes of the seat that is no agent
//!   password           of all servers, for their owner's eyes only; a link where the manifest names a secret
//!   events.jsonl       what happened
//!   supervisor.log     what a detached supervisor said
//!   control.sock       where the supervisor listens
//!   instances/<name>/  server.conf, server.log, process.json, data/
//! ```

use crate::lock::{self, Keeper, Lock};
use crate::ports::ClientPorts;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use valkeeper_agent::{ServerHome, make_private_dir, replace};
use valkeeper_client::Password;
use valkeeper_model::{
    Address, CalledAs, ClusterName, ClusterSpec, InstanceName, Layout, PasswordFault, Unreadable,
};

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
    /// Nobody knows which cluster this is, and nothing is founded over it.
    #[error("{} {fault}{}", .path.display(), .data.told())]
    Layout {
        /// The layout's file.
        path: PathBuf,
        /// What is wrong with it.
        fault: LayoutFault,
        /// What would be founded over.
        data: DataOf,
        /// The copy beside it, if that can be used.
        copy: Option<PathBuf>,
    },
    /// The servers' configuration files are text, and hold the folder's name.
    #[error("{}: its name is not UTF-8, so that no server can be told of it", .path.display())]
    NotText {
        /// The folder.
        path: PathBuf,
    },
    /// No port is left for a server or its clients.
    #[error("no free ports are left from {from} on")]
    NoFreePort {
        /// The first that was looked at.
        from: u16,
    },
    /// Somebody supervises the cluster already.
    #[error("{by} runs this cluster already")]
    Supervised {
        /// Who.
        by: Keeper,
    },
}

/// What is wrong with the layout's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFault {
    /// It is not there.
    #[error("is gone")]
    Gone,
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(Unreadable),
}

/// The instances that have a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataOf(pub Vec<InstanceName>);

impl DataOf {
    fn told(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let names: Vec<&str> = self.0.iter().map(InstanceName::as_str).collect();
        format!("; beside it, in instances/, is the data of {}: nothing is founded over it", names.join(", "))
    }
}

impl StateError {
    /// What to do about it.
    pub fn hint(&self, called: CalledAs) -> Option<String> {
        let Self::Layout { path, fault, copy, .. } = self else { return None };
        if let LayoutFault::Unreadable(Unreadable::Newer { .. }) = fault {
            return Some("use the version of Valkeeper that wrote it, or a newer one".to_owned());
        }
        if let Some(copy) = copy {
            return Some(format!(
                "`cp {} {}` puts back what was stored last",
                copy.display(),
                path.display()
            ));
        }
        let folder = path.parent().unwrap_or(path);
        let name = folder.file_name().unwrap_or_default().display();
        Some(format!(
            "put it back from a backup; or move {} elsewhere to begin anew; or `{called} --cluster {name} delete --purge` removes it \
             with its data",
            folder.display()
        ))
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// A file of JSON; `None` if there is none.
fn kept<T: serde::de::DeserializeOwned>(path: PathBuf) -> Result<Option<T>, StateError> {
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| StateError::Damaged { path, why: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::io(&path)(error)),
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
            let has = |name: &str| entry.path().join(name).exists();
            if (has("layout.json") || has("instances"))
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
    /// The copy of the layout's file.
    pub(crate) fn layout_copy_path(&self) -> PathBuf {
        self.root.join("layout.json.copy")
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
    pub(crate) fn register_path(&self) -> PathBuf {
        self.root.join("register.json")
    }
    pub(crate) fn client_ports_path(&self) -> PathBuf {
        self.root.join("client-ports.json")
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

    /// The stored layout; none only where there is no data either.
    pub fn layout(&self) -> Result<Option<Layout>, StateError> {
        let path = self.layout_path();
        let fault = match read_layout(&path) {
            Ok(Ok(layout)) => return Ok(Some(layout)),
            Ok(Err(why)) => LayoutFault::Unreadable(why),
            Err(error) if error.kind() == io::ErrorKind::NotFound => LayoutFault::Gone,
            Err(error) => return Err(StateError::io(&path)(error)),
        };
        let data = DataOf(self.instances_with_data()?);
        if fault == LayoutFault::Gone && data.0.is_empty() {
            return Ok(None);
        }
        let copy = Some(self.layout_copy_path()).filter(|copy| matches!(read_layout(copy), Ok(Ok(_))));
        Err(StateError::Layout { path, fault, data, copy })
    }

    /// The instances that have a folder, whatever the layout says.
    fn instances(&self) -> Result<Vec<InstanceName>, StateError> {
        let folder = self.root.join("instances");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StateError::io(&folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(StateError::io(&folder))?.file_name();
            names.extend(name.to_str().and_then(|name| name.parse().ok()));
        }
        names.sort();
        Ok(names)
    }

    /// The instances whose data directory holds something. A file system may have been mounted there before anything was written.
    pub fn instances_with_data(&self) -> Result<Vec<InstanceName>, StateError> {
        let mut holding = Vec::new();
        for name in self.instances()? {
            let data = self.server(&name).data().path().to_owned();
            let mut entries = match fs::read_dir(&data) {
                Ok(entries) => entries,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                Err(error) => return Err(StateError::io(&data)(error)),
            };
            if entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != "lost+found")) {
                holding.push(name);
            }
        }
        Ok(holding)
    }

    /// The instances whose servers run, as the system tells. One that cannot be looked at is an error: it may run.
    pub fn running_servers(&self) -> Result<Vec<InstanceName>, StateError> {
        let mut running = Vec::new();
        for name in self.instances()? {
            let home = self.server(&name);
            if home.running().map_err(StateError::io(home.data().path()))?.is_some() {
                running.push(name);
            }
        }
        Ok(running)
    }

    /// Where the Sentinels listen; none in a mode without.
    pub fn sentinel_addresses(&self) -> Result<BTreeMap<InstanceName, Address>, StateError> {
        let layout = self.layout()?;
        let sentinels = layout.as_ref().and_then(|layout| layout.sentinels.as_deref());
        let mut addresses = self.addresses()?;
        addresses.retain(|name, _| sentinels.is_some_and(|all| all.members.contains_key(name)));
        Ok(addresses)
    }

    /// Where the servers answer: empty before they have been given ports.
    pub fn server_addresses(&self) -> Result<BTreeMap<InstanceName, Address>, StateError> {
        let layout = self.layout()?;
        let mut addresses = self.addresses()?;
        // A Sentinel that is not wanted any more keeps its port.
        addresses.retain(|name, _| layout.as_ref().is_none_or(|layout| layout.instances.contains_key(name)));
        Ok(addresses)
    }

    /// The ports of servers and Sentinels, as they were given.
    pub(crate) fn addresses(&self) -> Result<BTreeMap<InstanceName, Address>, StateError> {
        Ok(kept(self.addresses_path())?.unwrap_or_default())
    }

    /// The ports for clients; `None` in a mode in which clients need none.
    pub fn client_ports(&self) -> Result<Option<ClientPorts>, StateError> {
        kept(self.client_ports_path())
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

    /// Makes the password if there is none yet: the secret that the spec names, or one of its own. A cluster that has a layout has had one: a
    /// new one would lock us out of its servers.
    pub(crate) fn ensure_password(&self, state: &StateDir, spec: &ClusterSpec) -> Result<(), StateError> {
        let path = self.password_path();
        if path.symlink_metadata().is_ok() {
            return self.password().map(drop);
        }
        if self.layout()?.is_some() {
            let why =
                "it is gone although the cluster exists; put it back, it also stands in every server.conf"
                    .to_owned();
            return Err(StateError::Damaged { path, why });
        }
        let own = ClusterSpec::made_secret(&self.name);
        let Some(named) = spec.auth_secret.as_ref().filter(|named| **named != own || state.has_secret(named))
        else {
            return replace(&path, valkeeper_engine::password().reveal().as_bytes())
                .map_err(StateError::io(&path));
        };
        if !state.has_secret(named) {
            state.set_secret(named, &valkeeper_engine::password())?;
        }
        // The secret itself, so that one that is changed there is changed here.
        let target =
            Path::new("..").join(state.secret_path(named).strip_prefix(&state.root).unwrap_or(&path));
        std::os::unix::fs::symlink(target, &path).map_err(StateError::io(&path))?;
        self.password().map(drop)
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

/// The layout in a file, or why there is none in it.
fn read_layout(path: &Path) -> io::Result<Result<Layout, Unreadable>> {
    Ok(Layout::read(&fs::read(path)?))
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
    #[test]
    fn a_layout_that_is_gone_is_no_new_cluster_where_data_is() {
        let root = std::env::temp_dir().join(format!("lost-layout-{}", std::process::id()));
        let state = StateDir::new(root.clone());
        let dir = state.cluster(&"demo".parse().unwrap());
        dir.make().unwrap();
        assert!(dir.layout().unwrap().is_none() && state.clusters().unwrap().is_empty());
        make_private_dir(&root.join("demo/instances/demo-1")).unwrap();
        assert!(dir.layout().unwrap().is_none(), "a folder without data is in nobody's way");
        make_private_dir(&root.join("demo/instances/demo-1/data")).unwrap();
        assert!(dir.layout().unwrap().is_none(), "a file system that was mounted beforehand is no data");
        fs::write(root.join("demo/instances/demo-1/data/nodes.conf"), "").unwrap();
        let gone = dir.layout().unwrap_err();
        assert!(
            gone.to_string().contains("layout.json is gone; beside it, in instances/, is the data of demo-1")
        );
        assert!(gone.hint(CalledAs::Valkeeper).unwrap().contains("valkeeper --cluster demo delete --purge"));
        assert_eq!(state.clusters().unwrap().len(), 1, "nobody could purge it");
        fs::write(dir.layout_path(), "{").unwrap();
        let damaged = dir.layout().unwrap_err();
        assert!(damaged.to_string().contains("layout.json is damaged: EOF"), "{damaged}");
        fs::remove_dir_all(root).unwrap();
    }
}
