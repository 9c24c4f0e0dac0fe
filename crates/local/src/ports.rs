//! Ports of instances: chosen once, kept, and given to nobody else of ours.

use crate::state_dir::{ClusterDir, StateDir, StateError};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use valkeeper_agent::replace;
use valkeeper_model::{Address, InstanceName};

/// Where ports are looked for if nothing else is said: below the range that systems hand out by themselves, also with the
/// bus ports 10,000 above.
pub(crate) const FIRST_PORT: u16 = 7101;
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

/// Would an instance that has a port get another from there on?
pub fn would_move(state: &StateDir, dir: &ClusterDir, from: u16) -> Result<bool, StateError> {
    let Some(layout) = dir.layout()? else { return Ok(false) };
    let before = dir.addresses()?;
    Ok(find(state, dir, layout.instances.keys(), &before, Some(from))? != before)
}

fn find<'a>(
    state: &StateDir,
    dir: &ClusterDir,
    instances: impl Iterator<Item = &'a InstanceName>,
    before: &BTreeMap<InstanceName, Address>,
    from: Option<u16>,
) -> Result<BTreeMap<InstanceName, Address>, StateError> {
    let mut addresses = if from.is_some() { BTreeMap::new() } else { before.clone() };
    let mut taken: BTreeSet<u16> = BTreeSet::new();
    let mut take = |address: &Address| taken.extend([address.port, address.bus_port]);
    addresses.values().for_each(&mut take);
    for other in state.clusters()?.iter().filter(|other| *other != dir.name()) {
        state.cluster(other).addresses()?.values().for_each(&mut take);
    }
    let mut candidates = from.unwrap_or(FIRST_PORT)..=u16::MAX - Address::BUS_OFFSET;
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
            let source = std::io::Error::other("no free ports are left");
            return Err(StateError::Io { path: dir.addresses_path(), source });
        };
        addresses.insert(name.clone(), Address { ip: LOOPBACK, port, bus_port: port + Address::BUS_OFFSET });
    }
    Ok(addresses)
}
