//! Each law broken on purpose once: a simulator that does not notice is worth nothing. The list is in docs/safety.md.

use valkeeper_sim::faults::{Fault, Planned, Target};
use valkeeper_sim::{Fleet, Sabotage, Setup};

/// Runs seeds until one of them breaks one of these laws. The seeds alone break none (`seeds`).
fn caught(sabotage: Sabotage, laws: &[u8]) {
    caught_in(sabotage, laws, Setup::random);
}

/// So many: an older order that matters has come as late as with seed 414.
fn caught_in(sabotage: Sabotage, laws: &[u8], setup: impl Fn(u64) -> Setup) {
    for seed in 1..=1_500 {
        let setup = Setup { sabotage: Some(sabotage), ..setup(seed) };
        if let Some(broken) = Fleet::new(setup).run().broken
            && laws.contains(&broken.law)
        {
            println!("{sabotage:?}: seed {seed}, law {}: {}", broken.law, broken.what);
            return;
        }
    }
    panic!("{sabotage:?}: not noticed within 1,500 seeds");
}

#[test]
fn a_dead_primary_restarted_in_place() {
    caught(Sabotage::RestartInPlace, &[3]);
}

#[test]
fn the_lowest_offset_chosen() {
    // Two replicas that differ when their primary dies are rare among random faults.
    caught_in(Sabotage::ChooseLowestOffset, &[3], lagging);
}

#[test]
fn a_takeover_while_votes_can_be_had() {
    caught(Sabotage::TakeOverWithQuorum, &[4]);
}

#[test]
fn a_frozen_primary_not_killed_before_its_replica_is_promoted() {
    caught(Sabotage::NoFence, &[3]);
}

#[test]
fn a_fenced_instance_started() {
    caught(Sabotage::StartDespiteFence, &[2]);
}

#[test]
fn an_older_order_obeyed() {
    caught(Sabotage::ObeyOlderOrders, &[1, 2]);
}

#[test]
fn the_unknown_taken_for_down() {
    caught(Sabotage::TakeUnknownForDown, &[3]);
}

#[test]
fn a_primary_stopped_without_a_handover() {
    caught(Sabotage::StopWithoutHandover, &[2]);
}

#[test]
fn the_data_of_another_cluster_taken() {
    caught(Sabotage::TakeForeignData, &[10]);
}

#[test]
fn a_handover_that_does_not_wait_for_the_stream() {
    caught(Sabotage::ForceInsteadOfHandover, &[2, 3]);
}

#[test]
fn no_reason_given() {
    caught(Sabotage::GiveNoReason, &[12]);
}

#[test]
fn a_replica_in_its_primarys_zone() {
    caught(Sabotage::ShareZones, &[7]);
}

#[test]
fn all_primaries_disturbed_at_once() {
    caught(Sabotage::DisturbEverybody, &[6]);
}

#[test]
fn what_a_controller_disturbs_forgotten_with_it() {
    caught_in(Sabotage::ForgetLedger, &[6], controllers_that_die_between_steps);
}

/// Users ask for one switchover after the other, and the controller dies after the first, second … command that follows on the first of them.
/// What it has asked is long on its way, so that the next controller sees nothing of it; and a replica that is behind makes the handover long.
fn controllers_that_die_between_steps(seed: u64) -> Setup {
    use valkeeper_sim::faults::Wish;
    let mut setup = Setup::quiet(seed);
    let switchover = |shard| Fault::User(Wish::Switchover, Target::PrimaryOf(shard));
    let dies_after = u32::try_from(seed % 16).unwrap_or_default();
    let mut planned = vec![
        (4_900, Fault::Lag(Target::ReplicaOf(0), 3_000)),
        (5_000, Fault::SlowAsks(3_000)),
        (5_001, switchover(0)),
        (5_002, Fault::ControllerDies(0, dies_after)),
    ];
    let others =
        (0..40).map(|n| (5_300 + n * 150, switchover(1 + usize::try_from(n % 2).unwrap_or_default())));
    planned.extend(others);
    planned.extend([(12_000, Fault::Mend), (13_000, Fault::Calm)]);
    setup.faults = planned.into_iter().map(|(at, fault)| Planned { at, fault }).collect();
    setup
}

#[test]
fn a_controller_that_dies_between_any_two_steps_disturbs_no_second_shard() {
    for seed in 1..=160 {
        assert_eq!(Fleet::new(controllers_that_die_between_steps(seed)).run().broken, None, "seed {seed}");
    }
}

#[test]
fn deaths_that_nobody_hears_of() {
    caught(Sabotage::MissDeaths, &[0]);
}

#[test]
fn a_primary_without_a_lease_that_goes_on() {
    caught(Sabotage::NeverRefuseWrites, &[3]);
}

#[test]
fn promises_forgotten() {
    caught_in(Sabotage::ForgetPromises, &[3], healed_just_after);
}

#[test]
fn a_primary_replaced_although_others_hear_it() {
    caught_in(Sabotage::ForceWithoutTestimony, &[3], unheard_by_its_replica);
}

