//! How the program fails: what, why, what to do, and an exit code that says which kind it was.

use crate::called::called;
use std::process::ExitCode;
use valkeeper_local::StateError;

/// The kinds that have an exit code of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed = 1,
    Usage = 2,
    Unsafe = 3,
    TimedOut = 4,
}

/// A failure with its kind and hint.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: Some(hint.into()) }
    }
}

/// A refusal of the planner: law 12.
impl From<valkeeper_model::Refusal> for Failure {
    fn from(refusal: valkeeper_model::Refusal) -> Self {
        use valkeeper_model::{Refusal, SlotRefusal};
        let kind = match &refusal {
            Refusal::NoSuchInstance { .. }
            | Refusal::NoSuchShard { .. }
            | Refusal::NoSuchNode { .. }
            | Refusal::ShardNotNamed
            | Refusal::Slots(SlotRefusal::SameShard { .. })
            | Refusal::ConfigInvalid { .. } => Kind::Usage,
            Refusal::NotYet { .. } | Refusal::TimedOut { .. } => Kind::TimedOut,
            Refusal::Failed { .. }
            | Refusal::NotStored { .. }
            | Refusal::ChangedMeanwhile
            | Refusal::SamePrimary { .. }
            | Refusal::UnfencedMeanwhile { .. } => Kind::Failed,
            _ => Kind::Unsafe,
        };
        Self { kind, what: refusal.to_string(), hint: refusal.hint(called()) }
    }
}

/// What is to be said has been said, by this program or by one elsewhere: only the exit code is left.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub(crate) struct ToldAlready(pub(crate) u8);

/// Prints an error and its causes, and gives the exit code.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    if let Some(ToldAlready(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors already tell their cause.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("error: {text}");
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let hint = failure
        .and_then(|failure| failure.hint.clone())
        .or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<StateError>()?.hint(called())));
    if let Some(hint) = hint {
        eprintln!("  hint: {hint}");
    }
    let kind = failure.map_or(Kind::Failed, |failure| failure.kind);
    ExitCode::from(match kind {
        Kind::Failed => 1,
        Kind::Usage => 2,
        Kind::Unsafe => 3,
        Kind::TimedOut => 4,
    })
}
