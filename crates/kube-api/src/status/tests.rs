#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

use super::*;
use proptest::prelude::*;
use valkeeper_model::{KubernetesWaiting, StartFailure, StorageFault, StoreError, Unseen};

fn time(seconds: i64) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap())
}

fn name(n: u32) -> InstanceName {
    InstanceName::nth(&"demo".parse().unwrap(), n)
}

pub(crate) fn report(waiting: Vec<Waiting>) -> Report {
    let instance = |n: u32| InstanceReport {
        name: name(n),
        shard: ShardName::nth(n % 3),
        zone: format!("z{n}").parse().unwrap(),
        role: (n != 5).then_some(if n < 3 { Role::Primary } else { Role::Replica }),
        address: Some(format!("10.0.0.{n}:6379")),
        pid: (n != 5).then_some(7),
        version: (n != 5).then(|| "9.1.2".to_owned()),
        engine: None,
        lag_bytes: (n == 3).then_some(42),
        fenced: n == 5,
        keys: None,
        memory_bytes: None,
        data: None,
    };
    let shard = |n: u32| ShardReport {
        name: ShardName::nth(n),
        slots: SlotSet::part(n, 3),
        primary: Some(name(n)),
        replicas: if n == 2 { vec![] } else { vec![name(n + 3)] },
        needed_replicas: None,
    };
    Report {
        sentinels: Vec::new(),
        replica_mode: None,
        progress: Vec::new(),
        cordoned_zones: std::collections::BTreeSet::new(),
        mode: valkeeper_model::Mode::Cluster,
        phase: if waiting.is_empty() { Phase::Healthy } else { Phase::Degraded },
        healthy: waiting.is_empty(),
        shards: (0..3).map(shard).collect(),
        instances: (0..6).map(instance).collect(),
        waiting,
    }
}

pub(crate) fn facts<'a>(before: Option<&'a RedisClusterStatus>, now: &'a Time) -> Facts<'a> {
    static NO_SECRETS: BTreeMap<String, String> = BTreeMap::new();
    Facts {
        generation: Some(4),
        verdict: Verdict::Followed,
        observation: None,
        at_risk: &[],
        volumes: 6,
        dangling_volumes: &[],
        secrets: &NO_SECRETS,
        before,
        now,
    }
}

/// One of each shape of detail.
pub(crate) fn reasons() -> Vec<Waiting> {
    let mut all = vec![
        Waiting::AgentUnknown { instance: name(5), why: Unseen::Timeout.into() },
        Waiting::StartFailed { instance: name(5), failure: StartFailure::PortTaken { port: 6379 } },
        Waiting::SiblingsUnknown { instance: name(2), siblings: vec![name(5)] },
        Waiting::SlotsUnserved { slots: SlotSet::part(2, 3) },
        Waiting::ReplicasMissing { shard: ShardName::nth(2), in_sync: 0, wanted: 1, causes: Vec::new() },
        Waiting::ZoneMajority { zone: "z1".parse().unwrap(), primaries: 2, of: 3 },
        Waiting::NoQuorum { alive: 1, needed: 2 },
        Waiting::RestartNeeded { instance: name(1), directives: vec!["databases".to_owned()] },
        Waiting::NoSupervisor,
        Waiting::Kubernetes(KubernetesWaiting::NotMade {
            kind: "Pod".to_owned(),
            name: "c-4".to_owned(),
            instance: Some(name(4)),
            why: "exceeded quota".to_owned(),
        }),
        Waiting::Kubernetes(KubernetesWaiting::NotOurs {
            kind: "Service".to_owned(),
            name: "c-any".to_owned(),
            instance: None,
        }),
        Waiting::Kubernetes(KubernetesWaiting::DefinitionOlder { fields: vec!["status.more".to_owned()] }),
        Waiting::StoreFailed {
            error: StoreError::NotWritten { fault: StorageFault::Forbidden, why: "no quota".to_owned() },
        },
        Waiting::StoreFailed { error: StoreError::Other { why: "of an older version".to_owned() } },
    ];
    all.sort();
    all
}

