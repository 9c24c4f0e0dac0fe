//! Whether and as what our server starts. The rule is [`crate::failover::restart_decision`]; here it is fed and obeyed.

use super::Command;
use super::consultation::{CONSULT_MS, Consultation};
use super::copy_choice::Beside;
use super::machine::{Agent, Phase};
use crate::failover::copy::AofFiles;
use crate::failover::promotion::{Promotion, ReplacedPrimary};
use crate::failover::restart_decision::{
    Claim, Disk, Loss, NodesFile, Owner, RestartDecision, Returning, ShardFacts, Sibling, WaitReason,
    decide_restart, judge,
};
use crate::failover::succession::{Eligible, LeftOnDisk, has_online_replica};
use crate::mode::cluster::nodes_conf::{self, Part};
use crate::mode::standalone::Terms;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    Ask, CopyState, DiskRole, Happened, HeldCopy, InstanceName, Millis, NodeId, Persistence, Position, Role,
    ServerView, ShardName, SlotSet, StartFailure, Topology, Waiting,
};

/// Before the next try when somebody else has to move first.
pub(super) const AGAIN_MS: u64 = 150;

impl Agent {
    pub(super) fn inspect(&mut self) {
        self.phase = Phase::Inspecting;
        self.out.push(Command::Inspect);
    }

    pub(super) fn inspected(&mut self, now: Millis, result: Result<Box<Disk>, String>) {
        if matches!(self.phase, Phase::Watching(_)) {
            return self.inspected_while_running(now, result);
        }
        if matches!(self.phase, Phase::Idle | Phase::RetryAt { .. }) && self.copy_record.is_unread() {
            return self.inspected_at_rest(result);
        }
        if !matches!(self.phase, Phase::Inspecting) {
            return;
        }
        let disk = match result {
            Ok(disk) if matches!(disk.owner, Owner::Other(_)) && self.died_as_primary() => {
                return self.promote_without_disk(now);
            }
            Ok(disk) => self.without_foreign_nodes_conf(*disk),
            // Its replica need not wait until the dead primary's disk can be read again, or is its own again.
            Err(_) if self.died_as_primary() => return self.promote_without_disk(now),
            Err(detail) => return self.start_failed(now, StartFailure::DataUnusable { detail }),
        };
        self.disk = Some(disk.clone());
        self.read_roles(&disk);
        self.copy_record.found(&disk);
        self.examine(&disk, None);
        let Some(order) = self.order.clone() else { return self.phase = Phase::Idle };
        match (&disk.owner, &disk.nodes_conf) {
            (Owner::Other(owner), _) => {
                self.start_failed(now, StartFailure::ForeignData { owner: owner.clone() });
            }
            _ if self.may_begin() => self.consult(now),
            (Owner::Ours, NodesFile::Intact(conf)) => match disk.role() {
                // Which of its copies it may start from depends on whether its primary serves.
                DiskRole::Replica { .. } if self.wanted_up() && self.chooses_its_copy() => self.consult(now),
                // Its file names a source that is followed no more: a sibling is the primary.
                DiskRole::Replica { .. } if self.wanted_up() && self.names_former_source() => {
                    self.consult(now);
                }
                // A replica does no harm: it follows whoever serves the slots.
                DiskRole::Replica { .. } if self.wanted_up() => {
                    self.start(now, nodes_conf::readdressed(conf, &order), Beside::Nobody);
                }
                DiskRole::Primary { slots, .. } if slots.is_empty() && self.wanted_up() => {
                    self.start(now, nodes_conf::readdressed(conf, &order), Beside::Nobody);
                }
                DiskRole::Primary { slots, .. } if !slots.is_empty() => self.on_primary_lost(now),
                _ => self.phase = Phase::Idle,
            },
            (Owner::Ours, NodesFile::Missing | NodesFile::Damaged(_)) | (Owner::Nobody, _) => {
                self.on_primary_lost(now);
            }
        }
    }

    /// What an instance that stays down holds, for its siblings.
    fn inspected_at_rest(&mut self, result: Result<Box<Disk>, String>) {
        let Some(disk) = result.ok().filter(|disk| !matches!(disk.owner, Owner::Other(_))) else { return };
        self.read_roles(&disk);
        self.copy_record.found(&disk);
        self.examine(&disk, None);
        self.disk = Some(*disk);
    }

