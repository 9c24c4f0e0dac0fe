//! Lost hosts: how long a shard is not served, and what is refused meanwhile (docs/safety.md). Faults come late: a server may take
//! nine seconds to start.

use valkeeper_sim::faults::{Fault, Target};
use valkeeper_sim::{Fleet, Outcome, Setup};

/// From the fault to the new primary, milliseconds: 1.7 s of silence from the last beat, and a vote.
const REPLACED_MS: u64 = 2_500;

fn play(replicas: u32, seed: u64, faults: &[(u64, Fault)]) -> Outcome {
    let outcome = Fleet::new(Setup { replicas, ..Setup::on_hosts(seed, faults) }).run();
    assert_eq!(outcome.broken, None, "seed {seed}\n{}", outcome.transcript.join("\n"));
    outcome
}

/// When the first line with these words was written, at that time or after.
fn when(outcome: &Outcome, from: u64, words: &str) -> Option<u64> {
    outcome.transcript.iter().filter(|line| line.contains(words)).find_map(|line| {
        let (seconds, millis) = line.trim_start().split_once("  ")?.0.split_once('.')?;
        let at = seconds.parse::<u64>().ok()? * 1_000 + millis.parse::<u64>().ok()?;
        (at >= from).then_some(at)
    })
}

fn replaced_after(outcome: &Outcome, fault_at: u64) -> u64 {
    let at = when(outcome, fault_at, "became primary (Force)");
    at.unwrap_or_else(|| panic!("nobody was promoted\n{}", outcome.transcript.join("\n"))) - fault_at
}

#[test]
fn a_lost_host_is_replaced_within_seconds() {
    for (replicas, seed) in (1..=2).flat_map(|replicas| (1..=25).map(move |seed| (replicas, seed))) {
        let lost = Fault::LoseHost(Target::PrimaryOf(0), 8_000);
        let outcome = play(replicas, seed, &[(15_000, lost), (25_000, Fault::Calm)]);
        let took = replaced_after(&outcome, 15_000);
        assert!((1_500..REPLACED_MS).contains(&took), "seed {seed}: {took} ms");
    }
}

#[test]
fn a_host_that_is_cut_off_refuses_writes_before_it_is_replaced() {
    for seed in 1..=50 {
        let cut = Fault::CutHost(Target::PrimaryOf(0));
        let outcome = play(1, seed, &[(15_000, cut), (25_000, Fault::Mend), (26_000, Fault::Calm)]);
        assert!(replaced_after(&outcome, 15_000) < REPLACED_MS, "seed {seed}");
        let refused = when(&outcome, 15_000, "\"1000000\"").expect("it refuses writes");
        assert!(refused < 15_000 + 1_300, "seed {seed}: {refused}");
        assert!(when(&outcome, 25_000, "is not isolated any more").is_some(), "seed {seed}");
    }
}

#[test]
fn a_frozen_host_is_replaced_and_refuses_writes_when_it_thaws() {
    for seed in 1..=50 {
        let frozen = Fault::FreezeHost(Target::PrimaryOf(0), 6_000);
        let outcome = play(1, seed, &[(15_000, frozen), (24_000, Fault::Calm)]);
        assert!(replaced_after(&outcome, 15_000) < REPLACED_MS, "seed {seed}");
        let refused = when(&outcome, 15_000, "\"1000000\"").expect("it refuses writes");
        assert!((21_000..21_010).contains(&refused), "seed {seed}: {refused}");
    }
}

/// Cut for less than it takes to be replaced: it refuses writes for a moment at most, and stays.
#[test]
fn a_short_cut_replaces_nobody() {
    for seed in 1..=50 {
        let cut = Fault::CutHost(Target::PrimaryOf(0));
        let outcome = play(1, seed, &[(15_000, cut), (16_300, Fault::Mend), (19_000, Fault::Calm)]);
        assert_eq!(when(&outcome, 15_000, "became primary"), None, "seed {seed}");
    }
}

/// Two of three are lost: no majority is left to say so. The third refuses writes, and nothing is promoted.
#[test]
fn without_a_majority_nobody_is_replaced() {
    for seed in 1..=25 {
        let cut = |shard| Fault::CutHost(Target::PrimaryOf(shard));
        let faults = [(15_000, cut(0)), (15_000, cut(1)), (22_000, Fault::Mend), (23_000, Fault::Calm)];
        let outcome = play(1, seed, &faults);
        assert_eq!(when(&outcome, 15_000, "became primary (Force)"), None, "seed {seed}");
        assert!(when(&outcome, 15_000, "ConfirmDown").is_some(), "seed {seed}");
    }
}

/// A primary that dies while its host lives is failed over by its own agent, at once.
#[test]
fn a_death_is_failed_over_as_fast_as_ever() {
    for seed in 1..=25 {
        let outcome = play(1, seed, &[(15_000, Fault::Crash(Target::PrimaryOf(0))), (19_000, Fault::Calm)]);
        assert!(replaced_after(&outcome, 15_000) < 200, "seed {seed}");
        assert_eq!(when(&outcome, 14_000, "refuses writes to"), None, "seed {seed}");
        assert_eq!(when(&outcome, 14_000, "ConfirmDown"), None, "seed {seed}");
    }
}
