//! The password of one running server: which one we use, and how a changed one gets there while it runs.

use crate::runtime::millis;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use valkeeper_client::{AdminConnection, AskError, Password};
use valkeeper_model::{Happened, InstanceName, Link, PasswordFault};
use valkeeper_plan::server::password::{Accepts, PasswordStep, PasswordsSet, due};

/// Between two looks at where passwords come from.
const EVERY: Duration = Duration::from_secs(5);

/// What a server was started with.
#[derive(Debug, Clone, Default)]
pub(crate) struct StartedWith {
    /// The password that it shows.
    pub(crate) password: Option<Password>,
    /// The same, if that is a former one, which it accepts beside the wanted one.
    pub(crate) former: Option<Former>,
}

/// Of one run of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rotation(Arc<Shared>);

struct Shared {
    connection: AdminConnection,
    instance: InstanceName,
    /// How long the former password is accepted.
    overlap: Duration,
    record: Arc<dyn Fn(Happened) + Send + Sync>,
    state: Mutex<State>,
}

/// A password that a changed one has replaced, and that is accepted beside it for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Former {
    pub(crate) password: Password,
    noticed: Instant,
}

/// What is known at the end of a run.
#[derive(Clone)]
pub(crate) struct Carried {
    state: State,
    overlap: Duration,
}

impl Carried {
    /// From the last run of this agent's server, if there was one.
    pub(crate) async fn over(last: Option<Rotation>) -> Option<Self> {
        let shared = last?.0;
        let state = shared.state.lock().await.clone();
        Some(Self { state, overlap: shared.overlap })
    }

    /// What a server that is started now accepts beside the wanted one.
    pub(crate) fn beside(&self, wanted: &Password) -> Option<Former> {
        let State { used, former, noticed, .. } = &self.state;
        let password = if used == wanted {
            // One that the server was never seen to accept in this run may have been over long ago.
            former.as_ref().filter(|_| noticed.is_some())?
        } else {
            used
        };
        let noticed = noticed.unwrap_or_else(Instant::now);
        (noticed.elapsed() < self.overlap).then(|| Former { password: password.clone(), noticed })
    }
}

#[derive(Clone)]
struct State {
    /// The one we use: while the server answers, it accepts it.
    used: Password,
    /// Accepted as well, or as far as is known.
    former: Option<Password>,
    /// The server accepts it and follows with it, and nothing else.
    settled: Option<Password>,
    /// Since when the wanted one is another than the server's.
    noticed: Option<Instant>,
    looked: Option<Instant>,
}

impl Rotation {
    /// `started_with` is in the file the server was started with: what it accepts if a later one never reached it.
    pub(crate) fn new(
        connection: AdminConnection,
        instance: InstanceName,
        used: Password,
        started_with: StartedWith,
        overlap: Duration,
        record: Arc<dyn Fn(Happened) + Send + Sync>,
    ) -> Self {
        let noticed = started_with.former.map(|former| former.noticed);
        let former = started_with.password.filter(|one| *one != used);
        let state = Mutex::new(State { used, former, settled: None, noticed, looked: None });
        Self(Arc::new(Shared { connection, instance, overlap, record, state }))
    }

    /// The server has refused the one we use: the wanted one next, or else the one that it may have had before.
    pub(crate) async fn refused(&self, wanted: Password) {
        let mut state = self.0.state.lock().await;
        let next = if state.used == wanted { state.former.clone().unwrap_or(wanted) } else { wanted };
        if next != state.used {
            state.former = Some(std::mem::replace(&mut state.used, next.clone()));
            self.0.connection.set_password(Some(next));
        }
    }

    /// What the server shows of its whole configuration: a password that somebody has set by hand is put back, or the server could follow
    /// nobody, and nobody it. While a changed password is on its way there, what is set is looked after by that.
    pub(crate) async fn shown(&self, shown: &BTreeMap<String, String>, within: Duration) {
        let Ok(state) = self.0.state.try_lock() else { return };
        let Some(settled) = &state.settled else { return };
        let differs = |name: &&str| shown.get(*name).is_some_and(|shown| shown != settled.reveal());
        let altered: Vec<&str> = ["requirepass", "masterauth"].into_iter().filter(differs).collect();
        if altered.is_empty() {
            return;
        }
        let pairs: Vec<(&str, &str)> = altered.iter().map(|name| (*name, settled.reveal())).collect();
        match self.0.connection.config_set(&pairs, within).await {
            Ok(()) => {
                let directives = altered.into_iter().map(str::to_owned).collect();
                let instance = self.0.instance.clone();
                (self.0.record)(Happened::ConfigPutBack { instance, directives });
            }
            Err(error) => tracing::warn!(%error, "a password that was set by hand is not put back yet"),
        }
    }

