use super::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    Activity, Address, AttachedReplica, DiskAccess, DiskRole, Epoch, Format, Generation, Incarnation, NodeId,
    Offset, Process, Replication, ReplicationId, SlotSet, SourceReport, TopologyNode,
};

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

fn history(digit: &str) -> ReplicationId {
    digit.repeat(40).parse().unwrap()
}

/// A server that follows that node, or nobody.
fn server(number: u8, follows: Option<NodeId>, link: Link, offset: u64) -> ServerView {
    let part = match follows {
        Some(_) => Part::Replica { link },
        None => Part::Primary {
            replicas: vec![AttachedReplica {
                address: ([127, 0, 0, 1], 7_102).into(),
                online: true,
                acknowledged: Offset(offset - 50),
            }],
        },
    };
    let role = if follows.is_some() { Role::Replica } else { Role::Primary };
    let node = TopologyNode {
        role,
        primary: follows,
        slots: SlotSet::empty(),
        config_epoch: Epoch(1),
        address: None,
    };
    let replication = Replication { part, replid: history("a"), offset: Offset(offset) };
    ServerView::well(id(number), "9.1.2", replication, Arc::new(BTreeMap::from([(id(number), node)])))
}

fn report(server: Observed<ServerView>) -> AgentReport {
    AgentReport {
        format: Format,
        generation: Generation(1),
        addresses_hash: None,
        address: Address { ip: [127, 0, 0, 1].into(), port: 7_101, bus_port: 17_101 },
        process: Process::Running { incarnation: Incarnation(1), pid: None },
        disk_role: DiskRole::Lost,
        has_data: true,
        disk: DiskAccess::Answers,
        copy: None,
        server,
        activity: Activity::Watching,
        register: None,
        waiting: None,
        password: None,
        look_refused: None,
        source: None,
        last_write: None,
        sentinels: BTreeMap::new(),
        seen_ms_ago: Some(400),
        pod_template: None,
        primary_position: None,
    }
}

fn instance(number: u8, report: Observed<AgentReport>) -> Instance {
    Instance {
        cluster: "west".parse().unwrap(),
        name: format!("west-{number}").parse().unwrap(),
        shard: Some("s0".parse().unwrap()),
        report,
    }
}

fn seen(number: u8, view: ServerView) -> Instance {
    instance(number, Observed::Known(report(Observed::Known(view))))
}

/// The samples of a metric, without the labels that all have.
fn told(instances: &[Instance], metric: Metric) -> Vec<String> {
    let text = sample(instances).text();
    let lines = text.lines().filter(|line| line.starts_with(metric.name()) && !line.starts_with('#'));
    let of_metric = lines.filter(|line| line[metric.name().len()..].starts_with('{'));
    of_metric
        .map(|line| {
            line.trim_start_matches(metric.name())
                .replace("{cluster=\"west\",instance=\"west-", "")
                .replace("\",shard=\"s0\",role=\"", " ")
                .replace("\"} ", " ")
        })
        .collect()
}

#[test]
fn a_replica_is_behind_the_primary_that_is_seen_with_it() {
    let both = [seen(0, server(0, None, Link::Up, 1_000)), seen(1, server(1, Some(id(0)), Link::Up, 700))];
    assert_eq!(told(&both, Metric::Up), ["0 master 1", "1 slave 1"]);
    assert_eq!(told(&both, Metric::ReplicationLagBytes), ["1 slave 300"]);
    assert_eq!(told(&both, Metric::ReplicationLagAgeSeconds), ["1 slave 0.400"]);
    assert_eq!(told(&both, Metric::LinkUp), ["1 slave 1"]);
    assert_eq!(told(&both, Metric::AttachedReplicas), ["0 master 1"]);
    assert_eq!(told(&both, Metric::PrimaryOffset), ["0 master 1000"]);
    assert_eq!(told(&both, Metric::ReplicaOffset), ["1 slave 700"]);
    let [version, _] = &told(&both, Metric::InstanceInfo)[..] else { panic!() };
    assert_eq!(version, "0 master\",redis_version=\"9.1.2 1");
    let [attached] = &told(&both, Metric::AttachedReplicaOffsetBytes)[..] else { panic!() };
    assert_eq!(attached, "0 master\",slave_ip=\"127.0.0.1\",slave_port=\"7102\",slave_state=\"online 950");
}

#[test]
fn what_is_not_known_is_not_told() {
    let unknown = |why| instance(0, Observed::Unknown(why));
    assert_eq!(sample(&[unknown(Unseen::Timeout)]).text(), "");
    assert_eq!(told(&[unknown(Unseen::NotAsked)], Metric::Up), ["0 unknown 0"]);
    let dead = instance(0, Observed::Known(report(Observed::Unknown(Unseen::NotRunning))));
    let text = sample(std::slice::from_ref(&dead)).text();
    assert_eq!(text.lines().count(), 3, "{text}");
    // Behind a primary that is not seen, or whose history is another one, nobody knows how far.
    let replica = |offset| seen(1, server(1, Some(id(0)), Link::Lost, offset));
    let both = [dead, replica(700)];
    assert_eq!(told(&both, Metric::ReplicationLagBytes), Vec::<String>::new());
    assert_eq!(told(&both, Metric::LinkUp), ["1 slave 0"]);
    let mut other = server(0, None, Link::Up, 1_000);
    other.replication.replid = history("b");
    assert_eq!(told(&[seen(0, other), replica(700)], Metric::ReplicationLagBytes), Vec::<String>::new());
}

#[test]
fn a_primary_on_another_host_is_known_by_what_it_has_told() {
    let mut report = report(Observed::Known(server(1, Some(id(0)), Link::Up, 700)));
    let position = valkeeper_model::Position { history: history("a"), offset: Offset(1_700) };
    report.primary_position = Some(SeenPosition { position, seen_ms_ago: 12_345 });
    let alone = [instance(1, Observed::Known(report))];
    assert_eq!(told(&alone, Metric::ReplicationLagBytes), ["1 slave 1000"]);
    assert_eq!(told(&alone, Metric::ReplicationLagAgeSeconds), ["1 slave 12.345"]);
}

/// A source that cannot be asked any more: what was known of it, and since when.
#[test]
fn a_cluster_that_follows_is_behind_its_source() {
    let follows = |link| {
        let mut report = report(Observed::Known(server(1, Some(id(9)), link, 700)));
        let known =
            SourceReport { lag_bytes: Some(2_700_000), seen_ms_ago: Some(90_000), ..SourceReport::default() };
        report.source = Some(Box::new(known));
        [instance(1, Observed::Known(report))]
    };
    assert_eq!(told(&follows(Link::Lost), Metric::ReplicationLagBytes), ["1 slave 2700000"]);
    assert_eq!(told(&follows(Link::Lost), Metric::ReplicationLagAgeSeconds), ["1 slave 90.000"]);
    assert_eq!(told(&follows(Link::Syncing), Metric::SyncInProgress), ["1 slave 1"]);
    assert_eq!(told(&follows(Link::Syncing), Metric::LinkUp), ["1 slave 0"]);
}
