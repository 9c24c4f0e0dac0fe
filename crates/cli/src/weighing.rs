//! Slots are weighed: the server that owns a slot is asked what the slot holds or takes, by this process, or by this program in a pod.

use crate::called::called;
use crate::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use valkeeper_client::{AdminConnection, AskError, Endpoint, Password, SlotStats};
use valkeeper_model::{InstanceName, ShardName, Slot, SlotSet};
use valkeeper_plan::placement::by_weight::Tolerance;

/// For one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// For all that a shard is asked, beside the time for which load is measured.
const ALL_ANSWERS: Duration = Duration::from_secs(60);
/// So many slots are asked about at once: a server answers them one after the other, and others wait for that.
const SLOTS_AT_ONCE: usize = 256;
/// Keys whose memory is asked about at once.
const KEYS_AT_ONCE: usize = 256;
/// Keys of a slot whose memory is asked for, where the engine does not tell the slot's.
pub(crate) const SAMPLE: u64 = 8;

/// What is weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Measure {
    /// The number of keys.
    Keys,
    /// Bytes of memory.
    Memory,
    /// The time that commands take, microseconds.
    Load,
}

impl Measure {
    /// What a shard may be from its even part. An estimate is another when keys have moved, and load each time that it is measured: what was made even is
    /// not to be found uneven by that alone.
    pub(crate) const fn tolerance(self) -> Tolerance {
        match self {
            Self::Keys => Tolerance::percent(2),
            Self::Memory => Tolerance::percent(5),
            Self::Load => Tolerance::percent(10),
        }
    }
}

/// What is to be weighed, and where that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToWeigh {
    pub(crate) measure: Measure,
    /// For so long load is measured, milliseconds.
    pub(crate) window_ms: u64,
    pub(crate) shards: Vec<ShardPlace>,
}

/// A shard's primary, and the slots that it is to own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShardPlace {
    pub(crate) shard: ShardName,
    pub(crate) primary: InstanceName,
    /// Host and port.
    pub(crate) address: String,
    pub(crate) slots: SlotSet,
}

/// What came of weighing a shard's slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShardWeighed {
    pub(crate) shard: ShardName,
    pub(crate) primary: InstanceName,
    pub(crate) seen: Result<SlotsWeighed, NotWeighed>,
}

/// All slots of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SlotsWeighed {
    pub(crate) told: Told,
    pub(crate) slots: Vec<SlotWeighed>,
}

/// Where the figures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Told {
    /// The engine counts them.
    Counted,
    /// From some keys of each slot.
    Estimated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SlotWeighed {
    pub(crate) slot: Slot,
    pub(crate) keys: u64,
    pub(crate) weight: u64,
}

/// Why a shard's slots have no weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "cause", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum NotWeighed {
    #[error("its engine does not count what the commands on a slot take: it has no CLUSTER SLOT-STATS")]
    NoStatistics,
    #[error("its server does not count what the commands on a slot take: cluster-slot-stats-enabled is no")]
    StatisticsOff,
    #[error("it does not own slots {slots}")]
    OtherSlots { slots: SlotSet },
    #[error("its counters were set back while they were read")]
    SetBack,
    #[error("{said}")]
    NotTold { said: String, late: bool },
}

impl NotWeighed {
    /// As this program ends with it. Names who could not be weighed.
    pub(crate) fn failure(&self, shard: &ShardName, primary: &InstanceName) -> Failure {
        let (kind, hint) = match self {
            Self::NoStatistics => {
                (Kind::Unsafe, format!("`{} rebalance --by keys` and `--by memory` do without it", called()))
            }
            Self::StatisticsOff => (
                Kind::Unsafe,
                "set it in the manifest, `redis: {cluster-slot-stats-enabled: \"yes\"}`, and apply that: no server is restarted for it"
                    .to_owned(),
            ),
            Self::OtherSlots { .. } => {
                (Kind::Failed, format!("`{} status` shows whether slots are on their way, or taken", called()))
            }
            Self::SetBack => (Kind::Failed, "measure again; CONFIG RESETSTAT and a restart set them back".to_owned()),
            Self::NotTold { late, .. } => {
                let kind = if *late { Kind::TimedOut } else { Kind::Failed };
                (kind, format!("does it run? `{} status` shows it", called()))
            }
        };
        Failure::new(kind, format!("the slots of {shard} cannot be weighed by {primary}: {self}"), hint)
    }
}

impl From<AskError> for NotWeighed {
    fn from(error: AskError) -> Self {
        Self::NotTold { late: error == AskError::Timeout, said: error.to_string() }
    }
}

