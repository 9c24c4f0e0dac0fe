//! What users may ask of a running cluster, and why not (law 12).

use super::change;
use super::machine::{Controller, Pending, Wish};
use crate::agent::Token;
use crate::health::in_sync;
use crate::safety::disruption::{busy, may_disturb};
use crate::sight::{InstanceSight, ShardSight, Sight};
use std::sync::Arc;
use valkeeper_model::{
    Answer, Ask, AskFailed, ClusterSpec, Happened, InstanceName, Layout, Millis, Observed, Refusal, Request,
    ShardName, Unfit, Unseen, Waiting,
};

/// A handover waits for a near moment; a restart for the server to be back and in sync.
const HAND_OVER_MS: u64 = 30_000;
const RESTART_MS: u64 = 120_000;

/// What a request comes to.
pub(super) enum Decision {
    /// Ask that agent; its answer is the user's.
    Tell(InstanceName, Ask, u64),
    /// Ask those agents; done when another instance is the shard's primary.
    UntilPrimaryChanges(ShardName, Option<InstanceName>, Vec<(InstanceName, Ask)>),
    /// Commit this layout first.
    Commit(Box<Layout>, Happened, Option<Box<ClusterSpec>>),
    /// There is nothing to do.
    Done,
}

impl Controller {
    pub(super) fn asked(&mut self, now: Millis, token: Token, request: Request) {
        let decision = self.decide(request);
        match decision {
            Ok(Decision::Tell(to, ask, within_ms)) => {
                if self.disturbs(&to, &ask)
                    && let Err(refusal) = self.may_disturb_also(&to)
                {
                    return self.answer(token, Err(refusal));
                }
                let mut pending = Pending::Request(token);
                if let (Ask::HandOver { .. }, Some(layout)) = (&ask, &self.layout)
                    && let Some(instance) = layout.instances.get(&to)
                {
                    self.chosen.insert(instance.shard.clone(), now);
                    pending = Pending::Switchover(token, instance.shard.clone(), to.clone());
                }
                let sent = self.tell(to, ask, within_ms);
                self.pending.insert(sent, pending);
            }
            Ok(Decision::UntilPrimaryChanges(shard, from, asks)) => {
                for (to, ask) in asks {
                    let sent = self.tell(to, ask, HAND_OVER_MS);
                    self.pending.insert(sent, Pending::Nothing);
                }
                self.until_changed.push((token, shard, from));
            }
            Ok(Decision::Commit(layout, happened, spec)) => {
                self.commit(*layout, Some(Wish { token, happened, spec }));
            }
            Ok(Decision::Done) => self.answer(token, Ok(())),
            Err(refusal) => self.answer(token, Err(refusal)),
        }
    }

    pub(super) fn request_told(&mut self, token: Token, result: Result<Answer, AskFailed>) {
        let result = result.map(|_| ()).map_err(|error| Refusal::Failed { why: error.to_string() });
        self.answer(token, result);
    }

    fn decide(&self, request: Request) -> Result<Decision, Refusal> {
        let (Some(layout), Some(observation)) = (&self.layout, &self.observation) else {
            return Err(Refusal::Failed { why: "the supervisor has not seen the cluster yet".to_owned() });
        };
        let sight = Sight::new(layout, observation);
        match request {
            Request::Switchover { shard, to } => switchover(&sight, shard.as_ref(), to),
            Request::Failover { shard, force, accept_data_loss } => {
                failover(&sight, &shard, force, accept_data_loss)
            }
            Request::Fence { instance, force } => fence(&sight, &instance, force),
            Request::Unfence { instance } => {
                let (_, known) = locate(&sight, &instance)?;
                if !known.instance.fenced {
                    return Ok(Decision::Done);
                }
                let layout = with_fence(layout, &instance, false);
                Ok(Decision::Commit(Box::new(layout), Happened::Unfenced { instance }, None))
            }
            Request::Restart { instance } => restart(&sight, &instance),
            Request::Apply { spec } => {
                let next = change::follow(layout, &spec)?;
                if next == *layout {
                    return Ok(Decision::Done);
                }
                let directives = change::differences(layout, &next)
                    .into_iter()
                    .map(|difference| difference.what)
                    .collect();
                Ok(Decision::Commit(Box::new(next), Happened::ConfigChanged { directives }, Some(spec)))
            }
        }
    }
}

fn locate<'a, 's>(
    sight: &'s Sight<'a>,
    instance: &InstanceName,
) -> Result<(&'s ShardSight<'a>, InstanceSight<'a>), Refusal> {
    let missing = || Refusal::NoSuchInstance { instance: instance.clone() };
    let shard = sight.shard_of(instance).ok_or_else(missing)?;
    Ok((shard, shard.get(instance).ok_or_else(missing)?))
}

fn shard_named<'a, 's>(sight: &'s Sight<'a>, shard: &ShardName) -> Result<&'s ShardSight<'a>, Refusal> {
    sight.shards.get(shard).ok_or_else(|| Refusal::NoSuchShard { shard: shard.clone() })
}

fn primary_of<'a>(shard: &ShardSight<'a>) -> Result<InstanceSight<'a>, Refusal> {
    shard.primary().ok_or_else(|| Refusal::NoPrimary { shard: shard.name.clone() })
}

