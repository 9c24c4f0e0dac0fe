//! What would move so that all shards hold as much as any other, and what each has before and after that.

use super::slots::some_of;
use super::status::Status;
use crate::output::columns;
use crate::weighing::{Measure, SAMPLE, SlotsWeighed, ToWeigh, Told};
use serde::Serialize;
use std::collections::BTreeMap;
use valkeeper_model::{ShardName, Slot, SlotMoveTarget, SlotSet};

/// `rebalance --plan -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Balance {
    by: Evened,
    /// So far each may be from the even part.
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance_percent: Option<u8>,
    shards: Vec<ShardBalance>,
    moves: Vec<Moved>,
}

/// What is made even.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Evened {
    /// The number of slots.
    Slots,
    /// The number of keys.
    Keys,
    /// Bytes of memory.
    Memory { told: Told },
    /// Microseconds that commands took in that time.
    Load { window_ms: u64 },
}

/// A shard as it is and as it would be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShardBalance {
    shard: ShardName,
    before: Part,
    after: Part,
}

/// What a shard has.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    slots: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<u64>,
    /// Keys, bytes or microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u64>,
    /// Of all, in hundredths; `None` if there is nothing to share.
    percent: Option<f64>,
}

/// Slots that go from one shard to another while both serve.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Moved {
    from: ShardName,
    to: ShardName,
    slots: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u64>,
    /// About how many bytes of memory: that part of what the shard's primary holds which its keys are; `None` if that was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    which: SlotSet,
}

impl Balance {
    /// By the number of slots.
    pub(crate) fn of_slots(status: &Status, moves: Vec<SlotMoveTarget>) -> Self {
        let all: u64 = status.shards.iter().map(|shard| u64::from(shard.slots.len())).sum();
        let part = |slots: u16| Part { slots, percent: percent(u64::from(slots), all), ..Part::default() };
        let shards = status.shards.iter().map(|shard| {
            let slots_of = |is: fn(&SlotMoveTarget) -> &ShardName| -> u16 {
                moves.iter().filter(|one| *is(one) == shard.name).map(|one| one.slots.len()).sum()
            };
            let after = shard.slots.len() + slots_of(|one| &one.to) - slots_of(|one| &one.from);
            ShardBalance { shard: shard.name.clone(), before: part(shard.slots.len()), after: part(after) }
        });
        let shards = shards.collect();
        let moves = moves.into_iter().map(|one| Moved {
            from: one.from,
            to: one.to,
            slots: one.slots.len(),
            keys: None,
            weight: None,
            bytes: None,
            which: one.slots,
        });
        Self { by: Evened::Slots, tolerance_percent: None, shards, moves: moves.collect() }
    }

    /// By what their slots weigh.
    pub(crate) fn of_weights(
        status: &Status,
        asked: &ToWeigh,
        weights: &BTreeMap<ShardName, SlotsWeighed>,
        moves: Vec<SlotMoveTarget>,
    ) -> Self {
        let each = weights.values().flat_map(|shard| &shard.slots);
        let of_slot: BTreeMap<Slot, (u64, u64)> =
            each.map(|one| (one.slot, (one.keys, one.weight))).collect();
        let sum = |slots: &SlotSet| {
            let each = slots.iter().filter_map(|slot| of_slot.get(&slot));
            each.fold((0, 0), |(keys, weight), one| (keys + one.0, weight + one.1))
        };
        let (_, all) = sum(&SlotSet::all());
        let part = |slots: &SlotSet| {
            let (keys, weight) = sum(slots);
            Part { slots: slots.len(), keys: Some(keys), weight: Some(weight), percent: percent(weight, all) }
        };
        let shards = status.shards.iter().map(|shard| {
            let taken = moves.iter().filter(|one| one.to == shard.name);
            let with_taken = taken.fold(shard.slots.clone(), |all, one| all.union(&one.slots));
            let given = moves.iter().filter(|one| one.from == shard.name);
            let after = given.fold(with_taken, |all, one| all.minus(&one.slots));
            ShardBalance { shard: shard.name.clone(), before: part(&shard.slots), after: part(&after) }
        });
        let shards = shards.collect();
        let told = if weights.values().all(|shard| shard.told == Told::Counted) {
            Told::Counted
        } else {
            Told::Estimated
        };
        let by = match asked.measure {
            Measure::Keys => Evened::Keys,
            Measure::Memory => Evened::Memory { told },
            Measure::Load => Evened::Load { window_ms: asked.window_ms },
        };
        let told_of = |one: SlotMoveTarget| {
            let (keys, weight) = sum(&one.slots);
            let bytes = match asked.measure {
                Measure::Memory => Some(weight),
                Measure::Keys | Measure::Load => bytes_of(status, &one.from, keys),
            };
            Moved {
                from: one.from,
                to: one.to,
                slots: one.slots.len(),
                keys: Some(keys),
                weight: Some(weight),
                bytes,
                which: one.slots,
            }
        };
        let tolerance_percent = Some(asked.measure.tolerance().in_percent());
        Self { by, tolerance_percent, shards, moves: moves.into_iter().map(told_of).collect() }
    }