/// Weighs all of these at the same time, so that load is that of one time.
pub(crate) async fn weigh(asked: &ToWeigh, password: &Password) -> Vec<ShardWeighed> {
    let mut tasks = JoinSet::new();
    for place in &asked.shards {
        let (place, password) = (place.clone(), password.clone());
        let (measure, window) = (asked.measure, Duration::from_millis(asked.window_ms));
        tasks.spawn(async move {
            let limit = if measure == Measure::Load { window + ALL_ANSWERS } else { ALL_ANSWERS };
            let seen = tokio::time::timeout(limit, weigh_shard(&place, password, measure, window)).await;
            let seen = seen.unwrap_or_else(|_| Err(AskError::Timeout.into()));
            ShardWeighed { shard: place.shard, primary: place.primary, seen }
        });
    }
    // A task of these that panics is a defect of this program, and ends it.
    let mut weighed = tasks.join_all().await;
    weighed.sort_by(|one, other| one.shard.cmp(&other.shard));
    weighed
}

async fn weigh_shard(
    place: &ShardPlace,
    password: Password,
    measure: Measure,
    window: Duration,
) -> Result<SlotsWeighed, NotWeighed> {
    let endpoint: Endpoint = place.address.parse().map_err(|error: valkeeper_client::InvalidEndpoint| {
        NotWeighed::NotTold { said: error.to_string(), late: false }
    })?;
    let server = AdminConnection::new(endpoint, Some(password));
    refuse_other_slots(&server, &place.slots).await?;
    let stats = if server.has_cluster_command("slot-stats", ANSWER).await? {
        Some(own(server.slot_stats(ANSWER).await?, &place.slots)?)
    } else {
        None
    };
    match measure {
        Measure::Load => {
            let before = stats.ok_or(NotWeighed::NoStatistics)?;
            // Told before anybody waits.
            if before.values().any(|stats| stats.cpu_us.is_none()) {
                return Err(NotWeighed::StatisticsOff);
            }
            tokio::time::sleep(window).await;
            let after = own(server.slot_stats(ANSWER).await?, &place.slots)?;
            let slots = after.iter().map(|(slot, stats)| spent(*slot, before.get(slot), stats));
            Ok(SlotsWeighed { told: Told::Counted, slots: slots.collect::<Result<_, _>>()? })
        }
        Measure::Keys => {
            let keys = keys(&server, stats.as_ref(), &place.slots).await?;
            let slots = keys.into_iter().map(|(slot, keys)| SlotWeighed { slot, keys, weight: keys });
            Ok(SlotsWeighed { told: Told::Counted, slots: slots.collect() })
        }
        Measure::Memory => {
            if let Some(slots) = stats.as_ref().and_then(memory_told) {
                return Ok(SlotsWeighed { told: Told::Counted, slots });
            }
            let keys = keys(&server, stats.as_ref(), &place.slots).await?;
            Ok(SlotsWeighed { told: Told::Estimated, slots: memory_estimated(&server, keys).await? })
        }
    }
}

/// A server counts what it holds, whosever that is: only what it owns is the shard's.
async fn refuse_other_slots(server: &AdminConnection, slots: &SlotSet) -> Result<(), NotWeighed> {
    let nodes = server.cluster_nodes(ANSWER).await?;
    let owned = nodes.myself().map(|node| node.slots.clone()).unwrap_or_default();
    let missing = slots.minus(&owned);
    if missing.is_empty() { Ok(()) } else { Err(NotWeighed::OtherSlots { slots: missing }) }
}

/// Of what a server tells, the shard's slots: all of them, or it is none.
fn own(stats: BTreeMap<Slot, SlotStats>, slots: &SlotSet) -> Result<BTreeMap<Slot, SlotStats>, NotWeighed> {
    let told: SlotSet = stats.keys().copied().collect();
    let missing = slots.minus(&told);
    if !missing.is_empty() {
        return Err(NotWeighed::OtherSlots { slots: missing });
    }
    Ok(stats.into_iter().filter(|(slot, _)| slots.contains(*slot)).collect())
}

/// What a slot has taken between two looks.
fn spent(slot: Slot, before: Option<&SlotStats>, after: &SlotStats) -> Result<SlotWeighed, NotWeighed> {
    let before = before.ok_or_else(|| NotWeighed::OtherSlots { slots: [slot].into_iter().collect() })?;
    let (Some(first), Some(second)) = (before.cpu_us, after.cpu_us) else {
        return Err(NotWeighed::StatisticsOff);
    };
    let weight = second.checked_sub(first).ok_or(NotWeighed::SetBack)?;
    Ok(SlotWeighed { slot, keys: after.keys, weight })
}

async fn keys(
    server: &AdminConnection,
    stats: Option<&BTreeMap<Slot, SlotStats>>,
    slots: &SlotSet,
) -> Result<BTreeMap<Slot, u64>, NotWeighed> {
    if let Some(stats) = stats {
        return Ok(stats.iter().map(|(slot, stats)| (*slot, stats.keys)).collect());
    }
    let all: Vec<Slot> = slots.iter().collect();
    let mut keys = BTreeMap::new();
    for part in all.chunks(SLOTS_AT_ONCE) {
        keys.extend(server.count_keys(part, ANSWER).await?);
    }
    Ok(keys)
}

/// `None` if the engine does not tell it of all slots.
fn memory_told(stats: &BTreeMap<Slot, SlotStats>) -> Option<Vec<SlotWeighed>> {
    let weighed = |(slot, stats): (&Slot, &SlotStats)| {
        Some(SlotWeighed { slot: *slot, keys: stats.keys, weight: stats.memory_bytes? })
    };
    stats.iter().map(weighed).collect()
}

