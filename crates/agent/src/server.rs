//! One server's process: started in a group of its own, so that a signal to the supervisor's terminal does not reach it;
//! found again by a later supervisor; its end known at once.

use crate::copy_files::ServerIs;
use crate::data_dir::{DataDir, Marker, make_private_dir, read, replace};
use crate::os::{self, ProcessId};
use crate::program::Program;
use crate::server_file::{self, LetsIn, Places};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use valkeeper_client::Password;
use valkeeper_model::{Address, CopyRecord, Incarnation, ServerConfig, StartFailure};
use valkeeper_plan::agent::{ExitCause, StartPlan};
use valkeeper_plan::mode::standalone::VOTED;
use valkeeper_plan::server::config::Directive;

/// What is known of a server's process, kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessRecord {
    /// The run. Counted up before each start, so that a run whose process was never recorded is not mistaken for the last.
    pub incarnation: Incarnation,
    /// Its process; `None` between the decision to start and the start.
    pub process: Option<ProcessId>,
    /// How long the log was before it: what stands there was said by former runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_from: Option<u64>,
}

/// The folder of one server: its configuration, its process, its log and its data.
#[derive(Debug, Clone)]
pub struct ServerHome {
    root: PathBuf,
    own: Vec<Directive>,
}

/// What the server program is run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunAs {
    Server,
    Sentinel,
}

impl RunAs {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Server => &[],
            Self::Sentinel => &["--sentinel"],
        }
    }
}

/// A pid file holds a number.
const LONGEST_PID_FILE: u64 = 64;

/// What the engine writes when it is told to end.
const SAVES_AT_END: &str = "Saving the final RDB snapshot before exiting";
/// And when that fails, so that it goes on (Redis 6.2 to Valkey 9.1).
const CANNOT_SAVE: &str = "Error trying to save the DB, can't exit";
/// What the engine writes before it ends because it cannot load its data (`rdb.c`, `aof.c`; Redis 7.0 to Valkey 9.1, tried).
const DATA_UNREADABLE: [&str; 12] = [
    "Bad file format reading the append only file",
    "Unexpected end of file reading the append only file",
    "Unrecoverable error reading the append only file",
    "Error reading the RDB preamble",
    "Invalid AOF manifest file format",
    "AOF manifest",
    "Fatal error loading the DB",
    "Short read or OOM loading DB",
    "Wrong signature trying to load DB",
    "Can't handle RDB format version",
    "Internal error in RDB reading",
    "Terminating server after rdb file reading failure",
];
/// Lines of the log that tell why a server ended.
const LAST_WORDS: usize = 3;
/// How the engine's report of a crash names the cause: an assertion, a panic, a signal.
const CRASH_CAUSE: [&str; 3] = ["ASSERTION FAILED", "Guru Meditation", "crashed by signal"];
const SET_LIVE: &str = "set-live.json";
const PASSWORD: &str = "password";
const WORKING: &str = "working-config.json";