#[test]
fn a_report_survives_the_status() {
    let now = time(1_000);
    let stage = replica_mode::tests::promoted();
    let followed =
        Report { replica_mode: Some(Box::new(replica_mode::tests::report(stage))), ..report(vec![]) };
    for report in [report(vec![]), report(reasons()), followed] {
        let status = RedisClusterStatus::from_report(&report, &facts(None, &now));
        let json = serde_json::to_string(&status).unwrap();
        let read: RedisClusterStatus = serde_json::from_str(&json).unwrap();
        assert_eq!(read, status);
        assert_eq!(read.report(now.0), Some(report));
    }
}

#[test]
fn a_reason_of_a_newer_version_is_told_in_its_words() {
    let now = time(1_000);
    let mut status = RedisClusterStatus::from_report(&report(reasons()), &facts(None, &now));
    status.waiting[0].reason = "MoonPhase".to_owned();
    status.waiting[0].message = "the moon is full".to_owned();
    let read = status.report(now.0).unwrap();
    assert_eq!(read.waiting.len(), reasons().len());
    assert_eq!(read.waiting[0].to_string(), "the moon is full");
    assert!(read.waiting[0].is_flaw());
    assert_eq!(RedisClusterStatus::default().report(now.0), None);
}

#[test]
fn lag_alone_is_not_worth_a_write() {
    let now = time(1_000);
    let of = |report: &Report| RedisClusterStatus::from_report(report, &facts(None, &now));
    let before = of(&report(vec![]));
    let mut later = report(vec![]);
    later.instances[3].lag_bytes = Some(1 << 20);
    assert_ne!(of(&later), before);
    assert!(!of(&later).differs_materially(&before));
    later.instances[3].role = Some(Role::Primary);
    assert!(of(&later).differs_materially(&before));
    assert!(of(&report(reasons())).differs_materially(&before));
}

#[test]
fn conditions_say_what_is_wrong_and_since_when() {
    let (first, second, third) = (time(1_000), time(2_000), time(3_000));
    let well = RedisClusterStatus::from_report(&report(vec![]), &facts(None, &first));
    let still = RedisClusterStatus::from_report(&report(vec![]), &facts(Some(&well), &second));
    assert!(!still.differs_materially(&well), "time alone changes nothing");
    for condition in &still.conditions {
        assert_eq!((condition.status.as_str(), &condition.last_transition_time), ("True", &first));
        assert_eq!(condition.observed_generation, Some(4));
    }
    let ill = RedisClusterStatus::from_report(&report(reasons()), &facts(Some(&still), &third));
    let shown: Vec<_> = ill
        .conditions
        .iter()
        .map(|one| {
            (one.type_.as_str(), one.status.as_str(), one.reason.as_str(), one.last_transition_time.clone())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("Ready", "False", "ClusterNotReady", third.clone()),
            ("PrimaryAvailable", "True", "ShardsAvailable", first.clone()),
            ("ReplicationHealthy", "False", "ClusterReplicasDegraded", third.clone()),
            ("ZoneLossTolerated", "False", "ZonesNotSpread", third),
            ("SpecValid", "True", "SpecFollowed", first),
        ]
    );
    let message = &ill.condition(ConditionType::ReplicationHealthy).unwrap().message;
    assert_eq!(message, "s2: 0 of 1 replicas in sync");
    assert_eq!((ill.slots_assigned, ill.ready_instances, ill.instances), (10_922, 5, 6));
}

/// The others hold a primary for serving as soon as it runs; the engine lets it serve two seconds later.
#[test]
fn ready_is_not_before_every_primary_takes_writes() {
    let now = time(1_000);
    let ready = |who: u32| {
        let waiting = vec![Waiting::ClusterStateFail { instance: name(who) }];
        let status = RedisClusterStatus::from_report(&report(waiting), &facts(None, &now));
        status.condition(ConditionType::Ready).unwrap().status.clone()
    };
    assert_eq!((ready(1).as_str(), ready(4).as_str()), ("False", "True"));
}

