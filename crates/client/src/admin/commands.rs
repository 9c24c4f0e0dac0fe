//! The questions and orders, typed.

use super::connection::{AdminConnection, Repeat};
use super::error::AskError;
use super::info::{fields_of, text_of};
use super::{ClusterInfo, ClusterNodes, ReplicationInfo, ServerInfo};
use crate::Password;
use redis::{Cmd, Value, cmd};
use std::collections::BTreeMap;
use std::time::Duration;
use valkeeper_model::nodes_conf;
use valkeeper_model::{Address, NodeId, SlotSet};

/// How a replica becomes primary (reference: the engine's `CLUSTER FAILOVER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverMode {
    /// In agreement with its primary, which pauses writes until the replica has everything.
    Planned,
    /// Without its primary, by a majority's vote.
    Force,
    /// Without a vote (law 4).
    Takeover,
}

/// What to do with the data when stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Write a snapshot first.
    Save,
    /// Write none.
    NoSave,
}

/// Each call answers within the time given, whatever happens to the server.
impl AdminConnection {
    /// Is it there and serving?
    pub async fn ping(&self, within: Duration) -> Result<(), AskError> {
        self.ask(&cmd("PING"), within).await.map(drop)
    }

    /// `INFO replication`.
    pub async fn replication(&self, within: Duration) -> Result<ReplicationInfo, AskError> {
        ReplicationInfo::parse(&self.info("replication", within).await?)
    }

    /// `INFO`: everything a decision needs of the server itself, replication included.
    pub async fn server_info(&self, within: Duration) -> Result<ServerInfo, AskError> {
        ServerInfo::parse(&self.info("default", within).await?)
    }

    /// The text of one section of `INFO`.
    pub async fn info(&self, section: &str, within: Duration) -> Result<String, AskError> {
        text_of(self.ask(cmd("INFO").arg(section), within).await?)
    }

    /// `CLUSTER NODES`.
    pub async fn cluster_nodes(&self, within: Duration) -> Result<ClusterNodes, AskError> {
        let text = text_of(self.ask(cmd("CLUSTER").arg("NODES"), within).await?)?;
        nodes_conf::parse(&text).map_err(|error| AskError::garbled(format!("CLUSTER NODES: {error}")))
    }

    /// `CLUSTER INFO`.
    pub async fn cluster_info(&self, within: Duration) -> Result<ClusterInfo, AskError> {
        ClusterInfo::parse(&text_of(self.ask(cmd("CLUSTER").arg("INFO"), within).await?)?)
    }

    /// Its node id.
    pub async fn myid(&self, within: Duration) -> Result<NodeId, AskError> {
        let text = text_of(self.ask(cmd("CLUSTER").arg("MYID"), within).await?)?;
        text.parse().map_err(|_| AskError::garbled("CLUSTER MYID is no node id"))
    }

    /// Orders a replica to become primary. Done means scheduled: watch [`AdminConnection::replication`].
    pub async fn failover(&self, mode: FailoverMode, within: Duration) -> Result<(), AskError> {
        let mut failover = cmd("CLUSTER");
        failover.arg("FAILOVER");
        match mode {
            FailoverMode::Planned => {}
            FailoverMode::Force => _ = failover.arg("FORCE"),
            FailoverMode::Takeover => _ = failover.arg("TAKEOVER"),
        }
        self.order(&failover, within).await
    }

    /// Makes it a replica of that node.
    pub async fn replicate(&self, primary: NodeId, within: Duration) -> Result<(), AskError> {
        self.order(cmd("CLUSTER").arg("REPLICATE").arg(primary.to_string()), within).await
    }

    /// Makes it a replica of the server at that address; without cluster mode only. Done means begun.
    pub async fn replica_of(&self, primary: &Address, within: Duration) -> Result<(), AskError> {
        self.order(cmd("REPLICAOF").arg(primary.ip.to_string()).arg(primary.port), within).await
    }

    /// Makes it a primary; without cluster mode only.
    pub async fn replica_of_no_one(&self, within: Duration) -> Result<(), AskError> {
        self.order(cmd("REPLICAOF").arg("NO").arg("ONE"), within).await
    }

    /// Makes it shake hands with the node at that address. Done means queued.
    pub async fn meet(&self, address: &Address, within: Duration) -> Result<(), AskError> {
        let mut meet = cmd("CLUSTER");
        meet.arg("MEET").arg(address.ip.to_string()).arg(address.port).arg(address.bus_port);
        self.order(&meet, within).await
    }

    /// Makes it forget that node.
    pub async fn forget(&self, node: NodeId, within: Duration) -> Result<(), AskError> {
        self.order(cmd("CLUSTER").arg("FORGET").arg(node.to_string()), within).await
    }

