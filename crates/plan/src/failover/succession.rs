//! Laws 2 and 3: who may succeed a primary, and who is the best.

use std::collections::BTreeSet;
use valkeeper_model::{
    CopyState, HeldCopy, Incarnation, InstanceName, Link, NodeId, Part, Position, ReplicaStanding,
    Replication, ReplicationId, Role, Unfit,
};

/// A replica as a candidate for succession.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub instance: InstanceName,
    /// Which run was looked at; the promotion is for that run only.
    pub incarnation: Incarnation,
    /// What it said.
    pub replication: Replication,
    /// What its agent knows beyond that; `None` by older agents.
    pub standing: Option<ReplicaStanding>,
}

impl Candidate {
    fn link(&self) -> Option<Link> {
        self.replication.link()
    }
}

/// Which replicas may succeed a dead primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eligible {
    /// Those that were in sync with it: by their own agents' word, and by what the primary saw last (`None` if nobody knows). Others
    /// only if the dead primary's disk lacks what they hold.
    InSync {
        /// The replicas that the primary saw attached and online.
        attached: Option<BTreeSet<InstanceName>>,
        /// What the primary left.
        left_on_disk: LeftOnDisk,
    },
    /// That one, whose copy was found to be the best: also if its copy comes from its own disk. What another run of it holds was not
    /// compared.
    Only {
        /// Whom.
        instance: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
    },
}

/// What a dead primary left on its disk (law 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOnDisk {
    /// Everything that it acknowledged. A replica that was never in sync holds less.
    Everything,
    /// Less than everything: a snapshot that ends here, if that is known, or nothing. A replica that runs, though it was never in sync, may hold
    /// more.
    Less(Option<Position>),
    /// Nobody can look: its host is lost, its disk is silent, or another's directory is in the place of its own.
    OutOfReach,
}

impl LeftOnDisk {
    /// What a dead primary's disk is worth beside replicas that run.
    pub fn of(copy: &HeldCopy) -> Self {
        if copy.everything {
            return Self::Everything;
        }
        Self::Less(copy.position.filter(|_| copy.state == CopyState::Held))
    }
}

/// May this replica succeed a primary that is dead?
pub fn may_follow_dead(candidate: &Candidate, eligible: &Eligible) -> Result<(), Unfit> {
    match eligible {
        Eligible::Only { instance, incarnation }
            if *instance != candidate.instance || *incarnation != candidate.incarnation =>
        {
            return Err(Unfit::NotInSync);
        }
        Eligible::Only { .. } => {
            return match candidate.link() {
                None => Err(Unfit::NotItsReplica),
                Some(Link::Syncing) => Err(Unfit::NotInSync),
                Some(Link::Up | Link::Lost | Link::NeverUp) => Ok(()),
            };
        }
        Eligible::InSync { .. } => {}
    }
    match candidate.link() {
        None => Err(Unfit::NotItsReplica),
        Some(Link::NeverUp | Link::Syncing) => Err(Unfit::NotInSync),
        Some(Link::Up | Link::Lost) if was_in_sync(candidate, eligible) => Ok(()),
        Some(Link::Up | Link::Lost) => match eligible {
            Eligible::InSync { left_on_disk: LeftOnDisk::Less(kept), .. }
                if !goes_beyond(*kept, candidate) =>
            {
                Ok(())
            }
            Eligible::InSync { .. } | Eligible::Only { .. } => Err(Unfit::NotInSync),
        },
    }
}

/// Does what the dead primary's disk kept go beyond what the candidate holds?
fn goes_beyond(kept: Option<Position>, candidate: &Candidate) -> bool {
    let theirs = &candidate.replication;
    kept.is_some_and(|kept| kept.history == theirs.replid && kept.offset > theirs.offset)
}

fn was_in_sync(candidate: &Candidate, eligible: &Eligible) -> bool {
    let attached = match eligible {
        Eligible::InSync { attached, .. } => attached.as_ref(),
        Eligible::Only { .. } => None,
    };
    candidate.standing.is_none_or(|standing| standing.caught_up)
        && attached.is_none_or(|attached| attached.contains(&candidate.instance))
}

