//! Passwords by the names that manifests give them: `<state-dir>/.secrets/<name>/password`, each for its owner's eyes only. So one manifest
//! means the same here and on Kubernetes, where a Secret of that name has the key `password`.

use crate::state_dir::{StateDir, StateError};
use std::fs;
use std::io;
use std::path::PathBuf;
use valkeeper_agent::{make_private_dir, replace};
use valkeeper_client::Password;
use valkeeper_model::{ClusterName, ClusterSpec, PasswordFault};

/// The only key that a Secret has here.
const KEY: &str = "password";

impl StateDir {
    fn secrets_path(&self) -> PathBuf {
        self.path().join(".secrets")
    }

    /// Where a secret stands: by its own name, or as the password that was made for a cluster.
    pub fn secret_path(&self, name: &str) -> PathBuf {
        self.password_of_cluster(name).unwrap_or_else(|| self.secrets_path().join(name).join(KEY))
    }

    /// `<cluster>-auth` is the password that Valkeeper makes for a cluster.
    fn password_of_cluster(&self, name: &str) -> Option<PathBuf> {
        let cluster: ClusterName = name.strip_suffix("-auth")?.parse().ok()?;
        let made = ClusterSpec::made_secret(&cluster) == name;
        let path = self.cluster(&cluster).password_path();
        (made && path.exists()).then_some(path)
    }

    pub(crate) fn has_secret(&self, name: &str) -> bool {
        self.secret_path(name).exists()
    }

    /// A password by its name.
    pub fn secret(&self, name: &str) -> Result<Password, PasswordFault> {
        Password::read(fs::read(self.secret_path(name)))
    }

    /// Writes a password under that name. What is there already is replaced as one: who reads it sees the former or the next.
    pub fn set_secret(&self, name: &str, password: &Password) -> Result<(), StateError> {
        let path = self.secret_path(name);
        // A cluster's own may stand under the name of another secret.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let folder = path.parent().map_or_else(|| self.secrets_path(), PathBuf::from);
        if !folder.exists() {
            make_private_dir(&self.secrets_path()).map_err(StateError::io(&self.secrets_path()))?;
            make_private_dir(&folder).map_err(StateError::io(&folder))?;
        }
        replace(&path, password.reveal().as_bytes()).map_err(StateError::io(&path))
    }

    /// Removes a password that was set under that name. False if there is none: a cluster's own goes with the cluster.
    pub fn delete_secret(&self, name: &str) -> Result<bool, StateError> {
        let folder = self.secrets_path().join(name);
        match fs::remove_dir_all(&folder) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StateError::io(&folder)(error)),
        }
    }

    /// The names of all secrets: those that were set, and those of clusters.
    pub fn secrets(&self) -> Result<Vec<String>, StateError> {
        let path = self.secrets_path();
        let mut names = Vec::new();
        match fs::read_dir(&path) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(StateError::io(&path))?;
                    if entry.path().join(KEY).exists() {
                        names.extend(entry.file_name().to_str().map(str::to_owned));
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StateError::io(&path)(error)),
        }
        let made = self.clusters()?.into_iter().map(|cluster| ClusterSpec::made_secret(&cluster));
        names.extend(made.filter(|name| self.password_of_cluster(name).is_some()));
        names.sort();
        names.dedup();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_for_its_owner_alone_and_goes_when_it_is_told_to() {
        let root = std::env::temp_dir().join(format!("secrets-{}", std::process::id()));
        let state = StateDir::new(root.clone());
        make_private_dir(&root).unwrap();
        assert_eq!(state.secrets().unwrap(), Vec::<String>::new());
        assert!(matches!(state.secret("east"), Err(PasswordFault::Unreadable { .. })));
        for text in ["first", "second"] {
            state.set_secret("east", &Password::new(text)).unwrap();
            assert_eq!(state.secret("east").unwrap().reveal(), text);
        }
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.secret_path("east")), 0o600);
        assert_eq!(mode(root.join(".secrets/east")), 0o700);
        assert_eq!(state.secrets().unwrap(), ["east"]);
        // A cluster's own is a file of its folder.
        let dir = state.cluster(&"solo".parse().unwrap());
        dir.make().unwrap();
        fs::write(dir.password_path(), "made").unwrap();
        assert_eq!(state.secret("solo-auth").unwrap().reveal(), "made");
        state.set_secret("solo-auth", &Password::new("changed")).unwrap();
        assert_eq!(fs::read_to_string(dir.password_path()).unwrap(), "changed");
        assert!(!state.delete_secret("solo-auth").unwrap() && state.delete_secret("east").unwrap());
        fs::remove_dir_all(root).unwrap();
    }
}
