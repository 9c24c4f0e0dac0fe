//! What goes into the state machine of an agent and what comes out: events, commands, what its server and other agents are told.

mod server;

pub use server::{Reply, ServerCommand, ServerError};

use crate::failover::restart_decision::Disk;
use crate::mode::standalone::register::{RegisterAnswer, RegisterAsk};
use crate::server::config::Directive;
use std::collections::BTreeMap;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    Address, AgentOrder, Answer, Ask, AskFailed, ClusterName, CopyRecord, CopySource, Happened, HeldBack,
    Incarnation, InstanceName, Millis, PasswordFault, Position, RegisterFault, SentinelSeen, ServerConfig,
    ServerVersion, Source, SourceFault, SourceView, StartFailure, Trial,
};

/// Matches a reply to what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What happens to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The controller's order. An older one than the last is ignored.
    Order(Box<AgentOrder>),
    /// What the data directory holds, or why it cannot be read.
    Inspected(Result<Box<Disk>, String>),
    /// The server's process runs.
    Started {
        /// Which run.
        incarnation: Incarnation,
        /// Its process id, where there is one.
        pid: Option<u32>,
    },
    /// It could not be started.
    StartFailed(StartFailure),
    /// It was not started: an earlier run of it turned out to be there still.
    Found {
        /// Which run.
        incarnation: Incarnation,
        /// Its process id, where there is one.
        pid: Option<u32>,
    },
    /// What was asked of the data directory, a look or a start, is not answered yet; it will be when the disk does.
    DiskSilent,
    /// How many bytes a run that was told to end, and its children, have written to disks so far.
    Wrote {
        /// Which run.
        incarnation: Incarnation,
        /// So many.
        bytes: u64,
    },
    /// A run that was told to end says that it cannot save its data, and goes on for that.
    SaveRefused {
        /// Which run.
        incarnation: Incarnation,
    },
    /// Its process has ended; nothing of it is left.
    Exited {
        /// Which run.
        incarnation: Incarnation,
        /// How, for people.
        how: String,
        /// Why, as far as it can be told from its log.
        cause: ExitCause,
    },
    /// The record of our copy was written, or could not be.
    Kept {
        /// Which.
        sequence: u64,
        /// The error, for people.
        result: Result<(), String>,
    },
    /// The file of roles and terms was written, or could not be (mode `standalone`).
    RolesKept {
        /// Which writing.
        number: u64,
        /// The error, for people.
        result: Result<(), String>,
    },
    /// What each Sentinel says of the primary that it knows, or why it does not (mode `sentinel`).
    SentinelsSeen(BTreeMap<InstanceName, SentinelSeen>),
    /// What the source of a cluster that follows one has said, or why it did not.
    SourceSeen {
        /// Which source.
        of: Box<Source>,
        /// What.
        result: Result<Box<SourceView>, SourceFault>,
        /// The gate before the own server's copy, where there is one.
        gate: Option<GateSeen>,
    },
    /// Our server's reply.
    Served {
        /// To which command.
        token: Token,
        /// What it said.
        result: Result<Reply, ServerError>,
    },
    /// Another agent's answer.
    Told {
        /// To what we asked.
        token: Token,
        /// What it said.
        result: Result<Answer, AskFailed>,
    },
    /// The register's answer (mode `standalone`).
    RegisterTold {
        /// To what we asked.
        token: Token,
        /// What it said.
        result: Result<RegisterAnswer, RegisterFault>,
    },
    /// Somebody asks us. Every question is answered once, with the same token.
    Asked {
        /// For the answer.
        token: Token,
        /// What.
        ask: Ask,
    },
    /// What came of a trial.
    Tried {
        /// What it was for.
        about: About,
        /// What was tried.
        config: Box<ServerConfig>,
        /// What came of it.
        trial: Trial,
    },
    /// Why the wanted password cannot be used, or that it can again.
    Password(Option<PasswordFault>),
    /// Stop the server and stay down: the supervisor goes down, and all servers with it.
    Stop,
    /// Stop the server and stay down, alone: a primary hands over first (law 2).
    Retire,
    /// Time has passed.
    Tick,
}

/// Why a server's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCause {
    /// It could not load its data: the files are damaged, or of a format that it does not read.
    DataUnreadable,
    /// Anything else.
    Other,
}

