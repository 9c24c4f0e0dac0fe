//! The register as a file in the cluster's folder: replaced whole or not at all, by whoever holds the supervisor's lock.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use valkeeper_agent::{Boxed, Register, fresh_register_life, replace};
use valkeeper_model::{Format, RegisterFault, RegisterRecord};
use valkeeper_plan::mode::standalone::register::{self, RegisterAnswer, RegisterAsk};

/// The register of one cluster, for all its agents.
#[derive(Debug, Clone)]
pub(crate) struct FileRegister {
    path: PathBuf,
    /// Questions are answered in turn.
    turn: Arc<Mutex<()>>,
}

impl FileRegister {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, turn: Arc::default() }
    }
}

impl Register for FileRegister {
    fn ask(&self, ask: RegisterAsk, within: Duration) -> Boxed<Result<RegisterAnswer, RegisterFault>> {
        let Self { path, turn } = self.clone();
        // A disk that hangs holds up nobody but who asks. What is stored late is a vote that nobody counts.
        let answering = tokio::task::spawn_blocking(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&path, &ask)
        });
        Box::pin(async move {
            match tokio::time::timeout(within, answering).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Err(RegisterFault::Silent),
            }
        })
    }
}

fn answer(path: &Path, ask: &RegisterAsk) -> Result<RegisterAnswer, RegisterFault> {
    // A register of another cluster that was here before says nothing of this one.
    let stored = read(path)?.filter(|record| record.cluster == ask.cluster);
    let (next, answer) =
        register::asked(stored.as_ref().map(|record| &record.stage), fresh_register_life(), ask);
    if let Some(stage) = next {
        let newer = stored.map(|record| record.newer).unwrap_or_default();
        write(path, &RegisterRecord { format: Format, cluster: ask.cluster, stage, newer })?;
    }
    Ok(answer)
}

fn read(path: &Path) -> Result<Option<RegisterRecord>, RegisterFault> {
    let unreadable =
        |why: &dyn std::fmt::Display| RegisterFault::Unreadable { why: format!("{}: {why}", path.display()) };
    match std::fs::read(path) {
        Ok(text) => RegisterRecord::read(&text).map(Some).map_err(|error| unreadable(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&error)),
    }
}

fn write(path: &Path, record: &RegisterRecord) -> Result<(), RegisterFault> {
    let text = serde_json::to_vec_pretty(record).map_err(io::Error::from);
    text.and_then(|text| replace(path, &text))
        .map_err(|error| RegisterFault::NotWritten { why: format!("{}: {error}", path.display()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use std::collections::BTreeSet;
    use valkeeper_model::{ClusterId, Epoch, KnownVotes, NodeId, PrimaryTerm, RegisterLife};
    use valkeeper_plan::mode::standalone::register::RegisterWish;

    fn node(of: u8) -> NodeId {
        NodeId::from_bytes([of; 20])
    }

    fn asks(of: u8, life: Option<RegisterLife>, wish: RegisterWish) -> RegisterAsk {
        let known = Some(PrimaryTerm { term: Epoch(1), primary: node(1) });
        RegisterAsk {
            cluster: ClusterId::from_bytes([7; 20]),
            from: node(of),
            agents: BTreeSet::from([node(1), node(2)]),
            votes: KnownVotes { known, ..KnownVotes::default() },
            life,
            wish,
        }
    }

    /// What a vote was given for is still known when the file is read anew, and a file that is lost gives none before all agents have told their votes.
    #[test]
    fn a_vote_outlives_its_keeper_and_a_lost_file_gives_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("register.json");
        let vote = |of, term| asks(of, None, RegisterWish::Vote { term: Epoch(term), unchanged: None });
        let gathering = |answer| match answer {
            RegisterAnswer::Gathering(life) => life,
            other => panic!("{other:?}"),
        };
        let life = gathering(answer(&path, &vote(2, 2)).unwrap());
        assert_eq!(gathering(answer(&path, &asks(1, Some(life), RegisterWish::Exchange)).unwrap()), life);
        let known = answer(&path, &asks(2, Some(life), RegisterWish::Exchange)).unwrap();
        assert!(
            matches!(known, RegisterAnswer::Known { known: Some(PrimaryTerm { term: Epoch(1), .. }), .. }),
            "{known:?}"
        );
        let refused = |answer: RegisterAnswer| match answer {
            RegisterAnswer::Vote { refused, may_be_primary, .. } => (refused.is_some(), may_be_primary),
            other => panic!("{other:?}"),
        };
        let both = BTreeSet::from([node(1), node(2)]);
        assert_eq!(refused(answer(&path, &vote(2, 2)).unwrap()), (false, both.clone()));
        // Again, and for another.
        assert_eq!(refused(answer(&path, &vote(2, 2)).unwrap()), (false, both));
        assert!(refused(answer(&path, &vote(1, 2)).unwrap()).0);
        std::fs::remove_file(&path).unwrap();
        let second = gathering(answer(&path, &vote(1, 2)).unwrap());
        assert_ne!(second, life);
        // What was told to the lost one does not count.
        assert_eq!(gathering(answer(&path, &asks(1, Some(life), RegisterWish::Exchange)).unwrap()), second);
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(answer(&path, &vote(1, 2)), Err(RegisterFault::Unreadable { .. })));
    }
}