    /// The data directory of a running server is looked at now and then: one that was wiped keeps nothing that is written from
    /// now on, so that the server is restarted, handing over first, while its data is still in memory somewhere.
    fn inspected_while_running(&mut self, now: Millis, result: Result<Box<Disk>, String>) {
        // Without an order nobody knows whom to hand over to.
        let (Ok(disk), true) = (result, self.order.is_some()) else { return };
        let wiped = disk.owner == Owner::Nobody;
        self.read_roles(&disk);
        // A server that an earlier agent started: what its record says was not read yet.
        if self.copy_record.held().is_none() {
            self.copy_record.found(&disk);
            self.examine(&disk, None);
            if let Phase::Watching(watch) = &mut self.phase {
                watch.look_now(now);
            }
        }
        self.compare_aof(now, &disk);
        self.disk = Some(*disk);
        self.restart_if_reset(now);
        if let Phase::Watching(watch) = &mut self.phase
            && wiped
        {
            watch.found_empty(now);
        }
    }

    /// A reply has come after the directory was found empty. One that does not answer may be the only copy (law 1).
    pub(super) fn restart_if_emptied(&mut self, now: Millis) {
        // Without a password it would not come back; the directory is looked at again.
        if self.trials.password.is_some() {
            return;
        }
        let Phase::Watching(watch) = &mut self.phase else { return };
        let Some(view) = self.server.known() else { return };
        if watch.take_emptied() && (!view.is_shard_primary() || has_online_replica(&view.replication)) {
            self.restart(now);
        }
    }

    /// What was asked of the disk is late. It stays asked; what does not need the disk goes on.
    pub(super) fn disk_silent(&mut self, now: Millis) {
        self.disk_silent = true;
        if matches!(self.phase, Phase::Inspecting) && self.died_as_primary() {
            self.promote_without_disk(now);
        }
    }

    /// What the disk held before does not count: it is looked at before our server starts again. It may hold more than a replica that was
    /// never in sync, and come back: such a replica waits for it.
    fn promote_without_disk(&mut self, now: Millis) {
        self.disk = None;
        let left_on_disk = match self.persistence() {
            Persistence::None => LeftOnDisk::Less(None),
            Persistence::Aof | Persistence::Rdb => LeftOnDisk::OutOfReach,
        };
        self.promote(now, Eligible::InSync { attached: self.attached_at_death.clone(), left_on_disk });
    }

    /// Did our server die just now as a primary, while its replicas ran on?
    fn died_as_primary(&self) -> bool {
        self.died_at.is_some()
            && self.last_view.as_ref().is_some_and(ServerView::is_shard_primary)
            && !self.siblings().is_empty()
    }

    /// Our server was, or may have been, its shard's primary. If it died just now while its replicas ran on, they are asked
    /// at once; otherwise everybody is asked what they hold.
    fn on_primary_lost(&mut self, now: Millis) {
        if self.died_as_primary() {
            let left_on_disk = self.copy_record.held().map_or(LeftOnDisk::Less(None), LeftOnDisk::of);
            self.promote(now, Eligible::InSync { attached: self.attached_at_death.clone(), left_on_disk });
        } else {
            self.consult(now);
        }
    }

    fn promote(&mut self, now: Millis, eligible: Eligible) {
        let history = self.last_view.as_ref().map(|view| view.replication.replid);
        let seen = self.last_view.as_ref().and_then(ServerView::myself).map(|node| node.config_epoch);
        let kept = self.disk.as_ref().and_then(|disk| match disk.role() {
            DiskRole::Primary { config_epoch, .. } => Some(config_epoch),
            DiskRole::Replica { .. } | DiskRole::Lost => None,
        });
        let claim = seen.max(kept);
        let died_at = self.died_at.unwrap_or(now);
        let lost = ReplacedPrimary { node_id: self.node_id(), history, claim, slots: self.shard_slots() };
        let promotion = Promotion::begin(self.siblings(), lost, eligible, died_at, now, &mut self.out)
            .after(self.death)
            .after_asking(self.successor.as_ref().map(|asked| asked.instance.clone()));
        self.phase = Phase::Promoting(Box::new(promotion));
    }

