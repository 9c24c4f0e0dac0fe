//! One primary and its replicas without slots, on hosts of their own: agents vote, and a mandate is a lease.

use valkeeper_sim::faults::{Fault, Target};
use valkeeper_sim::{Fleet, Outcome, Setup};

fn play(seed: u64, faults: &[(u64, Fault)]) -> Outcome {
    let outcome = Fleet::new(Setup { shards: 1, replicas: 2, ..Setup::on_hosts(seed, faults) }).run();
    assert_eq!(outcome.broken, None, "seed {seed}\n{}", outcome.transcript.join("\n"));
    outcome
}

#[test]
fn nothing_happens_to_a_quiet_set() {
    for seed in 1..=3 {
        play(seed, &[(15_000, Fault::Calm)]);
    }
}

#[test]
fn a_lost_host_is_replaced() {
    for seed in 1..=25 {
        let lost = Fault::LoseHost(Target::PrimaryOf(0), 8_000);
        play(seed, &[(15_000, lost), (25_000, Fault::Calm)]);
    }
}

/// It is cut off, refuses writes, and follows its successor when it is back.
#[test]
fn a_host_that_is_cut_off_takes_no_writes_beside_its_successor() {
    for seed in 1..=25 {
        let cut = Fault::CutHost(Target::PrimaryOf(0));
        let outcome = play(seed, &[(15_000, cut), (25_000, Fault::Mend), (26_000, Fault::Calm)]);
        let told = |words: &str| outcome.transcript.iter().any(|line| line.contains(words));
        assert!(told("failed over from"), "seed {seed}\n{}", outcome.transcript.join("\n"));
        assert!(told("is not isolated any more"), "seed {seed}\n{}", outcome.transcript.join("\n"));
    }
}

#[test]
fn a_frozen_host_is_succeeded() {
    for seed in 1..=25 {
        let frozen = Fault::FreezeHost(Target::PrimaryOf(0), 6_000);
        play(seed, &[(15_000, frozen), (24_000, Fault::Calm)]);
    }
}
