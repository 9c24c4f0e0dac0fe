//! A drill on Kubernetes: writers run in a pod, where the servers can be reached; requests are made from outside, as a user makes
//! them. The two talk in lines of JSON.

use super::Task;
use crate::args::Drill;
use crate::called::called;
use crate::command::drill::ground::kill;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::load::{Found, Here, Writers};
use crate::target::kubernetes::status as look;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, Write as _};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::io::{ReadHalf, SimplexStream, WriteHalf};
use valkeeper_client::{Endpoint, Password};
use valkeeper_kube::remote::{Ending, Lead, Process, Remote};
use valkeeper_model::InstanceName;

/// Between looks at the status: the operator writes it no more often.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// What is asked of the one in the pod.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Ask {
    Flowing { within_ms: u64 },
    Mark,
    Finish { at_us: u64 },
    Kill,
}

/// And answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Answer {
    Done,
    At { us: u64 },
    Found { found: Found },
    Failed { why: String },
}

/// This program in a pod. Dropped, it ends there, and cleans up.
pub(crate) struct Far {
    stdin: WriteHalf<SimplexStream>,
    stdout: BufReader<ReadHalf<SimplexStream>>,
    _ending: Ending,
}

impl Far {
    async fn start(process: Process, task: &Task) -> anyhow::Result<Self> {
        let Process { mut stdin, stdout, mut stderr, ending } = process;
        tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            eprint!("{text}");
        });
        stdin.write_all(&line(task)?).await?;
        let mut far = Self { stdin, stdout: BufReader::new(stdout), _ending: ending };
        far.answer().await?;
        Ok(far)
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await?;
        anyhow::ensure!(!line.is_empty(), "this program ended in the pod before the drill did");
        match serde_json::from_str(&line).context("what is said in the pod cannot be understood")? {
            Answer::Failed { why } => Err(Failure { kind: Kind::Failed, what: why, hint: None }.into()),
            answer => Ok(answer),
        }
    }

    async fn ask(&mut self, ask: &Ask) -> anyhow::Result<Answer> {
        self.stdin.write_all(&line(ask)?).await?;
        self.answer().await
    }

    pub(crate) async fn mark(&mut self) -> anyhow::Result<Duration> {
        match self.ask(&Ask::Mark).await? {
            Answer::At { us } => Ok(Duration::from_micros(us)),
            _ => Err(odd()),
        }
    }

    pub(crate) async fn flowing(&mut self, within: Duration) -> anyhow::Result<()> {
        self.ask(&Ask::Flowing { within_ms: u64::try_from(within.as_millis())? }).await.map(drop)
    }

    pub(crate) async fn finish(mut self, at: Duration) -> anyhow::Result<Found> {
        match self.ask(&Ask::Finish { at_us: u64::try_from(at.as_micros())? }).await? {
            Answer::Found { found } => Ok(found),
            _ => Err(odd()),
        }
    }

    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.ask(&Ask::Kill).await.map(drop)
    }
}

fn odd() -> anyhow::Error {
    anyhow::anyhow!("the pod answered something else")
}

fn line(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

pub(crate) async fn status(remote: &Remote) -> anyhow::Result<Status> {
    let object = remote.object().await.map_err(Failure::from)?;
    Ok(look::of(remote.name(), &object, &Lead::Unknown))
}

pub(crate) async fn refuse_unattended(remote: &Remote) -> anyhow::Result<()> {
    match remote.reach().lead().await.map_err(Failure::from)? {
        Lead::Nobody { .. } => {
            let what = format!("no operator looks after cluster {}", remote.name());
            Err(Failure::new(Kind::Failed, what, format!("`{} status` says since when", called())).into())
        }
        Lead::Operator { .. } | Lead::Unknown => Ok(()),
    }
}

pub(crate) async fn writers(remote: &Remote, drill: &Drill, status: &Status) -> anyhow::Result<Writers> {
    let seeds = status.instances.iter().filter_map(|instance| instance.address.clone()).collect();
    let process = remote.run_inside(&["inside"]).await.map_err(Failure::from)?;
    let far = Far::start(process, &Task::Load { seeds, saturate: drill.saturate }).await?;
    Ok(Writers::Far(Box::new(far)))
}

pub(crate) async fn aim(remote: &Remote, at: &InstanceName, pid: u32) -> anyhow::Result<Far> {
    let process = remote.run_in(at.as_str(), &["inside"]).await.map_err(Failure::from)?;
    Far::start(process, &Task::Kill { pid }).await
}

/// In the pod: writes until it is told to finish, or nobody is there any more.
pub(crate) async fn write(seeds: &[String], password: Password, saturate: bool) -> anyhow::Result<()> {
    let seeds: Result<Vec<Endpoint>, _> = seeds.iter().map(|seed| seed.parse()).collect();
    let here = match Here::start(seeds?, password, saturate).await {
        Ok(here) => here,
        Err(error) => return say(&failed(&error)),
    };
    say(&Answer::Done)?;
    let at = loop {
        let answer = match asked()? {
            None => break None,
            Some(Ask::Finish { at_us }) => break Some(Duration::from_micros(at_us)),
            Some(Ask::Mark) => Answer::At { us: u64::try_from(here.mark().as_micros())? },
            Some(Ask::Flowing { within_ms }) => match here.flowing(Duration::from_millis(within_ms)).await {
                Ok(()) => Answer::Done,
                Err(error) => failed(&error),
            },
            Some(Ask::Kill) => failed(&odd()),
        };
        say(&answer)?;
    };
    // Whatever happened: the writers' keys go.
    match (here.finish(at.unwrap_or_default()).await, at) {
        (Ok(found), Some(_)) => say(&Answer::Found { found }),
        (Err(error), Some(_)) => say(&failed(&error)),
        (_, None) => Ok(()),
    }
}

/// In the pod: kills the server when it is told to.
pub(crate) fn wait_and_kill(pid: u32) -> anyhow::Result<()> {
    say(&Answer::Done)?;
    match asked()? {
        Some(Ask::Kill) => say(&kill(pid).map_or_else(|error| failed(&error), |()| Answer::Done)),
        _ => Ok(()),
    }
}

fn failed(error: &anyhow::Error) -> Answer {
    Answer::Failed { why: format!("{error:#}") }
}

/// Reading blocks, and nothing else has to be done meanwhile: writers are threads.
fn asked() -> anyhow::Result<Option<Ask>> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&line)?)) }
}

fn say(answer: &Answer) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(&line(answer)?)?;
    Ok(out.flush()?)
}
