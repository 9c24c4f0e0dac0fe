//! Where instances are, and when it is worth telling those who have been told before.

use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{Address, InstanceName, Layout, Millis};

/// Places that have not changed for this long are told to everybody, although some instance has none yet. While a cluster of many
/// instances gets its places one after the other, each would have everybody told of all of them.
const SETTLED_MS: u64 = 1_000;

/// Who is where, or was last: that is better than nothing for who is not there now, as the others still know it by that.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) addresses: BTreeMap<InstanceName, Address>,
    changed_at: Millis,
}

impl Places {
    /// Learns what was found out; answers who is elsewhere than before, or has a place now.
    pub(super) fn learn(
        &mut self,
        now: Millis,
        found: BTreeMap<InstanceName, Address>,
    ) -> BTreeSet<InstanceName> {
        let elsewhere = found.iter().filter(|(name, at)| self.addresses.get(*name) != Some(*at));
        let elsewhere: BTreeSet<_> = elsewhere.map(|(name, _)| name.clone()).collect();
        if !elsewhere.is_empty() {
            self.changed_at = now;
        }
        self.addresses.extend(found);
        elsewhere
    }

    /// Is this what everybody should know, rather than a state on the way?
    pub(super) fn settled(&self, layout: &Layout, now: Millis) -> bool {
        layout.instances.keys().all(|name| self.addresses.contains_key(name))
            || now.since(self.changed_at) >= SETTLED_MS
    }
}