/// What an agent wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Look into the data directory; `Inspected` follows, after `DiskSilent` if that takes long.
    Inspect,
    /// Write the record of the copy; `Kept` follows.
    Keep(Box<CopyRecord>),
    /// The running server has written everything anew into a data directory that somebody had emptied: mark the directory as its own
    /// again, after the record is written; `Kept` follows.
    Reclaim(Box<CopyRecord>),
    /// Write the file of roles and terms (mode `standalone`); `RolesKept` follows.
    KeepRoles {
        /// Which writing.
        number: u64,
        /// What is to be in it.
        roles: Box<NodesConf>,
    },
    /// Look at the Sentinels; `SentinelsSeen` follows within the time.
    LookAtSentinels {
        /// What they call the primary.
        name: ClusterName,
        /// Where they listen.
        sentinels: BTreeMap<InstanceName, Address>,
        /// Milliseconds.
        within_ms: u64,
    },
    /// Tell Sentinels where the primary is, and look at all of them; `SentinelsSeen` follows within twice the time.
    TellSentinels {
        /// What, and whom.
        announcement: Box<crate::mode::sentinel::Announcement>,
        /// Where all of them listen.
        sentinels: BTreeMap<InstanceName, Address>,
        /// Milliseconds.
        within_ms: u64,
    },
    /// Look at the source; `SourceSeen` follows within the time.
    LookAtSource {
        /// Which.
        source: Box<Source>,
        /// What the gate before the own server's copy may let through; `None` where the server follows the source itself.
        gate: Option<Box<Passes>>,
        /// Milliseconds.
        within_ms: u64,
    },
    /// Start the server; `Started`, `Found` or `StartFailed` follows, after `DiskSilent` if that takes long.
    Start(Box<StartPlan>),
    /// SIGKILL; `Exited` follows.
    Kill(Incarnation),
    /// End it in an orderly way, saving what it can; `Wrote` and in the end `Exited` follow.
    Terminate(Incarnation),
    /// Tell our server; `Served` follows within the time.
    Serve {
        /// For the reply.
        token: Token,
        /// What.
        command: ServerCommand,
        /// Milliseconds.
        within_ms: u64,
    },
    /// Ask another agent; `Told` follows within the time.
    Tell {
        /// For the answer.
        token: Token,
        /// Whom.
        to: InstanceName,
        /// What.
        ask: Ask,
        /// Milliseconds.
        within_ms: u64,
    },
    /// Ask the register (mode `standalone`); `RegisterTold` follows within the time.
    AskRegister {
        /// For the answer.
        token: Token,
        /// What.
        ask: Box<RegisterAsk>,
        /// Milliseconds.
        within_ms: u64,
    },
    /// Answer who asked.
    Answer {
        /// The question's token.
        token: Token,
        /// The answer.
        result: Result<Answer, AskFailed>,
    },
    /// Something worth telling people.
    Record(Happened),
    /// Try a configuration with the server program, and read the password; `Tried` follows.
    Try {
        /// What it is for.
        about: About,
        /// What to try.
        config: Box<ServerConfig>,
        /// With which program; `None`: the one that the platform chooses.
        version: Option<ServerVersion>,
    },
    /// Keep the configuration that the server runs with, for a later one that it does not start with.
    KeepWorkingConfig(Box<ServerConfig>),
}

/// How to start a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPlan {
    /// Move these files out of the way first.
    pub set_aside: Vec<SetAside>,
    /// Write this record then; its run is the one that begins.
    pub record: CopyRecord,
    /// Write this nodes.conf then; `None` keeps the file as it is.
    pub nodes_conf: Option<NodesConf>,
    /// Directives of the configuration file.
    pub config: Vec<Directive>,
    /// The server program; `None`: the one that the platform chooses.
    pub version: Option<ServerVersion>,
    /// As whom it follows.
    pub login: Login,
    /// Where it is to listen.
    pub address: Address,
}

/// What a gate may let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passes {
    /// Where the copy is; `None` while it has no place in any history.
    pub own: Option<Position>,
    /// Does the copy hold nothing that could be lost?
    pub is_empty: bool,
    /// Is it held back from something already? Then nothing passes.
    pub is_closed: bool,
    /// Up to here a person has accepted what the source does.
    pub accepted: Option<Position>,
}

/// A gate, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSeen {
    /// Where it listens.
    pub address: Address,
    /// What it has held back.
    pub held_back: Option<HeldBack>,
}

/// As whom a server follows its primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// With the password of its own cluster.
    Cluster,
    /// As the source wants it.
    Source(Box<Source>),
}

/// Files that a server must not load. They are moved, never deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Which.
    pub what: CopySource,
    /// Into this folder of the data directory.
    pub folder: String,
}

/// Collects commands and hands out tokens.
#[derive(Debug, Default)]
pub struct Outbox {
    commands: Vec<Command>,
    last_token: u64,
}

impl Outbox {
    /// One that goes on counting, for a model that keeps only the number.
    #[cfg(test)]
    pub(crate) fn after(last_token: u64) -> Self {
        Self { commands: Vec::new(), last_token }
    }
    #[cfg(test)]
    pub(crate) fn last_token(&self) -> u64 {
        self.last_token
    }
    pub(crate) fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }
    pub(crate) fn push(&mut self, command: Command) {
        self.commands.push(command);
    }
    pub(crate) fn tell(&mut self, to: &InstanceName, ask: Ask, within_ms: u64) -> Token {
        let token = self.token();
        self.push(Command::Tell { token, to: to.clone(), ask, within_ms });
        token
    }
    pub(crate) fn serve(&mut self, command: ServerCommand, within_ms: u64) -> Token {
        let token = self.token();
        self.push(Command::Serve { token, command, within_ms });
        token
    }
    pub(crate) fn record(&mut self, happened: Happened) {
        self.push(Command::Record(happened));
    }
    pub(crate) fn take(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }
}

/// What a trial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The configuration in force: does the server start with it?
    Order,
    /// The same, before a restart that somebody waits for.
    Restart,
    /// Another agent, or the controller, asks.
    Question(Token),
}

/// The earlier of two times to wake up at.
pub(crate) fn sooner(a: Option<Millis>, b: Option<Millis>) -> Option<Millis> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