    pub(super) fn consult(&mut self, now: Millis) {
        let Some(order) = self.order.clone() else { return };
        let lost = self.disk.as_ref().is_none_or(|disk| disk.role() == DiskRole::Lost);
        // At the beginning there is nothing that members of other shards could tell, and all ask at once.
        let all = lost && !self.may_found();
        let asked = order.members.iter().filter(|(name, member)| {
            **name != self.name && (all || order.myself().is_some_and(|me| me.shard == member.shard))
        });
        let pending: BTreeMap<_, _> = asked
            .map(|(name, _)| (self.out.tell(name, Ask::Report { fresh: true }, CONSULT_MS), name.clone()))
            .collect();
        let alone = pending.is_empty();
        self.phase = Phase::Consulting(Consultation::begin(now, pending));
        if alone {
            self.consulted(now);
        }
    }

    pub(super) fn consulted(&mut self, now: Millis) {
        let Phase::Consulting(consultation) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        let (Some(order), Some(disk)) = (self.order.clone(), self.disk.clone()) else { return };
        let Some(member) = order.myself() else { return };
        let me_shard = &member.shard;
        // Whichever way the server is started: a directory that begins anew goes on counting where the lost one ended, or it would
        // be taken for one that was put back.
        self.copy_record.learn_sequence(consultation.sequence_seen(&self.name));
        if self.may_found() {
            return self.found(now, &order, &consultation);
        }
        if self.join(now, &order, &consultation) || self.begin_again(now, &order, &consultation) {
            return;
        }
        let newest = consultation.newest_view(&order);
        // Who we are: by our own file, or, if that is lost, by what the others know of us.
        let (epoch, claim, slots) = match disk.role() {
            DiskRole::Primary { config_epoch, slots } => (config_epoch, Claim::OwnFile, slots),
            DiskRole::Replica { .. } => return self.start_as_replica_of_whoever_serves(now, &consultation),
            DiskRole::Lost => match newest
                .and_then(|view| view.topology.get(&member.node_id).map(|node| (view, node)))
            {
                Some((view, node)) if node.role == Role::Replica => {
                    if !self.wanted_up() {
                        return;
                    }
                    let conf =
                        nodes_conf::rebuilt(&order, &view.topology, view.current_epoch, None, Part::AsKnown);
                    self.out.record(Happened::NodesConfRebuilt { instance: self.name.clone() });
                    return self.start(now, Some(conf), Beside::Nobody);
                }
                Some((_, node)) => (node.config_epoch, Claim::ToldByOthers, node.slots.clone()),
                None => {
                    return self
                        .wait_and_retry(now, Waiting::TopologyUnknown { instance: self.name.clone() });
                }
            },
        };
        let copy = self.examine(&disk, consultation.sequence_seen(&self.name));
        let siblings = self.judge_siblings(&consultation);
        let loss = self.loss;
        let attached = self.attached_at_death(&disk);
        let (attached, persistence) = (attached.as_ref(), self.persistence());
        let me = Returning { epoch, claim, copy: &copy, attached, persistence, loss };
        match decide_restart(&me, &siblings) {
            RestartDecision::AsReplicaOf(view) => {
                let theirs = consultation.histories_of(&order, view.node_id);
                self.start_as_replica_of(now, &view, &theirs);
            }
            RestartDecision::BehindClaim(name) => {
                let known = match (newest, &disk.nodes_conf) {
                    (Some(view), _) => Some((Topology::clone(&view.topology), view.current_epoch)),
                    (None, NodesFile::Intact(conf)) => {
                        Some((nodes_conf::topology(conf), conf.vars.unwrap_or_default().current_epoch))
                    }
                    _ => None,
                };
                let (Some((topology, seen)), Some(claimant)) = (known, order.members.get(&name)) else {
                    return self
                        .wait_and_retry(now, Waiting::TopologyUnknown { instance: self.name.clone() });
                };
                if self.wanted_up() {
                    let part = Part::ReplicaOf(claimant.node_id);
                    let conf = nodes_conf::rebuilt(&order, &topology, seen, None, part);
                    if claim == Claim::ToldByOthers {
                        self.out.record(Happened::NodesConfRebuilt { instance: self.name.clone() });
                    }
                    self.start(now, Some(conf), Beside::Nobody);
                }
            }
            RestartDecision::FailOver => {
                self.promote(
                    now,
                    Eligible::InSync { attached: attached.cloned(), left_on_disk: LeftOnDisk::of(&copy) },
                );
            }
            RestartDecision::Promote { instance, incarnation } => {
                self.promote(now, Eligible::Only { instance, incarnation });
            }
            // Who has voted for another since may have been succeeded: a new term says that it was not.
            RestartDecision::AsPrimary
                if self.votes_by_itself() && self.terms.has_promised() && self.wanted_up() =>
            {
                if !self.terms.awaits_news(now) {
                    self.with_terms(now, Terms::stand);
                }
                self.phase = Phase::RetryAt { until: now.plus(AGAIN_MS) };
            }
            RestartDecision::AsPrimary => {
                self.start_as_primary(now, &disk, newest, &slots, &copy);
            }
            RestartDecision::Wait(hold) => self.wait_for_reason(now, hold, me_shard),
        }
    }

