use super::*;
use crate::objects::template::tests::Counted;
use valkeeper_model::{Generation, InstanceLife, ServerConfig};
use valkeeper_plan::placement::{self, Placing, server_config, shards};

fn spec() -> ClusterSpec {
    let text = "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata: {name: demo}\nspec: {mode: cluster, shards: 3, replicasPerShard: 1}\n";
    valkeeper_model::manifest::parse("demo.yaml", text).expect("a manifest").spec
}

fn config() -> ServerConfig {
    server_config(&spec())
}

/// Three shards that serve all slots, at generation 5.
fn serving() -> Layout {
    let zones = ["a", "b", "c"].map(|zone| zone.parse().unwrap());
    let layout = placement::found(&spec(), &zones, &mut Counted(0)).expect("it has room").founded();
    Layout { generation: Generation(5), ..layout }
}

/// The same with three shards more, which have no slots yet, at generation 6.
fn grown() -> Layout {
    let zones = ["a", "b", "c"].map(|zone| zone.parse().unwrap());
    let mut ids = Counted(100);
    let grown = shards::with_shards(&serving(), 6, None, &mut Placing { zones: &zones, ids: &mut ids });
    Layout { generation: Generation(6), ..grown.expect("it has room") }
}

/// What the volumes carry; each of these layouts was written after the one before.
fn pieces(written: &[&Layout]) -> Vec<Piece> {
    let mut on_volumes: BTreeMap<ShardName, Piece> = BTreeMap::new();
    for layout in written {
        for name in layout.shards.keys() {
            let piece = Piece::of(layout, name).expect("a shard");
            if piece.is_news_to(on_volumes.get(name)) {
                on_volumes.insert(name.clone(), piece);
            }
        }
    }
    on_volumes.into_values().collect()
}

fn rebuilt(written: &[&Layout]) -> Result<Option<Layout>, NoLayout> {
    rebuild(&pieces(written), &spec(), config())
}

fn shard(number: u32) -> ShardName {
    ShardName::nth(number)
}

/// The layout in which those slots are the other shard's, one generation later.
fn moved(layout: &Layout, from: u32, to: u32, slots: &SlotSet) -> Layout {
    let mut next = Layout { generation: layout.generation.next(), ..layout.clone() };
    let shards = Arc::make_mut(&mut next.shards);
    let from = shards.get_mut(&shard(from)).expect("a shard");
    from.slots = from.slots.minus(slots);
    let to = shards.get_mut(&shard(to)).expect("a shard");
    (to.slots, to.life) = (to.slots.union(slots), ShardLife::Member);
    next
}

/// The layout without that shard.
fn without(layout: &Layout, gone: u32) -> Layout {
    let mut next = Layout { generation: layout.generation.next(), ..layout.clone() };
    Arc::make_mut(&mut next.shards).remove(&shard(gone));
    Arc::make_mut(&mut next.instances).retain(|_, one| one.shard != shard(gone));
    next
}

#[test]
fn what_was_written_is_put_together_again() {
    let layout = serving();
    let again = rebuilt(&[&layout]).expect("it is whole").expect("there are pieces");
    assert_eq!((&again.shards, &again.instances), (&layout.shards, &layout.instances));
    assert_eq!(again.generation, Generation(6));
    assert_eq!(rebuild(&[], &spec(), config()), Ok(None));
}

#[test]
fn of_two_pieces_that_claim_a_slot_the_newer_one_is_right() {
    let (grown, slots) = (grown(), "0-1000".parse::<SlotSet>().expect("slots"));
    let there = moved(&grown, 0, 3, &slots);
    let again = rebuilt(&[&grown, &there]).expect("it is whole").expect("there are pieces");
    assert_eq!(again.shards[&shard(3)].slots, slots);
    // Those that own nothing are not built further: the manifest says how many there are to be. Their names are not given again.
    assert_eq!(again.shards.keys().cloned().collect::<Vec<_>>(), [0, 1, 2, 3].map(shard));
    assert_eq!(again.retired.len(), 4);
    // The shard has given all back and was removed, and the operator ended before it had told the volumes that are left of it.
    let back = without(&moved(&there, 3, 0, &slots), 3);
    let again = rebuilt(&[&grown, &there, &back]).expect("it is whole").expect("there are pieces");
    assert_eq!(again.shards[&shard(0)].slots, serving().shards[&shard(0)].slots);
    assert!(!again.shards.contains_key(&shard(3)));
    assert!(again.instances.values().all(|one| again.shards.contains_key(&one.shard)));
    assert_eq!(again.retired.len(), 6);
}

#[test]
fn a_shard_that_was_giving_its_slots_away_is_one_like_any_other() {
    let mut leaves = grown();
    leaves = moved(&leaves, 0, 3, &"0-1000".parse().expect("slots"));
    Arc::make_mut(&mut leaves.shards).get_mut(&shard(3)).expect("a shard").life = ShardLife::Leaving;
    let again = rebuilt(&[&leaves]).expect("it is whole").expect("there are pieces");
    assert_eq!(again.shards[&shard(3)].life, ShardLife::Member);
    assert!(again.instances.values().all(|one| one.life != InstanceLife::Leaving));
}

#[test]
fn slots_of_which_no_volume_is_left_are_not_founded_anew() {
    let layout = serving();
    let mut left = pieces(&[&layout]);
    left.retain(|piece| piece.name != shard(1));
    let lost = layout.shards[&shard(1)].slots.clone();
    assert_eq!(rebuild(&left, &spec(), config()), Err(NoLayout::SlotsLost(lost)));
}
