//! How a changed password reaches servers that run, so that nobody who still has the former one is refused before all had time to hear of
//! the next: kubelets bring a changed Secret within two minutes, each at its own time, and clients take as long as their owners do.

/// Whom a server lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// Who has the former password, as far as is known.
    Former,
    /// Who has the former or the wanted one.
    Both,
    /// Who has the wanted one.
    Wanted,
}

/// What a server says about its passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordsSet {
    /// Whom it lets in.
    pub accepts: Accepts,
    /// It follows primaries with the wanted one.
    pub follows: bool,
    /// It follows a primary and has no link to it.
    pub unlinked: bool,
}

/// What to tell the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordStep {
    /// Accept the wanted one beside the former.
    AcceptBoth,
    /// Follow primaries with the wanted one.
    FollowWithWanted,
    /// Follow primaries with the former one.
    FollowWithFormer,
    /// Accept no other than the wanted one.
    EndFormer,
}

/// What is due `noticed_ms` after the change was noticed, when the former password is to be accepted for `overlap_ms`.
///
/// A primary that was started anew accepts the wanted one only, and one whose agent has not heard of it the former one only: who has no
/// link tries one after the other.
pub fn due(set: PasswordsSet, noticed_ms: u64, overlap_ms: u64) -> Vec<PasswordStep> {
    let mut steps = Vec::new();
    if set.accepts == Accepts::Former {
        steps.push(PasswordStep::AcceptBoth);
    }
    let others_know = noticed_ms >= overlap_ms / 2;
    match (set.follows, set.unlinked) {
        (false, unlinked) if unlinked || others_know => steps.push(PasswordStep::FollowWithWanted),
        (true, true) if !others_know && set.accepts != Accepts::Wanted => {
            steps.push(PasswordStep::FollowWithFormer);
        }
        _ => {}
    }
    if set.accepts != Accepts::Wanted && noticed_ms >= overlap_ms {
        steps.push(PasswordStep::EndFormer);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAP: u64 = 600_000;
    const NEW: PasswordsSet = PasswordsSet { accepts: Accepts::Former, follows: false, unlinked: false };

    #[test]
    fn the_former_is_accepted_until_all_had_time() {
        assert_eq!(due(NEW, 0, OVERLAP), [PasswordStep::AcceptBoth]);
        let both = PasswordsSet { accepts: Accepts::Both, ..NEW };
        assert_eq!(due(both, OVERLAP / 2 - 1, OVERLAP), []);
        assert_eq!(due(both, OVERLAP / 2, OVERLAP), [PasswordStep::FollowWithWanted]);
        let follows = PasswordsSet { follows: true, ..both };
        assert_eq!(due(follows, OVERLAP - 1, OVERLAP), []);
        assert_eq!(due(follows, OVERLAP, OVERLAP), [PasswordStep::EndFormer]);
        assert_eq!(due(PasswordsSet { accepts: Accepts::Wanted, ..follows }, OVERLAP, OVERLAP), []);
    }

    #[test]
    fn who_has_no_link_tries_both() {
        let unlinked = PasswordsSet { accepts: Accepts::Both, unlinked: true, ..NEW };
        assert_eq!(due(unlinked, 0, OVERLAP), [PasswordStep::FollowWithWanted]);
        let follows = PasswordsSet { follows: true, ..unlinked };
        assert_eq!(due(follows, 0, OVERLAP), [PasswordStep::FollowWithFormer]);
        assert_eq!(due(follows, OVERLAP / 2, OVERLAP), []);
        assert_eq!(due(PasswordsSet { accepts: Accepts::Wanted, ..follows }, 0, OVERLAP), []);
    }
}
