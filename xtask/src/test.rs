//! `cargo xtask test`: every check in turn, each to its end, then one total on the last line. CI reads that line.

mod kubernetes;
mod programs;
mod tally;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{clients, command, crds, files, layers, servers};
use programs::Programs;
use tally::Tally;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also what takes long: ignored tests, and `VALKEEPER_LONG=1` for those that scale themselves
    #[arg(long)]
    all: bool,
    /// Only what moves gigabytes or is repeated for minutes, which no other run has
    #[arg(long, conflicts_with_all = ["all", "kubernetes"])]
    long: bool,
    /// Only the scenarios on a real Kubernetes
    #[arg(long, conflicts_with = "all")]
    kubernetes: bool,
    /// Only those whose names have this in them; with --kubernetes
    #[arg(requires = "kubernetes", value_name = "NAME")]
    only: Vec<String>,
}

/// A check beside the tests themselves. One that fails counts as one failed test.
type Check = (&'static str, fn(&Path) -> Result<()>);

const CHECKS: &[Check] = &[
    ("format", |root| cargo(root, &["fmt", "--all", "--check"])),
    ("clippy", |root| {
        cargo(
            root,
            &[
                "clippy",
                "--quiet",
                "--keep-going",
                "--workspace",
                "--all-targets",
                // `--all-targets` leaves it out, as it is no test of `cargo test`.
                "--test",
                "kubernetes",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ],
        )
    }),
    ("layers", |_| layers::run()),
    ("files", |_| files::run()),
    ("generated files", |root| crds::check(root)),
    ("servers", |_| servers::run(&servers::Args::default())),
];

/// The module of the tests that only `--long` runs.
const LONGEST: &str = "longest::";

/// The scenarios that run alone: they wait for what happens within seconds, and at a load of 20 on two cores 5 of 97 did not see it in time.
const ALONE: &str = "scenarios";

/// Needed by long scenarios only.
const LONG_CHECKS: &[Check] = &[("clients", |_| clients::run(&clients::Args::default()))];

/// What the longest tests need; everything else is judged by the other runs.
const LONGEST_CHECKS: &[Check] = &[("servers", |_| servers::run(&servers::Args::default()))];

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = command::checkout()?;
    let begun = Instant::now();
    let mut failures: Vec<String> = Vec::new();
    let long = if args.all { LONG_CHECKS } else { &[] };
    let checks = match args {
        Args { kubernetes: true, .. } => &[],
        Args { long: true, .. } => LONGEST_CHECKS,
        _ => CHECKS,
    };
    let builds = args.all.then(|| std::thread::spawn(kubernetes::provide));
    for (name, check) in checks.iter().chain(long) {
        let started = Instant::now();
        println!("--- {name}");
        let done = check(&root);
        println!(
            "--- {name}: {} in {:.1} s",
            if done.is_ok() { "fine" } else { "FAILED" },
            started.elapsed().as_secs_f64()
        );
        if let Err(error) = done {
            eprintln!("error: {name}: {}", command::explain(&error));
            failures.push(name.to_string());
        }
    }

    let mut tally = Tally::default();
    if args.long {
        println!("--- longest tests");
        tally.add(longest_tests(&root)?);
    } else if !args.kubernetes {
        println!("--- tests");
        tally.add(tests(&root, args.all)?);
    }
    if let Some(Err(_)) = builds.map(std::thread::JoinHandle::join) {
        bail!("what builds for the bed has panicked");
    }
    if args.all || args.kubernetes {
        println!("--- scenarios on Kubernetes");
        let started = Instant::now();
        match kubernetes::run(&root, &args.only) {
            Ok(scenarios) => tally.add(scenarios),
            Err(error) => {
                eprintln!("error: Kubernetes: {}", command::explain(&error));
                failures.push("Kubernetes".to_owned());
            }
        }
        println!("--- scenarios on Kubernetes: {:.0} s", started.elapsed().as_secs_f64());
    }
    failures.extend(tally.names.iter().cloned());
    let unnamed = tally.failed.saturating_sub(tally.names.len());
    if unnamed > 0 {
        failures.push(format!("{unnamed} in test programs that did not say which"));
    }
    let failed = failures.len() - usize::from(unnamed > 0) + unnamed;

    println!("--- all done in {:.0} s", begun.elapsed().as_secs_f64());
    if tally.ignored > 0 {
        println!(
            "{} left out{}",
            tally.ignored,
            if args.all { "" } else { ": `make test-all` and `make test-long` run them" }
        );
    }
    for panic in &tally.panics {
        println!("--- {panic}");
    }
    for failure in &failures {
        println!("FAILED {failure}");
    }
    println!("{} passed, {failed} failed", tally.passed);
    if failed > 0 {
        // The total must stay the last line, so no error is returned to be printed after it.
        std::process::exit(1);
    }
    Ok(())
}