    /// Does nothing move?
    pub(crate) fn is_even(&self) -> bool {
        self.moves.is_empty()
    }

    /// Which slots go from where to where.
    pub(crate) fn targets(&self) -> Vec<SlotMoveTarget> {
        let target = |one: &Moved| SlotMoveTarget {
            from: one.from.clone(),
            to: one.to.clone(),
            slots: one.which.clone(),
        };
        self.moves.iter().map(target).collect()
    }

    /// For people.
    pub(crate) fn page(&self) -> String {
        let shards = match self.by {
            // Their number is told by which of them move.
            Evened::Slots => String::new(),
            Evened::Keys | Evened::Memory { .. } | Evened::Load { .. } => self.shards_page(),
        };
        format!("{shards}{}{}", self.moves_page(), self.note())
    }

    fn note(&self) -> String {
        match self.by {
            Evened::Memory { told: Told::Estimated } => {
                format!(
                    "the engine does not tell the memory of a slot: it is estimated, from up to {SAMPLE} keys of each\n"
                )
            }
            Evened::Slots | Evened::Keys | Evened::Memory { .. } | Evened::Load { .. } => String::new(),
        }
    }

    /// What the weights are called, if keys are not all that is told.
    fn unit(&self) -> Option<&'static str> {
        match self.by {
            Evened::Slots | Evened::Keys => None,
            Evened::Memory { .. } => Some("MEMORY"),
            Evened::Load { .. } => Some("CPU"),
        }
    }

    fn weight(&self, weight: Option<u64>) -> String {
        let Some(weight) = weight else { return "-".to_owned() };
        match self.by {
            Evened::Slots | Evened::Keys => weight.to_string(),
            Evened::Memory { .. } => megabytes(weight),
            Evened::Load { window_ms } => milliseconds_a_second(weight, window_ms),
        }
    }

    fn shards_page(&self) -> String {
        let mut head = vec!["SHARD".to_owned()];
        for when in ["", " AFTER"] {
            let names = ["SLOTS", "KEYS"].into_iter().chain(self.unit()).chain(["SHARE"]);
            head.extend(names.map(|name| format!("{name}{when}")));
        }
        let cells = |part: &Part| {
            let mut cells = vec![part.slots.to_string(), number(part.keys)];
            cells.extend(self.unit().map(|_| self.weight(part.weight)));
            cells.push(part.percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %")));
            cells
        };
        let row = |one: &ShardBalance| {
            [vec![one.shard.to_string()], cells(&one.before), cells(&one.after)].concat()
        };
        let rows: Vec<_> = std::iter::once(head).chain(self.shards.iter().map(row)).collect();
        columns(&rows) + "\n"
    }

    fn moves_page(&self) -> String {
        if self.moves.is_empty() {
            return match self.tolerance_percent {
                None => "nothing would move: all shards own as many slots as any other\n".to_owned(),
                Some(percent) => format!(
                    "nothing would move: each shard is within {percent} % of the even part, or no slot brings it closer\n"
                ),
            };
        }
        if let Evened::Slots = self.by {
            let mut rows = vec![["SLOTS", "FROM", "TO", "WHICH"].map(str::to_owned).to_vec()];
            rows.extend(self.moves.iter().map(|one| {
                let cells = [&one.slots as &dyn ToString, &one.from, &one.to, &one.which];
                cells.map(ToString::to_string).to_vec()
            }));
            return columns(&rows);
        }
        let is_load = matches!(self.by, Evened::Load { .. });
        let mut head = ["SLOTS", "FROM", "TO", "KEYS", "MEMORY"].map(str::to_owned).to_vec();
        head.extend(is_load.then(|| "CPU".to_owned()));
        head.push("WHICH".to_owned());
        let row = |one: &Moved| {
            let mut cells = vec![one.slots.to_string(), one.from.to_string(), one.to.to_string()];
            cells.push(number(one.keys));
            cells.push(one.bytes.map_or_else(|| "-".to_owned(), megabytes));
            cells.extend(is_load.then(|| self.weight(one.weight)));
            cells.push(some_of(&one.which));
            cells
        };
        let rows: Vec<_> = std::iter::once(head).chain(self.moves.iter().map(row)).collect();
        columns(&rows)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with one decimal")]
fn percent(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| (part as f64 / all as f64 * 1_000.0).round() / 10.0)
}

/// About how many bytes so many keys of a shard take: their part of what its primary holds.
fn bytes_of(status: &Status, shard: &ShardName, keys: u64) -> Option<u64> {
    let primary = status.shards.iter().find(|one| one.name == *shard)?.primary.as_ref()?;
    let held = status.instances.iter().find(|one| one.name == *primary)?;
    let bytes = u128::from(held.memory_bytes?) * u128::from(keys);
    u64::try_from(bytes.checked_div(u128::from(held.keys?))?).ok()
}

/// Of the time of one processor.
#[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
fn milliseconds_a_second(microseconds: u64, window_ms: u64) -> String {
    format!("{:.1} ms/s", microseconds as f64 / window_ms.max(1) as f64)
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weighing::SlotWeighed;
    use valkeeper_model::{Mode, Phase, Report, ShardReport};

    fn target(from: &str, to: &str, slots: &str) -> SlotMoveTarget {
        SlotMoveTarget { from: from.parse().unwrap(), to: to.parse().unwrap(), slots: slots.parse().unwrap() }
    }

    fn status() -> Status {
        let shard = |(name, slots): (&str, &str)| ShardReport {
            name: name.parse().unwrap(),
            slots: slots.parse().unwrap(),
            primary: None,
            replicas: Vec::new(),
            needed_replicas: None,
        };
        let report: Report =
            serde_json::from_str(include_str!("../../../model/tests/frozen/status-1.json")).unwrap();
        let shards = [("s0", "0-3"), ("s1", "4-5")].into_iter().map(shard).collect();
        let report = Report { mode: Mode::Cluster, phase: Phase::Healthy, shards, ..report };
        Status::new("demo".parse().unwrap(), report, None)
    }

    /// Four slots of 300, two of 100.
    fn balance(measure: Measure, moves: Vec<SlotMoveTarget>) -> Balance {
        let slots = |slots: std::ops::Range<u16>, weight: u64| SlotsWeighed {
            told: Told::Estimated,
            slots: slots
                .map(|slot| SlotWeighed { slot: Slot::try_from(slot).unwrap(), keys: weight / 100, weight })
                .collect(),
        };
        let weights =
            [("s0", slots(0..4, 300_000_000)), ("s1", slots(4..6, 100_000_000))].map(|(name, slots)| {
                let name: ShardName = name.parse().unwrap();
                (name, slots)
            });
        let asked = ToWeigh { measure, window_ms: 1_000_000, shards: Vec::new() };
        Balance::of_weights(&status(), &asked, &BTreeMap::from(weights), moves)
    }

    #[test]
    fn the_page_shows_before_and_after() {
        let page = balance(Measure::Memory, vec![target("s0", "s1", "3")]).page();
        assert_eq!(
            page,
            "SHARD  SLOTS  KEYS      MEMORY   SHARE   SLOTS AFTER  KEYS AFTER  MEMORY AFTER  SHARE AFTER\n\
             s0     4      12000000  1200 MB  85.7 %  3            9000000     900 MB        64.3 %\n\
             s1     2      2000000   200 MB   14.3 %  3            5000000     500 MB        35.7 %\n\
             \n\
             SLOTS  FROM  TO  KEYS     MEMORY  WHICH\n\
             1      s0    s1  3000000  300 MB  3\n\
             the engine does not tell the memory of a slot: it is estimated, from up to 8 keys of each\n"
        );
        let page = balance(Measure::Load, vec![target("s0", "s1", "3")]).page();
        assert!(page.contains("300.0 ms/s") && page.contains("CPU AFTER"), "{page}");
        let even = balance(Measure::Keys, Vec::new());
        assert!(even.is_even() && even.page().ends_with("or no slot brings it closer\n"), "{}", even.page());
    }

    #[test]
    fn a_document_for_programs() {
        let balance = balance(Measure::Keys, vec![target("s0", "s1", "2-3")]);
        assert_eq!(balance.targets(), [target("s0", "s1", "2-3")]);
        let document = serde_json::to_value(&balance).unwrap();
        assert_eq!(document["by"]["what"], "keys");
        assert_eq!(document["moves"][0]["which"], "2-3");
        assert_eq!(document["shards"][1]["after"]["slots"], 4);
        let by_slots = Balance::of_slots(&status(), vec![target("s0", "s1", "3")]);
        assert_eq!(by_slots.page(), "SLOTS  FROM  TO  WHICH\n1      s0    s1  3\n");
        let document = serde_json::to_value(&by_slots).unwrap();
        assert_eq!(document["shards"][0]["after"], serde_json::json!({"slots": 3, "percent": 50.0}));
    }
}