/// The best successor of a dead primary: one that was in sync before one that was not, of its history if that is known, then the highest
/// offset, then the first name (so that two who ask choose the same). Offsets of different histories do not compare.
pub fn best_after_death<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    history: Option<ReplicationId>,
    eligible: &Eligible,
) -> Option<&'a Candidate> {
    candidates.filter(|candidate| may_follow_dead(candidate, eligible).is_ok()).max_by(|a, b| {
        let rank = |c: &Candidate| {
            (was_in_sync(c, eligible), history == Some(c.replication.replid), c.replication.offset)
        };
        rank(a).cmp(&rank(b)).then_with(|| b.instance.cmp(&a.instance))
    })
}

/// May this replica take over from a primary that is well, without losing a write? In sync, with the same history. The
/// remaining distance is closed by the handover itself, with writes paused.
pub fn may_take_over(candidate: &Candidate, primary: &Replication) -> Result<(), Unfit> {
    match candidate.link() {
        None => Err(Unfit::NotItsReplica),
        Some(Link::Syncing | Link::NeverUp | Link::Lost) => Err(Unfit::NotInSync),
        Some(Link::Up) if candidate.replication.replid != primary.replid => Err(Unfit::OtherHistory),
        Some(Link::Up) if candidate.standing.is_some_and(|standing| !standing.caught_up) => {
            Err(Unfit::NotInSync)
        }
        // A crash right after the handover would lose what was acknowledged before it (law 13).
        Some(Link::Up) if candidate.standing.is_some_and(|standing| standing.persistence_incomplete) => {
            Err(Unfit::NotPersisted)
        }
        Some(Link::Up) => Ok(()),
    }
}

/// The best successor of a primary that is well: highest offset, then first name.
pub fn best_for_switchover<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    primary: &Replication,
) -> Option<&'a Candidate> {
    candidates.filter(|candidate| may_take_over(candidate, primary).is_ok()).max_by(|a, b| {
        a.replication.offset.cmp(&b.replication.offset).then_with(|| b.instance.cmp(&a.instance))
    })
}

/// How far a replica is behind, bytes. `None` if the two do not compare.
pub fn lag(primary: &Replication, replica: &Replication) -> Option<u64> {
    primary.position().ahead_of(replica)
}

/// Is this a primary that has an online replica?
pub fn has_online_replica(replication: &Replication) -> bool {
    match &replication.part {
        Part::Primary { replicas } => replicas.iter().any(|replica| replica.online),
        Part::Replica { .. } => false,
    }
}

/// May a replica that follows this node be promoted in the place of that primary? One that follows another has a primary: somebody was
/// elected meanwhile, whether or not who asks for the promotion could see that. `replaces` is not known from an older agent.
///
/// This is compared where the server is told, last of all: what an agent saw before may be as old as its messages are slow. A server
/// that has not heard of the elected one yet finds no votes, since it asks for them with the claim of the lost primary.
pub fn may_replace(followed: Option<NodeId>, replaces: Option<NodeId>) -> bool {
    replaces.is_none() || followed == replaces
}

