//! Which agents are given an order, and which are given theirs again.

use super::machine::Controller;
use super::{Command, orders};
use crate::mode::sentinel;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{
    AddressesHash, Generation, InstanceName, Layout, Millis, Observation, Observed, Unseen,
};

/// What this controller has sent to each agent last.
#[derive(Debug, Default)]
pub(super) struct SentOrders {
    last: BTreeMap<InstanceName, Sent>,
}

/// An order, by what it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    since: Generation,
    addresses: AddressesHash,
}

/// What orders are rendered from now.
struct Rendering<'a> {
    layout: &'a Layout,
    addresses: AddressesHash,
    /// All agents are to know these addresses.
    settled: bool,
    sent: &'a SentOrders,
}

impl Rendering<'_> {
    fn order_of(&self, name: &InstanceName) -> Sent {
        Sent { since: self.layout.ordered_since(name), addresses: self.addresses }
    }

    fn differs_from_sent(&self, name: &InstanceName) -> bool {
        self.sent.last.get(name) != Some(&self.order_of(name))
    }
}

impl Controller {
    /// Orders for agents that are behind and for those that were told other addresses. Where no agent is, none takes an order: one that
    /// comes there is told after the look that finds it.
    pub(super) fn order_late(&mut self, now: Millis, seen: &Observation) {
        self.order_those(now, |name, rendering| match seen.instances.get(name) {
            Some(Observed::Known(report)) => {
                report.generation < rendering.layout.ordered_since(name)
                    || rendering.settled
                        && report.addresses_hash.is_some_and(|told| told != rendering.addresses)
            }
            Some(Observed::Unknown(unseen)) => *unseen != Unseen::Unreachable,
            None => true,
        });
    }

    /// Orders for agents whose order has changed, after a layout was provisioned: a commit that concerns one instance is told to that one
    /// alone.
    pub(super) fn order_changed(&mut self, now: Millis, audience: &Audience) {
        self.order_those(now, |name, rendering| match audience {
            Audience::All => true,
            Audience::Changed { elsewhere } => {
                elsewhere.contains(name) || rendering.settled && rendering.differs_from_sent(name)
            }
        });
    }

    fn order_those(&mut self, now: Millis, due: impl Fn(&InstanceName, &Rendering<'_>) -> bool) {
        let Some(layout) = &self.layout else { return };
        let rendering = Rendering {
            layout,
            addresses: orders::addresses_hash(layout, &self.places.addresses),
            settled: self.places.settled(layout, now),
            sent: &self.sent_orders,
        };
        let names: Vec<_> = layout.instances.keys().filter(|name| due(name, &rendering)).collect();
        if names.is_empty() {
            return;
        }
        let Some(members) = orders::members(layout, &self.places.addresses) else { return };
        let sent: Vec<_> = names.iter().map(|name| ((*name).clone(), rendering.order_of(name))).collect();
        let addresses = rendering.addresses;
        let sentinels = sentinel::told(layout, &self.places.addresses).map(Arc::new);
        let rendered = names
            .into_iter()
            .filter_map(|name| orders::order(layout, &members, sentinels.as_ref(), addresses, name));
        self.out.extend(rendered.map(|order| Command::Order(Box::new(order))));
        self.sent_orders.last.extend(sent);
    }
}

/// To which agents orders go after a layout was provisioned.
#[derive(Debug)]
pub(super) enum Audience {
    /// To all.
    All,
    /// To those whose order has changed, and to those that are at another address.
    Changed {
        /// These.
        elsewhere: BTreeSet<InstanceName>,
    },
}
