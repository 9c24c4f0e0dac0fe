//! Every layout and every step, held against the laws once more. Run after each decision in tests and in the simulator; a
//! violation is a programming error.

use crate::failover::takeover::{may_take_over, votes};
use crate::mode;
use crate::operations::Step;
use crate::operations::disruption::may_disturb;
use crate::view::cluster_view::ClusterView;
use crate::view::health::is_linked;
use std::collections::BTreeSet;
use valkeeper_model::{Instance, InstanceLife, InstanceName, Layout, ShardLife, SlotSet, ZonePolicy};

/// A broken law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which law of `docs/safety.md`.
    pub law: u8,
    /// What is wrong.
    pub what: String,
}

/// Holds a layout against the laws.
pub fn layout(layout: &Layout) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut claim = |law: u8, holds: bool, what: &dyn Fn() -> String| {
        if !holds {
            found.push(Violation { law, what: what() });
        }
    };
    let mut owned = SlotSet::empty();
    for (name, shard) in layout.shards.iter() {
        claim(8, !owned.intersects(&shard.slots), &|| format!("{name} owns slots of another shard"));
        owned = owned.union(&shard.slots);
        let founder = layout.instances.get(&shard.founder);
        claim(10, founder.is_some_and(|instance| instance.shard == *name), &|| {
            format!("{name} has a stranger for founder")
        });
        // One that joins is built before one that leaves is removed.
        let stays = |(_, one): &(&InstanceName, &Instance)| one.life != InstanceLife::Leaving;
        let copies = layout.instances_of(name).filter(stays).count();
        let wanted = usize::try_from(layout.replicas_per_shard).unwrap_or(usize::MAX).saturating_add(1);
        let leaves = shard.life == ShardLife::Leaving;
        claim(8, copies >= wanted || leaves, &|| format!("{name} has {copies} instances, not {wanted}"));
        if layout.zones == ZonePolicy::Required {
            let home = founder.map(|instance| &instance.zone);
            let shared =
                layout.instances_of(name).any(|(other, i)| *other != shard.founder && Some(&i.zone) == home);
            claim(7, !shared, &|| format!("a replica of {name} is in its primary's zone"));
        }
    }
    claim(8, owned == SlotSet::all(), &|| "not all slots have a shard".to_owned());
    let ids: BTreeSet<_> = layout.instances.values().map(|instance| instance.node_id).collect();
    claim(10, ids.len() == layout.instances.len(), &|| "two instances share a node id".to_owned());
    if layout.zones == ZonePolicy::Required {
        let voters = layout.shards.values().filter(|shard| !shard.slots.is_empty());
        let founders = voters.filter_map(|shard| layout.instances.get(&shard.founder));
        let mut zones = founders.map(|instance| Some(&instance.zone));
        let holder = mode::rules(layout.config.mode).zone_with_majority(&mut zones);
        claim(7, holder.is_none(), &|| format!("losing zone {holder:?} loses the majority"));
    }
    found
}

/// Holds a step against the laws, by what was seen when it was derived.
pub fn step(cluster_view: &ClusterView<'_>, step: &Step) -> Vec<Violation> {
    let broken = match step {
        Step::TakeOver { shard, to, .. } => {
            let allowed = cluster_view
                .shards
                .get(shard)
                .is_some_and(|shard| may_take_over(votes(cluster_view), shard, to));
            (!allowed).then(|| (4, format!("takeover of {shard} by {to} although a vote could be had")))
        }
        Step::SwitchForZones { shard, .. } | Step::SwitchForDisk { shard, .. } => {
            let allowed =
                cluster_view.shards.get(shard).is_some_and(|shard| may_disturb(cluster_view, shard).is_ok());
            (!allowed).then(|| (6, format!("{shard} is disturbed although it or the majority is not well")))
        }
        Step::BringHome { shard, from, to, .. } => {
            let of = |name| cluster_view.shard_of(name).and_then(|shard| shard.get(name));
            let well = matches!((of(from), of(to)), (Some(from), Some(to)) if is_linked(&from, &to));
            let own = cluster_view.layout.instances.get(to).is_some_and(|chosen| chosen.shard == *shard);
            (!well || !own)
                .then(|| (2, format!("{to} takes over from {from}, and is not in sync or not of {shard}")))
        }
        Step::Follow { instance, .. } => {
            let owner =
                cluster_view.shard_of(instance).and_then(|shard| shard.get(instance)).and_then(|i| i.view());
            owner
                .is_some_and(valkeeper_model::ServerView::is_shard_primary)
                .then(|| (2, format!("{instance} serves slots")))
        }
        Step::TakeSlots { shard, instance, slots, .. } => {
            let others = || {
                cluster_view
                    .shards
                    .values()
                    .flat_map(|shard| &shard.instances)
                    .filter_map(crate::view::cluster_view::InstanceView::view)
            };
            let own = cluster_view.layout.instances.get(instance).map(|instance| instance.node_id);
            let rival = others().find_map(|view| {
                view.topology.iter().find(|(id, node)| Some(**id) != own && node.slots.intersects(slots))
            });
            let theirs = cluster_view
                .layout
                .shards
                .get(shard)
                .is_some_and(|shard| slots.minus(&shard.slots).is_empty());
            (rival.is_some() || !theirs)
                .then(|| (10, format!("{instance} takes slots {slots} that are another's")))
        }
        Step::MoveSlots { shard, transfer, .. } => {
            let owned = cluster_view.layout.outgoing(shard);
            (!transfer.slots.minus(&owned).is_empty()).then(|| {
                (5, format!("slots {} of {shard} move, and no move of the layout says so", transfer.slots))
            })
        }
        Step::Meet { .. } => None,
    };
    broken.into_iter().map(|(law, what)| Violation { law, what }).collect()
}