impl ServerHome {
    /// At that place; it need not exist.
    pub fn new(root: PathBuf) -> Self {
        Self { root, own: Vec::new() }
    }
    /// With directives that come from where the server runs, not from the cluster's spec: what it binds to, what it announces.
    #[must_use]
    pub fn with_own(self, own: Vec<Directive>) -> Self {
        Self { own, ..self }
    }
    /// Its data directory.
    pub fn data(&self) -> DataDir {
        DataDir::new(self.root.join("data"))
    }
    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }
    /// Its configuration file.
    pub(crate) fn conf(&self) -> PathBuf {
        self.root.join("server.conf")
    }
    /// Where the process writes its id.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.root.join("server.pid")
    }
    fn record_path(&self) -> PathBuf {
        self.root.join("process.json")
    }

    /// `None` if no server was ever started here. One that cannot be read says nothing of whether a server runs.
    fn record(&self) -> io::Result<Option<ProcessRecord>> {
        match fs::read(self.record_path()) {
            // Of a damaged one only the run's number is lost: the process is found by what else it left.
            Ok(text) => Ok(Some(serde_json::from_slice(&text).unwrap_or(ProcessRecord {
                incarnation: Incarnation(0),
                process: None,
                log_from: None,
            }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directives that the server was last started with, as its configuration file has them.
    pub(crate) fn started_with(&self) -> BTreeMap<String, String> {
        fs::read_to_string(self.conf()).map(|text| server_file::parse(&text)).unwrap_or_default()
    }

    /// What the server has been told to set since it was started, so that it is known for ours when it is not ordered any more.
    pub(crate) fn set_live(&self) -> BTreeSet<String> {
        self.kept(SET_LIVE).unwrap_or_default()
    }

    pub(crate) fn keep_set_live(&self, names: &BTreeSet<String>) {
        self.keep_json(SET_LIVE, names);
    }

    /// The passwords that the server may accept if it runs: the one that it was told to accept alone since its start, and the one in its
    /// configuration file.
    pub(crate) fn passwords(&self) -> Vec<Password> {
        let kept = fs::read_to_string(self.root.join(PASSWORD)).ok().map(Password::new);
        kept.into_iter().chain(server_file::password(&self.started_with())).collect()
    }

    pub(crate) fn keep_password(&self, password: &Password) -> io::Result<()> {
        replace(&self.root.join(PASSWORD), password.reveal().as_bytes())
    }

    /// The configuration that the server last ran with as it was ordered.
    pub(crate) fn working_config(&self) -> Option<ServerConfig> {
        self.kept(WORKING)
    }

    pub(crate) fn keep_working_config(&self, config: &ServerConfig) {
        self.keep_json(WORKING, config);
    }

    fn kept<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.root.join(name)).ok()?).ok()
    }

    /// Not keeping it costs what it would have told, nothing else.
    fn keep_json(&self, name: &str, value: &impl Serialize) {
        let kept = serde_json::to_vec(value)
            .map_err(io::Error::other)
            .and_then(|text| replace(&self.root.join(name), &text));
        if let Err(error) = kept {
            tracing::warn!(%error, name, "cannot be kept");
        }
    }

    /// What comes from where the server runs, with where it listens.
    pub(crate) fn own_directives(&self, address: &Address) -> Vec<Directive> {
        let mut own =
            vec![("port".to_owned(), address.port.to_string()), ("bind".to_owned(), address.ip.to_string())];
        own.extend(self.own.iter().cloned());
        own
    }

    fn keep(&self, record: ProcessRecord) -> io::Result<()> {
        replace(&self.record_path(), &serde_json::to_vec(&record).map_err(io::Error::other)?)
    }

    /// The process that an earlier supervisor started and that still runs: by its record, or, if that supervisor died between
    /// the start and the record, by the pid file that the server itself wrote and the directory it works in. A server that has
    /// not come that far is found by where its output goes: missed, it would be in its successor's way for good.
    /// An error says that nothing is known: the server may run.
    pub fn running(&self) -> io::Result<Option<(Incarnation, ProcessId)>> {
        let Some(record) = self.record()? else { return Ok(None) };
        if let Some(process) = record.process
            && os::alive(process)?
        {
            return Ok(Some((record.incarnation, process)));
        }
        let found = match (self.by_pid_file()?, record.process) {
            (None, None) => os::speaks_to(&self.said_path())?,
            (found, _) => found,
        };
        let Some(process) = found else { return Ok(None) };
        let record = ProcessRecord { process: Some(process), ..record };
        let _ = self.keep(record);
        Ok(Some((record.incarnation, process)))
    }

    fn by_pid_file(&self) -> io::Result<Option<ProcessId>> {
        let Some(text) = read(&self.pid_file(), LONGEST_PID_FILE)? else { return Ok(None) };
        let Some(pid) = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()) else {
            return Ok(None);
        };
        let found = os::find(pid)?;
        Ok(found.filter(|_| os::works_in(pid, self.data().path()) == Some(true)))
    }

    /// What the server says before it has opened its log.
    fn said_path(&self) -> PathBuf {
        self.root.join("server.out")
    }

    /// Starts the server as planned. Blocks for a few file operations.
    pub(crate) fn start(
        &self,
        plan: &StartPlan,
        program: &Program,
        lets_in: LetsIn<'_>,
        marker: &Marker,
    ) -> Result<(Incarnation, ProcessId, Child), StartFailure> {
        let unusable = |error: io::Error| StartFailure::DataUnusable { detail: error.to_string() };
        let data = self.data();
        for port in [plan.address.port, plan.address.bus_port] {
            free(&plan.address, port)?;
        }
        make_private_dir(&self.root).map_err(unusable)?;
        data.make().map_err(unusable)?;
        if let Err(error) = data.remove_unfinished() {
            // It takes space, nothing else.
            tracing::warn!(%error, "what an earlier run has not finished cannot be removed");
        }
        for aside in &plan.set_aside {
            data.set_aside(aside).map_err(unusable)?;
        }
        let incarnation = self.next_incarnation().map_err(unusable)?;
        data.keep(&CopyRecord { run: incarnation, ..plan.record.clone() }, ServerIs::Down)
            .map_err(unusable)?;
        if let Some(conf) = &plan.nodes_conf {
            let mut conf = conf.clone();
            if !program.shard_ids {
                // Such an engine takes any for part of the host name. What only the agent reads stays.
                conf.nodes.iter_mut().for_each(|node| node.aux.retain(|name, _| name == VOTED));
            }
            data.write_nodes_conf(&conf).map_err(unusable)?;
            data.mark(marker).map_err(unusable)?;
        }
        let log = self.log();
        let places = Places { data: data.path(), log: &log };
        let knows = |name: &str| program.knows(name);
        let mut text = server_file::render(&plan.config, &self.own, &plan.address, &places, lets_in, knows);
        let pid_file = server_file::quoted(&self.pid_file().to_string_lossy());
        let _ = writeln!(text, "pidfile {pid_file}");
        replace(&self.conf(), text.as_bytes()).map_err(unusable)?;
        let _ = fs::remove_file(self.root.join(SET_LIVE));
        let _ = fs::remove_file(self.root.join(PASSWORD));
        let (process, child) = self.launch(program, RunAs::Server, incarnation)?;
        Ok((incarnation, process, child))
    }

    /// The number of the next run.
    fn next_incarnation(&self) -> io::Result<Incarnation> {
        Ok(self.record()?.map_or(Incarnation(1), |record| record.incarnation.next()))
    }

    /// Starts a Sentinel with that file. Blocks for a few file operations.
    pub(crate) fn start_sentinel(
        &self,
        program: &Program,
        address: &Address,
        file: &str,
    ) -> Result<(ProcessId, Child), StartFailure> {
        let unusable = |error: io::Error| StartFailure::DataUnusable { detail: error.to_string() };
        free(address, address.port)?;
        make_private_dir(&self.root).map_err(unusable)?;
        self.data().make().map_err(unusable)?;
        let incarnation = self.next_incarnation().map_err(unusable)?;
        replace(&self.conf(), file.as_bytes()).map_err(unusable)?;
        self.launch(program, RunAs::Sentinel, incarnation)
    }

    /// Starts the process with the configuration file that is there. Its run is recorded before and after.
    fn launch(
        &self,
        program: &Program,
        run_as: RunAs,
        incarnation: Incarnation,
    ) -> Result<(ProcessId, Child), StartFailure> {
        let unusable = |error: io::Error| StartFailure::DataUnusable { detail: error.to_string() };
        let _ = fs::remove_file(self.pid_file());
        let log_from = fs::metadata(self.log()).map(|metadata| metadata.len()).ok();
        self.keep(ProcessRecord { incarnation, process: None, log_from }).map_err(unusable)?;
        let mut child = self.spawn(program, run_as)?;
        let process = match os::find(child.id()) {
            Ok(Some(process)) => process,
            Ok(None) => {
                return Err(StartFailure::Exited {
                    detail: self.last_words(child.wait().map(|s| s.to_string())),
                });
            }
            // Whose end cannot be told is not left running: a later server would be taken for it.
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(StartFailure::ProgramUnusable {
                    detail: format!("its process cannot be watched: {error}"),
                });
            }
        };
        if let Err(error) = self.keep(ProcessRecord { incarnation, process: Some(process), log_from }) {
            // The pid file finds it again; the disk that is full now is reported by the server itself.
            tracing::warn!(%error, "cannot record a server's process");
        }
        Ok((process, child))
    }

    fn spawn(&self, program: &Program, run_as: RunAs) -> Result<Child, StartFailure> {
        let unusable = |error: io::Error| StartFailure::ProgramUnusable {
            detail: format!("{}: {error}", program.path.display()),
        };
        // Before it has opened its log a server tells of mistakes in its configuration file.
        let said = fs::File::create(self.said_path()).map_err(unusable)?;
        let complained = said.try_clone().map_err(unusable)?;
        Command::new(&program.path)
            .arg(self.conf())
            .args(run_as.arguments())
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(complained)
            .process_group(0)
            .spawn()
            .map_err(unusable)
    }

    /// How the server of the last start ended, with the last things it said, and why, by what it said in that run.
    pub(crate) fn ending(&self, how: String) -> (String, ExitCause) {
        let said = self.said_in_this_run();
        (with_last_words(how, &said), exit_cause(&said))
    }

    /// Did it refuse to end when it was told to last, because it cannot save its data?
    pub(crate) fn could_not_save(&self) -> bool {
        let said = self.said_in_this_run();
        let lines: Vec<&str> = said.iter().flat_map(|text| text.lines()).collect();
        let tried = lines.iter().rposition(|line| line.contains(SAVES_AT_END));
        tried.is_some_and(|tried| lines.iter().skip(tried).any(|line| line.contains(CANNOT_SAVE)))
    }

    /// The end of what it said. What a former run said last would be taken for the cause.
    fn said_in_this_run(&self) -> Vec<String> {
        let record = self.record().ok().flatten();
        let log_from = record.and_then(|record| record.log_from).unwrap_or(0);
        let said = [(self.said_path(), 0), (self.log(), log_from)];
        said.iter().filter_map(|(path, from)| tail(path, *from).ok()).collect()
    }

    /// How a server ended, with the last things it said.
    fn last_words(&self, how: io::Result<String>) -> String {
        with_last_words(how.unwrap_or_else(|error| error.to_string()), &self.said_in_this_run())
    }
}

