//! A conversation with a cluster: commands go to where their keys are, so that nobody needs another client. With one server down the others are
//! asked; what the engine answers is shown as redis-cli shows it.

mod input;
mod recipients;
mod reply;
mod words;

pub(crate) use recipients::To;

use crate::args::{Format, Recipients};
use crate::called::called;
use crate::failure::{Failure, Kind, ToldAlready};
use crate::output;
use input::{Input, Prompt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;
use valkeeper_client::{AskError, ClusterClient, ClusterError, Endpoint, Value};
use valkeeper_model::ClusterName;

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

/// What a command line wants of a conversation.
pub(crate) struct Asked<'a> {
    /// One command; without any they come on stdin.
    pub(crate) command: &'a [OsString],
    pub(crate) to: &'a Recipients,
    /// For an answer.
    pub(crate) within: Duration,
    pub(crate) manner: Manner,
}

/// Who reads the replies, and how they want them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Manner {
    format: Format,
    /// A person reads them.
    typed: bool,
    /// A person gives the commands.
    prompted: bool,
}

impl Manner {
    /// Of whoever has called this program.
    pub(crate) fn here(format: Format) -> Self {
        Self { format, typed: std::io::stdout().is_terminal(), prompted: std::io::stdin().is_terminal() }
    }
}

/// A conversation with a cluster.
pub(crate) struct Talk {
    pub(crate) cluster: ClusterName,
    pub(crate) client: ClusterClient,
    pub(crate) to: To,
    /// Who is where.
    pub(crate) names: BTreeMap<Endpoint, String>,
    pub(crate) within: Duration,
    pub(crate) manner: Manner,
    /// Where lines are kept that were given before.
    pub(crate) history: Option<PathBuf>,
}

impl Talk {
    /// Sends the command, or those that come on stdin.
    pub(crate) async fn converse(&self, words: &[&[u8]]) -> anyhow::Result<()> {
        let show = match self.manner.format {
            Format::Table if self.manner.typed => Show::Typed,
            Format::Table => Show::Raw,
            Format::Json => Show::Json { lines: words.is_empty() },
            Format::Yaml => Show::Yaml,
        };
        let mut said = Said::default();
        if words.is_empty() {
            return self.lines(show, &mut said).await;
        }
        let answers = self.send(words, &mut said).await?;
        let failed = answers.iter().find_map(|answer| answer.result.as_ref().err());
        match (answers.as_slice(), failed) {
            // The only answer is an error: it is the program's.
            ([Answer { from: None, .. }], Some(error)) => Err(failure(error).into()),
            (answers, failed) => {
                print(answers, words, show)?;
                // Each error stands where its answer would have been.
                failed.map_or(Ok(()), |error| Err(ToldAlready(failure(error).kind as u8).into()))
            }
        }
    }

    async fn send<A: AsRef<[u8]>>(&self, words: &[A], said: &mut Said) -> Result<Vec<Answer>, Failure> {
        let To::These(these) = &self.to else {
            let delivered = self.client.deliver_command(words, self.within).await;
            if let Ok(alone) = &delivered
                && let Some(alone) = &alone.alone
            {
                said.alone(words, &self.names.get(alone).cloned().unwrap_or_else(|| alone.to_string()));
            }
            return Ok(vec![Answer { from: None, result: delivered.map(|delivered| delivered.value) }]);
        };
        // All at once: one that does not answer must not hold up the others.
        let asking = these.iter().map(|(name, endpoint)| async move {
            let result = self.client.command_to(endpoint, words, self.within).await;
            // Of one that was named nobody needs to be told who it is.
            Answer { from: (these.len() > 1).then(|| name.clone()), result }
        });
        Ok(recipients::all(asking).await)
    }

