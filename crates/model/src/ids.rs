//! Names, ids and counters. Each is its own type so that no two can be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a valid id or name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    rule: &'static str,
}

fn dns_label(what: &'static str, text: &str, max: usize) -> Result<(), InvalidId> {
    let ok = !text.is_empty()
        && text.len() <= max
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    let rule = "use lower-case letters, digits and '-', no '-' at either end, not too long";
    if ok { Ok(()) } else { Err(InvalidId { what, text: text.to_owned(), rule }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                dns_label($what, text, $max)?;
                Ok(Self(text.to_owned()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A cluster's name, given by the user. At most 40 characters, so that instance and Service names fit 63.
    ClusterName, "cluster name", 40
);
name!(
    /// An instance's stable name, `<cluster>-<n>`.
    InstanceName, "instance name", 52
);
name!(
    /// A shard's name, `s0`, `s1`, … Stable over failovers: it names the slots' home, not a process.
    ShardName, "shard name", 12
);
name!(
    /// A failure domain.
    ZoneName, "zone name", 63
);

impl InstanceName {
    /// The `n`-th instance of a cluster.
    pub fn nth(cluster: &ClusterName, n: u32) -> Self {
        Self(format!("{cluster}-{n}"))
    }
}

impl ShardName {
    /// The `n`-th shard.
    pub fn nth(n: u32) -> Self {
        Self(format!("s{n}"))
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 20]);

        impl $name {
            /// From 20 random bytes.
            pub fn from_bytes(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }
            /// Its 20 bytes.
            pub fn bytes(self) -> [u8; 20] {
                self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let wrong = || InvalidId { what: $what, text: text.to_owned(), rule: "40 lower-case hexadecimal digits" };
                let bytes = text.as_bytes();
                if bytes.len() != 40 {
                    return Err(wrong());
                }
                let digit = |b: u8| match b {
                    b'0'..=b'9' => Ok(b - b'0'),
                    b'a'..=b'f' => Ok(b - b'a' + 10),
                    _ => Err(wrong()),
                };
                let mut id = [0u8; 20];
                for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
                    *byte = digit(pair[0])? << 4 | digit(pair[1])?;
                }
                Ok(Self(id))
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

hex_id!(
    /// A server's node id in the engine's cluster. Chosen by the planner, written into nodes.conf before the first start.
    NodeId, "node id"
);
hex_id!(
    /// The engine's id of a shard (Valkey, Redis from 7.2).
    ShardId, "shard id"
);
hex_id!(
    /// The identity of one cluster, so that data of another is never taken for ours (law 10).
    ClusterId, "cluster id"
);
hex_id!(
    /// `master_replid`: names one history of writes. Offsets compare only within one.
    ReplicationId, "replication id"
);

impl NodeId {
    /// The id of the source of a cluster that begins to follow after it was founded: no member's, as members draw theirs.
    pub fn of_source(cluster: ClusterId) -> Self {
        Self(cluster.0.map(|byte| !byte))
    }
}

impl ReplicationId {
    /// No history: forty zeros, as the engine writes it.
    pub const NONE: Self = Self([0; 20]);
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// Our counter on layout and agent orders. An agent refuses an older one; a commit needs the stored one.
    Generation
);
counter!(
    /// The engine's configuration epoch.
    Epoch
);
counter!(
    /// A position in the replication stream, in bytes.
    Offset
);
counter!(
    /// One run of a server process: a new number at each start. Commands meant for an earlier run are refused.
    Incarnation
);

/// Where a server answers. The bus address is the same host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// An IP address (the engine's bus takes nothing else).
    pub ip: std::net::IpAddr,
    /// The clients' port.
    pub port: u16,
    /// The cluster bus port.
    pub bus_port: u16,
}

impl Address {
    /// The engine's default bus port is the client port plus this.
    pub const BUS_OFFSET: u16 = 10_000;

    /// Host and port for clients.
    pub fn socket(&self) -> std::net::SocketAddr {
        (self.ip, self.port).into()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket().fmt(f)
    }
}

/// Monotonic time in milliseconds since an origin of the caller's choice. Decisions get it as data; they read no clock.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
    /// This time plus some milliseconds.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// What was asked for and may not have been seen. `Unknown` is never zero, empty or gone (law 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Observed<T> {
    /// Seen.
    Known(T),
    /// Not seen, and why.
    Unknown(Unseen),
}

/// Why something was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unseen {
    /// Not asked yet.
    NotAsked,
    /// No answer in time.
    Timeout,
    /// The connection was refused or broke.
    Unreachable,
    /// The server refused our password.
    AuthRefused,
    /// The answer could not be understood.
    Garbled,
    /// There is no process to ask.
    NotRunning,
    /// The server loads its data and answers nothing else.
    Loading,
    /// The disk that has to be read first does not answer.
    DiskSilent,
    /// The one who asks has no file descriptor left to ask with: nothing is said of who is asked.
    NoDescriptors,
    /// For a reason that only a newer version knows.
    #[serde(other)]
    Other,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "has not been asked yet",
            Self::Timeout => "did not answer in time",
            Self::Unreachable => "cannot be reached",
            Self::AuthRefused => "refuses the password",
            Self::Garbled => "gave an answer that could not be understood",
            Self::NotRunning => "does not run",
            Self::Loading => "is loading its data",
            Self::DiskSilent => "is held up: its disk does not answer",
            Self::NoDescriptors => "was not seen: no file descriptor is left to ask with",
            Self::Other => "was not seen, for a reason that only a newer version of Valkeeper knows",
        })
    }
}

impl<T> Observed<T> {
    /// The value, if seen.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}
