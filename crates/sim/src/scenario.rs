//! Short scripts: a cluster, what happens to it at which second, what must come of it. `tests/scenarios` holds them, with
//! their transcripts beside them.
//!
//! ```text
//! # A primary is killed.
//! cluster shards=3 replicas=1 persistence=aof node-timeout=15000
//! at 4.0 crash primary s0
//! at 6.0 calm
//! expect primary s0 c-3
//! expect lost 0
//! ```

use crate::faults::{Fault, Planned, Target, Wish};
use crate::fleet::{Fleet, Outcome};
use crate::setup::Setup;
use valkeeper_model::Persistence;

/// A script, read.
#[derive(Debug)]
pub struct Scenario {
    /// The run.
    pub setup: Setup,
    expectations: Vec<Expectation>,
}

#[derive(Debug)]
enum Expectation {
    /// That one is primary of that shard in the end.
    Primary(usize, String),
    /// At most so many acknowledged writes are lost, all with an excuse.
    Lost(usize),
    /// The transcript has this.
    Line(String),
    /// The transcript does not have this.
    NoLine(String),
}

/// Reads a script. An error names its line.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let mut scenario = Scenario { setup: Setup::quiet(1), expectations: Vec::new() };
    scenario.setup.transcript = true;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match words.as_slice() {
            [] => Some(()),
            ["cluster", options @ ..] => options.iter().try_for_each(|option| scenario.option(option)),
            ["at", at, fault @ ..] => scenario.plan(at, fault),
            ["expect", what @ ..] => scenario.expect(what),
            _ => None,
        };
        done.ok_or_else(|| format!("line {}: cannot be read: {line}", number + 1))?;
    }
    Ok(scenario)
}

