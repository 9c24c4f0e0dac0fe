//! An empty data directory is one that was never used only as long as nobody knows better.

use crate::ordered::{name, obeys, ordered, runs};
use valkeeper_model::{
    AgentOrder, AgentReport, Answer, Ask, AskFailed, Generation, HeldCopy, InstanceLife, Millis, Observed,
    Unseen, Waiting,
};
use valkeeper_plan::agent::{Agent, Command, Event};
use valkeeper_plan::failover::copy::DataFiles;
use valkeeper_plan::failover::restart_decision::{Disk, NodesFile, Owner};

/// An agent with that order whose data directory is empty, and what it asks before it starts its server.
fn finds_nothing(order: AgentOrder) -> (Agent, Vec<Command>) {
    let mut agent = Agent::new(order.instance.clone(), None, Millis(0));
    agent.handle(Millis(0), Event::Order(Box::new(order)));
    let (owner, nodes_conf) = (Owner::Nobody, NodesFile::Missing);
    let disk = Disk { owner, nodes_conf, files: DataFiles::default(), record: None, beside: None };
    let asked = agent.handle(Millis(1), Event::Inspected(Ok(Box::new(disk))));
    (agent, asked)
}

/// The founder of the first shard finds its directory empty, and its replica answers that. Does it start, and else why not?
fn founds(answer: &Result<Observed<AgentReport>, AskFailed>) -> Result<(), Option<Waiting>> {
    let (_, given) = ordered(3, |_| ());
    let (mut agent, asked) = finds_nothing(given[&name(0)].clone());
    let mut said = Vec::new();
    for command in asked {
        let Command::Tell { token, to, ask: Ask::Report { .. }, .. } = command else { continue };
        assert_eq!(to, name(3), "others than the siblings are asked");
        let result =
            answer.clone().map(|seen| Answer::Report(Box::new(seen.known().expect("a report").clone())));
        said.extend(agent.handle(Millis(2), Event::Told { token, result }));
    }
    if said.iter().any(|command| matches!(command, Command::Start(_))) {
        return Ok(());
    }
    Err(agent.report().and_then(|report| report.waiting))
}

fn sibling(change: impl FnOnce(&mut AgentOrder)) -> AgentOrder {
    let (_, given) = ordered(3, |_| ());
    let mut order = given[&name(3)].clone();
    change(&mut order);
    order
}

#[test]
fn a_founder_begins_when_its_siblings_know_nothing_newer() {
    assert_eq!(founds(&Err(AskFailed::Unseen(Unseen::Unreachable))), Ok(()));
    assert_eq!(founds(&Ok(obeys(&sibling(|_| ())))), Ok(()));
    assert_eq!(founds(&Ok(runs(&sibling(|_| ()), |_| true))), Ok(()), "its replica was quicker and is empty");
}

/// An order of the first generation arrives late, at an agent whose disk was lost: the replica that still follows it has the only copy.
#[test]
fn a_late_order_founds_nothing_over_a_cluster_that_lives() {
    let newer = sibling(|order| order.generation = Generation(order.generation.0 + 1));
    let waits = Waiting::OldOrder { instance: name(0) };
    assert_eq!(founds(&Ok(runs(&newer, |_| true))), Err(Some(waits)));
}

#[test]
fn a_founder_whose_replica_has_keys_was_one_before() {
    let Observed::Known(mut report) = runs(&sibling(|_| ()), |_| true) else { panic!("a report") };
    let Observed::Known(view) = &mut report.server else { panic!("a view") };
    view.keys = 1;
    assert_eq!(founds(&Ok(Observed::Known(report))), Err(None));
}

/// A volume that was lost with its pod takes the sequence of its records with it. A sibling remembers it, whichever role the server had.
#[test]
fn a_directory_that_begins_anew_counts_on_from_where_the_lost_one_ended() {
    let (_, given) = ordered(3, |_| ());
    let (mut agent, asked) = finds_nothing(sibling(|order| order.life = InstanceLife::Member));
    let mut said = Vec::new();
    for command in asked {
        let Command::Tell { token, to, ask: Ask::Report { .. }, .. } = command else { continue };
        let Observed::Known(mut report) = runs(&given[&to], |_| true) else { panic!("a report") };
        if to == name(0) {
            report.copy = Some(Box::new(HeldCopy { seen: [(name(3), 40)].into(), ..HeldCopy::unread() }));
        }
        let result = Ok(Answer::Report(Box::new(report)));
        said.extend(agent.handle(Millis(2), Event::Told { token, result }));
    }
    let started = said.iter().find_map(|command| match command {
        Command::Start(plan) => Some(plan.record.sequence),
        _ => None,
    });
    assert_eq!(started, Some(41));
}