    /// One command a line. An error does not end it, but fails it in the end, unless a person sits there and has seen it.
    async fn lines(&self, show: Show, said: &mut Said) -> anyhow::Result<()> {
        let person = self.manner.prompted;
        let prompt =
            person.then(|| Prompt { text: format!("{}> ", self.cluster), history: self.history.clone() });
        let (mut given, mut failed) = (0_u64, 0_u64);
        let mut input = Input::open(prompt);
        while let Some(line) = input.next().await {
            let line = line?;
            let (words, answers) = match words::split(&line) {
                Ok(words) if words.is_empty() => continue,
                Ok(words) if person && is_farewell(&words) => break,
                Ok(words) => {
                    let answers = self.send(&words, said).await;
                    (words, answers.map_err(|error| error.what))
                }
                Err(error) => (Vec::new(), Err(error.to_string())),
            };
            given += 1;
            match answers {
                Ok(answers) => {
                    failed += u64::from(answers.iter().any(|answer| answer.result.is_err()));
                    print(&answers, &words, show)?;
                }
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
}

/// One server's answer; with its name where several are asked.
struct Answer {
    from: Option<String>,
    result: Result<Value, ClusterError>,
}

/// What has been said of commands that have no key: once for each.
#[derive(Default)]
struct Said(BTreeSet<String>);

impl Said {
    fn alone<A: AsRef<[u8]>>(&mut self, words: &[A], who: &str) {
        let name = words.first().map(|word| String::from_utf8_lossy(word.as_ref()).to_ascii_uppercase());
        let Some(name) = name.filter(|name| self.0.insert(name.clone())) else { return };
        eprintln!(
            "note: {name} has no key: {who} alone was asked; --instance, --all-primaries and --all choose others"
        );
    }
}

/// A failure of one command. Only a cluster that cannot be reached has a hint: what a reply means the engine says itself.
fn failure(error: &ClusterError) -> Failure {
    let (kind, hint) = match error {
        ClusterError::Reply(_) => (Kind::Failed, None),
        ClusterError::Empty => (Kind::Usage, Some("say it after `--`, or one a line on stdin".to_owned())),
        ClusterError::Unsupported(_) => {
            let hint = format!("use a client that keeps a connection: `{} connect` says how", called());
            (Kind::Usage, Some(hint))
        }
        ClusterError::NoServer(error) => {
            let kind = if *error == AskError::Timeout { Kind::TimedOut } else { Kind::Failed };
            (kind, Some(format!("does it run? `{} status` shows it", called())))
        }
        ClusterError::Timeout { .. } => {
            (Kind::TimedOut, Some("it may be carried out all the same; --timeout waits longer".to_owned()))
        }
    };
    Failure { kind, what: error.to_string(), hint }
}

fn print<A: AsRef<[u8]>>(answers: &[Answer], words: &[A], show: Show) -> anyhow::Result<()> {
    if let [Answer { from: None, result }] = answers {
        return match result {
            Ok(value) => print_value(value, words, show),
            Err(error) => tell_in_line(&error.to_string(), show),
        };
    }
    if let Show::Json { .. } | Show::Yaml = show {
        let told = |answer: &Answer| match &answer.result {
            Ok(value) => reply::document(value),
            Err(error) => serde_json::json!({ "error": error.to_string() }),
        };
        let all: serde_json::Map<String, serde_json::Value> =
            answers.iter().map(|answer| (answer.from.clone().unwrap_or_default(), told(answer))).collect();
        return print_document(&all.into(), show);
    }
    for Answer { from, result } in answers {
        let text = match result {
            Ok(value) if show == Show::Typed => reply::typed(value, reply::is_text(words)).into_bytes(),
            Ok(value) => reply::raw(value),
            Err(error) => format!("(error) {error}\n").into_bytes(),
        };
        let one_line = text.split(|byte| *byte == b'\n').nth(2).is_none();
        let head = from.as_deref().unwrap_or_default();
        output::bytes(&[head.as_bytes(), if one_line { b": " } else { b":\n" }, &text].concat())?;
    }
    Ok(())
}

fn print_value<A: AsRef<[u8]>>(value: &Value, words: &[A], show: Show) -> anyhow::Result<()> {
    match show {
        Show::Typed => output::text(&reply::typed(value, reply::is_text(words))),
        Show::Raw => output::bytes(&reply::raw(value)),
        Show::Json { .. } | Show::Yaml => print_document(&reply::document(value), show),
    }
}

fn print_document(document: &serde_json::Value, show: Show) -> anyhow::Result<()> {
    match show {
        Show::Json { lines: true } => output::text(&format!("{document}\n")),
        Show::Json { lines: false } => output::value(Format::Json, document, String::new),
        _ => output::value(Format::Yaml, document, String::new),
    }
}

fn is_farewell(words: &[Vec<u8>]) -> bool {
    matches!(words, [word] if word.eq_ignore_ascii_case(b"quit") || word.eq_ignore_ascii_case(b"exit"))
}

/// An error among other replies: where the reply would have been, so that replies stay countable.
fn tell_in_line(what: &str, show: Show) -> anyhow::Result<()> {
    match show {
        Show::Typed => output::text(&format!("(error) {what}\n")),
        Show::Raw => output::text(&format!("error: {what}\n")),
        Show::Json { .. } | Show::Yaml => print_document(&serde_json::json!({ "error": what }), show),
    }
}
