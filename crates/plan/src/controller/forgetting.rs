//! A user's `forget`: nodes that are no members go from every server's table at once. Who still knows one tells the others again, but
//! not within the minute for which the engine remembers whom it was told to forget.

use super::Command;
use super::machine::{Controller, Pending};
use crate::agent::Token;
use crate::view::cluster_view::ClusterView;
use std::collections::BTreeSet;
use valkeeper_model::{Answer, Ask, AskFailed, Happened, InstanceName, NodeId, Observed, Refusal};

/// How long an agent may take.
const FORGET_MS: u64 = 5_000;

/// A request that many agents have a part in.
#[derive(Debug)]
pub(super) struct Parts {
    left: BTreeSet<InstanceName>,
    failed: Option<(InstanceName, AskFailed)>,
    happened: Happened,
}

/// Who is to be told, or why nobody is.
pub(super) fn forget(cluster_view: &ClusterView<'_>, nodes: &[NodeId]) -> Result<Vec<InstanceName>, Refusal> {
    let all = || cluster_view.shards.values().flat_map(|shard| &shard.instances);
    for node in nodes.iter().copied() {
        if let Some(instance) = cluster_view.members.get(&node) {
            return Err(Refusal::IsMember { node, instance: (*instance).clone() });
        }
        let mut views = all().filter_map(|one| Some((one.name, one.view()?)));
        if let Some((instance, _)) = views.clone().find(|(_, view)| view.primary() == Some(node)) {
            return Err(Refusal::FollowedByMember { node, instance: instance.clone() });
        }
        if !views.any(|(_, view)| view.topology.contains_key(&node)) {
            return Err(Refusal::NoSuchNode { node });
        }
    }
    let down = |one: &InstanceName| {
        cluster_view.observation.report(one).is_some_and(valkeeper_model::AgentReport::is_down)
    };
    let unseen = all().filter(|one| one.view().is_none() && !down(one.name));
    let unseen: Vec<_> = unseen.map(|one| one.name.clone()).collect();
    if !unseen.is_empty() {
        return Err(Refusal::NotAllSeen { unseen });
    }
    Ok(all()
        .filter(|one| one.report.is_some_and(|r| matches!(r.server, Observed::Known(_))))
        .map(|one| one.name.clone())
        .collect())
}

impl Controller {
    /// Tells all of them.
    pub(super) fn forget(&mut self, token: Token, nodes: Vec<NodeId>, members: Vec<InstanceName>) {
        for to in &members {
            let sent = self.tell(to.clone(), Ask::Forget { nodes: nodes.clone() }, FORGET_MS);
            self.pending.insert(sent, Pending::Part(token, to.clone()));
        }
        let happened = Happened::Forgotten { nodes };
        self.parts.insert(token, Parts { left: members.into_iter().collect(), failed: None, happened });
    }

    /// One of them has answered.
    pub(super) fn part_told(&mut self, of: Token, from: InstanceName, result: Result<Answer, AskFailed>) {
        let Some(parts) = self.parts.get_mut(&of) else { return };
        parts.left.remove(&from);
        if let Err(error) = result {
            parts.failed.get_or_insert((from, error));
        }
        if !parts.left.is_empty() {
            return;
        }
        let Some(parts) = self.parts.remove(&of) else { return };
        match parts.failed {
            None => {
                self.out.push(Command::Record(parts.happened));
                // Who asks for the status next must not be told of what is gone.
                self.until_observed.push(of);
            }
            Some((who, error)) => {
                self.answer(of, Err(Refusal::Failed { why: format!("{who} has not forgotten it: {error}") }));
            }
        }
    }
}
