//! Key by key, with `MIGRATE`, where one of the two servers knows nothing better. A few slots are open at a time; clients find the keys of an open
//! slot by the engine's own `ASK`.
//!
//! `MIGRATE` removes a key here once it is there. A key that is in both after an answer was lost is the giving server's to decide: only where it
//! misses one does it send clients on. So what is there is replaced.

use super::{COMMAND, Giving, SlotState};
use crate::serving::error;
use std::time::{Duration, Instant};
use valkeeper_client::Value;
use valkeeper_model::nodes_conf::NodeLine;
use valkeeper_model::{Slot, SlotSet, TransferExtent};
use valkeeper_plan::agent::ServerError;

/// Slots are open together as long as they have not more keys than this.
const KEYS_OPEN: u64 = 2_000;
/// And so many at most.
const OPEN_AT_ONCE: usize = 64;
/// Keys in one `MIGRATE`, at first.
const KEYS_AT_FIRST: usize = 64;
/// And at most.
const KEYS_AT_MOST: usize = 512;
/// A `MIGRATE` holds up both servers: with fewer keys after one that took longer than this.
const LONG: Duration = Duration::from_millis(20);
/// The engine gives up a `MIGRATE` that does not get on for so long, milliseconds.
const MIGRATE_MS: u64 = 5_000;

impl Giving {
    pub(super) async fn give_by_key(&self) -> Result<(), ServerError> {
        let mut keys_at_once = KEYS_AT_FIRST;
        self.finish_open(&mut keys_at_once).await?;
        if self.transfer.extent != TransferExtent::All {
            return Ok(());
        }
        loop {
            let owned = self.myself(&self.source).await?.slots.common(&self.transfer.slots);
            if owned.is_empty() || self.time_is_over() {
                break;
            }
            let filled = self.filled(&owned, KEYS_OPEN).await?;
            let slots: Vec<Slot> = filled.iter().map(|one| one.slot).take(OPEN_AT_ONCE).collect();
            self.open(&slots).await?;
            // One that was empty may have got a key before it was open.
            self.empty_all(&slots, &mut keys_at_once).await?;
            self.close(&slots).await?;
        }
        Ok(())
    }

    /// Brings to its end what was begun: slots that are open, and those that the taking server owns although the giving one does not know.
    async fn finish_open(&self, keys_at_once: &mut usize) -> Result<(), ServerError> {
        let (source, target) = (self.myself(&self.source).await?, self.myself(&self.target).await?);
        let passed = source.slots.common(&target.slots).common(&self.transfer.slots);
        let passed: Vec<Slot> = passed.iter().collect();
        self.set_slots(&self.source, &passed, SlotState::Node(self.transfer.to)).await?;
        let open = self.open_in(&source, &target);
        let slots: Vec<Slot> = open.common(&source.slots).minus(&target.slots).iter().collect();
        for part in slots.chunks(OPEN_AT_ONCE) {
            self.open(part).await?;
            self.empty_all(part, keys_at_once).await?;
            self.close(part).await?;
        }
        Ok(())
    }

    fn open_in(&self, source: &NodeLine, target: &NodeLine) -> SlotSet {
        let slots = source.migrating.iter().chain(&target.importing).map(|(slot, _)| *slot);
        slots.collect::<SlotSet>().common(&self.transfer.slots)
    }

    async fn source_id(&self) -> Result<valkeeper_model::NodeId, ServerError> {
        self.source.myid(COMMAND).await.map_err(|said| error(said, "cluster|myid"))
    }

    /// The taking server first: the giving one sends clients to it from then on.
    async fn open(&self, slots: &[Slot]) -> Result<(), ServerError> {
        self.set_slots(&self.target, slots, SlotState::Importing(self.source_id().await?)).await?;
        self.set_slots(&self.source, slots, SlotState::Migrating(self.transfer.to)).await
    }

    /// The taking server first: until it has said so, the giving one sends clients to it.
    async fn close(&self, slots: &[Slot]) -> Result<(), ServerError> {
        self.set_slots(&self.target, slots, SlotState::Node(self.transfer.to)).await?;
        self.set_slots(&self.source, slots, SlotState::Node(self.transfer.to)).await
    }

    /// Moves all keys of these slots, some of each slot at a time.
    async fn empty_all(&self, slots: &[Slot], at_once: &mut usize) -> Result<(), ServerError> {
        for part in slots.chunks(8) {
            let mut left: Vec<Slot> = part.to_vec();
            while !left.is_empty() {
                let count = (*at_once / left.len()).max(1).to_string();
                let asks = left.iter().map(|slot| {
                    let (slot, count) = (slot.to_string(), count.clone());
                    async move {
                        self.source.raw(&["CLUSTER", "GETKEYSINSLOT", &slot, &count], COMMAND).await
                    }
                });
                let mut keys = Vec::new();
                let mut filled = Vec::new();
                for (slot, told) in left.iter().zip(futures::future::join_all(asks).await) {
                    let Value::Array(some) = told.map_err(|said| error(said, "cluster|getkeysinslot"))?
                    else {
                        return Err(ServerError::Garbled);
                    };
                    if !some.is_empty() {
                        filled.push(*slot);
                    }
                    for key in some {
                        let Value::BulkString(key) = key else { return Err(ServerError::Garbled) };
                        keys.push(key);
                    }
                }
                left = filled;
                if keys.is_empty() {
                    break;
                }
                let began = Instant::now();
                self.migrate_keys(&keys).await?;
                *at_once = paced(*at_once, began.elapsed());
            }
        }
        Ok(())
    }

    async fn migrate_keys(&self, keys: &[Vec<u8>]) -> Result<(), ServerError> {
        let address = &self.transfer.address;
        let (host, port) = (address.ip.to_string(), address.port.to_string());
        let timeout = MIGRATE_MS.to_string();
        let mut command: Vec<&[u8]> = vec![b"MIGRATE", host.as_bytes(), port.as_bytes(), b"", b"0"];
        command.extend([timeout.as_bytes(), b"REPLACE", b"AUTH2", b"default"]);
        command.push(self.password.reveal().as_bytes());
        command.push(b"KEYS");
        command.extend(keys.iter().map(Vec::as_slice));
        let within = Duration::from_millis(MIGRATE_MS) + COMMAND;
        self.source.raw(&command, within).await.map(drop).map_err(|said| error(said, "migrate"))
    }
}

/// Fewer keys at a time after a `MIGRATE` that took long, more after one that did not.
fn paced(at_once: usize, took: Duration) -> usize {
    if took > LONG {
        (at_once / 2).max(1)
    } else if took < LONG / 4 {
        (at_once * 2).min(KEYS_AT_MOST)
    } else {
        at_once
    }
}
