//! Requests that are done when a shard has another primary, and what else ends them.

use super::machine::{Controller, Stage};
use crate::agent::Token;
use valkeeper_model::{Incarnation, InstanceName, Millis, Observation, Refusal, Report, ShardName};

/// Who asks does not wait for longer, and is told what the shard waits for. Shorter than the time of the commands.
const LONGEST_MS: u64 = 110_000;

/// One of them.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) token: Token,
    pub(super) shard: ShardName,
    /// The primary that is to be succeeded, and its run where that is to end.
    pub(super) from: Option<(InstanceName, Option<Incarnation>)>,
    pub(super) since: Millis,
}

impl Controller {
    pub(super) fn settle_awaited(&mut self, now: Millis, report: &Report) {
        for awaited in std::mem::take(&mut self.awaited) {
            match self.observation.as_ref().and_then(|seen| outcome(&awaited, now, report, seen)) {
                Some(result) => self.answer(awaited.token, result),
                None => self.awaited.push(awaited),
            }
        }
    }

    /// Who asked is gone, or has stopped waiting: what was not begun is not begun.
    pub(super) fn withdrawn(&mut self, token: Token) {
        if let Some(index) = self.queued.iter().position(|(queued, _)| *queued == token) {
            self.queued.remove(index);
            self.ready -= usize::from(index < self.ready);
        }
        self.awaited.retain(|awaited| awaited.token != token);
        if let Stage::Committing { then, .. } = &mut self.stage {
            then.withdraw(token);
        }
    }
}

fn outcome(
    awaited: &Awaited,
    now: Millis,
    report: &Report,
    seen: &Observation,
) -> Option<Result<(), Refusal>> {
    let primary = report.shards.iter().find(|shard| shard.name == awaited.shard)?.primary.as_ref();
    match (primary, &awaited.from) {
        (Some(_), None) => return Some(Ok(())),
        (Some(primary), Some((from, _))) if primary != from => return Some(Ok(())),
        (Some(primary), Some((_, Some(ended)))) => {
            let run = seen.report(primary).and_then(valkeeper_model::AgentReport::incarnation);
            if run.is_some_and(|run| run > *ended) {
                let (shard, primary) = (awaited.shard.clone(), primary.clone());
                return Some(Err(Refusal::SamePrimary { shard, primary }));
            }
        }
        _ => {}
    }
    (now.since(awaited.since) >= LONGEST_MS).then(|| {
        let shard = awaited.shard.clone();
        Err(Refusal::NotYet { shard, waiting: report.waiting.clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use valkeeper_model::{
        Activity, Address, AgentReport, DiskAccess, DiskRole, Generation, Observed, Phase, Process,
        ShardReport, SlotSet, Unseen,
    };

    fn name(n: u32) -> InstanceName {
        InstanceName::nth(&"c".parse().expect("a name"), n)
    }

    fn seen(instance: u32, run: u64) -> Observation {
        let report = AgentReport {
            source: None,
            last_write: None,
            format: valkeeper_model::Format,
            generation: Generation(1),
            addresses_hash: None,
            address: Address { ip: [127, 0, 0, 1].into(), port: 7_000, bus_port: 17_000 },
            process: Process::Running { incarnation: Incarnation(run), pid: None },
            disk_role: DiskRole::Lost,
            has_data: true,
            copy: None,
            password: None,
            look_refused: None,
            sentinels: BTreeMap::new(),
            seen_ms_ago: None,
            pod_template: None,
            primary_position: None,
            register: None,
            disk: DiskAccess::Answers,
            server: Observed::Unknown(Unseen::NotAsked),
            activity: Activity::Watching,
            waiting: None,
        };
        let instances = BTreeMap::from([(name(instance), Observed::Known(report))]);
        Observation { at: Millis(0), instances, ..Observation::default() }
    }

    fn told(primary: Option<u32>, run: u64, now: u64) -> Option<Result<(), Refusal>> {
        let shard = ShardName::nth(0);
        let from = Some((name(0), Some(Incarnation(3))));
        let awaited = Awaited { token: Token(1), shard: shard.clone(), from, since: Millis(0) };
        let shards = vec![ShardReport {
            name: shard,
            slots: SlotSet::empty(),
            primary: primary.map(name),
            replicas: Vec::new(),
            needed_replicas: None,
        }];
        let report = Report {
            sentinels: Vec::new(),
            replica_mode: None,
            progress: Vec::new(),
            cordoned_zones: std::collections::BTreeSet::new(),
            mode: valkeeper_model::Mode::Cluster,
            phase: Phase::Degraded,
            healthy: false,
            shards,
            instances: Vec::new(),
            waiting: Vec::new(),
        };
        outcome(&awaited, Millis(now), &report, &seen(primary.unwrap_or(0), run))
    }

    #[test]
    fn who_waits_for_another_primary_is_answered_whatever_comes() {
        assert_eq!(told(Some(0), 3, 1_000), None, "not killed yet");
        assert_eq!(told(None, 3, 1_000), None, "being replaced");
        assert_eq!(told(Some(1), 1, 1_000), Some(Ok(())));
        let same = Refusal::SamePrimary { shard: ShardName::nth(0), primary: name(0) };
        assert_eq!(told(Some(0), 4, 1_000), Some(Err(same)));
        let late = Refusal::NotYet { shard: ShardName::nth(0), waiting: Vec::new() };
        assert_eq!(told(None, 3, LONGEST_MS), Some(Err(late)));
    }
}
