//! Laws 2 and 3: who may succeed a primary, and who is the best.

use valkeeper_model::{
    Incarnation, InstanceName, Link, NodeId, Part, Replication, ReplicationId, Role, Unfit,
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
}

impl Candidate {
    fn link(&self) -> Option<Link> {
        self.replication.link()
    }
}

/// May this replica succeed a primary that is dead?
///
/// `cold` admits a replica that was never in sync in this run: its copy comes from its own disk. That is right only when the
/// dead primary's own data is gone, since it may be much older.
pub fn may_follow_dead(candidate: &Candidate, cold: bool) -> Result<(), Unfit> {
    match candidate.link() {
        None => Err(Unfit::NotItsReplica),
        Some(Link::Up | Link::Lost) => Ok(()),
        Some(Link::NeverUp) if cold => Ok(()),
        Some(Link::NeverUp | Link::Syncing) => Err(Unfit::NotInSync),
    }
}

/// The best successor of a dead primary: of its history if that is known, then the highest offset, then the first name (so
/// that two who ask choose the same). Offsets of different histories do not compare.
pub fn best_after_death<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    history: Option<ReplicationId>,
    cold: bool,
) -> Option<&'a Candidate> {
    candidates.filter(|candidate| may_follow_dead(candidate, cold).is_ok()).max_by(|a, b| {
        let rank = |c: &Candidate| {
            (c.link() != Some(Link::NeverUp), history == Some(c.replication.replid), c.replication.offset)
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
    (primary.replid == replica.replid).then(|| primary.offset.0.saturating_sub(replica.offset.0))
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
        assert_eq!(best_after_death(all.iter(), Some(own), false).unwrap().instance.as_str(), "b");
        assert_eq!(best_after_death(all.iter(), Some(own), true).unwrap().instance.as_str(), "b");
        assert_eq!(best_after_death(all[3..].iter(), Some(own), false), None);
        assert_eq!(best_after_death(all[3..].iter(), Some(own), true).unwrap().instance.as_str(), "d");
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
        assert_eq!(best_after_death(all.iter(), None, false).unwrap().instance.as_str(), "a");
        assert_eq!(best_after_death(all.iter().rev(), None, false).unwrap().instance.as_str(), "a");
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
