//! Which instances there are.

use super::Fleet;
use crate::atoms::Atoms;
use crate::random::Random;
use crate::server::Members;
use crate::setup::Setup;
use valkeeper_model::{ShardId, SlotSet};

impl Fleet {
    /// The layout is drawn from the same source as the controller's, so that both know the same ids.
    pub(super) fn members(setup: &Setup, mut random: Random) -> Members {
        let layout = valkeeper_plan::placement::found(&setup.spec(), &setup.zones(), &mut random);
        let (mut ids, mut names, mut shard_of) = (Vec::new(), Vec::new(), Vec::new());
        let (mut slots, mut shard_ids): (Vec<SlotSet>, Vec<ShardId>) = (Vec::new(), Vec::new());
        let layout = layout.unwrap_or_else(|impossible| panic!("the setup is no cluster: {impossible}"));
        let shard_names: Vec<_> = layout.shards.keys().cloned().collect();
        for shard in layout.shards.values() {
            slots.push(shard.slots.clone());
            shard_ids.push(shard.id);
        }
        for (name, instance) in layout.instances.iter() {
            names.push(name.clone());
            ids.push(instance.node_id);
            shard_of.push(shard_names.iter().position(|shard| *shard == instance.shard).unwrap_or_default());
        }
        let node_timeout_ms = layout.config.node_timeout_ms;
        Members { ids, names, shard_of, atoms: Atoms::of(&slots), shard_ids, node_timeout_ms }
    }
}
