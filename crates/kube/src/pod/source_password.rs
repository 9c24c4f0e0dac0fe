//! The password of the source, in a cluster that follows another. It is in a Secret of the user's that no pod mounts: which one may change
//! while pods run. So the operator reads it and tells the agents, and each keeps it beside its data, as the last order is: a container that
//! is started again while no operator runs follows on.

use crate::wire::SourcePassword;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use valkeeper_agent::{make_private_dir, replace};
use valkeeper_client::Password;
use valkeeper_model::{AgentOrder, PasswordFault};

/// What the operator has told last.
pub(super) struct KeptPassword {
    path: PathBuf,
    told: Mutex<Option<SourcePassword>>,
}

impl KeptPassword {
    /// With what is kept in that file. One that cannot be read is as good as none: the operator tells it anew.
    pub(super) fn new(path: PathBuf) -> Self {
        let kept = std::fs::read(&path).ok();
        let told = kept.and_then(|text| {
            serde_json::from_slice(&text)
                .inspect_err(|error| tracing::warn!(%error, "the kept password of the source cannot be read"))
                .ok()
        });
        Self { path, told: Mutex::new(told) }
    }

    /// The password in the Secret of that name.
    pub(super) fn of(&self, secret: &str) -> Result<Password, PasswordFault> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.as_ref().filter(|told| told.secret == secret) {
            Some(told) => told.password.as_ref().map(Password::new).map_err(Clone::clone),
            None => Err(PasswordFault::Unreadable { why: "the operator has not told it yet".to_owned() }),
        }
    }

    /// Uses it from now on. A disk that is full must not keep it from being used.
    pub(super) fn learn(&self, told: SourcePassword) {
        let mut known = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() == Some(&told) {
            return;
        }
        let keep = || {
            if let Some(folder) = self.path.parent() {
                make_private_dir(folder)?;
            }
            replace(&self.path, &serde_json::to_vec(&told).map_err(std::io::Error::other)?)
        };
        if let Err(error) = keep() {
            tracing::warn!(%error, "the password of the source cannot be kept");
        }
        *known = Some(told);
    }

    /// Forgets what a cluster that obeys this order has no use for.
    pub(super) fn forget_unless_used(&self, order: &AgentOrder) {
        let used = order.source.as_ref().and_then(|source| source.source.auth_secret.as_ref());
        let mut known = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if used.is_none() && known.take().is_some() {
            let removed = std::fs::remove_file(&self.path);
            if let Err(error) = removed.or_else(gone) {
                tracing::warn!(%error, "the password of the source is used no more and cannot be removed");
            }
        }
    }
}

fn gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn told(password: Result<&str, PasswordFault>) -> SourcePassword {
        SourcePassword { secret: "east-auth".to_owned(), password: password.map(str::to_owned) }
    }

    #[test]
    fn what_was_told_is_kept_for_an_agent_that_starts_anew_and_forgotten_with_the_source() {
        let folder = std::env::temp_dir().join(format!("source-password-{}", std::process::id()));
        let path = folder.join("source-password.json");
        let _ = std::fs::remove_dir_all(&folder);
        let kept = KeptPassword::new(path.clone());
        assert!(kept.of("east-auth").unwrap_err().to_string().contains("has not told it yet"));
        kept.learn(told(Ok("first")));
        kept.learn(told(Ok("second")));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = KeptPassword::new(path.clone());
        assert_eq!(again.of("east-auth").unwrap().reveal(), "second");
        assert!(again.of("another").is_err(), "it is another Secret's");
        again.learn(told(Err(PasswordFault::Empty)));
        assert_eq!(again.of("east-auth"), Err(PasswordFault::Empty));
        let text = include_str!("../../../model/tests/frozen/order-1.json");
        let mut order: AgentOrder = serde_json::from_str(text).unwrap();
        let source = serde_json::json!({
            "host": "h", "port": 6379, "authSecret": "east-auth", "nodeId": "0".repeat(40),
        });
        order.source = Some(serde_json::from_value(source).unwrap());
        again.forget_unless_used(&order);
        assert!(path.exists() && again.of("east-auth") == Err(PasswordFault::Empty));
        order.source = None;
        again.forget_unless_used(&order);
        assert!(!path.exists() && again.of("east-auth") != Err(PasswordFault::Empty));
        let _ = std::fs::remove_dir_all(&folder);
    }
}
