//! `rebalance`: by the number of slots, which the controller decides by what it knows; by what slots hold or take, which the servers are asked here.

use super::request::request;
use super::slots::watch_or_leave;
use crate::args::RebalanceArgs;
use crate::called::called;
use crate::document::balance::Balance;
use crate::document::status::Status;
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use crate::output;
use crate::target::{ClusterTarget, Platform};
use crate::weighing::{self, Measure, ShardPlace, ToWeigh};
use std::collections::BTreeMap;
use std::time::Duration;
use valkeeper_model::{
    ProgressUnit, RebalanceBy, Refusal, Request, ShardName, ShardReport, SlotMoveTarget, SlotRefusal,
    SlotRequest,
};
use valkeeper_plan::placement::by_weight::{self, SlotWeights};
use valkeeper_plan::placement::rebalance::{self as by_count, Holding, Stay};
use valkeeper_plan::placement::shards;

pub(super) async fn rebalance(
    platform: &dyn Platform,
    args: &RebalanceArgs,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let cluster = platform.cluster().await?;
    let status = cluster.status().await?;
    let (balance, wanted) = match args.by.measure() {
        None => {
            let balance = Balance::of_slots(&status, by_slots(&status));
            (balance, SlotRequest::Rebalance { by: RebalanceBy::Slots })
        }
        Some(measure) => {
            let balance = weighed(&*cluster, &status, measure, args.window).await?;
            let moves = balance.targets();
            (balance, SlotRequest::MoveTogether { moves })
        }
    };
    if args.plan || balance.is_even() {
        return output::value(args.output.format, &balance, || balance.page());
    }
    request(platform, Request::Slots(wanted), ending).await?;
    watch_or_leave(platform, args.watching, ending).await
}

/// What would move, by the same function that the controller uses.
fn by_slots(status: &Status) -> Vec<SlotMoveTarget> {
    let held: BTreeMap<ShardName, Holding> = status
        .shards
        .iter()
        .map(|shard| (shard.name.clone(), Holding { slots: shard.slots.clone(), stay: Stay::Share }))
        .collect();
    by_count::moves(&held).into_iter().map(|one| one.target).collect()
}

/// What would move by what the servers tell now.
async fn weighed(
    cluster: &dyn ClusterTarget,
    status: &Status,
    measure: Measure,
    window: Duration,
) -> anyhow::Result<Balance> {
    refuse_moving(status)?;
    let places: Result<Vec<ShardPlace>, Failure> =
        status.shards.iter().map(|shard| place(status, shard)).collect();
    let asked = ToWeigh { measure, window_ms: u64::try_from(window.as_millis())?, shards: places? };
    if measure == Measure::Load {
        eprintln!("measuring for {} s", window.as_secs_f64());
    }
    let weights = weighing::all(cluster.weigh(&asked).await?)?;
    let held: BTreeMap<ShardName, SlotWeights> = weights
        .iter()
        .map(|(name, slots)| (name.clone(), slots.slots.iter().map(|one| (one.slot, one.weight)).collect()))
        .collect();
    let moves = by_weight::moves(&held, measure.tolerance());
    Ok(Balance::of_weights(status, &asked, &weights, moves))
}

/// What the controller would refuse is refused before anything is weighed, which takes its time: figures of slots that move are no figures.
fn refuse_moving(status: &Status) -> Result<(), Failure> {
    if !status.mode.has_slots() {
        return Err(Refusal::from(SlotRefusal::NoSlotsInMode).into());
    }
    if status.progress.iter().any(|one| one.operation == shards::operation_name()) {
        return Err(Refusal::from(SlotRefusal::ShardsChange).into());
    }
    match status.progress.iter().find(|one| one.unit == ProgressUnit::Slots) {
        None => Ok(()),
        Some(progress) => {
            let what = format!("slots are on their way already: {}", progress.operation);
            let hint = format!("wait for that, or end it: `{} slots cancel`", called());
            Err(Failure::new(Kind::Unsafe, what, hint))
        }
    }
}

/// Where a shard's slots are weighed.
fn place(status: &Status, shard: &ShardReport) -> Result<ShardPlace, Failure> {
    let place = || {
        let primary = shard.primary.as_ref()?;
        let address = status.instances.iter().find(|one| one.name == *primary)?.address.clone()?;
        let (shard, slots) = (shard.name.clone(), shard.slots.clone());
        Some(ShardPlace { shard, primary: primary.clone(), address, slots })
    };
    place().ok_or_else(|| Refusal::NoPrimary { shard: shard.name.clone(), waiting: Vec::new() }.into())
}