#[test]
fn a_refused_spec_leaves_what_is_known_of_the_cluster() {
    let now = time(1_000);
    let well = RedisClusterStatus::from_report(&report(vec![]), &facts(None, &now));
    let refusal = Refusal::CannotChange { field: "spec.shards".to_owned() };
    let refused = RedisClusterStatus::of_spec(Verdict::Unfit(&refusal), Some(5), Some(&well), &now);
    assert_eq!(refused.report(now.0), well.report(now.0));
    assert_eq!(refused.observed_generation, Some(5));
    let condition = refused.condition(ConditionType::SpecValid).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "ChangeRefused"));
    assert!(condition.message.starts_with("spec.shards cannot change in a running cluster yet"));
    let first = RedisClusterStatus::of_spec(Verdict::Unfit(&refusal), Some(1), None, &now);
    assert_eq!(first.conditions.len(), 1);
}

#[test]
fn what_only_the_servers_say_is_told_too() {
    use valkeeper_model::{Activity, DiskRole, Epoch, Generation, Incarnation, Millis, Observed, Offset};
    use valkeeper_model::{Process, Replication, TopologyNode};
    let node = NodeId::from_bytes([7; 20]);
    let line = TopologyNode {
        role: Role::Primary,
        primary: None,
        slots: SlotSet::part(0, 3),
        config_epoch: Epoch(9),
        address: None,
    };
    let view = ServerView {
        engine: None,
        follows: None,
        node_id: node,
        version: "9.1.2".to_owned(),
        replication: Replication {
            part: Part::Primary { replicas: vec![] },
            replid: "0".repeat(40).parse().unwrap(),
            offset: Offset(77),
        },
        keys: 0,
        memory_bytes: 0,
        cluster_ok: false,
        current_epoch: Epoch(12),
        topology: BTreeMap::from([(node, line)]).into(),
        failed: std::collections::BTreeSet::new(),
        suspected: std::collections::BTreeSet::new(),
        blank: 0,
        open_slots: 0,
        config_drift: vec![],
        config_invalid: Vec::new(),
        config_altered: Vec::new(),
        config_by_hand: Vec::new(),
        users_by_hand: Vec::new(),
        config_refused: vec![],
        persistence_failing: false,
        memory_full: None,
        aof: None,
        expiring_keys: 0,
        branched_from: None,
        changes: None,
        clients: valkeeper_model::ClientTrouble::default(),
        full_syncs: None,
        slow: None,
    };
    let agent = AgentReport {
        format: valkeeper_model::Format,
        generation: Generation(1),
        addresses_hash: None,
        address: serde_json::from_str(r#"{"ip":"10.0.0.1","port":6379,"bus_port":16379}"#).unwrap(),
        process: Process::Running { incarnation: Incarnation(1), pid: Some(7) },
        disk_role: DiskRole::Lost,
        has_data: true,
        copy: None,
        password: None,
        disk: valkeeper_model::DiskAccess::Answers,
        server: Observed::Known(view),
        activity: Activity::Watching,
        waiting: None,
        look_refused: None,
        sentinels: BTreeMap::new(),
        seen_ms_ago: None,
        pod_template: None,
        primary_position: None,
        source: None,
        last_write: None,
        register: None,
    };
    let observation = Observation {
        at: Millis(0),
        instances: BTreeMap::from([(name(0), Observed::Known(agent))]),
        ..Observation::default()
    };
    let now = time(1_000);
    let report = report(vec![]);
    let status = RedisClusterStatus::from_report(
        &report,
        &Facts { observation: Some(&observation), ..facts(None, &now) },
    );
    let shard = &status.shards[&ShardName::nth(0)];
    assert_eq!((shard.primary_node_id, shard.epoch), (Some(node), Some(9)));
    let json = serde_json::to_value(&status.instances_status[&name(0)]).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "shard": "s0", "zone": "z0", "connected": true, "fenced": false, "role": "primary",
            "address": "10.0.0.0:6379", "pid": 7, "version": "9.1.2", "nodeID": node.to_string(),
            "replicationOffset": 77, "connectedReplicas": 0, "slotsServed": [{"start": 0, "end": 5460}],
            "clusterState": "fail", "currentEpoch": 12,
        })
    );
    assert_eq!(status.report(now.0), Some(report));
}

