//! What a server tells of single slots and of the keys in them.

use super::connection::{AdminConnection, Repeat};
use super::error::AskError;
use super::info::text_of;
use redis::{Cmd, Value, cmd};
use std::collections::BTreeMap;
use std::time::Duration;
use valkeeper_model::Slot;

/// What a server tells of one of its slots (`CLUSTER SLOT-STATS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotStats {
    /// Keys in it.
    pub keys: u64,
    /// The time that commands on its keys have taken since the server counts, microseconds; `None` if it does not count.
    pub cpu_us: Option<u64>,
    /// Bytes that its keys take; `None` if the server does not tell.
    pub memory_bytes: Option<u64>,
}

impl AdminConnection {
    /// Has the engine this subcommand of `CLUSTER`?
    pub async fn has_cluster_command(&self, subcommand: &str, within: Duration) -> Result<bool, AskError> {
        let name = format!("cluster|{subcommand}");
        let known = self.ask(cmd("COMMAND").arg("INFO").arg(name), within).await?;
        // One empty entry where it has not.
        Ok(
            matches!(&known, Value::Array(entries) if entries.iter().any(|one| matches!(one, Value::Array(parts) if !parts.is_empty()))),
        )
    }

    /// `CLUSTER SLOT-STATS` of the slots that it owns; there are engines without it.
    pub async fn slot_stats(&self, within: Duration) -> Result<BTreeMap<Slot, SlotStats>, AskError> {
        let mut stats = cmd("CLUSTER");
        stats.arg("SLOT-STATS").arg("SLOTSRANGE").arg(Slot::FIRST.number()).arg(Slot::LAST.number());
        let Value::Array(entries) = self.ask(&stats, within).await? else { return Err(garbled()) };
        entries.into_iter().map(|entry| slot_and_stats(entry).ok_or_else(garbled)).collect()
    }

    /// `CLUSTER COUNTKEYSINSLOT` of each of these. A server counts what it has of slots of others, too.
    pub async fn count_keys(
        &self,
        slots: &[Slot],
        within: Duration,
    ) -> Result<BTreeMap<Slot, u64>, AskError> {
        let count = |slot: &Slot| {
            let mut count = cmd("CLUSTER");
            count.arg("COUNTKEYSINSLOT").arg(slot.number());
            count
        };
        let replies = self.ask_all(slots.iter().map(count), within).await?;
        let counted = slots.iter().zip(replies).map(|(slot, reply)| {
            number(&reply)
                .map(|keys| (*slot, keys))
                .ok_or_else(|| AskError::garbled("COUNTKEYSINSLOT is no number"))
        });
        counted.collect()
    }

    /// `CLUSTER GETKEYSINSLOT`: of each of these at most so many keys.
    pub async fn some_keys(
        &self,
        slots: &[Slot],
        most: u64,
        within: Duration,
    ) -> Result<BTreeMap<Slot, Vec<Vec<u8>>>, AskError> {
        let get = |slot: &Slot| {
            let mut get = cmd("CLUSTER");
            get.arg("GETKEYSINSLOT").arg(slot.number()).arg(most);
            get
        };
        let key = |value: Value| match value {
            Value::BulkString(key) => Ok(key),
            _ => Err(AskError::garbled("GETKEYSINSLOT is no list of keys")),
        };
        let replies = self.ask_all(slots.iter().map(get), within).await?;
        let keys = slots.iter().zip(replies).map(|(slot, reply)| match reply {
            Value::Array(keys) => Ok((*slot, keys.into_iter().map(key).collect::<Result<_, _>>()?)),
            _ => Err(AskError::garbled("GETKEYSINSLOT is no list")),
        });
        keys.collect()
    }

    /// `MEMORY USAGE` of each of these keys, bytes; `None` of one that is gone.
    pub async fn memory_usage(
        &self,
        keys: &[Vec<u8>],
        within: Duration,
    ) -> Result<Vec<Option<u64>>, AskError> {
        let usage = |key: &Vec<u8>| {
            let mut usage = cmd("MEMORY");
            usage.arg("USAGE").arg(key.as_slice());
            usage
        };
        let replies = self.ask_all(keys.iter().map(usage), within).await?;
        let bytes = replies.iter().map(|reply| match reply {
            Value::Nil => Ok(None),
            reply => number(reply).map(Some).ok_or_else(|| AskError::garbled("MEMORY USAGE is no number")),
        });
        bytes.collect()
    }

    /// Questions without waiting between them.
    async fn ask_all(
        &self,
        questions: impl Iterator<Item = Cmd>,
        within: Duration,
    ) -> Result<Vec<Value>, AskError> {
        let questions: Vec<Cmd> = questions.collect();
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.send_all(&questions, within, Repeat::Yes).await?;
        if replies.len() == questions.len() {
            Ok(replies)
        } else {
            Err(AskError::garbled("there are fewer answers than questions"))
        }
    }
}

fn garbled() -> AskError {
    AskError::garbled("CLUSTER SLOT-STATS is no list of slots")
}

/// An entry is the slot's number, and names and values in turn.
fn slot_and_stats(entry: Value) -> Option<(Slot, SlotStats)> {
    let Value::Array(parts) = entry else { return None };
    let [slot, Value::Array(fields)] = <[Value; 2]>::try_from(parts).ok()? else { return None };
    let slot = Slot::try_from(u16::try_from(number(&slot)?).ok()?).ok()?;
    let mut values = BTreeMap::new();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        values.insert(text_of(name).ok()?, number(&value)?);
    }
    let value = |name: &str| values.get(name).copied();
    let stats = SlotStats {
        keys: value("key-count")?,
        cpu_us: value("cpu-usec"),
        memory_bytes: value("memory-bytes"),
    };
    Some((slot, stats))
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(slot: i64, fields: &[(&str, i64)]) -> Value {
        let fields = fields
            .iter()
            .flat_map(|(name, value)| [Value::BulkString(name.as_bytes().to_vec()), Value::Int(*value)]);
        Value::Array(vec![Value::Int(slot), Value::Array(fields.collect())])
    }

    #[test]
    fn what_is_not_told_is_not_nought() {
        let (slot, told) = slot_and_stats(entry(7, &[("key-count", 3)])).unwrap();
        assert_eq!((slot.number(), told.keys, told.cpu_us, told.memory_bytes), (7, 3, None, None));
        let all = [("key-count", 3), ("cpu-usec", 9), ("network-bytes-in", 1), ("memory-bytes", 5)];
        let (_, told) = slot_and_stats(entry(16_383, &all)).unwrap();
        assert_eq!((told.cpu_us, told.memory_bytes), (Some(9), Some(5)));
        for wrong in [
            entry(16_384, &[("key-count", 3)]),
            entry(-1, &[("key-count", 3)]),
            entry(7, &[("cpu-usec", 3)]),
            entry(7, &[("key-count", -3)]),
            Value::Int(7),
        ] {
            assert_eq!(slot_and_stats(wrong.clone()), None, "{wrong:?}");
        }
    }
}
