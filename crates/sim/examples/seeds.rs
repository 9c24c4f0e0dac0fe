//! Runs seeds: `seeds FIRST COUNT`, or one with its transcript: `seeds SEED transcript`. Started by `cargo xtask sim`.

use std::time::Instant;
use valkeeper_sim::faults::{Fault, Planned};
use valkeeper_sim::{Fleet, Setup};

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u64>().ok());
    match (number(0), args.get(1).map(String::as_str)) {
        (None, _) => {
            let mut setup = Setup::quiet(1);
            setup.transcript = true;
            setup.faults.push(Planned { at: 3_000, fault: Fault::Calm });
            show(setup)
        }
        (Some(seed), Some("transcript")) => show(Setup { transcript: true, ..Setup::random(seed) }),
        (Some(first), _) => many(first, number(1).unwrap_or(1)),
    }
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
