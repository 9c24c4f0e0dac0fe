//! A configuration, tried with the server program before any server of the cluster gets it: started on an empty folder of its own, with
//! a socket in that folder and no port.

use crate::program::{NotUp, Probed, Program, make_probe_dir};
use crate::server_file;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use valkeeper_client::{AskError, NotSet};
use valkeeper_model::{InvalidDirective, ServerConfig, Trial};
use valkeeper_plan::server::config::{self, Directive};

/// Mistakes that are told at once; each takes a trial.
const MOST_MISTAKES: usize = 8;
/// Trials that are remembered: the configuration in force, and some that were only asked about.
const REMEMBERED: usize = 4;
/// Before a trial that failed for the machine's sake is made again.
const FAILED_FOR: Duration = Duration::from_secs(30);
/// Lines of what the program says that tell why it ended.
const LAST_WORDS: usize = 2;

/// What the program shows of its configuration (`CONFIG GET *`) when it was started with some directives.
pub(crate) type Shown = Arc<BTreeMap<String, String>>;

/// What came of one trial.
#[derive(Debug, Clone)]
enum Outcome {
    Starts(Shown),
    Refuses(Vec<InvalidDirective>),
    Failed(String),
}

impl Outcome {
    fn trial(&self) -> Trial {
        match self {
            Self::Starts(_) => Trial::Starts,
            Self::Refuses(directives) => Trial::Refuses { directives: directives.clone() },
            Self::Failed(why) => Trial::Failed { why: why.clone() },
        }
    }
}

/// A trial that was made.
#[derive(Debug)]
struct Known {
    tried: Vec<Directive>,
    outcome: Outcome,
    at: Instant,
}

/// Tries configurations with one program, each once. Shared by the agents of a process.
#[derive(Debug)]
pub struct Trials {
    program: Arc<Program>,
    known: Mutex<VecDeque<Known>>,
    /// One at a time: agents that want the same wait for one of them.
    running: tokio::sync::Mutex<()>,
}

impl Trials {
    /// With that program.
    pub fn new(program: Arc<Program>) -> Self {
        Self { program, known: Mutex::default(), running: tokio::sync::Mutex::default() }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Would the program start with this? Takes as long as a start.
    pub async fn start_with(&self, config: &ServerConfig) -> Trial {
        self.outcome(&to_try(&config::directives(config))).await.trial()
    }

    /// What a server shows that was started with these; `None` while it is not known: then it is tried, and known soon.
    pub(crate) fn shown(self: &Arc<Self>, directives: &[Directive]) -> Option<Shown> {
        let wanted = to_try(directives);
        match self.remembered(&wanted) {
            Some(Outcome::Starts(shown)) => Some(shown),
            Some(_) => None,
            None => {
                if self.running.try_lock().is_ok() {
                    let trials = Arc::clone(self);
                    tokio::spawn(async move { trials.outcome(&wanted).await });
                }
                None
            }
        }
    }

    async fn outcome(&self, wanted: &[Directive]) -> Outcome {
        let _one_at_a_time = self.running.lock().await;
        if let Some(outcome) = self.remembered(wanted) {
            return outcome;
        }
        let (program, directives) = (Arc::clone(&self.program), wanted.to_vec());
        let tried = tokio::task::spawn_blocking(move || try_all(&program, directives)).await;
        let outcome = tried.unwrap_or_else(|error| Outcome::Failed(error.to_string()));
        if let Outcome::Failed(why) = &outcome {
            tracing::warn!(why, "a configuration cannot be tried");
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push_front(Known { tried: wanted.to_vec(), outcome: outcome.clone(), at: Instant::now() });
        known.truncate(REMEMBERED);
        outcome
    }

    fn remembered(&self, wanted: &[Directive]) -> Option<Outcome> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|one| one.tried == wanted)?;
        // A failure of the machine may be over by now.
        let counts = !matches!(found.outcome, Outcome::Failed(_)) || found.at.elapsed() < FAILED_FOR;
        counts.then(|| found.outcome.clone())
    }
}

impl Program {
    /// Would it start with this? Blocks for as long as a start takes.
    pub fn start_with(&self, config: &ServerConfig) -> Trial {
        try_all(self, to_try(&config::directives(config))).trial()
    }

    /// Which directives of the second configuration a server that was started with the first one cannot take while it runs, by its own word.
    /// Nothing if it cannot be asked. Blocks for as long as a start takes.
    pub fn taken_by_restart(&self, from: &ServerConfig, to: &ServerConfig) -> Vec<String> {
        let before = to_try(&config::directives(from));
        let changed = to_try(&config::directives(to)).into_iter().filter(|one| !before.contains(one));
        let changed: Vec<Directive> = changed.filter(|(name, _)| self.knows(name)).collect();
        if changed.is_empty() {
            return Vec::new();
        }
        let started =
            start_trial(self, &before.into_iter().filter(|(name, _)| self.knows(name)).collect::<Vec<_>>());
        let Ok((mut probed, _)) = started else { return Vec::new() };
        let socket = probed.dir.join("s");
        let Ok(mut connection) = probed.connect(&socket) else { return Vec::new() };
        let mut set = |(name, value): &Directive| {
            let set: Result<(), redis::RedisError> =
                redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query(&mut connection);
            set.map_err(|error| AskError::from(&error))
        };
        let immutable = changed
            .into_iter()
            .filter(|directive| set(directive).is_err_and(|error| error.not_set() == NotSet::Immutable));
        immutable.map(|(name, _)| name).collect()
    }
}

