//! The engine's text of a cluster: the reply of `CLUSTER NODES`, and the file nodes.conf, which is the same lines plus
//! one of `vars`. Read strictly (a torn file must never pass for a smaller cluster) and written exactly as the engine
//! writes it.
//!
//! ```text
//! <id> <ip>:<port>@<bus>[,<hostname>[,<aux>=<value>…]] <flags> <primary|-> <ping> <pong> <epoch> <link> [<slots>…]
//! vars currentEpoch <n> lastVoteEpoch <n>
//! ```

use crate::{Address, Epoch, NodeId, Role, Slot, SlotRange, SlotSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

/// A cluster as one server believes it to be.
#[derive(Debug, Default, Clone, PartialEq, Hash, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodesConf {
    /// The nodes, in the order of the text.
    pub nodes: Vec<NodeLine>,
    /// The last line of a file; `CLUSTER NODES` has none. A file without it is torn.
    pub vars: Option<Vars>,
}

/// The counters that a server keeps in its nodes.conf.
#[derive(Debug, Default, Clone, Copy, PartialEq, Hash, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vars {
    /// The highest epoch seen.
    pub current_epoch: Epoch,
    /// The epoch of the last vote given.
    pub last_vote_epoch: Epoch,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Hash, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLine {
    /// Its id.
    pub id: NodeId,
    /// Where it is believed to be; `None` when the engine does not know (`:0@0`, or a fresh server's own line).
    pub address: Option<Address>,
    /// The announced host name.
    pub hostname: Option<String>,
    /// What a file adds: `shard-id`, `nodename`, … `CLUSTER NODES` shows none. Redis before 7.2 takes any for part of
    /// the host name, so render none for it; Valkey 9.0 refuses to start on those of 9.1 (`availability-zone`).
    pub aux: BTreeMap<String, String>,
    /// What it is.
    pub flags: NodeFlags,
    /// Whose replica.
    pub primary: Option<NodeId>,
    /// When the ping that is still unanswered was sent (ms); 0 for none.
    pub ping_sent: u64,
    /// When the last pong came (ms).
    pub pong_received: u64,
    /// Its configuration epoch; a replica shows its primary's.
    pub config_epoch: Epoch,
    /// Is the bus link to it up?
    pub link_up: bool,
    /// Slots owned.
    pub slots: SlotSet,
    /// Slots being moved away by hand, and to whom (own line only).
    pub migrating: Vec<(Slot, NodeId)>,
    /// Slots being moved here by hand, and from whom (own line only).
    pub importing: Vec<(Slot, NodeId)>,
}

/// What the engine holds a node for. The flags are independent of each other in the engine.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "these are the engine's own independent flags")]
pub struct NodeFlags {
    /// The node that wrote the text.
    pub myself: bool,
    /// Primary or replica; `None` while in handshake.
    pub role: Option<Role>,
    /// Suspected by this node alone (`fail?`).
    pub pfail: bool,
    /// Held for failed by a majority.
    pub fail: bool,
    /// Not yet known to be who it says.
    pub handshake: bool,
    /// Its address is lost.
    pub noaddr: bool,
    /// It takes part in no automatic failover.
    pub nofailover: bool,
}

/// Where and why a text is not a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct NodesConfError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl NodeLine {
    /// A line for a node as written before its first start: nothing else known. The engine leaves one without an address alone until it
    /// comes by itself, or is met.
    pub fn new(id: NodeId, address: Option<Address>, role: Role) -> Self {
        let noaddr = address.is_none();
        Self {
            id,
            address,
            hostname: None,
            aux: BTreeMap::new(),
            flags: NodeFlags { role: Some(role), noaddr, ..NodeFlags::default() },
            primary: None,
            ping_sent: 0,
            pong_received: 0,
            config_epoch: Epoch::default(),
            link_up: true,
            slots: SlotSet::empty(),
            migrating: Vec::new(),
            importing: Vec::new(),
        }
    }

    /// Is it a replica?
    pub fn is_replica(&self) -> bool {
        self.flags.role == Some(Role::Replica)
    }
}

impl NodesConf {
    /// The node that wrote the text.
    pub fn myself(&self) -> Option<&NodeLine> {
        self.nodes.iter().find(|node| node.flags.myself)
    }