/// By what some keys of each slot take.
async fn memory_estimated(
    server: &AdminConnection,
    keys: BTreeMap<Slot, u64>,
) -> Result<Vec<SlotWeighed>, NotWeighed> {
    let filled: Vec<Slot> = keys.iter().filter(|(_, keys)| **keys > 0).map(|(slot, _)| *slot).collect();
    let mut sampled: BTreeMap<Slot, Sample> = BTreeMap::new();
    for part in filled.chunks(SLOTS_AT_ONCE) {
        let some = server.some_keys(part, SAMPLE, ANSWER).await?;
        let (slots, names): (Vec<Slot>, Vec<Vec<u8>>) =
            some.into_iter().flat_map(|(slot, keys)| keys.into_iter().map(move |key| (slot, key))).unzip();
        for (slots, names) in slots.chunks(KEYS_AT_ONCE).zip(names.chunks(KEYS_AT_ONCE)) {
            let usage = server.memory_usage(names, ANSWER).await?;
            for (slot, bytes) in slots.iter().zip(usage) {
                sampled.entry(*slot).or_default().add(bytes);
            }
        }
    }
    let weighed = keys.into_iter().map(|(slot, keys)| match sampled.get(&slot) {
        Some(sample) => SlotWeighed { slot, keys, weight: sample.of_all(keys) },
        // There was nothing in it any more when its keys were asked for, or nothing from the beginning.
        None => SlotWeighed { slot, keys: 0, weight: 0 },
    });
    Ok(weighed.collect())
}

/// Some keys of a slot.
#[derive(Debug, Default, Clone, Copy)]
struct Sample {
    keys: u64,
    bytes: u64,
}

impl Sample {
    fn add(&mut self, bytes: Option<u64>) {
        self.keys += 1;
        // A key that is gone meanwhile takes nothing.
        if let Some(bytes) = bytes {
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    /// What so many keys take if they are like these.
    fn of_all(self, keys: u64) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(keys.max(self.keys)) / u128::from(self.keys.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// The weights of all shards, or the first shard that has none.
pub(crate) fn all(weighed: Vec<ShardWeighed>) -> Result<BTreeMap<ShardName, SlotsWeighed>, Failure> {
    let weights = weighed.into_iter().map(|one| match one.seen {
        Ok(slots) => Ok((one.shard, slots)),
        Err(why) => Err(why.failure(&one.shard, &one.primary)),
    });
    weights.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::try_from(number).unwrap()
    }

    fn stats(keys: u64, cpu_us: Option<u64>) -> SlotStats {
        SlotStats { keys, cpu_us, memory_bytes: None }
    }

    #[test]
    fn load_is_what_was_spent_between_two_looks() {
        let (before, after) = (stats(1, Some(40)), stats(2, Some(100)));
        let weighed = spent(slot(7), Some(&before), &after).unwrap();
        assert_eq!((weighed.keys, weighed.weight), (2, 60));
        assert_eq!(spent(slot(7), Some(&after), &before), Err(NotWeighed::SetBack));
        assert_eq!(spent(slot(7), Some(&before), &stats(2, None)), Err(NotWeighed::StatisticsOff));
        assert!(matches!(spent(slot(7), None, &after), Err(NotWeighed::OtherSlots { .. })));
    }

    #[test]
    fn a_slot_that_is_not_told_is_not_nought() {
        let told: BTreeMap<Slot, SlotStats> = (0..10).map(|number| (slot(number), stats(1, None))).collect();
        assert_eq!(own(told.clone(), &"2-4".parse().unwrap()).unwrap().len(), 3);
        let missing = own(told.clone(), &"8-12".parse().unwrap());
        assert_eq!(missing, Err(NotWeighed::OtherSlots { slots: "10-12".parse().unwrap() }));
        assert_eq!(memory_told(&told), None);
    }

    #[test]
    fn a_slot_weighs_what_some_of_its_keys_weigh() {
        let mut sample = Sample::default();
        sample.add(Some(100));
        sample.add(Some(50));
        assert_eq!(sample.of_all(10), 750);
        sample.add(None);
        assert_eq!(sample.of_all(6), 300);
        assert_eq!(Sample::default().of_all(6), 0);
    }

    #[test]
    fn who_cannot_be_weighed_is_named() {
        let (shard, primary) = ("s1".parse().unwrap(), "demo-1".parse().unwrap());
        let not_told = NotWeighed::from(AskError::Timeout);
        for (why, kind) in [
            (NotWeighed::NoStatistics, Kind::Unsafe),
            (NotWeighed::StatisticsOff, Kind::Unsafe),
            (NotWeighed::SetBack, Kind::Failed),
            (not_told, Kind::TimedOut),
        ] {
            let failure = why.failure(&shard, &primary);
            assert!(failure.what.contains("s1") && failure.what.contains("demo-1"), "{failure:?}");
            assert_eq!((failure.kind, failure.hint.is_some()), (kind, true));
        }
    }
}
