//! Mode `sentinel`: servers as in mode `standalone`, and Sentinels that clients ask where the primary is.
//!
//! Who is the primary is decided by the agents' votes ([`super::standalone`]), never by a Sentinel: the user as which Sentinels log in at the
//! servers may look and listen, and has no right to change a role. The agent of the primary tells each Sentinel by the message with which
//! Sentinels tell each other, `PUBLISH __sentinel__:hello`: one with a higher configuration epoch is taken at once, and passed on to clients
//! as `+switch-master` (docs/engine-facts.md).
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | which Sentinels there are, and what whoever keeps them running is told |
//! | `watch.rs` | when Sentinels are looked at, and what they are told |
//! | `demoted.rs` | when the clients of a demoted primary are disconnected, so that they ask a Sentinel again |
//! | `judge.rs` | what is missing to them |

mod demoted;
mod judge;
mod watch;

pub use demoted::DemotedClients;
pub use judge::{judge, report};
pub use watch::{Announcement, SentinelWatch, Situation};

use std::collections::BTreeMap;
use valkeeper_model::{
    Address, ClusterId, ClusterName, ClusterSpec, Format, InstanceName, Layout, NewerFields, NodeId,
    Sentinel, SentinelMember, SentinelOrder, SentinelSpec, Sentinels, SentinelsOrder, ZoneName,
};

/// The user as which Sentinels log in at servers.
pub const USER: &str = "valkeeper-sentinel";

/// A server that does not answer a Sentinel for so long is down to that one, milliseconds: clients that ask for replicas are not sent there. Nothing
/// else follows from it.
pub const DOWN_AFTER_MS: u64 = 5_000;

/// What that user may: look, listen, and tell other Sentinels of itself. Not among them: `SLAVEOF`, `FAILOVER`, `CONFIG`, `CLIENT KILL`,
/// `SCRIPT KILL`, which Sentinel would use to change roles.
pub const RIGHTS: &str = "resetkeys resetchannels &__sentinel__:hello -@all +auth +hello +ping +info +subscribe +publish +client|setname";

/// The Sentinels of a cluster: those that there are, and as many more as are wanted. Ids are reckoned from the cluster's, not drawn: a mode
/// that is changed to and fro gives the same Sentinels, and clients and other Sentinels take none for another.
pub fn place(
    wanted: Option<SentinelSpec>,
    cluster: &ClusterName,
    id: ClusterId,
    zones: &[ZoneName],
    before: Option<&Sentinels>,
) -> Option<Sentinels> {
    let wanted = wanted?;
    let members = (0..wanted.instances).filter_map(|n| {
        let name = name(cluster, n)?;
        let zone = zones.get(usize::try_from(n).ok()? % zones.len().max(1))?.clone();
        let kept = before.and_then(|before| before.members.get(&name)).cloned();
        let fresh = Sentinel { zone, id: sentinel_id(id, n), newer: NewerFields::default() };
        Some((name, kept.unwrap_or(fresh)))
    });
    Some(Sentinels {
        quorum: wanted.quorum,
        members: members.collect(),
        newer: before.map(|before| before.newer.clone()).unwrap_or_default(),
    })
}

/// What a changed spec makes of them. They are spread over the zones that the servers are in.
pub fn follow(layout: &Layout, spec: &ClusterSpec) -> Option<Sentinels> {
    let mut zones: Vec<ZoneName> = layout.instances.values().map(|one| one.zone.clone()).collect();
    zones.sort();
    zones.dedup();
    place(spec.sentinel, &spec.name, layout.id, &zones, layout.sentinels.as_deref())
}

fn name(cluster: &ClusterName, n: u32) -> Option<InstanceName> {
    format!("{cluster}-sentinel-{n}").parse().ok()
}

fn sentinel_id(cluster: ClusterId, n: u32) -> NodeId {
    let mut bytes = cluster.bytes();
    let last = bytes.len() - 4;
    for (byte, part) in bytes[last..].iter_mut().zip(n.wrapping_add(1).to_be_bytes()) {
        *byte ^= part;
    }
    NodeId::from_bytes(bytes)
}

/// What agents are told of them; `None` in a mode without.
pub fn told(layout: &Layout, addresses: &BTreeMap<InstanceName, Address>) -> Option<SentinelsOrder> {
    let member = |id, name| SentinelMember { id, address: addresses.get(name).cloned() };
    let members = layout.sentinels.as_ref()?.members.iter();
    Some(SentinelsOrder {
        name: layout.cluster.clone(),
        members: members.map(|(name, sentinel)| (name.clone(), member(sentinel.id, name))).collect(),
    })
}

/// What whoever keeps a Sentinel running is told; `None` while a place is missing that its file has to name.
pub fn order(
    layout: &Layout,
    addresses: &BTreeMap<InstanceName, Address>,
    name: &InstanceName,
) -> Option<SentinelOrder> {
    let SentinelsOrder { members: sentinels, .. } = told(layout, addresses)?;
    let founder = layout.shards.values().next()?.founder.clone();
    let servers: BTreeMap<_, _> = addresses
        .iter()
        .filter(|(name, _)| layout.instances.contains_key(*name))
        .map(|(name, address)| (name.clone(), address.clone()))
        .collect();
    let complete =
        servers.contains_key(&founder) && sentinels.get(name).is_some_and(|myself| myself.address.is_some());
    complete.then(|| SentinelOrder {
        format: Format,
        generation: layout.generation,
        cluster: layout.id,
        name: layout.cluster.clone(),
        sentinel: name.clone(),
        quorum: layout.sentinels.as_ref().map_or(0, |sentinels| sentinels.quorum),
        sentinels,
        servers,
        founder,
    })
}
