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

/// Two servers on hosts of their own, and the register.
fn play_two(seed: u64, faults: &[(u64, Fault)]) -> Outcome {
    let outcome = Fleet::new(Setup { shards: 1, replicas: 1, ..Setup::on_hosts(seed, faults) }).run();
    assert_eq!(outcome.broken, None, "seed {seed}\n{}", outcome.transcript.join("\n"));
    outcome
}

fn told(outcome: &Outcome, words: &str) -> bool {
    outcome.transcript.iter().any(|line| line.contains(words))
}

#[test]
fn nothing_happens_to_a_quiet_pair() {
    for seed in 1..=3 {
        let outcome = play_two(seed, &[(15_000, Fault::Calm)]);
        assert!(!told(&outcome, "isolated"), "seed {seed}\n{}", outcome.transcript.join("\n"));
    }
}

#[test]
fn the_one_of_two_that_is_left_takes_over() {
    for seed in 1..=25 {
        let lost = Fault::LoseHost(Target::PrimaryOf(0), 8_000);
        let outcome = play_two(seed, &[(15_000, lost), (25_000, Fault::Calm)]);
        assert!(told(&outcome, "failed over from"), "seed {seed}\n{}", outcome.transcript.join("\n"));
    }
}

#[test]
fn one_of_two_that_is_cut_off_takes_no_writes_beside_its_successor() {
    for seed in 1..=25 {
        let cut = Fault::CutHost(Target::PrimaryOf(0));
        let outcome = play_two(seed, &[(15_000, cut), (25_000, Fault::Mend), (26_000, Fault::Calm)]);
        for words in ["failed over from", "is not isolated any more"] {
            assert!(told(&outcome, words), "seed {seed}: {words}\n{}", outcome.transcript.join("\n"));
        }
    }
}

/// The agents do not hear each other and both reach the register: the primary stays the primary, and takes writes.
#[test]
fn two_that_do_not_hear_each_other_keep_their_roles() {
    for seed in 1..=25 {
        let cut = Fault::CutAgent(Target::PrimaryOf(0));
        let outcome = play_two(seed, &[(15_000, cut), (25_000, Fault::Mend), (26_000, Fault::Calm)]);
        for words in ["failed over from", "isolated"] {
            assert!(!told(&outcome, words), "seed {seed}: {words}\n{}", outcome.transcript.join("\n"));
        }
    }
}

/// Neither the loss of the replica nor that of the register stops writes, as long as it is one of them.
#[test]
fn a_primary_is_not_isolated_by_the_loss_of_one_seat() {
    for seed in 1..=25 {
        let lost = Fault::LoseHost(Target::ReplicaOf(0), 8_000);
        for fault in [lost, Fault::CutRegister] {
            let faults = [(15_000, fault), (24_000, Fault::Mend), (25_000, Fault::Calm)];
            let outcome = play_two(seed, &faults);
            assert!(!told(&outcome, "isolated"), "seed {seed}\n{}", outcome.transcript.join("\n"));
        }
    }
}

/// Not before the lost host is back, and its agent says that the server there is dead.
#[test]
fn without_the_register_the_one_that_is_left_does_not_take_over() {
    let seconds = |line: &str| line.split_whitespace().next().and_then(|at| at.parse::<f64>().ok());
    for seed in 1..=10 {
        let lost = Fault::LoseHost(Target::PrimaryOf(0), 8_000);
        let faults =
            [(14_000, Fault::CutRegister), (15_000, lost), (25_000, Fault::Mend), (26_000, Fault::Calm)];
        let outcome = play_two(seed, &faults);
        let early =
            |line: &&String| line.contains("failed over from") && seconds(line).is_none_or(|at| at < 23.0);
        assert_eq!(outcome.transcript.iter().find(early), None, "seed {seed}");
    }
}
