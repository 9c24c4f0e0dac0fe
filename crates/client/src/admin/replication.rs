//! `INFO replication`.

use super::error::AskError;
use super::info::Info;
use crate::Endpoint;
use std::time::Duration;
use valkeeper_model::{AttachedReplica, Link, Offset, Part, Position, Replication, ReplicationId};

/// What a server says of its replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationInfo {
    /// Primary or replica, with what only that one knows.
    pub role: ReplicationRole,
    /// The history that the offset counts in.
    pub replid: ReplicationId,
    /// The history it followed before its promotion.
    pub replid2: Option<ReplicationId>,
    /// Up to where that history is part of this one.
    pub second_offset: Option<Offset>,
    /// What a primary has written, or a replica has carried out.
    pub offset: Offset,
}

/// What depends on the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicationRole {
    /// A primary.
    Primary {
        /// The replicas attached to it.
        connected: Vec<ConnectedReplica>,
    },
    /// A replica.
    Replica(PrimaryLink),
}

/// A replica as its primary sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedReplica {
    /// Where it says it listens.
    pub endpoint: Endpoint,
    /// How far its sync is.
    pub state: ReplicaState,
    /// The last offset it acknowledged.
    pub offset: Offset,
    /// How long ago it acknowledged, in whole seconds; `None` if the server says -1.
    pub lag: Option<Duration>,
}

/// How far a replica's sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// Waits for the snapshot to be made.
    WaitBgsave,
    /// Is being sent the snapshot.
    SendBulk,
    /// Follows the stream.
    Online,
    /// A state between snapshot and stream that newer engines name.
    Other,
}

/// A replica's link to its primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryLink {
    /// Its primary.
    pub primary: Endpoint,
    /// Is the link up?
    pub link_up: bool,
    /// Is a full sync on?
    pub sync_in_progress: bool,
    /// How long the link has been down; `None` while it is up, and when it never was up in this run.
    pub link_down_since: Option<Duration>,
    /// What it has read from the primary; carried out is [`ReplicationInfo::offset`].
    pub read_offset: Option<Offset>,
}

impl PrimaryLink {
    /// The link in one word.
    pub fn link(&self) -> Link {
        match (self.link_up, self.sync_in_progress, self.link_down_since) {
            (true, ..) => Link::Up,
            (false, true, _) => Link::Syncing,
            (false, false, Some(_)) => Link::Lost,
            (false, false, None) => Link::NeverUp,
        }
    }
}

/// Forty zeros stand for none. A replica that had no name of a history, and was promoted, shows an empty one for it.
fn former_history(info: &Info<'_>) -> Result<Option<ReplicationId>, AskError> {
    if info.is("master_replid2", "") {
        return Ok(None);
    }
    Ok(info.optional("master_replid2")?.filter(|id| *id != ReplicationId::NONE))
}

impl ReplicationInfo {
    pub(super) fn parse(text: &str) -> Result<Self, AskError> {
        Self::from_info(&Info::new(text))
    }

    pub(super) fn from_info(info: &Info<'_>) -> Result<Self, AskError> {
        let (role, offset) = match info.text("role") {
            Some("master") => {
                (ReplicationRole::Primary { connected: connected(info)? }, "master_repl_offset")
            }
            Some("slave") => (ReplicationRole::Replica(primary_link(info)?), "slave_repl_offset"),
            _ => return Err(AskError::garbled("`role` is neither master nor slave")),
        };
        // A replica whose primary refuses it `psync` follows by the old `SYNC`, which tells it neither history nor place: one is what it
        // was before, or empty, the other begins at -1, and so does its backlog, which elsewhere begins at 1 or later.
        let from_nowhere = info.is("role", "slave")
            && info.flag("repl_backlog_active")
            && info.is("repl_backlog_first_byte_offset", "0");
        let placeless = info.text("master_replid") == Some("") || info.is(offset, "-1") || from_nowhere;
        let replid = if placeless { ReplicationId::NONE } else { info.needed("master_replid")? };
        Ok(Self {
            role,
            replid,
            replid2: former_history(info)?,
            second_offset: signed(info, "second_repl_offset")?.map(Offset),
            offset: Offset(signed(info, offset)?.unwrap_or(0)),
        })
    }