/// What makes a server refuse writes for a while is no other configuration.
fn to_try(directives: &[Directive]) -> Vec<Directive> {
    directives.iter().filter(|(name, _)| !config::refuses_writes(name)).cloned().collect()
}

/// Tries; what is refused is left out and the rest tried again, so that all mistakes are told at once.
fn try_all(program: &Program, mut directives: Vec<Directive>) -> Outcome {
    directives.retain(|(name, _)| program.knows(name) || !config::may_be_lacking(name));
    let mut mistakes: Vec<InvalidDirective> = Vec::new();
    loop {
        match try_once(program, &directives) {
            Ok(shown) if mistakes.is_empty() => return Outcome::Starts(shown),
            Err(Refused::Failed(why)) if mistakes.is_empty() => return Outcome::Failed(why),
            Ok(_) | Err(Refused::Failed(_)) => return Outcome::Refuses(mistakes),
            Err(Refused::Invalid(mistake)) => {
                let before = directives.len();
                directives.retain(|(name, _)| Some(name) != mistake.name.as_ref());
                mistakes.push(mistake);
                if directives.len() == before || mistakes.len() == MOST_MISTAKES {
                    return Outcome::Refuses(mistakes);
                }
            }
        }
    }
}

enum Refused {
    Invalid(InvalidDirective),
    Failed(String),
}

/// A server that was started with these on an empty folder, and the file with what it says.
fn start_trial(program: &Program, directives: &[Directive]) -> std::io::Result<(Probed, PathBuf)> {
    let dir = make_probe_dir()?;
    let file = dir.join("server.conf");
    let said = dir.join("said");
    let command = std::fs::write(&file, server_file::render_trial(directives.iter(), &dir))
        .and_then(|()| std::fs::File::create(&said))
        .and_then(|output| {
            let mut command = Command::new(&program.path);
            command.arg(&file).current_dir(&dir).stdin(Stdio::null());
            command.stderr(output.try_clone()?).stdout(output);
            Ok(command)
        });
    let command = command.inspect_err(|_| drop(std::fs::remove_dir_all(&dir)))?;
    Ok((Probed::start(command, dir)?, said))
}

fn try_once(program: &Program, directives: &[Directive]) -> Result<Shown, Refused> {
    let failed = |error: &dyn std::fmt::Display| Refused::Failed(error.to_string());
    let (mut probed, said) = start_trial(program, directives).map_err(|error| failed(&error))?;
    match probed.connect(&probed.dir.join("s")) {
        Ok(mut connection) => redis::cmd("CONFIG")
            .arg("GET")
            .arg("*")
            .query(&mut connection)
            .map(Arc::new)
            .map_err(|error: redis::RedisError| failed(&error)),
        Err(NotUp::Ended(_)) => Err(Refused::Invalid(mistake(&read(&said), directives))),
        Err(error) => Err(failed(&error)),
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Which directive a program means that has ended: it repeats the line of the file and says what is wrong with it below. A module that
/// cannot be loaded is named in the log instead.
fn mistake(said: &str, directives: &[Directive]) -> InvalidDirective {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tried = |name: &str| directives.iter().any(|(tried, _)| tried == name);
    let repeated = |line: &str| {
        let name = line.strip_prefix(">>> '")?.split_whitespace().next()?.trim_end_matches('\'').to_owned();
        Some(name).filter(|name| tried(name))
    };
    for (n, line) in lines.iter().enumerate() {
        if let Some(name) = repeated(line) {
            let why = lines.get(n + 1).map_or("the server refuses it", |why| *why).to_owned();
            return InvalidDirective { name: Some(name), why };
        }
    }
    let last = lines.get(lines.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
    // Without the process, the time and the level before the text.
    let text = |line: &&str| line.split_once(" # ").map_or(*line, |(_, text)| text).to_owned();
    let why = last.iter().map(text).collect::<Vec<_>>().join(" / ");
    let module = tried("loadmodule") && why.to_lowercase().contains("module");
    InvalidDirective { name: module.then(|| "loadmodule".to_owned()), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directive_that_is_meant_is_told() {
        let directives = [("hz".to_owned(), "abc".to_owned()), ("loadmodule".to_owned(), "/x.so".to_owned())];
        let said = "\n*** FATAL CONFIG FILE ERROR (Version 9.1.2) ***\nReading the configuration file, at line 10\n\
                    >>> 'hz abc'\nargument couldn't be parsed into an integer\n";
        assert_eq!(mistake(said, &directives).to_string(), "hz: argument couldn't be parsed into an integer");
        let said = "1:M 28 Nov 2026 06:56:41.373 # Module /x.so failed to load: no such file\n\
                    1:M 28 Nov 2026 06:56:41.373 # Can't load module from /x.so: server aborting\n";
        let found = mistake(said, &directives);
        assert_eq!(found.name.as_deref(), Some("loadmodule"));
        assert!(found.why.starts_with("Module /x.so failed to load"), "{}", found.why);
        assert_eq!(mistake("killed", &directives[..1]).name, None);
    }
}
