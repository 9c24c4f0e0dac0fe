//! Following another cluster (`spec.replicaMode`): what is wanted of it, what the layout holds of it, what agents are told and what they have
//! seen of the *source*, the followed primary.

use crate::spec::printable;
use crate::{
    AutomaticPromotion, DataLoss, Demotion, DemotionHold, InstanceName, Link, Newer, NodeId, Offset,
    PasswordFault, Position, PromotionPoint, ReplicationId, SourceWitness, UsedToken,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The primary that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The source's name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Where it is found.
    #[serde(flatten)]
    pub at: SourcePlace,
    /// The user to connect as; without: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The Secret whose key `password` is its password; `None` where it wants none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret: Option<String>,
}

/// Where a source is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SourcePlace {
    /// At one place.
    Host {
        /// An address or a name.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Where Sentinels say.
    Sentinels {
        /// Which, and what they call it.
        sentinel: SourceSentinels,
    },
}

/// The Sentinels that know where a source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceSentinels {
    /// Where they answer: `host` or `host:port`. A majority of them has to say the same.
    pub hosts: Vec<String>,
    /// What they call the primary.
    #[serde(rename = "masterName")]
    pub primary_name: String,
}

impl SourceSentinels {
    /// The port of a Sentinel whose entry has none.
    pub const DEFAULT_PORT: u16 = 26_379;

    /// Host and port of each; an entry that is malformed is left out, which the reader of manifests refuses.
    pub fn places(&self) -> impl Iterator<Item = (&str, u16)> {
        self.hosts.iter().filter_map(|entry| host_and_port(entry))
    }
}

/// The parts of `host`, `host:port`, `[address]:port` or an address of either kind.
pub fn host_and_port(entry: &str) -> Option<(&str, u16)> {
    if entry.parse::<std::net::IpAddr>().is_ok() {
        return Some((entry, SourceSentinels::DEFAULT_PORT));
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (entry, SourceSentinels::DEFAULT_PORT),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_bracketed = bare.is_some_and(|bare| bare.parse::<std::net::Ipv6Addr>().is_ok());
    match bare {
        Some(bare) if is_bracketed => Some((bare, port)),
        _ if host.is_empty() || host.contains(':') => None,
        _ => Some((host, port)),
    }
}

impl Source {
    /// `spec.replicaMode.source.port` when the manifest has none.
    pub const DEFAULT_PORT: u16 = 6_379;

    /// What people call it: by its name, or by where it answers.
    pub fn name(&self) -> String {
        self.cluster_name.clone().unwrap_or_else(|| self.place())
    }

    /// Host and port, or what Sentinels call it and which.
    pub fn place(&self) -> String {
        match &self.at {
            SourcePlace::Host { host, port } => {
                let host = printable(host);
                if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
            }
            SourcePlace::Sentinels { sentinel } => {
                let hosts: Vec<_> = sentinel.hosts.iter().map(|host| printable(host)).collect();
                format!("{} of the Sentinels {}", printable(&sentinel.primary_name), hosts.join(", "))
            }
        }
    }
}

/// `spec.replicaMode` with `enabled: true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaModeSpec {
    /// What is followed.
    pub source: Source,
    /// Is the following to end, and the designated member to become a primary?
    #[serde(default)]
    pub promote: bool,
    /// The token of the source's promotion, as it was written: what of the cluster's own data the source has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Has a person accepted that the cluster's own data is replaced?
    #[serde(default, skip_serializing_if = "DataLoss::is_refused")]
    pub data_loss: DataLoss,
    /// Is it promoted without a person when the source is out of reach?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<AutomaticPromotion>,
}

/// What the layout holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaMode {
    /// What is followed, or was.
    pub source: Source,
    /// The source's id in the files in which agents keep who is the primary.
    pub node_id: NodeId,
    /// How far it is.
    pub stage: ReplicaModeStage,
    /// What the source does that one copy was held back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackCopy>,
    /// Up to here a person has accepted what the source does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Position>,
    /// While a cluster with data of its own goes over to following: what of it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demotion: Option<Demotion>,
    /// While the source is about to be promoted in this cluster's place: what this held before, and holds again if that is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_handover: Option<Box<BeforeHandover>>,
    /// The token by which it has gone over last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_token: Option<UsedToken>,
    /// When it is promoted without a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<AutomaticPromotion>,
    /// Of a promotion without a person: who could not reach the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<SourceWitness>,
}

