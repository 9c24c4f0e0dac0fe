//! The beginning of a server: an empty data directory that was never used.

use super::consultation::Consultation;
use super::copy_choice::Beside;
use super::machine::Agent;
use crate::mode::cluster::nodes_conf::{self, Part};
use crate::replica_mode::roles;
use valkeeper_model::{
    AgentOrder, DiskRole, Epoch, InstanceLife, Millis, NodeId, ShardLife, ShardSeat, Topology, Waiting,
};

impl Agent {
    /// Is the data directory an empty one that may never have been used? Once the cluster is founded, or our server has served, it is a
    /// lost one.
    pub(super) fn may_found(&self) -> bool {
        self.has_unmarked_directory() && !self.has_served && self.lives(&InstanceLife::Founding)
    }

    /// Is the data directory the empty one of an instance that was added to its shard?
    fn may_join(&self) -> bool {
        self.has_unmarked_directory() && self.lives(&InstanceLife::Joining)
    }

    fn lives(&self, life: &InstanceLife) -> bool {
        self.order.as_ref().is_some_and(|order| order.life == *life)
    }

    /// Is it for the consultation to say what our server begins with? An order may be late, and the cluster older than the order says.
    pub(super) fn may_begin(&self) -> bool {
        self.may_found() || self.may_join()
    }

    /// Our server begins with its part of the cluster, unless a sibling knows better: an order that came late may be older than a
    /// cluster that lives, and a founder without data would empty the replicas that still follow it.
    pub(super) fn found(&mut self, now: Millis, order: &AgentOrder, consultation: &Consultation) {
        if consultation.knows_newer(order.generation) {
            return self.wait_and_retry(now, Waiting::OldOrder { instance: self.name.clone() });
        }
        if consultation.anybody_holds_keys() {
            self.has_served = true;
            return self.consult(now);
        }
        self.with_host_watch(now, |watch, _, _| watch.founds(now));
        self.start(now, Some(roles::founding(nodes_conf::founding(order), order)), Beside::Nobody);
    }

    /// The shard of a lost directory owns no slots, by the order and by all who answer: nothing of it can be lost, and the server begins again. It
    /// follows whoever is the primary by now.
    pub(super) fn begin_again(
        &mut self,
        now: Millis,
        order: &AgentOrder,
        consultation: &Consultation,
    ) -> bool {
        let is_lost = self.disk.as_ref().is_some_and(|disk| disk.role() == DiskRole::Lost);
        let slotless = order.myself().is_some_and(|me| me.seat == ShardSeat::NotHeld);
        let Some(newest) = consultation.newest_view(order).filter(|_| is_lost && slotless) else {
            return false;
        };
        let claims = |id: NodeId| newest.topology.get(&id).is_some_and(|node| !node.slots.is_empty());
        if consultation.knows_newer(order.generation)
            || consultation.anybody_of_shard_holds_keys(order)
            || order.ids_of_shard().any(claims)
        {
            return false;
        }
        if !self.wanted_up() {
            return true;
        }
        if let Some(primary) = consultation.primary_without_slots(order) {
            self.start_as_replica_of(now, &primary, &[]);
        } else {
            let conf =
                nodes_conf::rebuilt(order, &newest.topology, newest.current_epoch, None, Part::AsKnown);
            self.start(now, Some(conf), Beside::Nobody);
        }
        true
    }

    /// The server begins in a shard that is being built: as its primary without slots, or as a replica of that one. It learns of all others by
    /// their gossip, and knows of no slots: what a file says of those beside an epoch, an engine tells others.
    fn begin_shard(&mut self, now: Millis, order: &AgentOrder, consultation: &Consultation) {
        if consultation.knows_newer(order.generation) {
            return self.wait_and_retry(now, Waiting::OldOrder { instance: self.name.clone() });
        }
        let conf = nodes_conf::rebuilt(order, &Topology::new(), Epoch(0), None, Part::AsKnown);
        self.start(now, Some(conf), Beside::Nobody);
    }

    /// Our server begins as a replica of the one that serves our shard, or waits for one. False if the cluster has known our node id: then our
    /// server was there before, perhaps as a primary, and its directory is a lost one like any other.
    pub(super) fn join(&mut self, now: Millis, order: &AgentOrder, consultation: &Consultation) -> bool {
        if !self.may_join() {
            return false;
        }
        if order.shard_life == ShardLife::Founding && !consultation.anybody_of_shard_holds_keys(order) {
            self.begin_shard(now, order, consultation);
            return true;
        }
        if let Some(primary) = self.serving_sibling(consultation) {
            let theirs = consultation.histories_of(order, primary.node_id);
            self.start_as_replica_of(now, &primary, &theirs);
            return true;
        }
        let is_known =
            |id: NodeId| consultation.newest_view(order).is_some_and(|view| view.topology.contains_key(&id));
        match order.myself() {
            Some(me) if !is_known(me.node_id) => {
                let (instance, shard) = (self.name.clone(), me.shard.clone());
                self.wait_and_retry(now, Waiting::NobodyToJoin { instance, shard });
                true
            }
            _ => false,
        }
    }
}
