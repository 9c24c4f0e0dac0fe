//! Where a writer goes next: where it is told to, and when that fails, round the shard's other servers at once.

use crate::{Endpoint, ShardMap};
use std::time::Duration;
use valkeeper_model::Slot;

/// Pause after each round in which nobody took the write: short against the gaps to be measured, long enough that
/// looking for the new primary does not keep it from becoming one.
const PAUSE: Duration = Duration::from_micros(300);

/// Only each so many rounds the rest of the cluster is asked too: it matters when a whole shard changed its addresses.
const ROUNDS_BETWEEN_FAR: u32 = 8;

/// Redirects in a row after which servers point at each other, as they do in the middle of a handover.
const REDIRECTS: u32 = 2;

/// Servers of the shard remembered at most.
const NEAR: usize = 16;

#[derive(Debug)]
pub(super) struct Route {
    near: Vec<Endpoint>,
    far: Vec<Endpoint>,
    current: Endpoint,
    failed_this_round: Vec<Endpoint>,
    rounds: u32,
    redirects: u32,
    searching: bool,
}

impl Route {
    /// For a slot, which the map has an owner for.
    pub(super) fn new(map: &ShardMap, slot: Slot) -> Option<Self> {
        let owner = map.owner(slot)?;
        let mut near = map.candidates(Some(slot));
        let far = near.split_off(1 + owner.replicas.len());
        let current = near.first()?.clone();
        let failed_this_round = Vec::new();
        Some(Self { near, far, current, failed_this_round, rounds: 0, redirects: 0, searching: false })
    }

    pub(super) fn current(&self) -> &Endpoint {
        &self.current
    }

    /// Is the last word of the current server anything else than an acknowledgement?
    pub(super) fn searching(&self) -> bool {
        self.searching
    }

    /// The current server took a write. Answers whether the search ends with it.
    pub(super) fn took(&mut self) -> bool {
        if !std::mem::take(&mut self.searching) {
            return false;
        }
        self.failed_this_round.clear();
        (self.rounds, self.redirects) = (0, 0);
        self.near.retain(|place| *place != self.current);
        self.near.insert(0, self.current.clone());
        self.near.truncate(NEAR);
        true
    }

    /// The current server says the slot is there. Answers how long to wait before going on.
    pub(super) fn moved(&mut self, to: Endpoint) -> Option<Duration> {
        if self.failed_this_round.contains(&to) {
            // It does not know yet that this one is gone.
            return self.failed();
        }
        self.searching = true;
        self.redirects += 1;
        self.current = to;
        (self.redirects > REDIRECTS).then_some(PAUSE)
    }

    /// The current server is not there or cannot. Answers how long to wait before going on.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        self.searching = true;
        self.redirects = 0;
        self.failed_this_round.push(self.current.clone());
        let far: &[Endpoint] =
            if (self.rounds + 1).is_multiple_of(ROUNDS_BETWEEN_FAR) { &self.far } else { &[] };
        let next = self.near.iter().chain(far).find(|place| !self.failed_this_round.contains(place));
        if let Some(next) = next {
            self.current = next.clone();
            return None;
        }
        self.failed_this_round.clear();
        self.rounds += 1;
        if let Some(first) = self.near.first() {
            self.current = first.clone();
        }
        Some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MappedNode, MappedShard};
    use valkeeper_model::{NodeId, SlotSet};

    fn place(port: u16) -> Endpoint {
        Endpoint::new("127.0.0.1", port)
    }

    fn shard(ports: [u16; 3], slots: &str) -> MappedShard {
        let node = |port| MappedNode { id: NodeId::from_bytes([0; 20]), endpoint: place(port) };
        let slots: SlotSet = slots.parse().unwrap();
        MappedShard { primary: node(ports[0]), replicas: vec![node(ports[1]), node(ports[2])], slots }
    }

    fn route() -> Route {
        let shards = vec![shard([1, 2, 3], "0-99"), shard([4, 5, 6], "100-16383")];
        let map = ShardMap { shards, ..ShardMap::default() };
        Route::new(&map, Slot::try_from(7).unwrap()).unwrap()
    }

    #[test]
    fn a_dead_primary_is_looked_for_among_its_replicas_without_waiting() {
        let mut route = route();
        assert_eq!((route.failed(), route.current()), (None, &place(2)));
        // The replica still points at the dead one: not asked again in this round.
        assert_eq!((route.moved(place(1)), route.current()), (None, &place(3)));
        assert_eq!((route.moved(place(1)), route.current()), (Some(PAUSE), &place(1)));
        assert_eq!((route.failed(), route.current()), (None, &place(2)));
        assert!(route.searching() && route.took() && !route.searching() && !route.took());
        // From now on the promoted one is the first to try.
        route.failed();
        route.moved(place(2));
        assert_eq!(route.near[0], place(2));
    }

    #[test]
    fn a_shard_that_is_gone_from_its_addresses_is_asked_for_elsewhere() {
        let mut route = route();
        let seen: Vec<u16> = (0..40)
            .map(|_| {
                route.failed();
                route.current().port
            })
            .collect();
        assert!(seen.contains(&4) && seen.contains(&6), "{seen:?}");
        assert_eq!((route.moved(place(9)), route.current()), (None, &place(9)));
        assert!(route.took());
        assert_eq!(route.near[0], place(9));
    }

    #[test]
    fn servers_that_point_at_each_other_are_not_hammered() {
        let mut route = route();
        assert_eq!(route.moved(place(2)), None);
        assert_eq!(route.moved(place(1)), None);
        assert_eq!(route.moved(place(2)), Some(PAUSE));
    }
}
