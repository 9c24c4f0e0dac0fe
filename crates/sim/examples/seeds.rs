//! Runs seeds on all cores: `seeds FIRST COUNT`; one with its transcript: `seeds SEED transcript`; one with only those faults that are needed
//! to break the law: `seeds SEED minimise`; a script of tests/scenarios: `seeds play FILE`. Started by `cargo xtask sim`.

use std::sync::atomic::{AtomicU64, Ordering};
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

/// What became of all seeds so far.
#[derive(Default)]
struct Sum {
    failed: u64,
    happenings: u64,
    slowest_ms: u64,
    acknowledged: usize,
    excused: usize,
}

/// Runs the next seed until there is none.
fn work(first: u64, count: u64, begun: &AtomicU64) -> Sum {
    let mut sum = Sum::default();
    loop {
        let nth = begun.fetch_add(1, Ordering::Relaxed);
        if nth >= count {
            return sum;
        }
        let seed = first.wrapping_add(nth);
        let outcome = valkeeper_sim::run(seed);
        sum.happenings += outcome.happenings;
        sum.acknowledged += outcome.acknowledged;
        sum.excused += outcome.excused;
        sum.slowest_ms = sum.slowest_ms.max(outcome.settled_ms);
        if let Some(broken) = outcome.broken {
            sum.failed += 1;
            println!("seed {seed}: law {} broken at {} ms: {}", broken.law, broken.at, broken.what);
        }
    }
}

fn many(first: u64, count: u64) -> std::process::ExitCode {
    let started = Instant::now();
    let begun = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sums: Vec<Sum> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| work(first, count, &begun))).collect();
        // A run that panics is a run that failed, with its message above.
        let panicked = || Sum { failed: 1, ..Sum::default() };
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
    });
    let sum = sums.into_iter().fold(Sum::default(), |all, one| Sum {
        failed: all.failed + one.failed,
        happenings: all.happenings + one.happenings,
        slowest_ms: all.slowest_ms.max(one.slowest_ms),
        acknowledged: all.acknowledged + one.acknowledged,
        excused: all.excused + one.excused,
    });
    println!(
        "{count} seeds from {first} in {:.1} s: {} failed; {} happenings; {} writes acknowledged, {} lost with an excuse; the slowest \
         was well {} ms after its last fault",
        started.elapsed().as_secs_f64(),
        sum.failed,
        sum.happenings,
        sum.acknowledged,
        sum.excused,
        sum.slowest_ms
    );
    if sum.failed > 0 { std::process::ExitCode::FAILURE } else { std::process::ExitCode::SUCCESS }
}