/// What a cluster held of following before it was to hand over to its copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BeforeHandover {
    /// `None` of one that had never followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_mode: Option<Box<ReplicaMode>>,
}

/// The copy that is held back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBackCopy {
    /// Whose.
    pub instance: InstanceName,
    /// From what.
    pub why: HeldBack,
}

/// What would replace or empty a copy, and is held back from it until a person accepts it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "heldBack", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HeldBack {
    /// The source removed all its keys (`FLUSHALL`, `FLUSHDB`).
    Flushed {
        /// At this place of its stream.
        offset: Offset,
    },
    /// The source is another one, or came back with other data: its history does not go on where the copy is.
    OtherHistory {
        /// Its history.
        history: ReplicationId,
        /// So many keys it holds.
        keys: u64,
    },
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flushed { offset } => write!(f, "the source removed all its keys, at offset {}", offset.0),
            Self::OtherHistory { keys, .. } => {
                write!(f, "the source has data of another history, with {keys} keys")
            }
        }
    }
}

/// How far a cluster that follows another is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReplicaModeStage {
    /// It follows.
    Following,
    /// It was told to stop following: the designated member is to become the primary.
    Promoting {
        /// The designated member; `None` before it is chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        designated: Option<InstanceName>,
    },
    /// It follows no more.
    Promoted {
        /// Who became the primary.
        designated: InstanceName,
        /// What of the source's writes it may lack; `None` where its agent was replaced before it could tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loss: Option<PromotionLoss>,
        /// Where that was; `None` where the server had begun another history before that was seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        point: Option<PromotionPoint>,
    },
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(Newer),
}

impl ReplicaModeStage {
    /// Is the source the primary until further notice?
    pub fn follows(&self) -> bool {
        matches!(self, Self::Following | Self::Promoting { .. })
    }
}

impl ReplicaMode {
    /// Is the source the primary until further notice?
    pub fn follows(&self) -> bool {
        self.stage.follows()
    }
}

/// A bound on what a promotion has lost: everything up to the offset of the source that was seen last, but for so many bytes; and whatever
/// the source took since that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromotionLoss {
    /// Bytes of the source's stream that were seen to exist and had not come; `None` if the source was never seen.
    pub behind_bytes: Option<u64>,
    /// How long before the promotion the source was seen last, milliseconds; `None` if never.
    pub unseen_ms: Option<u64>,
}

impl fmt::Display for PromotionLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.behind_bytes, self.unseen_ms) {
            (Some(bytes), Some(ms)) => {
                let seconds = |ms: u64| format!("{}.{:03} s", ms / 1_000, ms % 1_000);
                write!(
                    f,
                    "{bytes} bytes behind the last offset of the source that was seen, {} before the promotion",
                    seconds(ms)
                )
            }
            _ => {
                f.write_str("how much of the source's writes it lacks is not known: the source was not seen")
            }
        }
    }
}

/// What an agent is told of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceOrder {
    /// The source.
    #[serde(flatten)]
    pub source: Source,
    /// Its id in the file of roles.
    pub node_id: NodeId,
    /// Who is to become the primary in its place; `None` while it is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<InstanceName>,
    /// Whose copy is kept from what would empty all copies at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<InstanceName>,
    /// What that copy is held back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// Up to here a person has accepted what the source does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Position>,
    /// While the cluster goes over to following: what of its own data is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demotion: Option<Demotion>,
}

/// The source as one agent has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Where its name leads.
    pub address: crate::Address,
    /// Valkey or Redis.
    pub engine: crate::EngineKind,
    /// Its version.
    pub version: String,
    /// Its own primary, if it is a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<crate::Followed>,
    /// Does it run in the engine's cluster mode?
    pub cluster_mode: bool,
    /// The history that its offset counts in.
    pub replid: ReplicationId,
    /// The history before that one, and where it branched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branched_from: Option<Position>,
    /// How far its stream is.
    pub offset: Offset,
    /// Number of keys.
    pub keys: u64,
}

