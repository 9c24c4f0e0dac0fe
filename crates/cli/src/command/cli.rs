//! `cli`: sends commands to where their keys are, so that nobody needs another client. With one server down the others are
//! asked; what the engine answers is shown as redis-cli shows it.

mod reply;
mod words;

use crate::args::{Args, Format};
use crate::failure::{Failure, Kind};
use crate::{output, target};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::sync::mpsc;
use valkeeper_client::{ClusterClient, ClusterError, Endpoint, Value};
use valkeeper_model::ClusterName;

/// Lines read ahead of the command that is being answered.
const AHEAD: usize = 64;

/// How replies are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    /// With types and quotes, as redis-cli does on a terminal.
    Typed,
    /// The bytes alone, as redis-cli does into a pipe.
    Raw,
    /// For programs. One line each when there are several commands.
    Json {
        lines: bool,
    },
    Yaml,
}

pub(crate) async fn cli(
    args: &Args,
    command: &[OsString],
    within: Duration,
    format: Format,
) -> anyhow::Result<()> {
    let dir = target::cluster(args)?;
    let seeds: Vec<Endpoint> = dir.addresses()?.values().map(Endpoint::from).collect();
    if seeds.is_empty() {
        let what = format!("cluster {} has no addresses yet", dir.name());
        return Err(Failure::new(Kind::Failed, what, "`valkeeper up FILE` starts it").into());
    }
    let words: Vec<&[u8]> = command.iter().map(|word| word.as_encoded_bytes()).collect();
    let client = ClusterClient::new(seeds, Some(dir.password()?));
    converse(dir.name(), &client, &words, within, Manner::here(format)).await
}

/// Who reads the replies, and how they want them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Manner {
    format: Format,
    /// A person reads them.
    typed: bool,
    /// A person gives the commands.
    prompted: bool,
}

impl Manner {
    /// Of whoever has called this program.
    pub(super) fn here(format: Format) -> Self {
        Self { format, typed: std::io::stdout().is_terminal(), prompted: std::io::stdin().is_terminal() }
    }
}

/// Sends the command, or those that come on stdin.
pub(super) async fn converse(
    cluster: &ClusterName,
    client: &ClusterClient,
    words: &[&[u8]],
    within: Duration,
    manner: Manner,
) -> anyhow::Result<()> {
    let show = match manner.format {
        Format::Table if manner.typed => Show::Typed,
        Format::Table => Show::Raw,
        Format::Json => Show::Json { lines: words.is_empty() },
        Format::Yaml => Show::Yaml,
    };
    if words.is_empty() {
        let prompt = manner.prompted.then(|| format!("{cluster}> "));
        return lines(prompt, client, within, show).await;
    }
    match client.command(words, within).await {
        Ok(value) => print(&value, show),
        Err(error) => Err(failure(&error).into()),
    }
}

/// A failure of one command. Only a cluster that cannot be reached has a hint: what a reply means the engine says itself.
fn failure(error: &ClusterError) -> Failure {
    let (kind, hint) = match error {
        ClusterError::Reply(_) => (Kind::Failed, None),
        ClusterError::Empty => (Kind::Usage, Some("say it after `--`, or one a line on stdin")),
        ClusterError::Unsupported(_) => {
            (Kind::Usage, Some("use a client that keeps a connection: `valkeeper connect` says how"))
        }
        ClusterError::NoServer(_) => (Kind::Failed, Some("does it run? `valkeeper status` shows it")),
        ClusterError::Timeout { .. } => {
            (Kind::TimedOut, Some("it may be carried out all the same; --timeout waits longer"))
        }
    };
    Failure { kind, what: error.to_string(), hint: hint.map(str::to_owned) }
}

fn print(value: &Value, show: Show) -> anyhow::Result<()> {
    match show {
        Show::Typed => output::text(&reply::typed(value)),
        Show::Raw => output::bytes(&reply::raw(value)),
        Show::Json { lines: false } => output::value(Format::Json, &reply::document(value), String::new),
        Show::Json { lines: true } => output::text(&format!("{}\n", reply::document(value))),
        Show::Yaml => output::value(Format::Yaml, &reply::document(value), String::new),
    }
}

/// One command a line. An error does not end it, but fails it in the end, unless a person sits there and has seen it.
async fn lines(
    prompt: Option<String>,
    client: &ClusterClient,
    within: Duration,
    show: Show,
) -> anyhow::Result<()> {
    let person = prompt.is_some();
    let (mut given, mut failed) = (0_u64, 0_u64);
    let mut input = read_lines(prompt);
    while let Some(line) = input.next().await {
        let line = line?;
        let answer = match words::split(&line) {
            Ok(words) if words.is_empty() => continue,
            Ok(words) if person && is_farewell(&words) => break,
            Ok(words) => client.command(&words, within).await.map_err(|error| failure(&error).what),
            Err(error) => Err(error.to_string()),
        };
        given += 1;
        match answer {
            Ok(value) => print(&value, show)?,
            Err(what) => {
                failed += 1;
                tell_in_line(&what, show)?;
            }
        }
    }
    if failed > 0 && !person {
        let what = format!("{failed} of {given} commands failed");
        return Err(Failure { kind: Kind::Failed, what, hint: None }.into());
    }
    Ok(())
}

fn is_farewell(words: &[Vec<u8>]) -> bool {
    matches!(words, [word] if word.eq_ignore_ascii_case(b"quit") || word.eq_ignore_ascii_case(b"exit"))
}

/// An error among other replies: where the reply would have been, so that replies stay countable.
fn tell_in_line(what: &str, show: Show) -> anyhow::Result<()> {
    match show {
        Show::Typed => output::text(&format!("(error) {what}\n")),
        Show::Raw => output::text(&format!("error: {what}\n")),
        Show::Json { .. } => output::text(&format!("{}\n", serde_json::json!({ "error": what }))),
        Show::Yaml => output::value(Format::Yaml, &serde_json::json!({ "error": what }), String::new),
    }
}

/// Lines of stdin. Reading blocks, so a thread does it; it asks for the next line only when the last is answered if a person
/// is prompted, and ahead of that otherwise.
struct Lines {
    lines: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    ready: std::sync::mpsc::Sender<()>,
}

impl Lines {
    async fn next(&mut self) -> Option<std::io::Result<Vec<u8>>> {
        let _ = self.ready.send(());
        self.lines.recv().await
    }
}

fn read_lines(prompt: Option<String>) -> Lines {
    let (sender, lines) = mpsc::channel(AHEAD);
    let (ready, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            if let Some(prompt) = &prompt {
                if asked.recv().is_err() {
                    return;
                }
                eprint!("{prompt}");
                let _ = std::io::stderr().flush();
            }
            let mut line = Vec::new();
            let read = stdin.read_until(b'\n', &mut line);
            if matches!(read, Ok(0)) || sender.blocking_send(read.map(|_| line)).is_err() {
                return;
            }
        }
    });
    Lines { lines, ready }
}