fn exit_cause(said: &[String]) -> ExitCause {
    let run: Vec<&str> = said.iter().flat_map(|text| text.lines()).collect();
    // The log goes on from run to run: what counts is behind the last beginning of one.
    let begun = run.iter().rposition(|line| line.contains("Running mode=")).unwrap_or(0);
    let refused = run.iter().skip(begun).any(|line| DATA_UNREADABLE.iter().any(|sign| line.contains(sign)));
    if refused { ExitCause::DataUnreadable } else { ExitCause::Other }
}

fn with_last_words(how: String, said: &[String]) -> String {
    let said = said.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty());
    let last = last_lines(&said.collect::<Vec<_>>()).join(" / ");
    if last.is_empty() { how } else { format!("{how}; it said: {last}") }
}

/// The lines that tell why a server ended: its last ones. Of a crash, those before the engine's report of it (a hundred lines of registers,
/// `INFO` and advice) and the cause that the report begins with.
fn last_lines<'a>(said: &[&'a str]) -> Vec<&'a str> {
    let Some(report) = said.iter().rposition(|line| line.contains("BUG REPORT START")) else {
        return said.get(said.len().saturating_sub(LAST_WORDS)..).unwrap_or_default().to_vec();
    };
    let before = said.get(report.saturating_sub(LAST_WORDS - 1)..report).unwrap_or_default();
    let cause = said.iter().skip(report).find(|line| CRASH_CAUSE.iter().any(|sign| line.contains(sign)));
    before.iter().chain(cause).copied().collect()
}

