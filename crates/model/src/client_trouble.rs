//! What keeps the clients of a server from being served, although the server lives.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What keeps clients of a server that answers its agent from being served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientTrouble {
    /// Why a new connection, made as clients make one, does not get through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessFault>,
    /// Clients are held back by somebody's `CLIENT PAUSE`. Engines before 7.2 do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
}

impl ClientTrouble {
    /// Is there none?
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a client that connects to the announced address with the cluster's password is not served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AccessFault {
    /// Nothing listens there: another port, or bound to another address.
    NotListening,
    /// It is not answered in time.
    NoAnswer,
    /// The user `default` is off, or has another password.
    PasswordRefused,
    /// Everybody is let in, without a password.
    NoPasswordNeeded,
    /// As many clients are connected as the server lets in.
    TooManyClients {
        /// The limit in force, which the engine lowers at its start when fewer files may be open.
        limit: Option<u64>,
    },
    /// It answers something else.
    Refused {
        /// The first word of the reply: `DENIED`.
        code: String,
    },
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(crate::Newer),
}

/// What `CLIENT PAUSE` holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Paused {
    /// Writes.
    Writes,
    /// Everything.
    All,
}

impl fmt::Display for AccessFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListening => f.write_str(
                "clients cannot connect: nothing listens at its address (`bind` or `port` changed by hand?)",
            ),
            Self::NoAnswer => f.write_str("clients that connect get no answer in time"),
            Self::PasswordRefused => f.write_str(
                "clients are refused: its user `default` is off or has another password than the cluster's",
            ),
            Self::NoPasswordNeeded => {
                f.write_str("lets everybody in without a password (`nopass` on its user `default`?)")
            }
            Self::TooManyClients { limit: Some(limit) } => write!(
                f,
                "new clients are refused: {limit} are connected, and `maxclients` in force is {limit} (the engine lowers it \
                 at its start when fewer files may be open)"
            ),
            Self::TooManyClients { limit: None } => {
                f.write_str("new clients are refused: as many are connected as `maxclients` allows")
            }
            Self::Newer(newer) => write!(f, "{newer}"),
            Self::Refused { code } => write!(f, "clients that connect are refused: {code}"),
        }
    }
}
