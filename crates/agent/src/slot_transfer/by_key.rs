//! Key by key, with `MIGRATE`, where one of the two servers knows nothing better. A few slots are open at a time; clients find the keys of an open
//! slot by the engine's own `ASK`.
//!
//! `MIGRATE` removes a key here once it is there. A key that is in both after an answer was lost is the giving server's to decide: only where it
//! misses one does it send clients on. So what is there is replaced.

use super::{COMMAND, Giving, SlotState};
use crate::serving::error;
use futures::future::join_all;
use std::time::{Duration, Instant};
use valkeeper_client::{AdminConnection, Value};
use valkeeper_model::nodes_conf::NodeLine;
use valkeeper_model::{Slot, SlotSet, TransferExtent};
use valkeeper_plan::agent::ServerError;

/// A go is over after this. Another one costs next to nothing here, unlike a job of the engine's own; and a move that is cancelled waits for the end of
/// the go: in three seconds 4,000 slots of few keys are all gone.
const GO: Duration = Duration::from_millis(500);
/// Slots are open together as long as they have not more keys than this.
const KEYS_OPEN: u64 = 2_000;
/// And so many at most.
const OPEN_AT_ONCE: usize = 64;
/// Keys of so many of them move at a time.
const SLOTS_IN_STEP: usize = 16;
/// Keys that move at a time, at first: the server does nothing else meanwhile.
const KEYS_AT_FIRST: usize = 64;
/// And at most.
const KEYS_AT_MOST: usize = 512;
/// Fewer keys after a time that was longer than this.
const LONG: Duration = Duration::from_millis(20);
/// The engine gives up a `MIGRATE` that does not get on for so long, milliseconds. The server does nothing else meanwhile, and its agent kills one that
/// is silent for too long.
const MIGRATE_MS: u64 = 1_000;

impl Giving {
    pub(super) async fn give_by_key(&self) -> Result<(), ServerError> {
        let mut keys_at_once = KEYS_AT_FIRST;
        self.finish_open(&mut keys_at_once).await?;
        if self.transfer.extent == TransferExtent::Begun {
            return Ok(());
        }
        loop {
            let owned = self.myself(&self.source).await?.slots.common(&self.transfer.slots);
            if owned.is_empty() || self.time_is_over() || self.began.elapsed() >= GO {
                return Ok(());
            }
            let filled = self.filled(&owned, KEYS_OPEN).await?;
            let slots: Vec<Slot> = filled.iter().map(|one| one.slot).take(OPEN_AT_ONCE).collect();
            self.open(&slots).await?;
            // One that was empty may have got a key before it was open.
            self.empty_all(&slots, &mut keys_at_once).await?;
            self.close(&slots).await?;
        }
    }

    /// Brings to its end what was begun: slots that are open, and those that the taking server owns although the giving one does not know.
    async fn finish_open(&self, keys_at_once: &mut usize) -> Result<(), ServerError> {
        let (source, target) = (self.myself(&self.source).await?, self.myself(&self.target).await?);
        let passed = source.slots.common(&target.slots).common(&self.transfer.slots);
        let passed: Vec<Slot> = passed.iter().collect();
        self.set_slots(&self.source, &passed, SlotState::Node(self.transfer.to)).await?;
        let open = self.open_in(&source, &target);
        let slots: Vec<Slot> = open.common(&source.slots).minus(&target.slots).iter().collect();
        let slots = match self.transfer.extent {
            TransferExtent::All => slots,
            TransferExtent::Begun => self.give_back(slots).await?,
        };
        for part in slots.chunks(OPEN_AT_ONCE) {
            self.open(part).await?;
            self.empty_all(part, keys_at_once).await?;
            self.close(part).await?;
        }
        Ok(())
    }

    /// Closes those of these slots of which no key has moved yet; answers the others.
    async fn give_back(&self, slots: Vec<Slot>) -> Result<Vec<Slot>, ServerError> {
        let mut begun = Vec::new();
        for slot in slots {
            if !self.is_empty_there(slot).await? {
                begun.push(slot);
                continue;
            }
            // The giving server first: it sends nobody on any more. A key may have come there in the moment before.
            self.set_stable(&self.source, slot).await?;
            if self.is_empty_there(slot).await? {
                self.set_stable(&self.target, slot).await?;
            } else {
                begun.push(slot);
            }
        }
        Ok(begun)
    }

    async fn is_empty_there(&self, slot: Slot) -> Result<bool, ServerError> {
        let number = slot.to_string();
        let count = self.target.raw(&["CLUSTER", "COUNTKEYSINSLOT", &number], COMMAND).await;
        Ok(count.map_err(|said| error(said, "cluster|countkeysinslot"))? == Value::Int(0))
    }

    async fn set_stable(&self, server: &AdminConnection, slot: Slot) -> Result<(), ServerError> {
        let number = slot.to_string();
        let told = server.raw(&["CLUSTER", "SETSLOT", &number, "STABLE"], COMMAND).await;
        told.map(drop).map_err(|said| error(said, "cluster|setslot"))
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
        for part in slots.chunks(SLOTS_IN_STEP) {
            let mut left: Vec<Slot> = part.to_vec();
            while !left.is_empty() {
                let keys = self.keys_of(&left, (*at_once / left.len()).max(1)).await?;
                left = keys.iter().map(|(slot, _)| *slot).collect();
                let began = Instant::now();
                // One after the other: the first that fails ends it. Each would hold the server up for as long as it waits.
                for (_, keys) in &keys {
                    self.migrate_keys(keys).await?;
                }
                if !left.is_empty() {
                    *at_once = paced(*at_once, began.elapsed());
                }
            }
        }
        Ok(())
    }

    /// Some keys of each of these slots; of those that have any.
    async fn keys_of(&self, slots: &[Slot], most: usize) -> Result<Vec<(Slot, Vec<Vec<u8>>)>, ServerError> {
        let asks = slots.iter().map(|slot| async move {
            let (slot, most) = (slot.to_string(), most.to_string());
            self.source.raw(&["CLUSTER", "GETKEYSINSLOT", &slot, &most], COMMAND).await
        });
        let mut found = Vec::new();
        for (slot, told) in slots.iter().zip(join_all(asks).await) {
            let Value::Array(some) = told.map_err(|said| error(said, "cluster|getkeysinslot"))? else {
                return Err(ServerError::Garbled);
            };
            let mut keys = Vec::with_capacity(some.len());
            for key in some {
                let Value::BulkString(key) = key else { return Err(ServerError::Garbled) };
                keys.push(key);
            }
            if !keys.is_empty() {
                found.push((*slot, keys));
            }
        }
        Ok(found)
    }

    /// Moves these keys, which are all of one slot.
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
