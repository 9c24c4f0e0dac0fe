//! What the simulator has found in `plan`, kept: the faults of the seed that showed it, under several seeds of everything else.

use std::ops::RangeInclusive;
use valkeeper_model::Persistence;
use valkeeper_sim::faults::{Fault, Planned, Target, Wish};
use valkeeper_sim::{Fleet, Setup};

fn holds(shape: &Setup, faults: &[(u64, Fault)]) {
    holds_for(1..=25, shape, faults);
}

fn holds_for(seeds: RangeInclusive<u64>, shape: &Setup, faults: &[(u64, Fault)]) {
    let last = faults.iter().map(|(at, _)| *at).max().unwrap_or_default();
    for seed in seeds {
        let mut setup = Setup { seed, ..shape.clone() };
        setup.faults = faults.iter().map(|(at, fault)| Planned { at: *at, fault: *fault }).collect();
        setup.faults.push(Planned { at: last + 2_000, fault: Fault::Calm });
        assert_eq!(Fleet::new(setup).run().broken, None, "seed {seed}");
    }
}

fn shape(replicas: u32, persistence: Persistence, node_timeout_ms: u64) -> Setup {
    let unresponsive_after_ms = valkeeper_model::ClusterSpec::default_unresponsive_after_ms(node_timeout_ms);
    Setup { replicas, persistence, node_timeout_ms, unresponsive_after_ms, ..Setup::quiet(0) }
}

/// An adopted server's agent wanted to be woken at once, again and again, until its first order came.
#[test]
fn an_agent_without_an_order_sleeps() {
    holds(&shape(1, Persistence::Aof, 5_000), &[(4_000, Fault::SupervisorDies)]);
}

/// The engine writes nodes.conf again into an emptied directory: what had no mark but said `replica` was looked at for ever.
#[test]
fn an_emptied_directory_with_a_new_nodes_conf_is_no_riddle() {
    holds(
        &shape(1, Persistence::Aof, 15_000),
        &[(4_702, Fault::Wipe(Target::PrimaryOf(0))), (4_836, Fault::Crash(Target::PrimaryOf(2)))],
    );
}

/// A controller that was not asked for a change kept its old layout for ever.
#[test]
fn a_second_controller_learns_of_a_newer_layout() {
    holds(
        &shape(1, Persistence::Aof, 5_000),
        &[
            (4_000, Fault::SecondController),
            (5_000, Fault::User(Wish::Fence, Target::ReplicaOf(0))),
            (6_000, Fault::User(Wish::Apply, Target::Instance(0))),
        ],
    );
}

/// The report said that the store had failed until somebody stored something again.
#[test]
fn a_store_that_works_again_is_noticed() {
    holds(
        &shape(1, Persistence::Aof, 5_000),
        &[(4_000, Fault::StoreFails(1)), (4_100, Fault::User(Wish::Apply, Target::Instance(0)))],
    );
}

/// Seed 306: with AOF on the engine does not read an RDB; a primary that had nothing else came up empty.
#[test]
fn an_rdb_beside_a_missing_aof_is_read() {
    holds(
        &shape(0, Persistence::Aof, 2_000),
        &[
            (5_016, Fault::SupervisorDies),
            (5_305, Fault::Wipe(Target::PrimaryOf(0))),
            (12_988, Fault::ShardLoss(0)),
        ],
    );
}

/// Seed 513: a fence whose handover found no votes stopped the primary all the same.
#[test]
fn a_fence_waits_for_votes() {
    holds(
        &shape(2, Persistence::Aof, 5_000),
        &[(6_955, Fault::PowerLoss), (7_917, Fault::User(Wish::Fence, Target::PrimaryOf(0)))],
    );
}

