//! Requests that are done when a shard has another primary, and what else ends them.

use super::machine::Controller;
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