/// Is the port ours to take? A server that finds it taken ends with a line in its log; this tells it apart.
fn free(address: &Address, port: u16) -> Result<(), StartFailure> {
    match TcpListener::bind((address.ip, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(StartFailure::PortTaken { port }),
        Err(error) => Err(StartFailure::DataUnusable {
            detail: format!("cannot listen on {}:{port}: {error}", address.ip),
        }),
    }
}

fn tail(path: &Path, from: u64) -> io::Result<String> {
    // The engine's report of a crash has tens of thousands of bytes; what comes before it counts.
    const BYTES: u64 = 128 * 1024;
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    // A log that is shorter than it was is another one.
    let from = if from <= length { from } else { 0 };
    file.seek(io::SeekFrom::Start(length.saturating_sub(BYTES).max(from)))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_told_by_its_cause_and_not_by_the_advice_after_it() {
        // Valkey 9.1.2 on a full disk, shortened.
        let said = [
            "11:S 28 Nov 2026 19:00:00.000 * Partial resynchronization accepted",
            "11:S 28 Nov 2026 19:00:01.000 # Error writing to the AOF file: No space left on device",
            "=== VALKEY BUG REPORT START: Cut & paste starting from here ===",
            "11:S 28 Nov 2026 19:00:01.001 # !!! Software Failure. Press left mouse button to continue",
            "11:S 28 Nov 2026 19:00:01.001 # Guru Meditation: Replica was unable to write command to disk.",
            "------ STACK TRACE ------",
            "Suspect RAM error? Use valkey-server --test-memory to verify it.",
        ];
        let told = last_lines(&said).join(" / ");
        assert!(told.contains("No space left") && told.contains("Guru Meditation"), "{told}");
        assert!(!told.contains("Suspect RAM"), "{told}");
        assert_eq!(last_lines(&["a", "b", "c", "d"]), ["b", "c", "d"]);
        assert_eq!(last_lines(&[]), [""; 0]);
    }
}