/// A host is cut off until its primary has just been replaced.
fn healed_just_after(seed: u64) -> Setup {
    let mut setup = Setup {
        own_hosts: true,
        node_timeout_ms: 15_000,
        unresponsive_after_ms: 5_000,
        ..Setup::quiet(seed)
    };
    let planned = [
        (5_000, Fault::CutHost(Target::PrimaryOf(0))),
        (6_700 + seed % 10 * 50, Fault::Mend),
        (12_000, Fault::Calm),
    ];
    setup.faults = planned.map(|(at, fault)| Planned { at, fault }).to_vec();
    setup
}

/// A replica's agent does not hear its primary's, and its server is as well connected as ever.
fn unheard_by_its_replica(seed: u64) -> Setup {
    let mut setup = Setup { own_hosts: true, ..Setup::quiet(seed) };
    let planned =
        [(5_000, Fault::CutAgent(Target::ReplicaOf(0))), (10_000, Fault::Mend), (11_000, Fault::Calm)];
    setup.faults = planned.map(|(at, fault)| Planned { at, fault }).to_vec();
    setup
}

#[test]
fn what_the_rule_for_lost_hosts_is_broken_with_breaks_nothing_by_itself() {
    for seed in 1..=50 {
        assert_eq!(Fleet::new(healed_just_after(seed)).run().broken, None, "seed {seed}");
        assert_eq!(Fleet::new(unheard_by_its_replica(seed)).run().broken, None, "seed {seed}");
    }
}

/// One of two replicas is behind when their primary dies.
fn lagging(seed: u64) -> Setup {
    let mut setup = Setup { replicas: 2, ..Setup::quiet(seed) };
    let planned = [
        (4_000, Fault::Lag(Target::ReplicaOf(0), 900)),
        (6_000, Fault::Crash(Target::PrimaryOf(0))),
        (9_000, Fault::Calm),
    ];
    setup.faults = planned.map(|(at, fault)| Planned { at, fault }).to_vec();
    setup
}

#[test]
fn a_lagging_replica_is_not_chosen() {
    for seed in 1..=50 {
        assert_eq!(Fleet::new(lagging(seed)).run().broken, None, "seed {seed}");
    }
}

#[test]
fn an_aof_taken_for_complete() {
    caught_in(Sabotage::ClaimCompleteAof, &[3], two_deaths_and_a_power_loss);
}

#[test]
fn a_replica_taken_for_in_sync() {
    caught_in(Sabotage::ClaimInSync, &[3], dead_before_its_replica_is_in_sync);
}

#[test]
fn a_disk_from_before_taken_for_todays() {
    caught_in(Sabotage::ForgetSequences, &[3], old_disk);
}

/// A replica that has just come back is promoted before its AOF is complete; then everything ends.
fn two_deaths_and_a_power_loss(seed: u64) -> Setup {
    let mut setup = Setup::quiet(seed);
    let planned = [
        (5_000, Fault::Crash(Target::ReplicaOf(0))),
        (5_150 + seed % 20 * 10, Fault::Crash(Target::PrimaryOf(0))),
        (5_450 + seed % 7 * 30, Fault::PowerLoss),
        (9_000, Fault::Calm),
    ];
    setup.faults = planned.map(|(at, fault)| Planned { at, fault }).to_vec();
    setup
}

/// A primary dies while its replica takes a full copy, or what was written since that copy was begun.
fn dead_before_its_replica_is_in_sync(seed: u64) -> Setup {
    let mut setup = Setup { backlog_gaps: 1_000, ..Setup::quiet(seed) };
    let planned = [
        (5_000, Fault::Crash(Target::ReplicaOf(0))),
        (5_100 + seed % 40 * 10, Fault::Crash(Target::PrimaryOf(0))),
        (9_000, Fault::Calm),
    ];
    setup.faults = planned.map(|(at, fault)| Planned { at, fault }).to_vec();
    setup
}

/// A host's disk is put back as it was seconds before.
fn old_disk(seed: u64) -> Setup {
    let mut setup = Setup::quiet(seed);
    let planned = [
        (4_000, Fault::CopyDisk(Target::PrimaryOf(0))),
        (12_000, Fault::OldDisk(Target::PrimaryOf(0))),
        (14_000, Fault::Calm),
    ];
    setup.faults = planned.map(|(at, fault)| Planned { at, fault }).to_vec();
    setup
}

/// The files that the primary's AOF consists of are gone.
fn lost_aof(seed: u64) -> Setup {
    let mut setup = Setup::quiet(seed);
    let planned = [(8_000, Fault::LoseAof(Target::PrimaryOf(0))), (10_000, Fault::Calm)];
    setup.faults = planned.map(|(at, fault)| Planned { at, fault }).to_vec();
    setup
}

#[test]
fn what_the_rule_which_copy_counts_is_broken_with_breaks_nothing_by_itself() {
    for seed in 1..=60 {
        for setup in [two_deaths_and_a_power_loss, dead_before_its_replica_is_in_sync, old_disk, lost_aof] {
            assert_eq!(Fleet::new(setup(seed)).run().broken, None, "seed {seed}");
        }
    }
}
