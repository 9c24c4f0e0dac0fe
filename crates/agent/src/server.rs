//! One server's process: started in a group of its own, so that a signal to the supervisor's terminal does not reach it;
//! found again by a later supervisor; its end known at once.

use crate::copy_files::ServerIs;
use crate::data_dir::{DataDir, Marker, make_private_dir, replace};
use crate::os::{self, ProcessId};
use crate::program::Program;
use crate::server_file::{self, Places};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Seek as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use valkeeper_client::Password;
use valkeeper_model::{Address, CopyRecord, Incarnation, StartFailure};
use valkeeper_plan::agent::{ExitCause, StartPlan};
use valkeeper_plan::config::Directive;

/// What is known of a server's process, kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessRecord {
    /// The run. Counted up before each start, so that a run whose process was never recorded is not mistaken for the last.
    pub incarnation: Incarnation,
    /// Its process; `None` between the decision to start and the start.
    pub process: Option<ProcessId>,
}

/// The folder of one server: its configuration, its process, its log and its data.
#[derive(Debug, Clone)]
pub struct ServerHome {
    root: PathBuf,
    own: Vec<Directive>,
}

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
    fn record_path(&self) -> PathBuf {
        self.root.join("process.json")
    }

    fn record(&self) -> Option<ProcessRecord> {
        serde_json::from_slice(&fs::read(self.record_path()).ok()?).ok()
    }

    /// The directives that the server was last started with, as its configuration file has them.
    pub(crate) fn started_with(&self) -> BTreeMap<String, String> {
        fs::read_to_string(self.root.join("server.conf"))
            .map(|text| server_file::parse(&text))
            .unwrap_or_default()
    }

    fn keep(&self, record: ProcessRecord) -> io::Result<()> {
        replace(&self.record_path(), &serde_json::to_vec(&record).map_err(io::Error::other)?)
    }

    /// The process that an earlier supervisor started and that still runs: by its record, or, if that supervisor died between
    /// the start and the record, by the pid file that the server itself wrote and the directory it works in. A server that has
    /// not come that far is found by where its output goes: missed, it would be in its successor's way for good.
    pub fn running(&self) -> Option<(Incarnation, ProcessId)> {
        let record = self.record()?;
        if let Some(process) = record.process.filter(|process| os::alive(*process)) {
            return Some((record.incarnation, process));
        }
        let process = self.by_pid_file().or_else(|| match record.process {
            Some(_) => None,
            None => os::speaks_to(&self.said_path()),
        })?;
        let record = ProcessRecord { process: Some(process), ..record };
        let _ = self.keep(record);
        Some((record.incarnation, process))
    }

    fn by_pid_file(&self) -> Option<ProcessId> {
        let pid: u32 = fs::read_to_string(self.root.join("server.pid")).ok()?.trim().parse().ok()?;
        os::find(pid).filter(|_| os::works_in(pid, self.data().path()) == Some(true))
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
        password: &Password,
        marker: &Marker,
    ) -> Result<(Incarnation, ProcessId, Child), StartFailure> {
        let unusable = |error: io::Error| StartFailure::DataUnusable { detail: error.to_string() };
        let data = self.data();
        for port in [plan.address.port, plan.address.bus_port] {
            free(&plan.address, port)?;
        }
        make_private_dir(&self.root).map_err(unusable)?;
        data.make().map_err(unusable)?;
        for aside in &plan.set_aside {
            data.set_aside(aside).map_err(unusable)?;
        }
        let incarnation = self.record().map_or(Incarnation(1), |record| record.incarnation.next());
        data.keep(&CopyRecord { run: incarnation, ..plan.record.clone() }, ServerIs::Down)
            .map_err(unusable)?;
        if let Some(conf) = &plan.nodes_conf {
            let mut conf = conf.clone();
            if !program.shard_ids {
                conf.nodes.iter_mut().for_each(|node| node.aux.clear());
            }
            data.write_nodes_conf(&conf).map_err(unusable)?;
            data.mark(marker).map_err(unusable)?;
        }
        let log = self.log();
        let places = Places { data: data.path(), log: &log };
        let knows = |name: &str| program.knows(name);
        let mut text = server_file::render(&plan.config, &self.own, &plan.address, &places, password, knows);
        let pid_file = server_file::quoted(&self.root.join("server.pid").to_string_lossy());
        let _ = writeln!(text, "pidfile {pid_file}");
        let file = self.root.join("server.conf");
        replace(&file, text.as_bytes()).map_err(unusable)?;
        let _ = fs::remove_file(self.root.join("server.pid"));
        self.keep(ProcessRecord { incarnation, process: None }).map_err(unusable)?;
        let mut child = self.spawn(program, &file)?;
        let Some(process) = os::find(child.id()) else {
            return Err(StartFailure::Exited {
                detail: self.last_words(child.wait().map(|s| s.to_string())),
            });
        };
        if let Err(error) = self.keep(ProcessRecord { incarnation, process: Some(process) }) {
            // The pid file finds it again; the disk that is full now is reported by the server itself.
            tracing::warn!(%error, "cannot record a server's process");
        }
        Ok((incarnation, process, child))
    }

    fn spawn(&self, program: &Program, file: &Path) -> Result<Child, StartFailure> {
        let unusable = |error: io::Error| StartFailure::ProgramUnusable {
            detail: format!("{}: {error}", program.path.display()),
        };
        // Before it has opened its log a server tells of mistakes in its configuration file.
        let said = fs::File::create(self.said_path()).map_err(unusable)?;
        let complained = said.try_clone().map_err(unusable)?;
        Command::new(&program.path)
            .arg(file)
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(complained)
            .process_group(0)
            .spawn()
            .map_err(unusable)
    }

    /// Why the server of the last start ended, by what it said in that run.
    pub(crate) fn exit_cause(&self) -> ExitCause {
        let said =
            [self.said_path(), self.log()].iter().filter_map(|path| tail(path).ok()).collect::<Vec<_>>();
        let run = said.iter().flat_map(|text| text.lines());
        // The log goes on from run to run: what counts is behind the last beginning of one.
        let run: Vec<&str> = run.collect();
        let begun = run.iter().rposition(|line| line.contains("Running mode=")).unwrap_or(0);
        let refused =
            run.iter().skip(begun).any(|line| DATA_UNREADABLE.iter().any(|sign| line.contains(sign)));
        if refused { ExitCause::DataUnreadable } else { ExitCause::Other }
    }

    /// How a server ended, with the last things it said.
    pub(crate) fn last_words(&self, how: io::Result<String>) -> String {
        let how = how.unwrap_or_else(|error| error.to_string());
        let said =
            [self.said_path(), self.log()].iter().filter_map(|path| tail(path).ok()).collect::<Vec<_>>();
        let said = said.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty());
        let said: Vec<&str> = said.collect();
        let last = said.get(said.len().saturating_sub(LAST_WORDS)..).unwrap_or_default().join(" / ");
        if last.is_empty() { how } else { format!("{how}; it said: {last}") }
    }
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

fn tail(path: &Path) -> io::Result<String> {
    const BYTES: u64 = 8_000;
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
