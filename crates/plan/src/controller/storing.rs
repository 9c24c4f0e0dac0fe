//! A layout is stored, with the numbers that it needs.

use super::Command;
use super::machine::{Controller, PendingRequest, Stage};
use std::collections::BTreeMap;
use valkeeper_model::{Instance, InstanceName, Layout, LayoutVersion, OrderedSince, Shard, ShardName};

impl Controller {
    pub(super) fn commit(&mut self, layout: Layout, request: Option<PendingRequest>) {
        let after = self.layout.as_ref().map(Layout::version);
        self.commit_after(layout, after, request);
    }

    pub(super) fn commit_after(
        &mut self,
        layout: Layout,
        after: Option<LayoutVersion>,
        request: Option<PendingRequest>,
    ) {
        let layout = numbered(self.layout.as_ref(), layout);
        self.out.push(Command::Commit { layout: Box::new(layout.clone()), after });
        self.stage = Stage::Committing { layout: Box::new(layout), request };
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
        let told = |instance: &Instance| (instance.fenced, instance.life.clone());
        if former.instances.get(name).is_none_or(|before| told(before) != told(instance)) {
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
        || !former.shards.iter().map(shard).eq(next.shards.iter().map(shard))
        || !former.instances.iter().map(member).eq(next.instances.iter().map(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use valkeeper_model::{Generation, InstanceLife};

    fn layout() -> Layout {
        Layout::read(include_bytes!("../../../model/tests/frozen/layout-1.json")).expect("a layout")
    }

    fn fence(layout: &Layout, instance: &InstanceName) -> Layout {
        let mut next = layout.clone();
        Arc::make_mut(&mut next.instances).get_mut(instance).expect("a member").fenced ^= true;
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