    /// The history before this one, and the last offset that is part of both. The engine shows the first one that is not.
    pub fn branched_from(&self) -> Option<Position> {
        let offset = Offset(self.second_offset?.0.checked_sub(1)?);
        Some(Position { history: self.replid2?, offset })
    }

    /// The link, on a replica.
    pub fn link(&self) -> Option<Link> {
        match &self.role {
            ReplicationRole::Primary { .. } => None,
            ReplicationRole::Replica(link) => Some(link.link()),
        }
    }
}

/// What the model keeps of it. Replicas that announce a name instead of an address have no place there.
impl From<ReplicationInfo> for Replication {
    fn from(info: ReplicationInfo) -> Self {
        let part = match info.role {
            ReplicationRole::Replica(link) => Part::Replica { link: link.link() },
            ReplicationRole::Primary { connected } => Part::Primary {
                replicas: connected
                    .into_iter()
                    .filter_map(|replica| {
                        Some(AttachedReplica {
                            address: replica.endpoint.socket()?,
                            online: replica.state == ReplicaState::Online,
                            acknowledged: replica.offset,
                        })
                    })
                    .collect(),
            },
        };
        Self { part, replid: info.replid, offset: info.offset }
    }
}

fn primary_link(info: &Info<'_>) -> Result<PrimaryLink, AskError> {
    let primary = Endpoint::new(info.needed::<String>("master_host")?, info.needed("master_port")?);
    let link_up = match info.text("master_link_status") {
        Some("up") => true,
        Some("down") => false,
        _ => return Err(AskError::garbled("`master_link_status` is neither up nor down")),
    };
    Ok(PrimaryLink {
        primary,
        link_up,
        sync_in_progress: info.flag("master_sync_in_progress"),
        link_down_since: signed(info, "master_link_down_since_seconds")?.map(Duration::from_secs),
        read_offset: signed(info, "slave_read_repl_offset")?.map(Offset),
    })
}

/// `slave0:ip=…,port=…,state=…,offset=…,lag=…`, as many as `connected_slaves` says. One that is between states has no
/// line although it is counted, so gaps are no error.
fn connected(info: &Info<'_>) -> Result<Vec<ConnectedReplica>, AskError> {
    let count: u32 = info.needed("connected_slaves")?;
    (0..count.min(4096)).filter_map(|i| info.text(&format!("slave{i}"))).map(connected_replica).collect()
}

fn connected_replica(line: &str) -> Result<ConnectedReplica, AskError> {
    let wrong = || AskError::garbled(format!("an attached replica is `{line}`"));
    let field = |name: &str| {
        line.split(',')
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let state = match field("state").ok_or_else(wrong)? {
        "wait_bgsave" => ReplicaState::WaitBgsave,
        "send_bulk" => ReplicaState::SendBulk,
        "online" => ReplicaState::Online,
        _ => ReplicaState::Other,
    };
    let number = |name| field(name).and_then(|text| text.parse::<i64>().ok()).ok_or_else(wrong);
    let port = u16::try_from(number("port")?).map_err(|_| wrong())?;
    Ok(ConnectedReplica {
        endpoint: Endpoint::new(field("ip").ok_or_else(wrong)?, port),
        state,
        offset: Offset(u64::try_from(number("offset")?).unwrap_or(0)),
        lag: u64::try_from(number("lag")?).ok().map(Duration::from_secs),
    })
}

/// A number for which the engine says -1 when there is none.
fn signed(info: &Info<'_>, name: &str) -> Result<Option<u64>, AskError> {
    Ok(info.optional::<i64>(name)?.and_then(|number| u64::try_from(number).ok()))
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