prop_compose! {
    fn any_report()(
        cells in prop::collection::vec((any::<bool>(), any::<Option<u64>>(), any::<Option<u32>>(), 0..4_u8), 1..40),
        shards in 1..9_u32,
        chosen in any::<u16>(),
        healthy in any::<bool>(),
        phase in 0..6_usize,
    ) -> Report {
        let phases = [
            Phase::Creating, Phase::Healthy, Phase::Degraded, Phase::Failing, Phase::Unsupervised, Phase::Down,
        ];
        let instances: BTreeMap<_, _> = (0..).zip(cells).map(|(n, (fenced, lag_bytes, pid, role))| {
            let one = InstanceReport {
                name: name(n),
                shard: ShardName::nth(n % shards),
                zone: format!("z{}", n % 3).parse().unwrap(),
                role: [None, Some(Role::Primary), Some(Role::Replica), None][usize::from(role)],
                address: pid.map(|pid| format!("10.0.0.1:{pid}")),
                pid,
                version: (role > 0).then(|| "9.1.2".to_owned()),
                engine: None,
                lag_bytes,
                fenced,
                keys: None,
                memory_bytes: None,
                data: None,
            };
            (name(n), one)
        }).collect();
        let of = |shard: u32, role| {
            instances.values().filter(move |one| one.shard == ShardName::nth(shard) && one.role == Some(role))
        };
        let reports: BTreeMap<_, _> = (0..shards).map(|n| {
            let one = ShardReport {
                name: ShardName::nth(n),
                slots: if n % 4 == 3 { SlotSet::empty() } else { SlotSet::part(n, shards) },
                primary: of(n, Role::Primary).next().map(|one| one.name.clone()),
                replicas: of(n, Role::Replica).map(|one| one.name.clone()).collect(),
                needed_replicas: None,
            };
            (one.name.clone(), one)
        }).collect();
        Report {
            sentinels: Vec::new(),
            replica_mode: None,
        progress: Vec::new(),
        cordoned_zones: std::collections::BTreeSet::new(),
mode: valkeeper_model::Mode::Cluster,
            phase: phases[phase],
            healthy,
            shards: reports.into_values().collect(),
            instances: instances.into_values().collect(),
            waiting: reasons().into_iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1).map(|(_, one)| one).collect(),
        }
    }
}

proptest! {
    #[test]
    fn any_report_survives_the_status(report in any_report()) {
        let now = time(1_000);
        let status = RedisClusterStatus::from_report(&report, &facts(None, &now));
        let json = serde_json::to_value(&status).unwrap();
        let read: RedisClusterStatus = serde_json::from_value(json).unwrap();
        prop_assert!(!read.differs_materially(&status));
        prop_assert_eq!(read.report(now.0), Some(report));
    }
}

#[test]
fn a_risk_that_the_spec_accepts_is_a_risk() {
    let now = time(1_000);
    let risk = [Waiting::ZoneMajority { zone: "z1".parse().unwrap(), primaries: 2, of: 3 }];
    let well = report(Vec::new());
    let status = RedisClusterStatus::from_report(&well, &Facts { at_risk: &risk, ..facts(None, &now) });
    let condition = status.condition(ConditionType::ZoneLossTolerated).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.message.as_str()),
        ("False", risk[0].to_string().as_str())
    );
}

#[test]
fn nothing_is_in_sync_without_a_primary() {
    let now = time(1_000);
    let mut ill = report(vec![Waiting::NoPrimary { shard: ShardName::nth(0) }]);
    ill.shards[0].primary = None;
    let status = RedisClusterStatus::from_report(&ill, &facts(None, &now));
    let condition = status.condition(ConditionType::ReplicationHealthy).unwrap();
    assert_eq!((condition.status.as_str(), condition.message.as_str()), ("False", "without a primary: s0"));
}