fn successor_exists(shard: &ShardSight<'_>, primary: &InstanceSight<'_>) -> Result<(), Refusal> {
    // One that is fenced may still be seen in sync: it is about to stop.
    if shard.instances.iter().any(|replica| !replica.instance.fenced && in_sync(primary, replica)) {
        return Ok(());
    }
    Err(Refusal::NoSuccessor { shard: shard.name.clone(), primary: primary.name.clone() })
}

fn switchover(
    sight: &Sight<'_>,
    shard: Option<&ShardName>,
    to: Option<InstanceName>,
) -> Result<Decision, Refusal> {
    let shard = match (shard, &to) {
        (Some(shard), _) => shard_named(sight, shard)?,
        (None, Some(to)) => locate(sight, to)?.0,
        (None, None) => {
            let mut all = sight.shards.values();
            let (Some(only), None) = (all.next(), all.next()) else { return Err(Refusal::ShardNotNamed) };
            only
        }
    };
    let primary = primary_of(shard)?;
    if let Some(to) = &to {
        let (home, wanted) = locate(sight, to)?;
        let unfit = |why| Err(Refusal::NotASuccessor { instance: to.clone(), why });
        if home.name != shard.name {
            return unfit(Unfit::OtherShard);
        }
        if to == primary.name {
            return Err(Refusal::AlreadyPrimary { instance: to.clone() });
        }
        if wanted.instance.fenced {
            return unfit(Unfit::Fenced);
        }
        if wanted.view().is_none() {
            return unfit(Unfit::NotSeen);
        }
        if !in_sync(&primary, &wanted) {
            return unfit(Unfit::NotInSync);
        }
    }
    successor_exists(shard, &primary)?;
    may_disturb(sight, shard)?;
    Ok(Decision::Tell(primary.name.clone(), Ask::HandOver { to }, HAND_OVER_MS))
}

fn failover(
    sight: &Sight<'_>,
    shard: &ShardName,
    force: bool,
    accept_data_loss: bool,
) -> Result<Decision, Refusal> {
    let shard = shard_named(sight, shard)?;
    if accept_data_loss {
        let missing = |instance: &&InstanceSight<'_>| {
            instance.report.is_some_and(|report| report.waiting.as_ref().is_some_and(Waiting::asks_for_loss))
        };
        let asks: Vec<_> = shard
            .instances
            .iter()
            .filter(missing)
            .map(|instance| (instance.name.clone(), Ask::AcceptLoss))
            .collect();
        if asks.is_empty() {
            return Err(Refusal::NothingToAccept { shard: shard.name.clone() });
        }
        return Ok(Decision::UntilPrimaryChanges(shard.name.clone(), None, asks));
    }
    // One that runs and does not answer would be killed soon; the user need not wait for that. Nothing is disturbed by it.
    let hung = |instance: &&InstanceSight<'_>| {
        instance.report.is_some_and(|report| {
            report.incarnation().is_some() && report.server == Observed::Unknown(Unseen::Timeout)
        })
    };
    if shard.primary().is_none()
        && let Some(hung) = shard.instances.iter().find(hung)
    {
        let asks = vec![(hung.name.clone(), Ask::Kill)];
        return Ok(Decision::UntilPrimaryChanges(shard.name.clone(), None, asks));
    }
    let primary = primary_of(shard)?;
    successor_exists(shard, &primary)?;
    if !force {
        return Err(Refusal::PrimaryIsWell { primary: primary.name.clone() });
    }
    may_disturb(sight, shard)?;
    let asks = vec![(primary.name.clone(), Ask::Kill)];
    Ok(Decision::UntilPrimaryChanges(shard.name.clone(), Some(primary.name.clone()), asks))
}

fn fence(sight: &Sight<'_>, instance: &InstanceName, force: bool) -> Result<Decision, Refusal> {
    let (shard, known) = locate(sight, instance)?;
    if known.instance.fenced {
        return Ok(Decision::Done);
    }
    if !force {
        disturb(sight, shard, &known)?;
    }
    let layout = with_fence(sight.layout, instance, true);
    Ok(Decision::Commit(Box::new(layout), Happened::Fenced { instance: instance.clone() }, None))
}

fn restart(sight: &Sight<'_>, instance: &InstanceName) -> Result<Decision, Refusal> {
    let (shard, known) = locate(sight, instance)?;
    disturb(sight, shard, &known)?;
    Ok(Decision::Tell(instance.clone(), Ask::Restart, RESTART_MS))
}

/// Laws 2 and 6 for one instance that is to be stopped.
fn disturb(sight: &Sight<'_>, shard: &ShardSight<'_>, instance: &InstanceSight<'_>) -> Result<(), Refusal> {
    let primary = shard.primary();
    if let Some(primary) = primary.filter(|primary| primary.name == instance.name) {
        // Without replicas there is nobody to hand over to, and the user knows.
        if sight.layout.replicas_per_shard > 0 {
            successor_exists(shard, &primary)?;
        }
        return may_disturb(sight, shard);
    }
    // One that is down already is not disturbed; that its shard is busy with it is no reason.
    match busy(shard) {
        Some(waiting) if instance.view().is_some() => {
            Err(Refusal::Disrupted { shard: shard.name.clone(), waiting })
        }
        _ => Ok(()),
    }
}

fn with_fence(layout: &Layout, instance: &InstanceName, fenced: bool) -> Layout {
    let mut next = layout.clone();
    if let Some(chosen) = Arc::make_mut(&mut next.instances).get_mut(instance) {
        chosen.fenced = fenced;
    }
    next.generation = layout.generation.next();
    next
}
