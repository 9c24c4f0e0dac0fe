//! A layout is stored, with the numbers that it needs, and what follows on that.

use super::machine::{Controller, Stage};
use super::requests::Decision;
use super::{Command, CommitError, life};
use crate::agent::Token;
use crate::replica_mode;
use std::collections::BTreeMap;
use valkeeper_model::{
    ClusterSpec, Happened, Instance, InstanceName, Layout, LayoutVersion, Millis, OrderedSince, Refusal,
    Shard, ShardName,
};

/// A user's request that is done once a layout is stored.
#[derive(Debug)]
pub(super) struct PendingRequest {
    /// Whom to answer.
    pub(super) token: Token,
    /// What to tell people.
    pub(super) happened: Happened,
    /// The spec that holds from then on, if the request was for one.
    pub(super) spec: Option<Box<ClusterSpec>>,
    /// What it waits for once the layout is stored.
    pub(super) done: DoneWhen,
}

/// When a request whose layout is stored is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DoneWhen {
    /// After a look: who asks for the status next must not be told of a cluster that has not heard of it.
    Observed,
    /// When that instance's server is down.
    Down(InstanceName),
    /// When the cluster follows its source no more.
    Promoted,
}

/// What follows when a layout is stored.
#[derive(Debug)]
pub(super) enum AfterCommit {
    /// Nothing but what is told of it.
    Record(Vec<Happened>),
    /// A request goes on or is done.
    Request(PendingRequest),
    /// A request is carried out that disturbs somebody whom the ledger counts from now on.
    CarryOut(Token, Box<Decision>),
}

impl AfterCommit {
    /// Nobody waits for that request any more: what was not begun is not begun.
    pub(super) fn withdraw(&mut self, token: Token) {
        if matches!(self, Self::CarryOut(of, _) if *of == token) {
            *self = Self::Record(Vec::new());
        }
    }

    /// The request that is refused if the layout cannot be stored.
    fn request(&self) -> Option<Token> {
        match self {
            Self::Record(_) => None,
            Self::Request(pending) => Some(pending.token),
            Self::CarryOut(token, _) => Some(*token),
        }
    }
}

impl Controller {
    pub(super) fn commit(&mut self, layout: Layout, then: AfterCommit) {
        let after = self.layout.as_ref().map(Layout::version);
        self.commit_after(layout, after, then);
    }

    pub(super) fn commit_after(&mut self, layout: Layout, after: Option<LayoutVersion>, then: AfterCommit) {
        let layout = numbered(self.layout.as_ref(), layout);
        self.out.push(Command::Commit { layout: Box::new(layout.clone()), after });
        self.stage = Stage::Committing { layout: Box::new(layout), then };
    }

    pub(super) fn committed(&mut self, now: Millis, result: Result<(), CommitError>) {
        let Stage::Committing { layout, then } = std::mem::replace(&mut self.stage, Stage::Loading) else {
            return;
        };
        match result {
            Ok(()) => {
                self.store_failed = None;
                self.followed = true;
                if self.layout.is_none() {
                    self.out.push(Command::Record(Happened::Founded { instances: layout.instances.len() }));
                }
                // What no agent is told and no instance is new by needs no other place for anybody.
                let same_orders =
                    self.layout.as_ref().is_some_and(|before| before.generation == layout.generation);
                if let Some(before) = &self.layout {
                    self.out.extend(life::happened(before, &layout).into_iter().map(Command::Record));
                    self.out.extend(replica_mode::happened(before, &layout).into_iter().map(Command::Record));
                }
                self.layout = Some(*layout);
                if same_orders {
                    self.observe();
                } else {
                    self.provision();
                }
                self.after_commit(now, then);
            }
            Err(CommitError::Conflict) => {
                if let Some(token) = then.request() {
                    self.answer(token, Err(Refusal::ChangedMeanwhile));
                }
                self.load();
            }
            Err(CommitError::Failed(error)) => {
                if let Some(token) = then.request() {
                    self.answer(token, Err(Refusal::NotStored { error: error.clone() }));
                }
                self.store_fails(now, error);
            }
        }
    }

    fn after_commit(&mut self, now: Millis, then: AfterCommit) {
        match then {
            AfterCommit::Record(happened) => self.out.extend(happened.into_iter().map(Command::Record)),
            AfterCommit::CarryOut(token, decision) => self.carry_out(now, token, *decision),
            AfterCommit::Request(pending) => {
                if let Some(spec) = pending.spec {
                    self.spec = *spec;
                }
                self.out.push(Command::Record(pending.happened));
                self.await_done(pending.token, pending.done);
            }
        }
    }

    /// Answers that request once this holds.
    pub(super) fn await_done(&mut self, token: Token, done: DoneWhen) {
        match done {
            DoneWhen::Observed => self.until_observed.push(token),
            DoneWhen::Down(instance) => self.until_down.push((token, instance)),
            DoneWhen::Promoted => self.until_promoted.push(token),
        }
    }

    /// What was loaded, or the same with a generation that agents take orders of. They obey a newer one than is stored only when the
    /// store was lost and the layout put together again: a layout is stored before any agent is told of it.
    pub(super) fn beyond_what_agents_obey(&mut self, layout: Layout) -> Layout {
        match self.outrun_by.take() {
            Some(obeyed) if obeyed > layout.generation => Layout { generation: obeyed.next(), ..layout },
            _ => layout,
        }
    }
}