/// Is it a primary by now?
pub fn is_primary(replication: &Replication) -> bool {
    replication.role() == Role::Primary
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::Offset;

    fn candidate(name: &str, link: Link, replid: u8, offset: u64) -> Candidate {
        Candidate {
            instance: name.parse().unwrap(),
            incarnation: Incarnation(1),
            replication: Replication {
                part: Part::Replica { link },
                replid: ReplicationId::from_bytes([replid; 20]),
                offset: Offset(offset),
            },
            standing: None,
        }
    }

    #[test]
    fn the_highest_offset_of_the_same_history_wins() {
        let own = ReplicationId::from_bytes([1; 20]);
        let all = [
            candidate("a", Link::Lost, 1, 10),
            candidate("b", Link::Lost, 1, 20),
            candidate("c", Link::Lost, 2, 900),
            candidate("d", Link::NeverUp, 1, 999),
            candidate("e", Link::Syncing, 1, 999),
        ];
        let best = |all: &[Candidate], eligible: &Eligible| {
            best_after_death(all.iter(), Some(own), eligible).map(|best| best.instance.to_string())
        };
        assert_eq!(best(&all, &live(LeftOnDisk::Less(None))).as_deref(), Some("b"));
        assert_eq!(best(&all[3..], &live(LeftOnDisk::Less(None))), None);
        let only = |name: &str, run| Eligible::Only {
            instance: name.parse().unwrap(),
            incarnation: Incarnation(run),
        };
        assert_eq!(best(&all, &only("d", 1)).as_deref(), Some("d"));
        assert_eq!(best(&all, &only("d", 2)), None, "another run may hold less");
        assert_eq!(best(&all, &only("e", 1)), None);
    }

    fn live(left_on_disk: LeftOnDisk) -> Eligible {
        Eligible::InSync { attached: None, left_on_disk }
    }

    /// Law 13: its primary's disk has more than a replica that was never in sync.
    #[test]
    fn a_replica_that_was_never_in_sync_follows_only_a_primary_that_left_less() {
        let standing = ReplicaStanding {
            follows: None,
            caught_up: false,
            persistence_incomplete: false,
            sequence: None,
            promotion_asked_ms: None,
            looked_at: None,
        };
        let never = Candidate { standing: Some(standing), ..candidate("a", Link::Lost, 1, 90) };
        assert_eq!(may_follow_dead(&never, &live(LeftOnDisk::Everything)), Err(Unfit::NotInSync));
        assert_eq!(may_follow_dead(&never, &live(LeftOnDisk::OutOfReach)), Err(Unfit::NotInSync));
        assert_eq!(may_follow_dead(&never, &live(LeftOnDisk::Less(None))), Ok(()));
        let kept = |offset| Position { history: never.replication.replid, offset: Offset(offset) };
        let offset = never.replication.offset.0;
        assert_eq!(may_follow_dead(&never, &live(LeftOnDisk::Less(Some(kept(offset))))), Ok(()));
        let more = LeftOnDisk::Less(Some(kept(offset + 1)));
        assert_eq!(may_follow_dead(&never, &live(more)), Err(Unfit::NotInSync), "the snapshot has more");
        // It was, by its own word, but the primary did not see it any more.
        let gone = candidate("a", Link::Lost, 1, 90);
        let unseen =
            Eligible::InSync { attached: Some(BTreeSet::new()), left_on_disk: LeftOnDisk::Everything };
        assert_eq!(may_follow_dead(&gone, &unseen), Err(Unfit::NotInSync));
        assert_eq!(may_follow_dead(&gone, &live(LeftOnDisk::Everything)), Ok(()));
        // One that was in sync goes first, however far the other has come.
        let all = [never, candidate("b", Link::Lost, 1, 10)];
        let best = best_after_death(all.iter(), None, &live(LeftOnDisk::Less(None)));
        assert_eq!(best.unwrap().instance.as_str(), "b");
    }

    #[test]
    fn who_follows_another_primary_replaces_nobody() {
        let (lost, elected) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
        assert!(may_replace(Some(lost), Some(lost)));
        assert!(!may_replace(Some(elected), Some(lost)));
        assert!(!may_replace(None, Some(lost)));
        assert!(may_replace(Some(elected), None), "an older agent does not say");
    }

    #[test]
    fn equal_offsets_are_settled_by_name() {
        let all = [candidate("b", Link::Lost, 1, 10), candidate("a", Link::Lost, 1, 10)];
        let eligible = live(LeftOnDisk::Everything);
        assert_eq!(best_after_death(all.iter(), None, &eligible).unwrap().instance.as_str(), "a");
        assert_eq!(best_after_death(all.iter().rev(), None, &eligible).unwrap().instance.as_str(), "a");
    }

    #[test]
    fn only_an_in_sync_replica_of_the_same_history_takes_over() {
        let mut primary = candidate("p", Link::Up, 1, 50).replication;
        primary.part = Part::Primary { replicas: Vec::new() };
        assert_eq!(may_take_over(&candidate("a", Link::Up, 1, 40), &primary), Ok(()));
        assert_eq!(may_take_over(&candidate("a", Link::Up, 2, 40), &primary), Err(Unfit::OtherHistory));
        assert_eq!(may_take_over(&candidate("a", Link::Lost, 1, 50), &primary), Err(Unfit::NotInSync));
    }
}
