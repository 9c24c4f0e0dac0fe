//! Ports of instances: chosen once, kept, and given to nobody else of ours.

use crate::state_dir::{ClusterDir, StateDir, StateError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use valkeeper_agent::replace;
use valkeeper_model::{Address, InstanceName};

/// Where ports are looked for if nothing else is said: below the range that systems hand out by themselves, also with the
/// bus ports 10,000 above.
pub(crate) const FIRST_PORT: u16 = 7101;
/// The ports for clients come so far after the first one of the servers, which may become so many.
const CLIENT_PORTS_AFTER: u16 = 16;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Addresses for these instances: the kept ones, and new ones for who has none, kept before anybody learns of them. `from`
/// moves all of them: to the first free ports from there on.
pub(crate) fn assign<'a>(
    state: &StateDir,
    dir: &ClusterDir,
    instances: impl Iterator<Item = &'a InstanceName>,
    from: Option<u16>,
) -> Result<BTreeMap<InstanceName, Address>, StateError> {
    let before = dir.addresses()?;
    let addresses = find(state, dir, instances, &before, from)?;
    if addresses != before {
        let path = dir.addresses_path();
        let text =
            serde_json::to_vec_pretty(&addresses).map_err(|error| StateError::io(&path)(error.into()))?;
        replace(&path, &text).map_err(StateError::io(&path))?;
    }
    Ok(addresses)
}

/// The ports for clients of a cluster without slots, by what they lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientPorts {
    /// To the primary.
    #[serde(rename = "leader")]
    pub primary: SocketAddr,
    /// To a replica.
    pub replica: SocketAddr,
    /// To any server.
    pub any: SocketAddr,
}

impl ClientPorts {
    fn all(self) -> [u16; 3] {
        [self.primary, self.replica, self.any].map(|address| address.port())
    }
}

/// The kept ports for clients, or new ones, kept before anybody learns of them.
pub(crate) fn assign_for_clients(
    state: &StateDir,
    dir: &ClusterDir,
    from: Option<u16>,
) -> Result<ClientPorts, StateError> {
    let before = dir.client_ports()?;
    if let Some(ports) = before.filter(|_| from.is_none()) {
        return Ok(ports);
    }
    let taken = taken_ports(state, dir, &dir.addresses()?)?;
    let own = before.map(ClientPorts::all).unwrap_or_default();
    let is_free = |port: &u16| {
        let ours = own.contains(port);
        !taken.contains(port) && (ours || TcpListener::bind((LOOPBACK, *port)).is_ok())
    };
    let first = from.unwrap_or(FIRST_PORT).saturating_add(CLIENT_PORTS_AFTER);
    let mut free = (first..=u16::MAX).filter(is_free).map(|port| SocketAddr::from((LOOPBACK, port)));
    let (Some(primary), Some(replica), Some(any)) = (free.next(), free.next(), free.next()) else {
        return Err(StateError::NoFreePort { from: first });
    };
    let path = dir.client_ports_path();
    let ports = ClientPorts { primary, replica, any };
    let text = serde_json::to_vec_pretty(&ports).map_err(|error| StateError::io(&path)(error.into()))?;
    replace(&path, &text).map_err(StateError::io(&path))?;
    Ok(ports)
}

/// The ports that clusters of this state have.
fn taken_ports(
    state: &StateDir,
    dir: &ClusterDir,
    addresses: &BTreeMap<InstanceName, Address>,
) -> Result<BTreeSet<u16>, StateError> {
    let mut taken: BTreeSet<u16> = BTreeSet::new();
    let mut take = |address: &Address| taken.extend([address.port, address.bus_port]);
    addresses.values().for_each(&mut take);
    let others = state.clusters()?;
    for other in others.iter().filter(|other| *other != dir.name()) {
        state.cluster(other).addresses()?.values().for_each(&mut take);
    }
    for other in others.iter().filter(|other| *other != dir.name()) {
        taken.extend(state.cluster(other).client_ports()?.into_iter().flat_map(ClientPorts::all));
    }
    Ok(taken)
}

/// Would an instance that has a port get another from there on?
pub fn would_move(state: &StateDir, dir: &ClusterDir, from: u16) -> Result<bool, StateError> {
    let Some(layout) = dir.layout()? else { return Ok(false) };
    let before = dir.addresses()?;
    let found = find(state, dir, layout.placed(), &before, Some(from))?;
    Ok(found.iter().any(|(name, address)| before.get(name).is_some_and(|had| had != address)))
}

fn find<'a>(
    state: &StateDir,
    dir: &ClusterDir,
    instances: impl Iterator<Item = &'a InstanceName>,
    before: &BTreeMap<InstanceName, Address>,
    from: Option<u16>,
) -> Result<BTreeMap<InstanceName, Address>, StateError> {
    let mut addresses = if from.is_some() { BTreeMap::new() } else { before.clone() };
    let mut taken = taken_ports(state, dir, &addresses)?;
    taken.extend(dir.client_ports()?.into_iter().flat_map(ClientPorts::all));
    // Who comes later is beside the others: from the default on, every cluster that grows would look for the same ports.
    let own = || before.values().map(|address| address.port).min();
    let first = from.or_else(own).unwrap_or(FIRST_PORT);
    let mut candidates = first..=u16::MAX - Address::BUS_OFFSET;
    for name in instances {
        if addresses.contains_key(name) {
            continue;
        }
        let usable = |port: &u16| {
            let bus = port + Address::BUS_OFFSET;
            // Ours, if we had it before: the server that listens there may be our own.
            let ours = before.get(name).is_some_and(|address| address.port == *port);
            let free = |port: u16| ours || TcpListener::bind((LOOPBACK, port)).is_ok();
            !taken.contains(port) && !taken.contains(&bus) && free(*port) && free(bus)
        };
        let Some(port) = candidates.by_ref().find(usable) else {
            return Err(StateError::NoFreePort { from: first });
        };
        addresses.insert(name.clone(), Address { ip: LOOPBACK, port, bus_port: port + Address::BUS_OFFSET });
    }
    Ok(addresses)
}
