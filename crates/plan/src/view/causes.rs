//! Which reasons are causes, and which only follow from one: people are told the cause first, and what follows under it.

use valkeeper_model::{InstanceName, InstanceReport, Report, ShardName, ShardReport, Waiting};

/// A reason that follows from no other, with those that follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The reason.
    pub waiting: Waiting,
    /// What follows from it.
    pub effects: Vec<Waiting>,
}

impl Cause {
    /// The cause, and then what follows.
    pub fn into_all(self) -> impl Iterator<Item = Waiting> {
        std::iter::once(self.waiting).chain(self.effects)
    }
}

/// All reasons of a report, each once: causes first.
pub fn of(report: &Report) -> Vec<Cause> {
    let mut sorted: Vec<&Waiting> = report.waiting.iter().collect();
    // Reasons sort by how deep they lie; who does not act or cannot store lies deeper than all that is seen.
    sorted.sort_by_key(|waiting| depth(waiting));
    let mut causes: Vec<Cause> = Vec::new();
    for waiting in sorted {
        let cause = causes.iter_mut().find(|cause| {
            follows(report, waiting, &cause.waiting)
                || cause.effects.iter().any(|effect| follows(report, waiting, effect))
        });
        match cause {
            Some(cause) => cause.effects.push(waiting.clone()),
            None => causes.push(Cause { waiting: waiting.clone(), effects: Vec::new() }),
        }
    }
    causes
}

/// Causes before what may follow from them.
fn depth(waiting: &Waiting) -> u8 {
    match waiting {
        Waiting::NoSupervisor | Waiting::StoreFailed { .. } => 0,
        Waiting::AllCopiesMissing { .. } => 1,
        // A pod that does not run comes before its agent, which cannot be asked then.
        Waiting::PodNotRunning { .. } => 2,
        waiting if trouble(waiting).is_some() => 3,
        Waiting::FailingOver { .. } | Waiting::SwitchingOver { .. } => 4,
        Waiting::NoPrimary { .. } => 5,
        Waiting::NoQuorum { .. } => 6,
        Waiting::SlotsUnserved { .. } => 7,
        Waiting::ReplicasMissing { .. } => 9,
        Waiting::HeldForFailed { .. } | Waiting::ViewDiffers { .. } | Waiting::ClusterStateFail { .. } => 10,
        Waiting::ZoneShared { .. } | Waiting::ZoneMajority { .. } | Waiting::NameElsewhere { .. } => 11,
        _ => 8,
    }
}

/// The instance that is in trouble by itself.
fn trouble(waiting: &Waiting) -> Option<&InstanceName> {
    match waiting {
        Waiting::PodNotRunning { instance, .. }
        | Waiting::StartFailed { instance, .. }
        | Waiting::AgentUnknown { instance, .. }
        | Waiting::InstanceDown { instance }
        | Waiting::ServerUnknown { instance, .. }
        | Waiting::Loading { instance }
        | Waiting::Fenced { instance, .. }
        | Waiting::Isolated { instance }
        | Waiting::PrimaryUnheard { instance }
        | Waiting::DownUnconfirmed { instance, .. }
        | Waiting::SiblingsUnknown { instance, .. }
        | Waiting::CopyOnSibling { instance, .. }
        | Waiting::CopyDoubtful { instance, .. }
        | Waiting::DirectoryLost { instance }
        | Waiting::TopologyUnknown { instance } => Some(instance),
        _ => None,
    }
}

/// The instance or the shard that a cause is about.
fn about<'a>(report: &'a Report, cause: &'a Waiting) -> (Option<&'a InstanceName>, Option<&'a ShardName>) {
    if let Some(instance) = trouble(cause) {
        let seen = report.instances.iter().find(|one: &&InstanceReport| one.name == *instance);
        return (Some(instance), seen.map(|one| &one.shard));
    }
    match cause {
        Waiting::AllCopiesMissing { shard }
        | Waiting::FailingOver { shard }
        | Waiting::SwitchingOver { shard }
        | Waiting::NoPrimary { shard } => (None, Some(shard)),
        _ => (None, None),
    }
}

