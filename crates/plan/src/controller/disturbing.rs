//! Law 6: a primary is disturbed only after the ledger of the stored layout counts it, and is counted until its end is seen.

use super::machine::Controller;
use super::requests::Decision;
use super::rolling;
use super::storing::AfterCommit;
use crate::agent::Token;
use crate::operations::ledger::{self, Deed};
use crate::operations::move_slots::MoveSeen;
use crate::operations::{roll, stored};
use crate::view::cluster_view::ClusterView;
use std::collections::BTreeMap;
use valkeeper_model::{
    Answer, Ask, AskFailed, Disturbance, DisturbanceEnd, DisturbedBy, DisturbingRequest, Happened,
    InstanceName, Layout, Millis, Observation, Operation, OperationName,
};

/// What this controller knows of the deeds that the ledger counts. One that is started anew knows nothing.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    told: BTreeMap<Token, Entry>,
    known: BTreeMap<Entry, Known>,
    at_rest_since: BTreeMap<Entry, Millis>,
}

/// An entry of the ledger: whom it counts, and since which revision.
type Entry = (InstanceName, u64);

fn entry_of(layout: &Layout, instance: &InstanceName) -> Option<Entry> {
    Some((instance.clone(), layout.ledger.get(instance)?.since.revision))
}

#[derive(Debug, Clone, Copy)]
struct Known {
    deed: Deed,
    /// The look that was under way, or the last, when that became known.
    look: u64,
}

impl Deeds {
    fn told(&mut self, token: Token, entry: Entry) {
        self.known.insert(entry.clone(), Known { deed: Deed::Pending, look: 0 });
        self.told.insert(token, entry);
    }

    fn deed(&self, entry: &Entry, look: u64) -> Deed {
        match self.known.get(entry) {
            Some(known) if known.look < look => known.deed,
            Some(_) => Deed::Pending,
            None => Deed::Unknown,
        }
    }

    fn at_rest_ms(&mut self, now: Millis, entry: &Entry, at_rest: bool) -> u64 {
        if at_rest {
            return now.since(*self.at_rest_since.entry(entry.clone()).or_insert(now));
        }
        self.at_rest_since.remove(entry);
        0
    }

    fn forget_all_but(&mut self, layout: &Layout) {
        let stands = |entry: &Entry| entry_of(layout, &entry.0).as_ref() == Some(entry);
        self.told.retain(|_, entry| stands(entry));
        self.known.retain(|entry, _| stands(entry));
        self.at_rest_since.retain(|entry, _| stands(entry));
    }
}

/// What the ledger is to count of that instance.
pub(super) fn counted(
    layout: &Layout,
    seen: &Observation,
    instance: &InstanceName,
    by: DisturbedBy,
) -> Option<Disturbance> {
    Some(Disturbance {
        shard: layout.instances.get(instance)?.shard.clone(),
        by,
        incarnation: seen.report(instance).and_then(valkeeper_model::AgentReport::incarnation),
        since: layout.next_version(),
        newer: valkeeper_model::NewerFields::default(),
    })
}

/// What a look leads to that is to be stored.
#[derive(Debug, Default)]
pub(super) struct Progressed {
    /// Lives that go on.
    pub(super) lives: Option<Layout>,
    /// Who counts as disturbed no more.
    pub(super) ended: BTreeMap<InstanceName, DisturbanceEnd>,
    /// An operation that begins.
    pub(super) begun: Option<(OperationName, Operation)>,
    /// What the roll comes to.
    pub(super) rolled: Option<roll::Next>,
    /// What was seen of slots that move.
    pub(super) moves: Vec<MoveSeen>,
}

impl Controller {
    /// Whom what was decided disturbs, if it is a primary, and how; a fence counts it by itself.
    fn disturbed_by(&self, decision: &Decision) -> Option<(InstanceName, DisturbingRequest)> {
        match decision {
            Decision::Tell(to, Ask::HandOver { .. }, _) => Some((to.clone(), DisturbingRequest::Switchover)),
            Decision::Tell(to, Ask::Restart, _) if self.may_be_primary(to) => {
                Some((to.clone(), DisturbingRequest::Restart))
            }
            Decision::UntilPrimaryChanges(_, Some((from, _)), _) => {
                Some((from.clone(), DisturbingRequest::Failover))
            }
            _ => None,
        }
    }

    /// One that is down by its agent's word is none that could be disturbed.
    fn may_be_primary(&self, instance: &InstanceName) -> bool {
        let report = self.observation.as_ref().and_then(|seen| seen.report(instance));
        report.is_none_or(|report| {
            !report.is_down() && report.view().is_none_or(valkeeper_model::ServerView::is_shard_primary)
        })
    }