/// Seed 1987: a replica started from its old RDB although it had an AOF and no primary served; the engine elected it, and the
/// primary, slow to come back, lost everything.
#[test]
fn an_old_copy_is_not_elected_while_the_primary_is_slow() {
    holds(
        &shape(1, Persistence::Aof, 5_000),
        &[
            (9_022, Fault::CutAgent(Target::PrimaryOf(1))),
            (12_329, Fault::Crash(Target::PrimaryOf(1))),
            (16_534, Fault::ShardLoss(1)),
            (20_707, Fault::Mend),
        ],
    );
}

/// Seed 1543: a snapshot in an emptied directory was preferred to the siblings' AOF.
#[test]
fn a_snapshot_in_an_emptied_directory_is_not_the_newest_copy() {
    holds(
        &shape(2, Persistence::Aof, 5_000),
        &[
            (5_790, Fault::Wipe(Target::PrimaryOf(2))),
            (8_221, Fault::SupervisorDies),
            (13_185, Fault::PowerLoss),
        ],
    );
}

/// Seed 1681: the replica that was told to ask for votes had won, could not be seen for a moment, and another one was promoted
/// over it.
#[test]
fn who_may_have_won_is_not_passed_over() {
    holds(
        &shape(2, Persistence::None, 15_000),
        &[
            (4_000, Fault::Lose(300)),
            (4_200, Fault::Crash(Target::PrimaryOf(2))),
            (4_500, Fault::Crash(Target::PrimaryOf(0))),
            (8_000, Fault::Mend),
        ],
    );
}

/// Seed 347: a replica that had been promoted within the last second was stopped as if it were a replica still.
#[test]
fn a_new_primary_hands_over_too() {
    holds(
        &shape(1, Persistence::None, 2_000),
        &[
            (5_229, Fault::User(Wish::Switchover, Target::PrimaryOf(0))),
            (5_248, Fault::Slow(633)),
            (5_325, Fault::User(Wish::Fence, Target::PrimaryOf(0))),
            (5_810, Fault::Mend),
        ],
    );
}

/// Seed 3167: two switchovers within one observation disturbed two of three primaries at once.
#[test]
fn two_switchovers_at_once_are_one_too_many() {
    holds(
        &shape(1, Persistence::Aof, 5_000),
        &[
            (5_170, Fault::Slow(225)),
            (5_470, Fault::User(Wish::Switchover, Target::PrimaryOf(2))),
            (5_560, Fault::User(Wish::Switchover, Target::PrimaryOf(1))),
            (9_000, Fault::Mend),
        ],
    );
}

/// Seed 5259: a fenced primary that died before the cluster was formed was started: its directory was blank.
#[test]
fn a_blank_directory_does_not_lift_a_fence() {
    holds(
        &shape(1, Persistence::Aof, 2_000),
        &[
            (1_318, Fault::Wipe(Target::PrimaryOf(1))),
            (2_016, Fault::User(Wish::Fence, Target::PrimaryOf(1))),
            (2_367, Fault::MajorityLoss),
        ],
    );
}

/// A primary that reads its data for longer than the node timeout is held for failed: a replica with an older snapshot was elected
/// by the engine, and the primary's newer data was lost.
#[test]
fn a_slow_primary_keeps_its_shard() {
    holds(
        &shape(1, Persistence::Rdb, 2_000),
        &[
            (6_000, Fault::SlowStart(Target::PrimaryOf(0), 9_000)),
            (6_001, Fault::PowerLoss),
            (16_000, Fault::Mend),
        ],
    );
}

/// Seed 1757: the successor's disk was replaced by another cluster's and taken for empty; the old primary came up in its place.
#[test]
fn another_clusters_disk_says_nothing() {
    holds(
        &shape(1, Persistence::Aof, 2_000),
        &[
            (4_692, Fault::StartsFail(Target::Instance(1), 3)),
            (7_004, Fault::Crash(Target::PrimaryOf(1))),
            (7_652, Fault::ForeignDisk(Target::PrimaryOf(1))),
            (12_000, Fault::Mend),
        ],
    );
}