impl Scenario {
    fn option(&mut self, option: &str) -> Option<()> {
        let (name, value) = option.split_once('=')?;
        let number = || value.parse::<u64>().ok();
        match name {
            "shards" => self.setup.shards = u32::try_from(number()?).ok()?,
            "replicas" => self.setup.replicas = u32::try_from(number()?).ok()?,
            "hosts" => self.setup.own_hosts = value == "own",
            "seed" => self.setup.seed = number()?,
            "node-timeout" => self.setup.node_timeout_ms = number()?,
            "unresponsive-after" => self.setup.unresponsive_after_ms = number()?,
            "persistence" => {
                self.setup.persistence = match value {
                    "aof" => Persistence::Aof,
                    "rdb" => Persistence::Rdb,
                    "none" => Persistence::None,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn plan(&mut self, at: &str, words: &[&str]) -> Option<()> {
        let (seconds, fraction) = at.split_once('.').unwrap_or((at, "0"));
        let fraction: String = format!("{fraction:0<3}").chars().take(3).collect();
        let at = seconds.parse::<u64>().ok()? * 1_000 + fraction.parse::<u64>().ok()?;
        let fault = fault(words)?;
        self.setup.faults.push(Planned { at, fault });
        Some(())
    }

    fn expect(&mut self, words: &[&str]) -> Option<()> {
        let expectation = match words {
            ["primary", shard, name] => Expectation::Primary(shard_index(shard)?, (*name).to_owned()),
            ["lost", count] => Expectation::Lost(count.parse().ok()?),
            ["no", "line", rest @ ..] => Expectation::NoLine(rest.join(" ")),
            ["line", rest @ ..] => Expectation::Line(rest.join(" ")),
            _ => return None,
        };
        self.expectations.push(expectation);
        Some(())
    }

    /// Runs it, and says what came out otherwise than expected.
    pub fn play(self) -> (Outcome, Vec<String>) {
        let outcome = Fleet::new(self.setup).run();
        let mut wrong = Vec::new();
        if let Some(broken) = &outcome.broken {
            wrong.push(format!("law {} broken at {} ms: {}", broken.law, broken.at, broken.what));
        }
        for expectation in self.expectations {
            let has = |text: &String| outcome.transcript.iter().any(|line| line.contains(text.as_str()));
            let holds = match &expectation {
                Expectation::Primary(shard, name) => outcome.primaries.get(*shard) == Some(name),
                Expectation::Lost(count) => outcome.excused <= *count,
                Expectation::Line(text) => has(text),
                Expectation::NoLine(text) => !has(text),
            };
            if !holds {
                wrong.push(format!(
                    "not so: {expectation:?} (primaries {:?}, {} writes lost)",
                    outcome.primaries, outcome.excused
                ));
            }
        }
        (outcome, wrong)
    }
}

fn shard_index(word: &str) -> Option<usize> {
    word.strip_prefix('s')?.parse().ok()
}

fn target(words: &[&str]) -> Option<Target> {
    match words {
        ["primary", shard] => Some(Target::PrimaryOf(shard_index(shard)?)),
        ["replica", shard] => Some(Target::ReplicaOf(shard_index(shard)?)),
        [name] => Some(Target::Instance(name.strip_prefix("c-")?.parse().ok()?)),
        _ => None,
    }
}

fn fault(words: &[&str]) -> Option<Fault> {
    let number = |text: &str| text.parse::<u64>().ok();
    let count = |text: &str| text.parse::<u32>().ok();
    Some(match words {
        ["crash", whom @ ..] => Fault::Crash(target(whom)?),
        ["hang", whom @ .., "for", ms] => Fault::Hang(target(whom)?, number(ms)?),
        ["wipe", whom @ ..] => Fault::Wipe(target(whom)?),
        ["tear", whom @ ..] => Fault::Tear(target(whom)?),
        ["foreign", "disk", whom @ ..] => Fault::ForeignDisk(target(whom)?),
        ["power", "loss"] => Fault::PowerLoss,
        ["shard", "loss", shard] => Fault::ShardLoss(shard_index(shard)?),
        ["majority", "loss"] => Fault::MajorityLoss,
        ["cut", "host", whom @ ..] => Fault::CutHost(target(whom)?),
        ["freeze", "host", whom @ .., "for", ms] => Fault::FreezeHost(target(whom)?, number(ms)?),
        ["lose", "host", whom @ .., "for", ms] => Fault::LoseHost(target(whom)?, number(ms)?),
        ["cut", "bus", whom @ ..] => Fault::CutBus(target(whom)?),
        ["cut", "agent", whom @ ..] => Fault::CutAgent(target(whom)?),
        ["cut", "control", whom @ ..] => Fault::CutControl(0, target(whom)?),
        ["lose", in_thousand] => Fault::Lose(number(in_thousand)?),
        ["slow", "asks", ms] => Fault::SlowAsks(number(ms)?),
        ["slow", ms] => Fault::Slow(number(ms)?),
        ["lag", whom @ .., "by", ms] => Fault::Lag(target(whom)?, number(ms)?),
        ["cut", "register"] => Fault::CutRegister,
        ["mend"] => Fault::Mend,
        ["starts", "fail", whom @ .., "times", times] => Fault::StartsFail(target(whom)?, count(times)?),
        ["slow", "start", whom @ .., "by", ms] => Fault::SlowStart(target(whom)?, number(ms)?),
        ["store", "fails", "times", times] => Fault::StoreFails(count(times)?),
        ["second", "controller"] => Fault::SecondController,
        ["controller", "dies", "after", commands] => Fault::ControllerDies(0, count(commands)?),
        ["agent", "dies", whom @ .., "after", commands] => Fault::AgentDies(target(whom)?, count(commands)?),
        ["supervisor", "dies"] => Fault::SupervisorDies,
        ["move", "all"] => Fault::MoveAll,
        ["join", shard] => Fault::Join(shard_index(shard)?),
        ["user", wish, whom @ ..] => Fault::User(self::wish(wish)?, target(whom)?),
        ["calm"] => Fault::Calm,
        _ => return None,
    })
}

fn wish(word: &str) -> Option<Wish> {
    Some(match word {
        "switchover" => Wish::Switchover,
        "failover" => Wish::Failover,
        "fence" => Wish::Fence,
        "unfence" => Wish::Unfence,
        "restart" => Wish::Restart,
        "apply" => Wish::Apply,
        _ => return None,
    })
}