    /// Does what was decided, once the ledger counts whom it disturbs.
    pub(super) fn count_and_carry_out(&mut self, now: Millis, token: Token, decision: Decision) {
        let disturbed = self.disturbed_by(&decision);
        let (Some(layout), Some(seen), Some((instance, by))) = (&self.layout, &self.observation, disturbed)
        else {
            return self.carry_out(now, token, decision);
        };
        let mut next = layout.clone();
        let entry = counted(layout, seen, &instance, DisturbedBy::Request(by));
        next.ledger.extend(entry.map(|entry| (instance, entry)));
        self.commit(next, AfterCommit::CarryOut(token, Box::new(decision)));
    }

    /// An agent is being told something that the ledger counts.
    pub(super) fn note_told(&mut self, token: Token, to: &InstanceName, ask: &Ask) {
        let entry = self.layout.as_ref().and_then(|layout| entry_of(layout, to));
        if let (Some(entry), Ask::HandOver { .. } | Ask::Restart | Ask::Kill) = (entry, ask) {
            self.deeds.told(token, entry);
        }
    }

    /// An agent has answered. What came of it is seen by looks that are begun from now on.
    pub(super) fn note_answer(&mut self, token: Token, result: &Result<Answer, AskFailed>) {
        let Some(entry) = self.deeds.told.remove(&token) else { return };
        let deed = match result {
            Ok(_) => Deed::CarriedOut,
            Err(AskFailed::Unseen(_)) => Deed::Unknown,
            Err(_) => Deed::Refused,
        };
        self.deeds.known.insert(entry, Known { deed, look: self.looks });
    }

    /// Has this controller told it, whatever came of that?
    pub(super) fn has_told(&self, instance: &InstanceName) -> bool {
        let entry = self.layout.as_ref().and_then(|layout| entry_of(layout, instance));
        entry.is_some_and(|entry| self.deeds.known.contains_key(&entry))
    }

    /// Who counts as disturbed no more by what was seen, and why.
    pub(super) fn ended(
        &mut self,
        now: Millis,
        cluster_view: &ClusterView<'_>,
    ) -> BTreeMap<InstanceName, DisturbanceEnd> {
        let mut ended = BTreeMap::new();
        self.deeds.forget_all_but(cluster_view.layout);
        for (name, entry) in &cluster_view.layout.ledger {
            let key = (name.clone(), entry.since.revision);
            let at_rest_ms = self.deeds.at_rest_ms(now, &key, ledger::is_at_rest(cluster_view, name, entry));
            let deed = self.deeds.deed(&key, self.looks);
            if let Some(why) = ledger::end(cluster_view, name, entry, deed, at_rest_ms) {
                ended.insert(name.clone(), why);
            }
        }
        ended
    }

    /// Stores the lives that go on, what ends and what begins, at once, if anything does.
    pub(super) fn commit_progress(
        &mut self,
        layout: &Layout,
        Progressed { lives, ended, begun, rolled, moves }: Progressed,
    ) {
        let mut next = lives.unwrap_or_else(|| layout.clone());
        let mut happened = Vec::new();
        for (instance, why) in ended {
            let Some(entry) = next.ledger.remove(&instance) else { continue };
            if roll::is_of_roll(&entry.by) {
                if why == DisturbanceEnd::NotBegun {
                    rolling::forget_turn(&mut next, &instance);
                }
                continue;
            }
            if why != DisturbanceEnd::Done {
                happened.push(Happened::DisturbanceEnded { shard: entry.shard, instance, why });
            }
        }
        let mut next = self.moved(next, &moves, &mut happened);
        let over: Vec<_> =
            next.operations.keys().filter(|name| stored::is_over(&next, name)).cloned().collect();
        next.operations.retain(|name, _| !over.contains(name));
        if let (Some((name, operation)), Some(seen)) = (begun, &self.observation)
            && let Some(from) = operation.switch().map(|target| target.from.clone())
            && let Some(entry) = counted(&next, seen, &from, DisturbedBy::Operation(name.clone()))
        {
            next.ledger.insert(from, entry);
            next.operations.insert(name, operation);
        }
        if let (Some(rolled), Some(seen)) = (rolled, &self.observation) {
            rolling::go_on(&mut next, layout.generation.next(), seen, rolled, &mut happened);
        }
        if next != *layout {
            self.commit(next, AfterCommit::Record(happened));
        }
    }
}
