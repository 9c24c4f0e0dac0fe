//! What users may ask about where instances are, and what people are told of instances that come and go.

use super::requests::Decision;
use super::storing::DoneWhen;
use crate::placement::{Placing, resize};
use crate::view::cluster_view::ClusterView;
use std::collections::BTreeSet;
use valkeeper_model::{
    Happened, HostFate, InstanceLife, InstanceName, Layout, MoveCause, Refusal, Report, ResizeHappened,
    ResizeRefusal, ResizeRequest, ZoneName,
};

/// What comes of a request.
pub(super) fn decide(
    cluster_view: &ClusterView<'_>,
    report: Option<&Report>,
    request: ResizeRequest,
    placing: &mut Placing<'_>,
) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    let (next, happened) = match request {
        ResizeRequest::Replace { instance, host } => {
            may_be_replaced(cluster_view, &instance, host)?;
            let cause = MoveCause::Replace { instance: instance.clone(), host };
            let next = resize::replace(layout, &instance, cause, report, placing)?;
            let shard = cluster_view.shard_of(&instance).map(|shard| shard.name.clone());
            let missing = || Refusal::NoSuchInstance { instance: instance.clone() };
            let asked = ResizeHappened::ReplaceAsked {
                shard: shard.ok_or_else(missing)?,
                instance: instance.clone(),
            };
            (next, asked)
        }
        ResizeRequest::CordonZone { zone } => {
            let next = resize::cordon(layout, known_zone(layout, &zone, placing.zones)?);
            (next, ResizeHappened::ZoneCordoned { zone })
        }
        ResizeRequest::UncordonZone { zone } => {
            (resize::uncordon(layout, &zone), ResizeHappened::ZoneUncordoned { zone })
        }
        ResizeRequest::DrainZone { zone } => {
            refuse_untimely(layout)?;
            let zone = known_zone(layout, &zone, placing.zones)?.clone();
            (resize::drain(layout, &zone, report, placing)?, ResizeHappened::ZoneDrains { zone })
        }
    };
    if next == *layout {
        return Ok(Decision::Done);
    }
    let generation =
        if next.instances == layout.instances { layout.generation } else { layout.generation.next() };
    let next = Layout { generation, ..next };
    Ok(Decision::Commit(Box::new(next), Happened::Resize(happened), None, DoneWhen::Observed))
}

fn known_zone<'z>(
    layout: &'z Layout,
    zone: &ZoneName,
    zones: &'z [ZoneName],
) -> Result<&'z ZoneName, Refusal> {
    let used = layout.instances.values().map(|one| &one.zone);
    let all: BTreeSet<&ZoneName> = zones.iter().chain(used).collect();
    let missing = || {
        let zones = all.iter().map(|zone| (*zone).clone()).collect();
        ResizeRefusal::NoSuchZone { zone: zone.clone(), zones }.into()
    };
    all.get(zone).copied().ok_or_else(missing)
}

/// Instances come and go only in a cluster that has been whole, and whose agents do not vote.
pub(super) fn refuse_untimely(layout: &Layout) -> Result<(), Refusal> {
    if !layout.config.mode.has_slots() {
        return Err(ResizeRefusal::VotesWouldChange { mode: layout.config.mode }.into());
    }
    if layout.is_founding() {
        return Err(ResizeRefusal::StillFounding.into());
    }
    Ok(())
}

fn may_be_replaced(
    cluster_view: &ClusterView<'_>,
    instance: &InstanceName,
    host: HostFate,
) -> Result<(), Refusal> {
    let layout = cluster_view.layout;
    refuse_untimely(layout)?;
    let named = || instance.clone();
    if layout.retired.contains_key(instance) {
        return Err(ResizeRefusal::IsRetired { instance: named() }.into());
    }
    let known = cluster_view.shard_of(instance).and_then(|shard| Some((shard, shard.get(instance)?)));
    let Some((shard, known)) = known else {
        return Err(Refusal::NoSuchInstance { instance: named() });
    };
    let refuse = |refusal: ResizeRefusal| Err(refusal.into());
    match (host, known.report) {
        // One that leaves may be waited for in vain by now: that its host is gone can be said at any time.
        (HostFate::Answers, _) if known.instance.life.leaves() => {
            refuse(ResizeRefusal::LeavesAlready { instance: named() })
        }
        (HostFate::GoneForGood, Some(_)) => refuse(ResizeRefusal::HostAnswers { instance: named() }),
        (HostFate::Answers, None) => refuse(ResizeRefusal::HostUnheard { instance: named() }),
        (HostFate::GoneForGood, None) if shard.primary().is_none() => {
            refuse(ResizeRefusal::NotSucceeded { instance: named() })
        }
        (HostFate::GoneForGood, None) | (HostFate::Answers, Some(_)) => Ok(()),
    }
}

/// What people are told of the step from one layout to the next.
pub(super) fn happened(before: &Layout, after: &Layout) -> Vec<Happened> {
    let mut happened = Vec::new();
    for (name, one) in after.instances.iter() {
        let (shard, instance) = (one.shard.clone(), name.clone());
        match before.instances.get(name) {
            None => happened.push(ResizeHappened::InstanceAdded { shard, instance, zone: one.zone.clone() }),
            Some(was) if was.life.stays() && one.life == InstanceLife::Leaving => {
                happened.push(ResizeHappened::InstanceLeaves { shard, instance });
            }
            Some(was) if was.life.leaves() && one.life.stays() => {
                happened.push(ResizeHappened::InstanceStays { shard, instance });
            }
            Some(_) => {}
        }
    }
    for (name, gone) in after.retired.iter().filter(|(name, _)| !before.retired.contains_key(*name)) {
        let (shard, instance) = (gone.shard.clone(), name.clone());
        happened.push(ResizeHappened::InstanceRetired { shard, instance });
    }
    happened.into_iter().map(Happened::Resize).collect()
}