fn cargo(root: &Path, args: &[&str]) -> Result<()> {
    let status = Command::new("cargo").current_dir(root).args(args).status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", args[0]);
    Ok(())
}

/// Runs the tests and adds up what each test program reports. Scenarios mostly wait for servers, other tests mostly calculate: they run
/// beside each other, the others with what the scenarios leave of the cores, and their output follows at the end. What is hurried
/// ([`ALONE`]) runs after both.
fn tests(root: &Path, all: bool) -> Result<Tally> {
    let programs = Programs::of(root)?;
    let build = ["test", "--workspace", "--all-features", "--no-fail-fast", "--no-run"];
    // One build, or one would wait for the other's lock. What does not compile is reported by the runs.
    let _ = Command::new("cargo").current_dir(root).args(build).status().context("cannot start cargo")?;
    let run = |mut command: Command, what: &[&str], programs: &[&str]| {
        command.current_dir(root).args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
        // A golden that differs is a failure here, never a new file.
        command.env("INSTA_UPDATE", "no").args(what).args(programs);
        if all {
            command.env("VALKEEPER_LONG", "1").args(["--", "--include-ignored", "--skip", LONGEST]);
        }
        command
    };
    let (alone, beside): (BTreeSet<_>, BTreeSet<_>) =
        programs.scenarios.iter().cloned().partition(|name| name == ALONE);
    // Without a name cargo would run all.
    ensure!(!alone.is_empty(), "there is no test program `{ALONE}`");
    let mut nice = Command::new("nice");
    nice.args(["-n", "10", "cargo"]);
    let others: Vec<&str> = programs::named(&programs.others).collect();
    let others = run(nice, &["--lib", "--bins"], &others);
    let others = std::thread::spawn(move || collected(others));
    let mut tally = Tally::default();
    if !beside.is_empty() {
        let beside: Vec<&str> = programs::named(&beside).collect();
        tally.add(tallied(run(Command::new("cargo"), &[], &beside))?);
    }
    let Ok(others) = others.join() else { bail!("what runs the other tests has panicked") };
    let (printed, others) = others?;
    print!("{printed}");
    tally.add(others);
    let alone: Vec<&str> = programs::named(&alone).collect();
    tally.add(tallied(run(Command::new("cargo"), &[], &alone))?);
    let mut examples = run(Command::new("cargo"), &["--doc"], &[]);
    if !examples.stdout(Stdio::null()).status()?.success() {
        tally.failed += 1;
        tally.names.push("examples in the documentation: `cargo test --workspace --doc`".to_owned());
    }
    Ok(tally)
}

/// Runs it, and gives its output and what it reports.
fn collected(mut command: Command) -> Result<(String, Tally)> {
    let done = command.stderr(Stdio::inherit()).output().context("cannot start it")?;
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut tally = Tally::default();
    printed.lines().for_each(|line| tally.read(line));
    tally.close(done.status.success());
    Ok((printed, tally))
}

/// Runs those that only `--long` runs, one after the other: each fills memory and disk.
fn longest_tests(root: &Path) -> Result<Tally> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    command.args(["--test", "copies", "--test", "scenarios", "--", "--ignored", LONGEST, "--test-threads=1"]);
    tallied(command)
}

/// Runs it with its output passed on, and adds up what it reports.
fn tallied(mut command: Command) -> Result<Tally> {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start it")?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("it has no output")
    };
    // Where output is not captured, panics are told here.
    let (told, panics) = mpsc::channel();
    std::thread::spawn(move || {
        let mut tally = Tally::default();
        let ended = passed_on(stderr, |line| {
            eprintln!("{line}");
            tally.read(line);
        });
        // Nobody waits for it any more.
        let _ = told.send(ended.map(|()| tally.panics));
    });
    let mut tally = Tally::default();
    passed_on(stdout, |line| {
        println!("{line}");
        tally.read(line);
    })?;
    tally.close(child.wait()?.success());
    // A process that was left behind may hold it open for ever.
    match panics.recv_timeout(Duration::from_secs(5)) {
        Ok(panics) => tally.panics.extend(panics?),
        Err(_) => eprintln!("warning: stderr of the tests stays open: a process of theirs is left"),
    }
    Ok(tally)
}

/// Reads it to its end, line by line. Tests may print anything, also what is no UTF-8.
fn passed_on(output: impl Read, mut line: impl FnMut(&str)) -> Result<()> {
    for bytes in BufReader::new(output).split(b'\n') {
        line(&String::from_utf8_lossy(&bytes?));
    }
    Ok(())
}