    /// A node by id.
    pub fn node(&self, id: NodeId) -> Option<&NodeLine> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

/// The engine's words for the flags, in its order.
impl fmt::Display for NodeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.myself, "myself"),
            (self.role == Some(Role::Primary), "master"),
            (self.role == Some(Role::Replica), "slave"),
            (self.pfail, "fail?"),
            (self.fail, "fail"),
            (self.handshake, "handshake"),
            (self.noaddr, "noaddr"),
            (self.nofailover, "nofailover"),
        ];
        let mut set = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word);
        f.write_str(set.next().unwrap_or("noflags"))?;
        set.try_for_each(|word| write!(f, ",{word}"))
    }
}

/// Writes what the engine would write.
pub fn render(conf: &NodesConf) -> String {
    let mut text = String::with_capacity(conf.nodes.len() * 160 + 48);
    for node in &conf.nodes {
        render_node(&mut text, node);
    }
    if let Some(vars) = conf.vars {
        add(
            &mut text,
            format_args!("vars currentEpoch {} lastVoteEpoch {}\n", vars.current_epoch, vars.last_vote_epoch),
        );
    }
    text
}

fn add(text: &mut String, part: fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = text.write_fmt(part);
}

fn render_node(text: &mut String, node: &NodeLine) {
    match &node.address {
        Some(at) => add(text, format_args!("{} {}:{}@{}", node.id, at.ip, at.port, at.bus_port)),
        None => add(text, format_args!("{} :0@0", node.id)),
    }
    if node.hostname.is_some() || !node.aux.is_empty() {
        add(text, format_args!(",{}", node.hostname.as_deref().unwrap_or_default()));
    }
    for (name, value) in &node.aux {
        add(text, format_args!(",{name}={value}"));
    }
    add(text, format_args!(" {} ", node.flags));
    match node.primary {
        Some(primary) => add(text, format_args!("{primary}")),
        None => text.push('-'),
    }
    let link = if node.link_up { "connected" } else { "disconnected" };
    add(text, format_args!(" {} {} {} {link}", node.ping_sent, node.pong_received, node.config_epoch));
    for range in node.slots.ranges() {
        add(text, format_args!(" {range}"));
    }
    for (slot, to) in &node.migrating {
        add(text, format_args!(" [{slot}->-{to}]"));
    }
    for (slot, from) in &node.importing {
        add(text, format_args!(" [{slot}-<-{from}]"));
    }
    text.push('\n');
}

/// Reads what the engine wrote. Anything else, also a text that ends in the middle of a line, is an error.
pub fn parse(text: &str) -> Result<NodesConf, NodesConfError> {
    let mut conf = NodesConf::default();
    let mut seen = Seen::default();
    let mut rest = text;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let at = |reason| NodesConfError { line: number, reason };
        let (line, after) =
            rest.split_once('\n').ok_or_else(|| at("the last line has no end: the text is torn"))?;
        rest = after;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if conf.vars.is_some() {
            return Err(at("nothing may follow `vars`"));
        }
        match line.strip_prefix("vars ") {
            Some(vars) => conf.vars = Some(parse_vars(vars).map_err(at)?),
            None => conf.nodes.push(parse_node(line, &mut seen).map_err(at)?),
        }
    }
    Ok(conf)
}

/// What may occur once only.
#[derive(Default)]
struct Seen {
    ids: BTreeSet<NodeId>,
    myself: bool,
    slots: SlotSet,
}

fn parse_vars(text: &str) -> Result<Vars, &'static str> {
    let mut fields = text.split(' ');
    let mut pair = |name| match (fields.next(), fields.next()) {
        (Some(key), Some(value)) if key == name => number(value).map(Epoch),
        _ => Err("`vars` wants `currentEpoch <n> lastVoteEpoch <n>`"),
    };
    let vars = Vars { current_epoch: pair("currentEpoch")?, last_vote_epoch: pair("lastVoteEpoch")? };
    if fields.next().is_some() { Err("too many fields after `vars`") } else { Ok(vars) }
}

