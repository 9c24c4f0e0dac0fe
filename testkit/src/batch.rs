//! Keys written to one shard at once, and which of them can be read back: for scenarios that must know what was acknowledged
//! before and after a moment. [`crate::traffic`] is for what goes on meanwhile.

use crate::cluster::Cluster;
use redis::{Connection, Pipeline, RedisResult};
use std::time::Duration;
use valkeeper_model::{Slot, SlotSet};

/// A server that writes its disk full may take its time for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Bytes in one pipeline at most.
const PIPELINE: usize = 4 << 20;
/// A big value; a hundred thousand of them are a full disk.
const BIG: usize = 100_000;

/// Keys that were all acknowledged. All of them are in one slot.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The shard.
    pub shard: String,
    name: String,
    tag: u32,
    keys: usize,
    value_size: usize,
}

impl Batch {
    fn key(&self, n: usize) -> String {
        format!("{{{}}}:{}:{n:06}", self.tag, self.name)
    }

    fn value(&self, n: usize) -> Vec<u8> {
        let mut value = format!("{}:{n:06}", self.name).into_bytes();
        value.resize(value.len().max(self.value_size), b'.');
        value
    }

    /// Its numbers, in parts that are sent at once.
    fn parts(&self) -> Vec<Vec<usize>> {
        let at_once = (PIPELINE / self.value_size.max(1024)).max(1);
        (0..self.keys).collect::<Vec<_>>().chunks(at_once).map(<[usize]>::to_vec).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }
}

impl Cluster<'_> {
    /// Writes so many small keys to the shard's primary, which must acknowledge each.
    pub fn write(&self, shard: &str, name: &str, keys: usize) -> Batch {
        self.write_sized(shard, name, keys, 1)
    }

    /// Writes so many megabytes to the shard's primary.
    pub fn write_big(&self, shard: &str, name: &str, megabytes: usize) -> Batch {
        self.write_sized(shard, name, megabytes * 1_000_000 / BIG, BIG)
    }

    fn write_sized(&self, shard: &str, name: &str, keys: usize, value_size: usize) -> Batch {
        let tag = self.tag_of(shard);
        let batch = Batch { shard: shard.to_owned(), name: name.to_owned(), tag, keys, value_size };
        self.send(&batch, |pipeline, n| {
            pipeline.cmd("SET").arg(batch.key(n)).arg(batch.value(n)).ignore();
        });
        batch
    }

    /// Deletes what was written.
    pub fn remove(&self, batch: &Batch) {
        self.send(batch, |pipeline, n| {
            pipeline.cmd("DEL").arg(batch.key(n)).ignore();
        });
    }

    fn send(&self, batch: &Batch, add: impl Fn(&mut Pipeline, usize)) {
        let mut connection = self.connection_to(&self.primary(&batch.shard));
        for numbers in batch.parts() {
            let mut pipeline = redis::pipe();
            for n in numbers {
                add(&mut pipeline, n);
            }
            if let Err(error) = pipeline.exec(&mut connection) {
                self.fail(&format!("{:?} of {}: {error}", batch.name, batch.shard));
            }
        }
    }

    /// How many keys of it its shard's primary has with the values they were written with.
    pub fn readable(&self, batch: &Batch) -> usize {
        let mut connection = self.connection_to(&self.primary(&batch.shard));
        let mut found = 0;
        for numbers in batch.parts() {
            let mut get = redis::cmd("MGET");
            for n in &numbers {
                get.arg(batch.key(*n));
            }
            let values: Vec<Option<Vec<u8>>> = match get.query(&mut connection) {
                Ok(values) => values,
                Err(error) => self.fail(&format!("MGET on the primary of {}: {error}", batch.shard)),
            };
            found +=
                numbers.iter().zip(&values).filter(|(n, value)| **value == Some(batch.value(**n))).count();
        }
        found
    }

    /// What of these batches is missing; nothing may be.
    pub fn missing(&self, batches: &[&Batch]) -> Option<String> {
        let missing = |batch: &&Batch| {
            let missing = batch.keys - self.readable(batch);
            (missing > 0).then(|| {
                format!("{missing} of {} keys {:?} of {} are missing", batch.keys, batch.name, batch.shard)
            })
        };
        let all: Vec<String> = batches.iter().filter_map(missing).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// What of these batches, which were deleted or lost for good, has come back; nothing may.
    pub fn returned(&self, batches: &[&Batch]) -> Option<String> {
        let returned = |batch: &&Batch| {
            let there = self.readable(batch);
            (there > 0).then(|| {
                format!(
                    "{there} of {} keys {:?} of {}, which were gone, are back",
                    batch.keys, batch.name, batch.shard
                )
            })
        };
        let all: Vec<String> = batches.iter().filter_map(returned).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Fails if any of it is missing.
    pub fn all_there(&self, when: &str, batches: &[&Batch]) {
        if let Some(missing) = self.missing(batches) {
            self.fail(&format!("{when}: {missing}"));
        }
    }

    /// Fails if any of it has come back.
    pub fn none_there(&self, when: &str, batches: &[&Batch]) {
        if let Some(returned) = self.returned(batches) {
            self.fail(&format!("{when}: {returned}"));
        }
    }

    /// Waits until the shard's replicas have all that its primary has acknowledged.
    pub fn until_replicated(&self, shard: &str) {
        self.until(&format!("the replicas of {shard} have everything"), || {
            let status = self.status();
            let shard = status.shards.iter().find(|one| one.name == shard)?;
            let primary = shard.primary.as_deref()?;
            let (history, offset) = self.position(primary, "master_repl_offset")?;
            let behind = |replica: &String| {
                self.position(replica, "slave_repl_offset") != Some((history.clone(), offset))
            };
            (!shard.replicas.is_empty() && !shard.replicas.iter().any(behind)).then_some(())
        });
    }

    fn position(&self, instance: &str, field: &str) -> Option<(String, u64)> {
        let text: String = self.ask(instance, &["INFO", "replication"]).ok()?;
        let get = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Some((get("master_replid")?.trim().to_owned(), get(field)?.trim().parse().ok()?))
    }

    /// A hash tag in a slot of that shard.
    pub fn tag_of(&self, shard: &str) -> u32 {
        let status = self.status();
        let slots = status.shards.iter().find(|one| one.name == shard).map(|one| one.slots.replace(',', " "));
        let Some(Ok(slots)) = slots.map(|slots| slots.parse::<SlotSet>()) else {
            self.fail(&format!("the slots of {shard} are not known"));
        };
        let in_shard = |number: &u32| slots.contains(Slot::of_key(number.to_string().as_bytes()));
        (0..1_000_000).find(in_shard).unwrap_or_else(|| self.fail(&format!("{shard} has no slots")))
    }

    fn connection_to(&self, instance: &str) -> Connection {
        let connect = || {
            let client = redis::Client::open(("127.0.0.1", self.port(instance)))?;
            let mut connection = client.get_connection_with_timeout(ANSWER_WITHIN)?;
            connection.set_read_timeout(Some(ANSWER_WITHIN))?;
            redis::cmd("AUTH").arg(self.password()).exec(&mut connection)?;
            RedisResult::Ok(connection)
        };
        match connect() {
            Ok(connection) => connection,
            Err(error) => self.fail(&format!("{instance}: {error}")),
        }
    }
}
