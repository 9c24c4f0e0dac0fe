//! The beginning of a server: an empty data directory that was never used, in a cluster that is not formed yet.

use super::consultation::Consultation;
use super::copy_choice::Beside;
use super::machine::Agent;
use crate::mode::cluster::nodes_conf;
use valkeeper_model::{AgentOrder, Millis, Waiting};

impl Agent {
    /// Is the data directory an empty one that may never have been used? Once the cluster is formed, or our server has served, it is a
    /// lost one.
    pub(super) fn may_found(&self) -> bool {
        self.has_unmarked_directory()
            && !self.has_served
            && self.order.as_ref().is_some_and(|order| !order.formed)
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
        self.start(now, Some(nodes_conf::founding(order)), Beside::Nobody);
    }
}