    /// Starts as the primary of its shard: with its own file, or with what the newest view of the others knows of it.
    fn start_as_primary(
        &mut self,
        now: Millis,
        disk: &Disk,
        newest: Option<&ServerView>,
        slots: &SlotSet,
        copy: &HeldCopy,
    ) {
        let Some(order) = self.order.clone() else { return };
        let Some(member) = order.myself() else { return };
        let conf = match (&disk.nodes_conf, newest) {
            (NodesFile::Intact(conf), _) => nodes_conf::readdressed(conf, &order),
            (_, Some(view)) if !slots.is_empty() => {
                self.out.record(Happened::NodesConfRebuilt { instance: self.name.clone() });
                Some(nodes_conf::rebuilt(&order, &view.topology, view.current_epoch, None, Part::AsKnown))
            }
            // The others know another owner of its slots, which does not serve: ours may be the better copy, and is there to be
            // promoted.
            (_, Some(view)) if self.owner_of_shard(view).is_some_and(|id| id != member.node_id) => {
                let part = self.owner_of_shard(view).map_or(Part::AsKnown, Part::ReplicaOf);
                Some(nodes_conf::rebuilt(&order, &view.topology, view.current_epoch, None, part))
            }
            _ => {
                return self.wait_and_retry(now, Waiting::TopologyUnknown { instance: self.name.clone() });
            }
        };
        if self.wanted_up() {
            if self.loss == Loss::Accepted && copy.state != CopyState::Held {
                self.out.record(Happened::LossAccepted { shard: member.shard.clone() });
            }
            self.start(now, conf, Beside::Nobody);
        }
    }

    fn wait_for_reason(&mut self, now: Millis, hold: WaitReason, shard: &ShardName) {
        let (instance, shard) = (self.name.clone(), shard.clone());
        let waiting = match hold {
            WaitReason::Unknown(siblings) => Waiting::SiblingsUnknown { instance, siblings },
            WaitReason::CopyOn(sibling) => Waiting::CopyOnSibling { instance, sibling },
            WaitReason::NoCopy => Waiting::AllCopiesMissing { shard },
            WaitReason::Doubtful(state) => {
                let why = self.disk.as_ref().and_then(|disk| disk.files.aof.fault()).map(str::to_owned);
                Waiting::CopyDoubtful {
                    instance,
                    shard,
                    state,
                    why: why.filter(|_| state == CopyState::Missing),
                }
            }
        };
        self.wait_and_retry(now, waiting);
    }

    pub(super) fn judge_siblings(&self, consultation: &Consultation) -> Vec<(InstanceName, Sibling)> {
        let Some(order) = &self.order else { return Vec::new() };
        let attached = self.disk.as_ref().and_then(|disk| self.attached_at_death(disk));
        let members: BTreeSet<NodeId> = order.ids_of_shard().collect();
        let slots = self.shard_slots();
        let facts = ShardFacts { members: Some(&members), attached: attached.as_ref(), slots: Some(&slots) };
        let judged = |name: &InstanceName| judge(name, &consultation.answer(name), facts);
        order.siblings().map(|(name, _)| (name.clone(), judged(name))).collect()
    }

