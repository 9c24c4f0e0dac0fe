//! Law 3: who may come back as primary. One row, one situation somebody lost data in.

use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    Activity, Address, AgentReport, AskFailed, DiskRole, Epoch, Generation, HeldCopy, Incarnation,
    InstanceName, Link, NodeId, Observed, Offset, Part, Persistence, Process, Replication, ReplicationId,
    Role, ServerView, SlotSet, TopologyNode, Unseen,
};
use valkeeper_plan::failover::restart_decision::{
    Claim, Loss, RestartDecision, Returning, ShardFacts, Sibling, WaitReason, decide_restart, judge,
};

fn name(n: u32) -> InstanceName {
    format!("c-{n}").parse().expect("a name")
}

fn view(part: Part, keys: u64, slots: &SlotSet) -> ServerView {
    let node_id = NodeId::from_bytes([1; 20]);
    let role = if matches!(part, Part::Primary { .. }) { Role::Primary } else { Role::Replica };
    let myself =
        TopologyNode { role, primary: None, slots: slots.clone(), config_epoch: Epoch(7), address: None };
    let replication = Replication { part, replid: ReplicationId::from_bytes([9; 20]), offset: Offset(100) };
    let topology = Arc::new(BTreeMap::from([(node_id, myself)]));
    ServerView { keys, ..ServerView::well(node_id, "9.1.2", replication, topology) }
}

