//! Runs seeds: `seeds FIRST COUNT`; one with its transcript: `seeds SEED transcript`; one with only those faults that are needed
//! to break the law: `seeds SEED minimise`; a script of tests/scenarios: `seeds play FILE`. Started by `cargo xtask sim`.

use std::time::Instant;
use valkeeper_sim::faults::Fault;
use valkeeper_sim::{Fleet, Setup};

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok());
    if let [word, script] = args.as_slice()
        && word == "play"
    {
        return play(script);
    }
    let first = number(0).unwrap_or(1);
    match args.get(1).map(String::as_str) {
        Some("transcript") => show(Setup { transcript: true, ..Setup::random(first) }),
        Some("minimise") => show(Setup { transcript: true, ..minimised(Setup::random(first)) }),
        _ => many(first, number(1).unwrap_or(1)),
    }
}

/// A script as in tests/scenarios.
fn play(script: &str) -> std::process::ExitCode {
    let text = std::fs::read_to_string(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    let scenario = valkeeper_sim::scenario::parse(&text).unwrap_or_else(|error| panic!("{script}: {error}"));
    let (outcome, unmet) = scenario.play();
    outcome.transcript.iter().chain(&unmet).for_each(|line| println!("{line}"));
    if unmet.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

/// Leaves out one fault after the other as long as the same law is broken.
fn minimised(mut setup: Setup) -> Setup {
    let broken = |setup: &Setup| Fleet::new(setup.clone()).run().broken.map(|broken| broken.law);
    let law = broken(&setup);
    let mut at = 0;
    while at < setup.faults.len() {
        let mut fewer = setup.clone();
        // Without the calm after them no run would end.
        if fewer.faults.remove(at).fault == Fault::Calm {
            at += 1;
            continue;
        }
        if law.is_some() && broken(&fewer) == law {
            setup = fewer;
        } else {
            at += 1;
        }
    }
    setup
}

fn show(setup: Setup) -> std::process::ExitCode {
    println!("{setup:?}");
    let outcome = Fleet::new(setup).run();
    for line in &outcome.transcript {
        println!("{line}");
    }
    println!("settled after {} ms, {} happenings", outcome.settled_ms, outcome.happenings);
    if outcome.broken.is_some() { std::process::ExitCode::FAILURE } else { std::process::ExitCode::SUCCESS }
}

fn many(first: u64, count: u64) -> std::process::ExitCode {
    let begun = Instant::now();
    let (mut failed, mut happenings, mut slowest, mut acknowledged, mut excused) = (0u64, 0, 0, 0, 0);
    for seed in first..first + count {
        let outcome = valkeeper_sim::run(seed);
        happenings += outcome.happenings;
        acknowledged += outcome.acknowledged;
        excused += outcome.excused;
        slowest = slowest.max(outcome.settled_ms);
        if let Some(broken) = outcome.broken {
            failed += 1;
            println!("seed {seed}: law {} broken at {} ms: {}", broken.law, broken.at, broken.what);
        }
    }
    println!(
        "{count} seeds in {:.1} s: {failed} failed; {happenings} happenings; {acknowledged} writes acknowledged, {excused} lost with an \
         excuse; the slowest was well {slowest} ms after its last fault",
        begun.elapsed().as_secs_f64()
    );
    if failed > 0 { std::process::ExitCode::FAILURE } else { std::process::ExitCode::SUCCESS }
}