fn parse_node(line: &str, seen: &mut Seen) -> Result<NodeLine, &'static str> {
    let mut fields = line.split(' ');
    let mut field =
        || fields.next().filter(|field| !field.is_empty()).ok_or("a node has at least eight fields");
    let id = field()?.parse().map_err(|_| "not a node id")?;
    let (address, hostname, aux) = parse_place(field()?)?;
    let flags = parse_flags(field()?)?;
    let primary = match field()? {
        "-" => None,
        id => Some(id.parse().map_err(|_| "the primary is not a node id")?),
    };
    let (ping_sent, pong_received) = (number(field()?)?, number(field()?)?);
    let config_epoch = Epoch(number(field()?)?);
    let link_up = match field()? {
        "connected" => true,
        "disconnected" => false,
        _ => return Err("the link is neither `connected` nor `disconnected`"),
    };
    let (mut ranges, mut migrating, mut importing) = (Vec::new(), Vec::new(), Vec::new());
    for text in fields {
        if let Some(open) = text.strip_prefix('[') {
            let open = open.strip_suffix(']').ok_or("an open slot without `]`")?;
            if let Some((slot, to)) = open.split_once("->-") {
                migrating.push(parse_open(slot, to)?);
            } else if let Some((slot, from)) = open.split_once("-<-") {
                importing.push(parse_open(slot, from)?);
            } else {
                return Err("an open slot is `[slot->-id]` or `[slot-<-id]`");
            }
        } else {
            ranges.push(parse_range(text)?);
        }
    }
    let claimed: u64 = ranges.iter().map(|range| u64::from(range.len())).sum();
    let slots: SlotSet = ranges.into_iter().collect();
    if u64::from(slots.len()) != claimed || slots.intersects(&seen.slots) {
        return Err("a slot is claimed twice");
    }
    if !slots.is_empty() {
        seen.slots = seen.slots.union(&slots);
    }
    if !seen.ids.insert(id) {
        return Err("a node occurs twice");
    }
    if flags.myself && std::mem::replace(&mut seen.myself, true) {
        return Err("two nodes are `myself`");
    }
    Ok(NodeLine {
        id,
        address,
        hostname,
        aux,
        flags,
        primary,
        ping_sent,
        pong_received,
        config_epoch,
        link_up,
        slots,
        migrating,
        importing,
    })
}

type Place = (Option<Address>, Option<String>, BTreeMap<String, String>);

fn parse_place(text: &str) -> Result<Place, &'static str> {
    let mut parts = text.split(',');
    let (socket, bus) =
        parts.next().and_then(|place| place.split_once('@')).ok_or("the address has no bus port")?;
    // An IPv6 address has colons of its own and no brackets: the port is after the last one.
    let (ip, port) = socket.rsplit_once(':').ok_or("the address has no port")?;
    let (port, bus_port) = (port_number(port)?, port_number(bus)?);
    let address = match ip {
        "" | "?" => None,
        ip => Some(Address { ip: ip.parse().map_err(|_| "not an IP address")?, port, bus_port }),
    };
    let hostname = parts.next().filter(|name| !name.is_empty()).map(str::to_owned);
    let mut aux = BTreeMap::new();
    for part in parts {
        let (name, value) = part.split_once('=').ok_or("an auxiliary field is `name=value`")?;
        if name.is_empty() || aux.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err("an auxiliary field has no name or occurs twice");
        }
    }
    Ok((address, hostname, aux))
}

fn parse_flags(text: &str) -> Result<NodeFlags, &'static str> {
    let mut flags = NodeFlags::default();
    if text == "noflags" {
        return Ok(flags);
    }
    for word in text.split(',') {
        let before = match word {
            "myself" => std::mem::replace(&mut flags.myself, true),
            "master" => flags.role.replace(Role::Primary).is_some(),
            "slave" => flags.role.replace(Role::Replica).is_some(),
            "fail?" => std::mem::replace(&mut flags.pfail, true),
            "fail" => std::mem::replace(&mut flags.fail, true),
            "handshake" => std::mem::replace(&mut flags.handshake, true),
            "noaddr" => std::mem::replace(&mut flags.noaddr, true),
            "nofailover" => std::mem::replace(&mut flags.nofailover, true),
            _ => return Err("an unknown flag"),
        };
        if before {
            return Err("a flag occurs twice, or both roles do");
        }
    }
    Ok(flags)
}

fn parse_open(slot: &str, node: &str) -> Result<(Slot, NodeId), &'static str> {
    let slot =
        u16::try_from(number(slot)?).ok().and_then(|slot| Slot::try_from(slot).ok()).ok_or("no such slot")?;
    Ok((slot, node.parse().map_err(|_| "an open slot names no node")?))
}

fn parse_range(text: &str) -> Result<SlotRange, &'static str> {
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return Err("not a slot");
    }
    text.parse().map_err(|_| "not a slot or a range of slots")
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Result<u64, &'static str> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or("not a number")
}

fn port_number(text: &str) -> Result<u16, &'static str> {
    number(text).and_then(|port| u16::try_from(port).map_err(|_| "no such port"))
}

#[cfg(test)]
mod tests;
