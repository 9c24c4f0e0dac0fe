//! Which slots move so that all shards have as many as any other, or that none is left in a shard that leaves: as few as can be.

use std::collections::BTreeMap;
use valkeeper_model::{Layout, ShardLife, ShardName, SlotMove, SlotSet};

/// What a shard has, and whether it is to have any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The slots that it owns.
    pub slots: SlotSet,
    /// Is it to keep or to get slots?
    pub stay: Stay,
}

/// Whether a shard is to have slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Its even share.
    Share,
    /// None.
    Leaves,
}

/// What the layout's shards have.
pub fn held(layout: &Layout) -> BTreeMap<ShardName, Holding> {
    let holding = |(name, shard): (&ShardName, &valkeeper_model::Shard)| {
        let stay = if shard.life == ShardLife::Leaving { Stay::Leaves } else { Stay::Share };
        (name.clone(), Holding { slots: shard.slots.clone(), stay })
    };
    layout.shards.iter().map(holding).collect()
}

/// The moves, one for each pair of shards. A slot moves at most once, and only from a shard that has more than its share to one that has less: the
/// shards with one more, then those with the most slots, are those that keep one more where the shares differ by one.
pub fn moves(held: &BTreeMap<ShardName, Holding>) -> Vec<SlotMove> {
    let staying = held.values().filter(|holding| holding.stay == Stay::Share).count();
    let Ok(staying) = u16::try_from(staying) else { return Vec::new() };
    if staying == 0 {
        return Vec::new();
    }
    let all: u16 = held.values().map(|holding| holding.slots.len()).sum();
    let (share, one_more) = (all / staying, usize::from(all % staying));
    let mut by_size: Vec<(&ShardName, &Holding)> = held.iter().collect();
    // A shard that has just one more keeps it: otherwise two would give where one is enough.
    by_size.sort_by_key(|(name, holding)| {
        let own = holding.slots.len();
        (own != share + 1, std::cmp::Reverse(own), (*name).clone())
    });
    let mut shares = 0;
    let mut givers: Vec<(&ShardName, SlotSet)> = Vec::new();
    let mut takers: Vec<(&ShardName, u16)> = Vec::new();
    for (name, holding) in by_size {
        let target = match holding.stay {
            Stay::Leaves => 0,
            Stay::Share => {
                shares += 1;
                share + u16::from(shares <= one_more)
            }
        };
        let own = holding.slots.len();
        if own > target {
            givers.push((name, holding.slots.highest(own - target)));
        } else if own < target {
            takers.push((name, target - own));
        }
    }
    let mut moves = Vec::new();
    let mut takers = takers.into_iter();
    let mut taker = takers.next();
    for (from, mut surplus) in givers {
        while !surplus.is_empty() {
            let Some((to, wanted)) = &mut taker else { return moves };
            let part: SlotSet = surplus.iter().take(usize::from(*wanted)).collect::<SlotSet>();
            *wanted -= part.len();
            surplus = surplus.minus(&part);
            moves.push(SlotMove::new(from.clone(), (*to).clone(), part));
            if *wanted == 0 {
                taker = takers.next();
            }
        }
    }
    moves
}

/// How many slots these moves move.
pub fn count(moves: &[SlotMove]) -> u16 {
    moves.iter().map(|one| one.target.slots.len()).sum()
}