/// Seed 5695: after a power loss a replica was taken over with what its old snapshot had given it.
#[test]
fn a_takeover_is_for_the_run_that_was_chosen() {
    holds(&shape(1, Persistence::Rdb, 15_000), &[(6_955, Fault::MajorityLoss), (7_358, Fault::PowerLoss)]);
}

/// Seed 5487: a torn nodes.conf was rebuilt from a member that had just come back and did not know who owned the slots.
#[test]
fn a_rebuilt_nodes_conf_is_not_from_who_has_just_come_back() {
    holds(
        &shape(1, Persistence::Rdb, 2_000),
        &[
            (4_166, Fault::SlowStart(Target::ReplicaOf(2), 1_500)),
            (4_200, Fault::Crash(Target::ReplicaOf(2))),
            (4_311, Fault::Crash(Target::PrimaryOf(0))),
            (5_710, Fault::Tear(Target::PrimaryOf(0))),
            (5_720, Fault::Crash(Target::PrimaryOf(0))),
            (5_973, Fault::Crash(Target::Instance(0))),
        ],
    );
}

/// Seed 3294: a wiped primary followed a sibling whose claim was older than its own, which followed it.
#[test]
fn an_older_claim_is_void() {
    holds(
        &shape(1, Persistence::None, 15_000),
        &[
            (6_309, Fault::StartsFail(Target::Instance(5), 2)),
            (6_418, Fault::Wipe(Target::PrimaryOf(2))),
            (10_304, Fault::Crash(Target::Instance(5))),
            (10_612, Fault::PowerLoss),
        ],
    );
}

/// Seed 23173: a primary that was to restart handed over to a replica whose directory had been emptied, which handed back to restart
/// too, and so on for ever.
#[test]
fn two_that_are_to_restart_do_not_hand_over_to_each_other() {
    holds(
        &shape(1, Persistence::Aof, 2_000),
        &[
            (8_719, Fault::Wipe(Target::ReplicaOf(1))),
            (9_013, Fault::User(Wish::Restart, Target::PrimaryOf(1))),
            (17_500, Fault::Mend),
        ],
    );
}

/// Seeds 184 and 485, on hosts of their own: a new primary was lost before the old one, cut off, had heard of it, and followed that one
/// when it came back.
#[test]
fn who_was_replaced_is_not_followed_by_its_successor() {
    for node_timeout_ms in [2_000, 15_000] {
        holds(
            &Setup { own_hosts: true, ..shape(1, Persistence::Aof, node_timeout_ms) },
            &[
                (11_166, Fault::CutHost(Target::PrimaryOf(0))),
                (13_739, Fault::LoseHost(Target::PrimaryOf(0), 1_142)),
                (17_800, Fault::Mend),
            ],
        );
    }
}

/// Seed 1423, on hosts of their own: a new primary died just after the old one was back, and its agent took that one, which had not
/// heard yet, for its successor.
#[test]
fn who_was_replaced_is_no_successor() {
    holds(
        &Setup { own_hosts: true, ..shape(1, Persistence::Aof, 2_000) },
        &[
            (14_199, Fault::CutHost(Target::PrimaryOf(1))),
            (18_455, Fault::Mend),
            (18_659, Fault::MajorityLoss),
        ],
    );
}

/// Seed 30308: a primary that could not be started was succeeded; when the successor's agent did not answer for a moment, its other
/// replica was promoted over it.
#[test]
fn a_successor_that_is_not_seen_is_not_passed_over() {
    holds(
        &shape(2, Persistence::Rdb, 5_000),
        &[
            (12_725, Fault::StartsFail(Target::PrimaryOf(2), 6)),
            (12_939, Fault::Crash(Target::PrimaryOf(2))),
            (17_238, Fault::AgentDies(Target::PrimaryOf(2), 1)),
        ],
    );
}

/// Seed 10428, on hosts of their own: the engine elected a replica for a lost primary; its agent, back by now, missed that by the loss of
/// messages and had the other replica promoted, which followed the elected one already.
#[test]
fn who_follows_the_elected_one_is_not_promoted() {
    holds(&Setup { own_hosts: true, ..shape(2, Persistence::Rdb, 2_000) }, &an_election_that_is_missed(500));
}

