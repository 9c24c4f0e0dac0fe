//! A drill on Kubernetes: writers run in a pod, where the servers can be reached; requests are made from outside, as a user makes
//! them. The two talk in lines of JSON.

use super::task::{Task, line};
use crate::boxed::Boxed;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::load::{Found, LoadHere, Writers};
use crate::target::Trigger;
use crate::target::kill::kill;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, Write as _};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::io::{ReadHalf, SimplexStream, WriteHalf};
use valkeeper_client::{Endpoint, Password};
use valkeeper_kube::remote::{Ending, Process, Remote};
use valkeeper_model::InstanceName;

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
struct InPod {
    stdin: WriteHalf<SimplexStream>,
    stdout: BufReader<ReadHalf<SimplexStream>>,
    _ending: Ending,
}

impl InPod {
    async fn start(process: Process, task: &Task) -> anyhow::Result<Self> {
        let Process { mut stdin, stdout, mut stderr, ending } = process;
        tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            eprint!("{text}");
        });
        stdin.write_all(&task.line()?).await?;
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
}

impl Writers for InPod {
    fn mark(&mut self) -> Boxed<'_, Duration> {
        Box::pin(async {
            match self.ask(&Ask::Mark).await? {
                Answer::At { us } => Ok(Duration::from_micros(us)),
                _ => Err(odd()),
            }
        })
    }

    fn flowing(&mut self, within: Duration) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.ask(&Ask::Flowing { within_ms: u64::try_from(within.as_millis())? }).await.map(drop)
        })
    }

    fn finish(mut self: Box<Self>, at: Duration) -> Boxed<'static, Found> {
        Box::pin(async move {
            match self.ask(&Ask::Finish { at_us: u64::try_from(at.as_micros())? }).await? {
                Answer::Found { found } => Ok(found),
                _ => Err(odd()),
            }
        })
    }
}

fn odd() -> anyhow::Error {
    anyhow::anyhow!("the pod answered something else")
}

/// Starts writers in a pod.
pub(crate) async fn writers(
    remote: &Remote,
    status: &Status,
    saturate: bool,
) -> anyhow::Result<Box<dyn Writers>> {
    let seeds = status.instances.iter().filter_map(|instance| instance.address.clone()).collect();
    let process = remote.run_inside(&["inside"]).await.map_err(Failure::from)?;
    Ok(Box::new(InPod::start(process, &Task::Load { seeds, saturate }).await?))
}

/// Makes ready to kill a pod's server.
pub(crate) async fn aim(remote: &Remote, at: &InstanceName, pid: u32) -> anyhow::Result<Trigger> {
    let process = remote.run_in(at.as_str(), &["inside"]).await.map_err(Failure::from)?;
    let mut in_pod = InPod::start(process, &Task::Kill { pid }).await?;
    Ok(Box::new(move || Box::pin(async move { in_pod.ask(&Ask::Kill).await.map(drop) })))
}

/// In the pod: writes until it is told to finish, or nobody is there any more.
pub(super) async fn write(seeds: &[String], password: Password, saturate: bool) -> anyhow::Result<()> {
    let seeds: Result<Vec<Endpoint>, _> = seeds.iter().map(|seed| seed.parse()).collect();
    let here = match LoadHere::start(seeds?, password, saturate).await {
        Ok(here) => here,
        Err(error) => return say(&failed(&error)),
    };
    say(&Answer::Done)?;
    let at = loop {
        let answer = match asked()? {
            None => break None,
            Some(Ask::Finish { at_us }) => break Some(Duration::from_micros(at_us)),
            Some(Ask::Mark) => Answer::At { us: u64::try_from(here.elapsed().as_micros())? },
            Some(Ask::Flowing { within_ms }) => {
                match here.take_writes(Duration::from_millis(within_ms)).await {
                    Ok(()) => Answer::Done,
                    Err(error) => failed(&error),
                }
            }
            Some(Ask::Kill) => failed(&odd()),
        };
        say(&answer)?;
    };
    // Whatever happened: the writers' keys go.
    match (here.stop(at.unwrap_or_default()).await, at) {
        (Ok(found), Some(_)) => say(&Answer::Found { found }),
        (Err(error), Some(_)) => say(&failed(&error)),
        (_, None) => Ok(()),
    }
}

/// In the pod: kills the server when it is told to.
pub(super) fn wait_and_kill(pid: u32) -> anyhow::Result<()> {
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