    /// Brings the wanted password to the server, as far as is due. Called while the server answers, as often as one likes.
    pub(crate) async fn follow(
        &self,
        wanted: impl FnOnce() -> Result<Password, PasswordFault>,
        within: Duration,
    ) {
        let Ok(mut state) = self.0.state.try_lock() else { return };
        if state.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        state.looked = Some(Instant::now());
        // One that cannot be read is told by the agent, which reads it too.
        let Ok(wanted) = wanted() else { return };
        if state.settled.as_ref() == Some(&wanted) {
            return;
        }
        if let Err(error) = self.0.follow(&mut state, wanted.clone(), within).await {
            // A server that stops, or does not answer yet, is no news of a password that nobody has changed.
            if state.used != wanted || state.noticed.is_some() {
                tracing::warn!(%error, "a changed password has not reached the server yet");
            } else {
                tracing::debug!(%error, "the server could not be asked for its password");
            }
        }
    }
}

impl Shared {
    async fn follow(&self, state: &mut State, wanted: Password, within: Duration) -> Result<(), AskError> {
        let own = self.connection.config_get("requirepass", within).await?;
        // Both names work everywhere; each engine shows the one that was asked for.
        let follows = self.connection.config_get("masterauth", within).await?;
        let is_wanted = |shown: Option<&String>| shown.is_some_and(|shown| shown == wanted.reveal());
        let link = self.connection.replication(within).await?;
        if state.used != wanted {
            state.noticed = None;
        }
        let set = PasswordsSet {
            accepts: match (is_wanted(own.get("requirepass")), state.used == wanted) {
                (true, _) => Accepts::Wanted,
                (false, true) => Accepts::Both,
                (false, false) => Accepts::Former,
            },
            follows: is_wanted(follows.get("masterauth")),
            unlinked: matches!(link.link(), Some(Link::Lost | Link::NeverUp)),
        };
        if set.accepts == Accepts::Wanted && set.follows {
            (state.settled, state.noticed, state.former) = (Some(wanted), None, None);
            return Ok(());
        }
        // What is set from now on is our own doing.
        state.settled = None;
        let since = *state.noticed.get_or_insert_with(Instant::now);
        let overlap_ms = millis(self.overlap).0;
        for step in due(set, millis(since.elapsed()).0, overlap_ms) {
            match step {
                PasswordStep::AcceptBoth => {
                    let added = [b">", wanted.reveal().as_bytes()].concat();
                    let add: [&[u8]; 4] = [b"ACL", b"SETUSER", b"default", &added];
                    // The engine's own words could repeat the password.
                    let said = self.connection.raw(&add, within).await;
                    said.map_err(|error| match error {
                        AskError::Refused { code, .. } => {
                            AskError::Refused { code, text: "ACL SETUSER".to_owned() }
                        }
                        other => other,
                    })?;
                    self.connection.set_password(Some(wanted.clone()));
                    state.former = Some(std::mem::replace(&mut state.used, wanted.clone()));
                    let instance = self.instance.clone();
                    (self.record)(Happened::PasswordAdded { instance, former_ms: overlap_ms });
                }
                PasswordStep::FollowWithWanted => self.follow_with(&wanted, within).await?,
                PasswordStep::FollowWithFormer => {
                    if let Some(former) = &state.former {
                        self.follow_with(former, within).await?;
                    }
                }
                PasswordStep::EndFormer => {
                    self.connection.config_set(&[("requirepass", wanted.reveal())], within).await?;
                    (self.record)(Happened::PasswordReplaced { instance: self.instance.clone() });
                }
            }
        }
        Ok(())
    }

    async fn follow_with(&self, password: &Password, within: Duration) -> Result<(), AskError> {
        self.connection.config_set(&[("masterauth", password.reveal())], within).await
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("instance", &self.0.instance).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAP: Duration = Duration::from_secs(600);

    /// What a run knows that uses the second password, and the first one before.
    fn carried(noticed: Option<Instant>, settled: bool) -> Carried {
        let [first, second] = ["first", "second"].map(Password::new);
        let settled = settled.then(|| second.clone());
        let state = State { used: second, former: Some(first), settled, noticed, looked: None };
        Carried { state, overlap: OVERLAP }
    }

    fn beside(carried: &Carried, wanted: &str) -> Option<String> {
        carried.beside(&Password::new(wanted)).map(|former| former.password.reveal().to_owned())
    }

    #[test]
    fn the_former_password_is_accepted_over_a_restart_and_no_longer_than_without() {
        let now = Instant::now();
        assert_eq!(beside(&carried(Some(now), false), "second").as_deref(), Some("first"));
        let over = now.checked_sub(OVERLAP);
        assert!(over.is_some());
        assert_eq!(beside(&carried(over, false), "second"), None);
        // What stood in a file before this run was never seen to be accepted.
        assert_eq!(beside(&carried(None, false), "second"), None);
    }

    #[test]
    fn a_change_that_nobody_has_noticed_yet_is_one() {
        assert_eq!(beside(&carried(None, true), "third").as_deref(), Some("second"));
        assert_eq!(beside(&carried(None, false), "third").as_deref(), Some("second"));
        assert_eq!(beside(&carried(None, true), "second"), None);
    }
}