/// The same with more losses: a replica heard of the elected one by a third server first and then took its last message as a replica for
/// news, so that it followed the lost primary again; the elected one died, and nobody could succeed it.
#[test]
fn a_replica_follows_the_owner_of_its_slots() {
    let shape = Setup { own_hosts: true, ..shape(2, Persistence::Rdb, 2_000) };
    holds_for(30..=50, &shape, &an_election_that_is_missed(700));
}

fn an_election_that_is_missed(lost: u64) -> [(u64, Fault); 7] {
    [
        (5_228, Fault::LoseHost(Target::PrimaryOf(2), 7_092)),
        (5_673, Fault::CutHost(Target::ReplicaOf(0))),
        (6_230, Fault::Crash(Target::PrimaryOf(0))),
        (8_145, Fault::Mend),
        (10_826, Fault::Lose(42)),
        (15_200, Fault::Lose(lost)),
        (19_015, Fault::Mend),
    ]
}

/// Seed 2078502222, on hosts of their own: a new primary, wiped and dead, started as the replica of the one before, which came back
/// at that time and was told to follow it.
#[test]
fn who_was_replaced_is_not_followed_by_its_wiped_successor() {
    for node_timeout_ms in [2_000, 15_000] {
        holds(
            &Setup { own_hosts: true, ..shape(1, Persistence::None, node_timeout_ms) },
            &[
                (5_662, Fault::CutHost(Target::PrimaryOf(2))),
                (8_602, Fault::Wipe(Target::PrimaryOf(2))),
                (11_629, Fault::LoseHost(Target::ReplicaOf(2), 8_004)),
                (11_781, Fault::Hang(Target::PrimaryOf(2), 16_950)),
                (11_998, Fault::Mend),
            ],
        );
    }
}

/// Seed 33999, on hosts of their own: a new primary was cut off before a second replica and the witnesses had looked again, and was
/// replaced on what they said of the one before.
#[test]
fn a_testimony_is_against_the_primary_there_is() {
    holds(
        &Setup { own_hosts: true, ..shape(2, Persistence::Aof, 5_000) },
        &[
            (14_565, Fault::LoseHost(Target::PrimaryOf(1), 3_475)),
            (16_402, Fault::CutHost(Target::PrimaryOf(1))),
            (18_800, Fault::Mend),
        ],
    );
}

/// Seed 730000000359: the replica whose copy was found to be the best, in memory, died before it was promoted, and its next run held less.
#[test]
fn another_run_of_the_best_copy_is_another_copy() {
    holds(
        &Setup { own_hosts: true, ..shape(1, Persistence::Rdb, 2_000) },
        &[
            (4_523, Fault::AgentDies(Target::PrimaryOf(1), 2)),
            (6_684, Fault::Crash(Target::ReplicaOf(0))),
            (10_813, Fault::CutBus(Target::PrimaryOf(1))),
            (12_734, Fault::Mend),
            (13_692, Fault::FreezeHost(Target::Instance(4), 8_276)),
            (14_626, Fault::Slow(694)),
            (17_377, Fault::Mend),
            (18_170, Fault::PowerLoss),
        ],
    );
}

/// Seed 740000009883, on hosts of their own: a primary was cut off in the moment in which its server knew no owner of another shard's slots,
/// and took two seats for all there are.
#[test]
fn a_seat_without_an_owner_is_a_seat() {
    holds(
        &Setup { own_hosts: true, ..shape(1, Persistence::None, 15_000) },
        &[
            (5_562, Fault::CutControl(0, Target::PrimaryOf(2))),
            (6_259, Fault::MajorityLoss),
            (8_086, Fault::AgentDies(Target::PrimaryOf(1), 1)),
            (9_005, Fault::CutHost(Target::PrimaryOf(2))),
            (12_816, Fault::Mend),
            (13_963, Fault::CutHost(Target::PrimaryOf(2))),
        ],
    );
}