    /// The slots of our shard: those that it was founded with, and those that our server owned last.
    pub(super) fn shard_slots(&self) -> SlotSet {
        let founding = self.order.as_ref().and_then(|order| order.founding_slots()).cloned();
        let seen = self.last_view.as_ref().and_then(ServerView::slots).cloned();
        let kept = self.disk.as_ref().and_then(|disk| match disk.role() {
            DiskRole::Primary { slots, .. } => Some(slots),
            DiskRole::Replica { .. } | DiskRole::Lost => None,
        });
        [founding, seen, kept].into_iter().flatten().fold(SlotSet::empty(), |all, slots| all.union(&slots))
    }

    /// The replicas that our server saw attached last, when it was its shard's primary: in this agent's memory, or in the record that an
    /// earlier agent left.
    fn attached_at_death(&self, disk: &Disk) -> Option<BTreeSet<InstanceName>> {
        let recorded = || {
            let record = disk.record.as_ref().filter(|record| record.role == Role::Primary)?;
            record.attached.clone()
        };
        self.attached_at_death.clone().or_else(recorded)
    }

    /// Starts as a replica of the one that serves our shard: with a nodes.conf that says so, so that there is no moment in
    /// which the server takes itself for a primary. `theirs` are the histories of that one's data, if they are known.
    pub(super) fn start_as_replica_of(&mut self, now: Millis, primary: &ServerView, theirs: &[Position]) {
        let Some(order) = self.order.clone() else { return };
        if !self.wanted_up() {
            self.phase = Phase::Idle;
            return;
        }
        let own = self.disk.as_ref().and_then(|disk| match &disk.nodes_conf {
            NodesFile::Intact(conf) => conf.vars,
            NodesFile::Missing | NodesFile::Damaged(_) => None,
        });
        if own.is_none() && !self.may_begin() {
            self.out.record(Happened::NodesConfRebuilt { instance: self.name.clone() });
        }
        let part = Part::ReplicaOf(primary.node_id);
        let conf = nodes_conf::rebuilt(&order, &primary.topology, primary.current_epoch, own, part);
        self.start(now, Some(conf), Beside::Primary(theirs));
    }

    /// The member of our shard that owns its slots by that view.
    fn owner_of_shard(&self, view: &ServerView) -> Option<NodeId> {
        let order = self.order.as_ref()?;
        let slots = self.shard_slots();
        let owns = |id: &NodeId| view.topology.get(id).is_some_and(|node| node.slots.intersects(&slots));
        order.ids_of_shard().filter(owns).max_by_key(|id| view.topology.get(id).map(|node| node.config_epoch))
    }

    /// Does it hold both an AOF, which has everything, and an RDB, which is quicker to go on from? Or a copy that is not to be loaded?
    fn chooses_its_copy(&self) -> bool {
        let both = self.persistence() == Persistence::Aof
            && self
                .disk
                .as_ref()
                .is_some_and(|disk| disk.files.aof == AofFiles::Whole && disk.files.rdb.is_some());
        let sound = self
            .copy_record
            .held()
            .is_some_and(|held| matches!(held.state, CopyState::Held | CopyState::Nothing));
        both || !sound || self.copy_record.resync
    }

    fn start_as_replica_of_whoever_serves(&mut self, now: Millis, consultation: &Consultation) {
        let (Some(order), Some(disk)) = (self.order.clone(), self.disk.clone()) else { return };
        let seen = consultation.sequence_seen(&self.name);
        self.examine(&disk, seen);
        match (self.serving_sibling(consultation), &disk.nodes_conf) {
            (Some(view), _) => {
                let theirs = consultation.histories_of(&order, view.node_id);
                self.start_as_replica_of(now, &view, &theirs);
            }
            (None, _) if self.names_former_source() => {
                self.wait_and_retry(now, Waiting::TopologyUnknown { instance: self.name.clone() });
            }
            // What cannot be loaded is set aside only beside a primary that serves.
            (None, _) if self.copy_record.refused().is_some() && self.wanted_up() => {
                self.phase = Phase::RetryAt { until: now.plus(AGAIN_MS) };
            }
            (None, NodesFile::Intact(conf)) if self.wanted_up() => {
                self.start(now, nodes_conf::readdressed(conf, &order), Beside::Nobody);
            }
            _ => self.phase = Phase::Idle,
        }
    }
}