/// The layout with its revision, and with the generations since which orders are the same.
fn numbered(former: Option<&Layout>, next: Layout) -> Layout {
    let revision = former.map_or(0, |former| former.revision) + 1;
    let ordered = Some(ordered_since(former, &next));
    Layout { revision, ordered, ..next }
}

fn ordered_since(former: Option<&Layout>, next: &Layout) -> OrderedSince {
    let (of, everybody) = (next.generation, BTreeMap::new());
    // What agents obey beyond the stored generation was lost: nobody knows what it was.
    let Some(former) =
        former.filter(|former| of <= former.generation.next() && !tells_all_anew(former, next))
    else {
        return OrderedSince { of, all: of, instances: everybody };
    };
    let known = former.ordered.clone().filter(|since| since.of == former.generation);
    let known = known.unwrap_or(OrderedSince { of, all: former.generation, instances: everybody });
    let mut instances = known.instances;
    instances.retain(|name, _| next.instances.contains_key(name));
    for (name, instance) in next.instances.iter() {
        let told = |instance: &Instance| (instance.is_fenced(), instance.life.clone());
        let shard_life = |layout: &Layout| Some(layout.shards.get(&instance.shard)?.life.clone());
        let another = shard_life(former) != shard_life(next)
            || former.version_of(name) != next.version_of(name)
            || former.turn_of(name) != next.turn_of(name);
        if another || former.instances.get(name).is_none_or(|before| told(before) != told(instance)) {
            instances.insert(name.clone(), of);
        }
    }
    OrderedSince { of, all: known.all, instances }
}

/// Is a part of the order another that all agents share (`controller::orders`)?
fn tells_all_anew(former: &Layout, next: &Layout) -> bool {
    let member = |(name, instance): (&InstanceName, &Instance)| {
        (name.clone(), instance.shard.clone(), instance.node_id)
    };
    let shard = |(name, shard): (&ShardName, &Shard)| {
        (name.clone(), shard.id, shard.slots.clone(), shard.founder.clone())
    };
    former.id != next.id
        || former.is_founding() != next.is_founding()
        || former.config != next.config
        || former.replica_mode != next.replica_mode
        || !former.shards.iter().map(shard).eq(next.shards.iter().map(shard))
        || !former.instances.iter().map(member).eq(next.instances.iter().map(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use valkeeper_model::{Fences, Generation, InstanceLife};

    fn layout() -> Layout {
        Layout::read(include_bytes!("../../../model/tests/frozen/layout-1.json")).expect("a layout")
    }

    fn fence(layout: &Layout, instance: &InstanceName) -> Layout {
        let mut next = layout.clone();
        let fences = &mut Arc::make_mut(&mut next.instances).get_mut(instance).expect("a member").fences;
        *fences = if fences.any() { Fences::default() } else { Fences::by_request() };
        next.generation = layout.generation.next();
        next
    }

    fn since(layout: &Layout) -> Vec<u64> {
        layout.instances.keys().map(|name| layout.ordered_since(name).0).collect()
    }

    #[test]
    fn only_what_has_changed_is_told_anew() {
        let stored = layout();
        let names: Vec<_> = stored.instances.keys().cloned().collect();
        let [first, second, ..] = &names[..] else { panic!("more than one") };
        let at = stored.generation.0;
        let all = |generation| vec![generation; names.len()];
        assert_eq!(since(&stored), all(at), "an older version has stored it");
        let one = numbered(Some(&stored), fence(&stored, first));
        assert_eq!(since(&one), [vec![at + 1], all(at)[1..].to_vec()].concat());
        let two = numbered(Some(&one), fence(&one, second));
        assert_eq!(since(&two), [vec![at + 1, at + 2], all(at)[2..].to_vec()].concat());
        assert_eq!((one.revision, two.revision), (1, 2));
        // Nothing that agents are told: the same generation, another revision.
        let noted = numbered(Some(&two), two.clone());
        assert_eq!((noted.generation, noted.revision, since(&noted)), (two.generation, 3, since(&two)));
        let mut config = fence(&two, first);
        config.config.node_timeout_ms += 1;
        assert_eq!(since(&numbered(Some(&two), config)), all(at + 3));
    }

    #[test]
    fn what_others_have_stored_is_told_to_all() {
        let stored = layout();
        let name = stored.instances.keys().next().cloned().expect("a member");
        let one = numbered(Some(&stored), fence(&stored, &name));
        // A version that does not know the numbers has stored another generation and kept them as they were.
        let theirs = fence(&one, &name);
        assert!(since(&theirs).iter().all(|since| *since == theirs.generation.0));
        // What agents obeyed was lost.
        let beyond = Layout { generation: Generation(one.generation.0 + 5), ..one.clone() };
        let beyond = numbered(Some(&one), beyond);
        assert!(since(&beyond).iter().all(|since| *since == beyond.generation.0));
        let founding =
            numbered(Some(&stored), fence(&stored, &name).with_lives(|_| Some(InstanceLife::Founding)));
        assert!(since(&founding).iter().all(|since| *since == founding.generation.0));
    }
}