fn report(
    process: Process,
    disk_role: DiskRole,
    has_data: bool,
    server: Observed<ServerView>,
) -> AgentReport {
    AgentReport {
        source: None,
        last_write: None,
        format: valkeeper_model::Format,
        generation: Generation(1),
        addresses_hash: None,
        address: Address { ip: [127, 0, 0, 1].into(), port: 1, bus_port: 2 },
        process,
        disk_role,
        has_data,
        disk: valkeeper_model::DiskAccess::Answers,
        copy: None,
        server,
        activity: Activity::Watching,
        waiting: None,
        password: None,
        look_refused: None,
        sentinels: BTreeMap::new(),
        seen_ms_ago: None,
        pod_template: None,
        primary_position: None,
        register: None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an answer as it comes")]
fn running(server: Observed<ServerView>, has_data: bool) -> Result<AgentReport, AskFailed> {
    let process = Process::Running { incarnation: Incarnation(3), pid: None };
    Ok(report(process, DiskRole::Replica { of: NodeId::from_bytes([2; 20]) }, has_data, server))
}

#[expect(clippy::unnecessary_wraps, reason = "an answer as it comes")]
fn down(disk_role: DiskRole, has_data: bool) -> Result<AgentReport, AskFailed> {
    Ok(report(Process::Down, disk_role, has_data, Observed::Unknown(Unseen::NotRunning)))
}

fn replica(link: Link, keys: u64) -> Observed<ServerView> {
    Observed::Known(view(Part::Replica { link }, keys, &SlotSet::empty()))
}

fn decide(
    whole: bool,
    has_data: bool,
    persistence: Persistence,
    sibling: &Result<AgentReport, AskFailed>,
) -> RestartDecision {
    let claim = if whole { Claim::OwnFile } else { Claim::ToldByOthers };
    decide_as(1, claim, has_data, persistence, &[(name(1), judge(&name(1), sibling, ShardFacts::default()))])
}

fn decide_as(
    epoch: u64,
    claim: Claim,
    has_data: bool,
    persistence: Persistence,
    siblings: &[(InstanceName, Sibling)],
) -> RestartDecision {
    let copy = HeldCopy::unrecorded(has_data && persistence != Persistence::None);
    let me = Returning {
        epoch: Epoch(epoch),
        claim,
        copy: &copy,
        attached: None,
        persistence,
        loss: Loss::Refused,
    };
    decide_restart(&me, siblings)
}

#[test]
fn a_live_copy_is_promoted_whatever_the_old_primary_holds() {
    for link in [Link::Up, Link::Lost] {
        for (has_data, persistence) in
            [(true, Persistence::Aof), (false, Persistence::None), (true, Persistence::Rdb)]
        {
            let verdict = decide(true, has_data, persistence, &running(replica(link, 0), false));
            assert_eq!(verdict, RestartDecision::FailOver);
        }
    }
}

#[test]
fn who_serves_already_is_followed() {
    let primary = view(Part::Primary { replicas: Vec::new() }, 5, &SlotSet::all());
    let verdict = decide(true, true, Persistence::Aof, &running(Observed::Known(primary.clone()), true));
    assert_eq!(verdict, RestartDecision::AsReplicaOf(Box::new(primary)));
}

/// Cut off when it was replaced, it has not heard of us: what we took since is not there.
#[test]
fn who_was_replaced_by_us_is_not_followed() {
    let primary = view(Part::Primary { replicas: Vec::new() }, 5, &SlotSet::all());
    let serving = judge(&name(1), &running(Observed::Known(primary.clone()), true), ShardFacts::default());
    let back = |epoch, claim, has_data| {
        let siblings = [(name(1), serving.clone())];
        decide_as(epoch, claim, has_data, Persistence::Aof, &siblings)
    };
    assert_eq!(back(8, Claim::OwnFile, true), RestartDecision::AsPrimary);
    assert_eq!(back(8, Claim::OwnFile, false), RestartDecision::Wait(WaitReason::CopyOn(name(1))));
    // It follows us as soon as it is told, and two that follow each other never serve: its copy is judged when it is a replica.
    assert_eq!(back(8, Claim::ToldByOthers, true), RestartDecision::Wait(WaitReason::CopyOn(name(1))));
    assert_eq!(back(7, Claim::ToldByOthers, true), RestartDecision::AsReplicaOf(Box::new(primary.clone())));
    assert_eq!(back(7, Claim::OwnFile, true), RestartDecision::AsReplicaOf(Box::new(primary)));
}

/// It follows somebody whose agent does not answer just now, and whose claim is newer than ours.
#[test]
fn a_live_copy_of_an_unknown_successor_is_not_promoted() {
    let successor = NodeId::from_bytes([3; 20]);
    let mut seen = view(Part::Replica { link: Link::Up }, 5, &SlotSet::empty());
    let mut topology = (*seen.topology).clone();
    if let Some(me) = topology.get_mut(&seen.node_id) {
        me.primary = Some(successor);
    }
    let role = Role::Primary;
    let slots = SlotSet::all();
    let node = TopologyNode { role, primary: None, slots, config_epoch: Epoch(7), address: None };
    topology.insert(successor, node);
    seen.topology = Arc::new(topology);
    let live = judge(&name(1), &running(Observed::Known(seen), true), ShardFacts::default());
    let decide = |own_epoch, other: Sibling| {
        let siblings = [(name(1), live.clone()), (name(2), other)];
        decide_as(own_epoch, Claim::OwnFile, true, Persistence::Rdb, &siblings)
    };
    assert_eq!(decide(6, Sibling::Unknown), RestartDecision::Wait(WaitReason::Unknown(vec![name(2)])));
    assert_eq!(decide(7, Sibling::Unknown), RestartDecision::FailOver);
    let down = Sibling::DownWithData(Box::new(HeldCopy::unrecorded(true)));
    assert_eq!(decide(6, down), RestartDecision::FailOver);
}

/// An agent answers as soon as it has its order. It may not have read its disk by then, and then nothing is known of its copy.
#[test]
fn a_disk_that_is_not_read_yet_may_hold_anything() {
    let unread = |answer: Result<AgentReport, AskFailed>| {
        let copy = Some(Box::new(HeldCopy::unread()));
        let activity = Activity::Starting;
        judge(&name(1), &answer.map(|report| AgentReport { copy, activity, ..report }), ShardFacts::default())
    };
    assert_eq!(unread(down(DiskRole::Lost, false)), Sibling::Unknown);
    assert_eq!(unread(running(Observed::Unknown(Unseen::NotAsked), false)), Sibling::Unknown);
    // An agent that was restarted does not know whether the replica that it adopted was in sync.
    assert_eq!(unread(running(replica(Link::Lost, 5), false)), Sibling::Unknown);
    let primary = view(Part::Primary { replicas: Vec::new() }, 5, &SlotSet::all());
    let serving = unread(running(Observed::Known(primary.clone()), false));
    assert_eq!(serving, Sibling::Primary(Box::new(primary)));
}

/// L17: promoted in another shard by hand, it holds that shard's data.
#[test]
fn who_serves_another_shard_holds_nothing_of_ours() {
    let (ours, theirs) = (SlotSet::part(0, 3), SlotSet::part(1, 3));
    let facts = ShardFacts { slots: Some(&ours), ..ShardFacts::default() };
    let serving = |slots: &SlotSet| {
        let primary = view(Part::Primary { replicas: Vec::new() }, 5, slots);
        judge(&name(1), &running(Observed::Known(primary), true), facts)
    };
    assert!(matches!(serving(&ours), Sibling::Primary(_)));
    assert_eq!(serving(&theirs), Sibling::Empty);
    let claims = |slots: &SlotSet| {
        let role = DiskRole::Primary { config_epoch: Epoch(3), slots: slots.clone() };
        judge(&name(1), &down(role, true), facts)
    };
    assert!(matches!(claims(&ours), Sibling::Claims(..)));
    assert_eq!(claims(&theirs), Sibling::Empty);
}

#[test]
fn unknown_is_waited_for() {
    let silent = running(Observed::Unknown(Unseen::Timeout), true);
    let gone = Err(AskFailed::Unseen(Unseen::Unreachable));
    let syncing = running(replica(Link::Syncing, 3), true);
    for sibling in [silent, gone, syncing] {
        let verdict = decide(true, true, Persistence::Aof, &sibling);
        assert_eq!(verdict, RestartDecision::Wait(WaitReason::Unknown(vec![name(1)])));
    }
}

#[test]
fn after_a_power_loss_the_primary_with_data_starts_in_place() {
    let of = NodeId::from_bytes([1; 20]);
    for sibling in [down(DiskRole::Replica { of }, true), running(replica(Link::NeverUp, 9), true)] {
        assert_eq!(decide(true, true, Persistence::Aof, &sibling), RestartDecision::AsPrimary);
    }
}

#[test]
fn a_newer_claim_on_a_sibling_disk_is_waited_for() {
    let claim = |epoch| down(DiskRole::Primary { config_epoch: Epoch(epoch), slots: SlotSet::all() }, true);
    assert_eq!(
        decide(true, true, Persistence::Aof, &claim(2)),
        RestartDecision::Wait(WaitReason::CopyOn(name(1)))
    );
    assert_eq!(decide(true, true, Persistence::Aof, &claim(1)), RestartDecision::AsPrimary);
    assert_eq!(decide(false, true, Persistence::Aof, &claim(1)), RestartDecision::BehindClaim(name(1)));
}

#[test]
fn a_wiped_primary_lets_a_copy_on_disk_go_first() {
    let of = NodeId::from_bytes([1; 20]);
    let verdict = decide(false, false, Persistence::Aof, &down(DiskRole::Replica { of }, true));
    assert_eq!(verdict, RestartDecision::Wait(WaitReason::CopyOn(name(1))));
    let verdict = decide(false, false, Persistence::Aof, &running(replica(Link::NeverUp, 9), true));
    assert_eq!(verdict, RestartDecision::Promote { instance: name(1), incarnation: Incarnation(3) });
}

#[test]
fn a_shard_without_any_copy_comes_back_only_where_that_was_promised_or_accepted() {
    let nothing = running(replica(Link::NeverUp, 0), false);
    assert_eq!(decide(false, false, Persistence::Aof, &nothing), RestartDecision::Wait(WaitReason::NoCopy));
    assert_eq!(decide(false, false, Persistence::Rdb, &nothing), RestartDecision::Wait(WaitReason::NoCopy));
    assert_eq!(decide(false, false, Persistence::None, &nothing), RestartDecision::AsPrimary);
    // Its own files are whole: it was never written to.
    assert_eq!(decide(true, false, Persistence::Rdb, &nothing), RestartDecision::AsPrimary);
    let copy = HeldCopy::unrecorded(false);
    let (epoch, claim, persistence) = (Epoch(1), Claim::ToldByOthers, Persistence::Aof);
    let me = Returning { epoch, claim, copy: &copy, attached: None, persistence, loss: Loss::Accepted };
    assert_eq!(decide_restart(&me, &[(name(1), Sibling::Empty)]), RestartDecision::AsPrimary);
}