/// Does it follow from that cause?
fn follows(report: &Report, waiting: &Waiting, cause: &Waiting) -> bool {
    if depth(waiting) < depth(cause) || waiting == cause {
        return false;
    }
    let (instance, shard) = about(report, cause);
    let in_shard = |other: &ShardName| shard == Some(other);
    let of_instance = |other: &InstanceName| instance == Some(other);
    // Any shard without a primary makes all servers say that the cluster is not whole, and costs a vote.
    let outage = matches!(cause, Waiting::NoPrimary { .. } | Waiting::SlotsUnserved { .. });
    match waiting {
        Waiting::NoPrimary { shard }
        | Waiting::FailingOver { shard }
        | Waiting::NobodyToJoin { shard, .. }
        | Waiting::ReplicasMissing { shard, .. } => in_shard(shard),
        Waiting::SwitchingOver { shard } => instance.is_some() && in_shard(shard),
        Waiting::SlotsUnserved { slots } => {
            let own = |seen: &&ShardReport| in_shard(&seen.name);
            report.shards.iter().find(own).is_some_and(|seen| slots.minus(&seen.slots) != *slots)
        }
        Waiting::NoQuorum { .. } => matches!(cause, Waiting::NoPrimary { .. }),
        Waiting::HeldForFailed { of, .. } => of_instance(of),
        Waiting::ClusterStateFail { instance } => outage || of_instance(instance),
        Waiting::ViewDiffers { instance } => outage || shard.is_some() || of_instance(instance),
        Waiting::OldOrder { instance }
        | Waiting::ConfigDiffers { instance, .. }
        | Waiting::NameElsewhere { instance } => of_instance(instance),
        // The agent of a pod that does not run cannot be asked, and its server is down.
        waiting => trouble(waiting).is_some_and(of_instance) && depth(cause) < depth(waiting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::{Phase, Slot, SlotRange, StoreError, Unseen};

    fn name(text: &str) -> InstanceName {
        text.parse().unwrap()
    }

    fn shard(text: &str) -> ShardName {
        text.parse().unwrap()
    }

    fn report(waiting: Vec<Waiting>) -> Report {
        let slots = |first: u16, last: u16| {
            let slot = |number: u16| Slot::try_from(number).unwrap();
            SlotRange::new(slot(first), slot(last)).into_iter().collect()
        };
        let shards = [("s0", slots(0, 8_191)), ("s1", slots(8_192, 16_383))];
        let instances = [("c-0", "s0"), ("c-1", "s1"), ("c-2", "s0"), ("c-3", "s1")];
        Report {
            mode: valkeeper_model::Mode::Cluster,
            phase: Phase::Failing,
            healthy: false,
            shards: shards
                .map(|(name, slots)| ShardReport {
                    name: shard(name),
                    slots,
                    primary: None,
                    replicas: Vec::new(),
                    needed_replicas: None,
                })
                .into(),
            instances: instances
                .map(|(one, of)| InstanceReport {
                    name: name(one),
                    shard: shard(of),
                    zone: "a".parse().unwrap(),
                    role: None,
                    address: None,
                    pid: None,
                    version: None,
                    engine: None,
                    lag_bytes: None,
                    fenced: false,
                    keys: None,
                    memory_bytes: None,
                    data: None,
                })
                .into(),
            waiting,
            sentinels: Vec::new(),
            replica_mode: None,
            progress: Vec::new(),
            cordoned_zones: std::collections::BTreeSet::new(),
        }
    }

    fn unserved() -> Waiting {
        Waiting::SlotsUnserved { slots: report(Vec::new()).shards[0].slots.clone() }
    }

    #[test]
    fn a_dead_primary_is_one_cause_with_all_that_follows() {
        let down = Waiting::InstanceDown { instance: name("c-0") };
        let effects = [
            Waiting::NoPrimary { shard: shard("s0") },
            Waiting::NoQuorum { alive: 1, needed: 2 },
            unserved(),
            Waiting::HeldForFailed { instance: name("c-1"), of: name("c-0") },
            Waiting::ClusterStateFail { instance: name("c-1") },
            Waiting::ClusterStateFail { instance: name("c-3") },
        ];
        let all = effects.iter().rev().cloned().chain([down.clone()]).collect();
        let causes = of(&report(all));
        assert_eq!(causes.len(), 1, "{causes:#?}");
        assert_eq!(causes[0].waiting, down);
        assert_eq!(causes[0].effects.len(), effects.len());
    }

    #[test]
    fn what_another_shard_lacks_is_a_cause_of_its_own() {
        let down = Waiting::InstanceDown { instance: name("c-2") };
        let missing = |of: &str| Waiting::ReplicasMissing {
            shard: shard(of),
            in_sync: 0,
            wanted: 1,
            causes: Vec::new(),
        };
        let causes = of(&report(vec![missing("s0"), missing("s1"), down.clone()]));
        let told: Vec<_> =
            causes.iter().map(|cause| (cause.waiting.clone(), cause.effects.clone())).collect();
        assert_eq!(told, [(down, vec![missing("s0")]), (missing("s1"), Vec::new())]);
    }

    #[test]
    fn who_does_not_act_comes_first() {
        let down = Waiting::InstanceDown { instance: name("c-2") };
        let store = Waiting::StoreFailed { error: StoreError::LeftOver { why: "a volume goes".to_owned() } };
        for first in [Waiting::NoSupervisor, store] {
            let causes = of(&report(vec![down.clone(), unserved(), first.clone()]));
            assert_eq!(causes[0].waiting, first);
        }
    }

    #[test]
    fn a_pod_that_does_not_run_is_the_cause_of_its_silence() {
        let pod = Waiting::PodNotRunning { instance: name("c-2"), why: "no node".to_owned() };
        let agent = Waiting::AgentUnknown { instance: name("c-2"), why: Unseen::Timeout.into() };
        let causes = of(&report(vec![agent.clone(), pod.clone()]));
        assert_eq!(causes, [Cause { waiting: pod, effects: vec![agent] }]);
    }

    #[test]
    fn no_reason_is_lost_or_told_twice() {
        let one = name("c-1");
        let all = vec![
            Waiting::OldOrder { instance: one.clone() },
            Waiting::RestartNeeded { instance: one.clone(), directives: vec!["x".to_owned()] },
            Waiting::ViewDiffers { instance: one.clone() },
            Waiting::Stranger { instance: one },
            Waiting::SwitchingOver { shard: shard("s1") },
            unserved(),
        ];
        let mut told: Vec<Waiting> = of(&report(all.clone())).into_iter().flat_map(Cause::into_all).collect();
        let mut all = all;
        told.sort();
        all.sort();
        assert_eq!(told, all);
    }
}