/// Why a source cannot be followed, or not be seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SourceFault {
    /// Its name leads nowhere.
    #[error("its name cannot be resolved: {why}")]
    Unresolved {
        /// What the resolver says.
        why: String,
    },
    /// Its Sentinels do not say where it is.
    #[error("its Sentinels do not say where it is: {why}")]
    NotTold {
        /// What each says.
        why: String,
    },
    /// Nobody answers there.
    #[error("does not answer: {why}")]
    Unreachable {
        /// What was tried.
        why: String,
    },
    /// It wants another password, or does not know the user.
    #[error("refuses the password")]
    AuthRefused,
    /// The Secret cannot be used.
    #[error("the password in `{secret}` cannot be used: {why}")]
    PasswordUnusable {
        /// Its name.
        secret: String,
        /// Why not.
        why: PasswordFault,
    },
    /// The user may not use a command that following needs.
    #[error("its user has not the rights that following takes: {said}")]
    RightMissing {
        /// In its own words.
        said: String,
    },
    /// It reads its data.
    #[error("is loading its data")]
    Loading,
    /// It runs in the engine's cluster mode: its slots belong to several primaries.
    #[error("runs in cluster mode, and only one of its primaries would be followed")]
    ClusterMode,
    /// Its name leads to a member of the cluster that is to follow it.
    #[error("its name leads to {instance}, a member of this cluster")]
    IsMember {
        /// Which.
        instance: InstanceName,
    },
    /// It follows a member of the cluster that is to follow it.
    #[error("it follows {instance}, a member of this cluster: the two would follow each other")]
    FollowsMember {
        /// Which.
        instance: InstanceName,
    },
    /// It is newer than the servers that are to follow it, and they cannot read what it sends.
    #[error("is {theirs}, whose data {ours} cannot read")]
    TooNew {
        /// The source's version.
        theirs: String,
        /// Our servers'.
        ours: String,
    },
    /// It refuses for another reason.
    #[error("{said}")]
    Other {
        /// In its own words.
        said: String,
    },
}

impl SourceFault {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unresolved { .. } => "correct spec.replicaMode.source.host",
            Self::NotTold { .. } => {
                "are hosts and masterName under spec.replicaMode.source.sentinel right? A majority of the hosts has to name the same address"
            }
            Self::Unreachable { .. } => {
                "is spec.replicaMode.source.port right, and may connections pass from here to there?"
            }
            Self::AuthRefused => {
                "the Secret that spec.replicaMode.source.authSecretName names must hold the source's password"
            }
            Self::PasswordUnusable { .. } => "`valkeeper secret set NAME --from-file password=FILE` makes it",
            Self::RightMissing { .. } => {
                "give the user of spec.replicaMode.source.user `+psync +replconf +ping +info` on the source"
            }
            Self::ClusterMode => "follow a source in mode standalone or sentinel",
            Self::IsMember { .. } | Self::FollowsMember { .. } => "name another source",
            Self::TooNew { .. } => "use servers of the source's version, or of a newer one",
            Self::Loading | Self::Other { .. } => return None,
        })
    }

    /// Must the source not be followed, although it answers?
    pub fn forbids(&self) -> bool {
        matches!(
            self,
            Self::ClusterMode | Self::IsMember { .. } | Self::FollowsMember { .. } | Self::TooNew { .. }
        )
    }
}

/// What an agent reports of the source, and of its own server's place behind it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    /// Bytes that its server is behind the source's stream, by the last look that was answered; `None` while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// How long ago that look was, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms_ago: Option<u64>,
    /// Where the source's stream was at that look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Why the source cannot be seen, or not be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<SourceFault>,
    /// What its server's copy is held back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// What its server lacked when it became the primary in the source's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<PromotionLoss>,
    /// What keeps its server, a primary, from being demoted for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demotion_hold: Option<DemotionHold>,
}

/// What people are told of a cluster that follows another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaModeReport {
    /// What is followed, or was.
    pub source: Source,
    /// How far it is.
    pub stage: ReplicaModeStage,
    /// Who becomes the primary when the cluster is promoted, or has become it.
    pub designated: Option<InstanceName>,
    /// The designated's link to the source.
    pub link: Option<Link>,
    /// How many bytes the designated is behind the source, by the last look at the source that was answered.
    pub lag_bytes: Option<u64>,
    /// How long ago that look was, milliseconds.
    pub lag_age_ms: Option<u64>,
    /// The copy that is held back from what the source does, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackCopy>,
    /// Of a cluster that was promoted: the token of that, for the cluster that is to follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}