    /// Makes it own these slots, which nobody owns.
    pub async fn add_slot_ranges(&self, slots: &SlotSet, within: Duration) -> Result<(), AskError> {
        let mut add = cmd("CLUSTER");
        add.arg("ADDSLOTSRANGE");
        for range in slots.ranges() {
            add.arg(range.first().number()).arg(range.last().number());
        }
        self.order(&add, within).await
    }

    /// The same, one by one: Redis before 7.0 knows no ranges.
    pub async fn add_slots(&self, slots: &SlotSet, within: Duration) -> Result<(), AskError> {
        let mut add = cmd("CLUSTER");
        add.arg("ADDSLOTS");
        for range in slots.ranges() {
            for slot in range.first().number()..=range.last().number() {
                add.arg(slot);
            }
        }
        self.order(&add, within).await
    }

    /// Holds all clients' writes back for so many milliseconds, or until [`AdminConnection::unpause`].
    pub async fn pause_writes(&self, ms: u64, within: Duration) -> Result<(), AskError> {
        self.order(cmd("CLIENT").arg("PAUSE").arg(ms).arg("WRITE"), within).await
    }

    /// Lets held writes go.
    pub async fn unpause(&self, within: Duration) -> Result<(), AskError> {
        self.order(cmd("CLIENT").arg("UNPAUSE"), within).await
    }

    /// Directives whose names match.
    pub async fn config_get(
        &self,
        pattern: &str,
        within: Duration,
    ) -> Result<BTreeMap<String, String>, AskError> {
        fields_of("CONFIG GET", self.ask(cmd("CONFIG").arg("GET").arg(pattern), within).await?)
    }

    /// Sets directives; on Valkey and Redis from 7.0 all or none. Secrets go this way too: they show in no process list.
    pub async fn config_set(&self, pairs: &[(&str, &str)], within: Duration) -> Result<(), AskError> {
        let mut set = cmd("CONFIG");
        set.arg("SET");
        for (name, value) in pairs {
            set.arg(*name).arg(*value);
        }
        self.order(&set, within).await
    }

    /// How many passwords the user `default` has.
    pub async fn count_default_passwords(&self, within: Duration) -> Result<usize, AskError> {
        let garbled = || AskError::garbled("ACL GETUSER shows no passwords");
        let Value::Array(fields) = self.ask(cmd("ACL").arg("GETUSER").arg("default"), within).await? else {
            return Err(garbled());
        };
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            if let (Ok("passwords"), Value::Array(passwords)) = (text_of(name).as_deref(), value) {
                return Ok(passwords.len());
            }
        }
        Err(garbled())
    }

    /// Gives the user `default` one more password.
    pub async fn accept_as_well(&self, password: &Password, within: Duration) -> Result<(), AskError> {
        let added = format!(">{}", password.reveal());
        let told = self.order(cmd("ACL").arg("SETUSER").arg("default").arg(added), within).await;
        told.map_err(|error| error.without_text("ACL SETUSER"))
    }

    /// Starts a snapshot in the background.
    pub async fn bgsave(&self, within: Duration) -> Result<(), AskError> {
        // Without SCHEDULE it is refused while an AOF is being rewritten.
        self.order(cmd("BGSAVE").arg("SCHEDULE"), within).await
    }

    /// Begins to write the append-only file anew, or does so after the snapshot that is being written.
    pub async fn bgrewriteaof(&self, within: Duration) -> Result<(), AskError> {
        self.order(&cmd("BGREWRITEAOF"), within).await
    }

    /// Stops the server. It hangs up instead of answering.
    pub async fn shutdown(&self, mode: ShutdownMode, within: Duration) -> Result<(), AskError> {
        let mode = match mode {
            ShutdownMode::Save => "SAVE",
            ShutdownMode::NoSave => "NOSAVE",
        };
        // Reached first by a question, so that hanging up can only mean the order was taken.
        let start = std::time::Instant::now();
        self.ping(within).await.or_else(|error| if error.alive() { Ok(()) } else { Err(error) })?;
        match self.tell(cmd("SHUTDOWN").arg(mode), within.saturating_sub(start.elapsed())).await {
            Ok(_) | Err(AskError::Unreachable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Any command, sent once.
    pub async fn raw<A: AsRef<[u8]>>(&self, args: &[A], within: Duration) -> Result<Value, AskError> {
        self.tell(&command_of(args), within).await
    }

    /// A command the asked server shall take although the slot is still another's (`ASK`).
    pub(crate) async fn raw_asking<A: AsRef<[u8]>>(
        &self,
        args: &[A],
        within: Duration,
    ) -> Result<Value, AskError> {
        self.send(&[cmd("ASKING"), command_of(args)], within, Repeat::No).await
    }

    pub(super) async fn order(&self, command: &Cmd, within: Duration) -> Result<(), AskError> {
        self.tell(command, within).await.map(drop)
    }
}

fn command_of<A: AsRef<[u8]>>(args: &[A]) -> Cmd {
    let mut command = Cmd::new();
    for arg in args {
        command.arg(arg.as_ref());
    }
    command
}
