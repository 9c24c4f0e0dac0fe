//! Slots are given to another shard's primary: by the engine's own atomic migration where both servers have it, otherwise key by key.
//!
//! Whatever is cut short here is found on the servers by who comes next: jobs that run, slots that are open, slots that one of the two gives to the
//! other already.

mod atomic;
mod by_key;
mod functions;
mod pace;

use crate::serving::error;
use futures::future::join_all;
use std::time::{Duration, Instant};
use valkeeper_client::{AdminConnection, AskError, Password, Value};
use valkeeper_model::nodes_conf::NodeLine;
use valkeeper_model::{NodeId, Slot, SlotSet, SlotTransfer, TransferExtent};
use valkeeper_plan::agent::ServerError;

pub(crate) use pace::Pace;

/// One command to one of the two servers.
const COMMAND: Duration = Duration::from_secs(2);
/// So many slots are asked about at a time.
const ASKED_AT_ONCE: usize = 256;

/// One go of giving slots.
pub(crate) struct Giving {
    source: AdminConnection,
    target: AdminConnection,
    password: Password,
    transfer: SlotTransfer,
    pace: Pace,
    began: Instant,
}

/// A slot, and how many keys it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filled {
    slot: Slot,
    keys: u64,
}

impl Giving {
    pub(crate) fn new(
        source: AdminConnection,
        target: AdminConnection,
        password: Password,
        transfer: SlotTransfer,
        pace: Pace,
    ) -> Self {
        Self { source, target, password, transfer, pace, began: Instant::now() }
    }

    /// Gives them, as many as the time allows.
    pub(crate) async fn give(&self, within: Duration) -> Result<(), ServerError> {
        let giving = async {
            if self.transfer.extent == TransferExtent::All {
                self.bring_functions().await?;
            }
            if self.has_atomic(&self.source).await? && self.has_atomic(&self.target).await? {
                self.give_atomically().await
            } else {
                self.give_by_key().await
            }
        };
        match tokio::time::timeout(within, giving).await {
            Ok(given) => given,
            Err(_) => Err(ServerError::Silent(valkeeper_model::Unseen::Timeout)),
        }
    }

    fn time_is_over(&self) -> bool {
        self.began.elapsed() >= Duration::from_millis(self.transfer.budget_ms)
    }

    /// Does that server have `CLUSTER MIGRATESLOTS`? It is asked: names and versions say nothing of it.
    async fn has_atomic(&self, server: &AdminConnection) -> Result<bool, ServerError> {
        let known = server.has_cluster_command("migrateslots", COMMAND).await;
        known.map_err(|said| error(said, "command|info"))
    }

    /// What that server says of itself.
    async fn myself(&self, server: &AdminConnection) -> Result<NodeLine, ServerError> {
        let nodes = server.cluster_nodes(COMMAND).await.map_err(|said| error(said, "cluster|nodes"))?;
        nodes.myself().cloned().ok_or(ServerError::Garbled)
    }

    /// Of these slots, how many keys each has in the giving server; not more than it takes to fill so many keys, or `at_once` slots.
    async fn filled(&self, slots: &SlotSet, most_keys: u64) -> Result<Vec<Filled>, ServerError> {
        let mut taken = Vec::new();
        let mut sum = 0;
        let wanted: Vec<Slot> = slots.iter().take(usize::from(self.transfer.at_once)).collect();
        for part in wanted.chunks(ASKED_AT_ONCE) {
            let asks = part.iter().map(|slot| async {
                let number = slot.to_string();
                self.source.raw(&["CLUSTER", "COUNTKEYSINSLOT", number.as_str()], COMMAND).await
            });
            for (slot, count) in part.iter().zip(join_all(asks).await) {
                let keys = match count.map_err(|said| error(said, "cluster|countkeysinslot"))? {
                    Value::Int(keys) => u64::try_from(keys).unwrap_or(0),
                    _ => return Err(ServerError::Garbled),
                };
                if !taken.is_empty() && sum + keys > most_keys {
                    return Ok(taken);
                }
                sum += keys;
                taken.push(Filled { slot: *slot, keys });
            }
        }
        Ok(taken)
    }

    /// The same command about each of these slots, sent to that server without waiting between them.
    async fn set_slots(
        &self,
        server: &AdminConnection,
        slots: &[Slot],
        state: SlotState,
    ) -> Result<(), ServerError> {
        let tell = slots.iter().map(|slot| async move {
            let (number, node) = (slot.to_string(), state.node().to_string());
            server.raw(&["CLUSTER", "SETSLOT", number.as_str(), state.word(), node.as_str()], COMMAND).await
        });
        for told in join_all(tell).await {
            told.map_err(|said: AskError| error(said, "cluster|setslot"))?;
        }
        Ok(())
    }
}

/// What a server is told of a slot.
#[derive(Debug, Clone, Copy)]
enum SlotState {
    /// It comes from that node.
    Importing(NodeId),
    /// It goes to that node.
    Migrating(NodeId),
    /// It is that node's.
    Node(NodeId),
}

impl SlotState {
    fn word(self) -> &'static str {
        match self {
            Self::Importing(_) => "IMPORTING",
            Self::Migrating(_) => "MIGRATING",
            Self::Node(_) => "NODE",
        }
    }
    fn node(self) -> NodeId {
        match self {
            Self::Importing(node) | Self::Migrating(node) | Self::Node(node) => node,
        }
    }
}
