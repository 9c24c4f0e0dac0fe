//! Two thousand seeds. One that fails prints how to replay it; fix the cause and keep what it showed in `kept`.

fn run(seeds: std::ops::Range<u64>) {
    let broken: Vec<String> = seeds
        .filter_map(|seed| {
            let broken = valkeeper_sim::run(seed).broken?;
            Some(format!(
                "seed {seed}: law {} broken at {} ms: {}\n  cargo xtask sim --seed {seed} --transcript",
                broken.law, broken.at, broken.what
            ))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn seeds_from_1() {
    run(1..501);
}

#[test]
fn seeds_from_501() {
    run(501..1001);
}

#[test]
fn seeds_from_1001() {
    run(1001..1501);
}

#[test]
fn seeds_from_1501() {
    run(1501..2001);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let run = || {
        let setup = valkeeper_sim::Setup { transcript: true, ..valkeeper_sim::Setup::random(7) };
        valkeeper_sim::Fleet::new(setup).run()
    };
    let (first, again) = (run(), run());
    assert_eq!(first.happenings, again.happenings);
    assert_eq!(first.transcript, again.transcript);
}
