//! What became of a spec.

use valkeeper_kube_api::Verdict;
use valkeeper_model::Refusal;
use valkeeper_model::manifest::Refused;

/// What became of the spec.
#[derive(Debug, Clone)]
pub(super) enum Judged {
    /// It is followed.
    Followed,
    /// It cannot be read.
    Invalid(Refused),
    /// It cannot be followed.
    Unfit(Refusal),
}

impl Judged {
    pub(super) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Followed => Verdict::Followed,
            Self::Invalid(refused) => Verdict::Invalid(refused),
            Self::Unfit(refusal) => Verdict::Unfit(refusal),
        }
    }
}