/// Seed 731000002403: the only copy of a shard was in memory, its directory emptied, and its supervisor another one.
#[test]
fn a_server_without_a_replica_fills_its_emptied_directory_again() {
    holds(
        &shape(0, Persistence::Aof, 2_000),
        &[(4_588, Fault::Wipe(Target::PrimaryOf(1))), (6_897, Fault::SupervisorDies)],
    );
}

/// Seed 800000014826: a fenced replica told of its disk what had been found before its first start, nothing, so that a user was told to accept
/// the loss of what it held.
#[test]
fn a_fenced_replica_tells_what_its_server_has_left() {
    holds(
        &shape(1, Persistence::Aof, 15_000),
        &[
            (4_117, Fault::User(Wish::Fence, Target::Instance(0))),
            (7_131, Fault::Wipe(Target::PrimaryOf(0))),
            (7_321, Fault::ShardLoss(0)),
        ],
    );
}

/// Seed 810000006093: the agent that had the file of an emptied directory written anew died before it saw the end, and the next one gave
/// the directory no mark.
#[test]
fn the_next_agent_claims_an_emptied_directory_whose_file_is_whole_again() {
    holds(
        &shape(0, Persistence::Aof, 2_000),
        &[
            (2_537, Fault::Wipe(Target::Instance(2))),
            (8_254, Fault::Lose(120)),
            (9_610, Fault::AgentDies(Target::PrimaryOf(2), 9)),
        ],
    );
}

/// Seed 865000001833, on hosts of their own: while the votes for one replica were late, another's agent had its own ask for them, and won a
/// millisecond after the first.
#[test]
fn no_second_replica_asks_for_votes_while_the_first_may_win() {
    holds(
        &Setup { own_hosts: true, unresponsive_after_ms: 1_000, ..shape(2, Persistence::Aof, 2_000) },
        &[
            (5_859, Fault::FreezeHost(Target::PrimaryOf(1), 2_162)),
            (6_718, Fault::User(Wish::Fence, Target::ReplicaOf(0))),
            (7_325, Fault::ControllerDies(0, 2)),
            (7_597, Fault::Hang(Target::PrimaryOf(0), 3_265)),
        ],
    );
}

/// A foreign disk was in the place of the dead primary's own, which held more than a replica that had just copied it and was behind still: that
/// replica became primary, and the disk came back.
#[test]
fn who_was_never_in_sync_waits_for_a_disk_that_another_has_replaced() {
    holds_for(
        920_000_002_241..=920_000_002_260,
        &Setup { backlog_gaps: 500, ..shape(1, Persistence::Aof, 2_000) },
        &[
            (4_032, Fault::SecondController),
            (4_104, Fault::SecondController),
            (4_641, Fault::User(Wish::Switchover, Target::Instance(5))),
            (4_660, Fault::Crash(Target::PrimaryOf(2))),
            (7_982, Fault::ForeignDisk(Target::PrimaryOf(0))),
        ],
    );
}

/// A replica that missed its primary's host asked for votes in vain, and so did the primary's agent when the host was back: the takeover named the
/// replica's own node as the one that it replaces, and was refused for ever.
#[test]
fn a_takeover_replaces_the_dead_primary_whoever_else_asks_for_votes() {
    holds_for(
        930_000_003_468..=930_000_003_477,
        &Setup { own_hosts: true, ..shape(1, Persistence::None, 5_000) },
        &[
            (6_645, Fault::MajorityLoss),
            (7_009, Fault::Wipe(Target::ReplicaOf(1))),
            (8_280, Fault::LoseHost(Target::Instance(3), 2_409)),
            (9_939, Fault::CutHost(Target::PrimaryOf(2))),
            (10_152, Fault::LoseHost(Target::Instance(2), 758)),
        ],
    );
}
