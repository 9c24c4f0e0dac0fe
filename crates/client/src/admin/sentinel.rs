//! Questions to a Sentinel, and the message with which Sentinels tell each other where a primary is.

use super::connection::AdminConnection;
use super::error::AskError;
use super::info::fields_of;
use crate::Password;
use redis::{Value, cmd};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use valkeeper_model::{Address, Epoch, Followed, KnownReplica, NodeId, SentinelView};

/// The channel on which Sentinels listen to each other, and for which a Sentinel takes `PUBLISH` itself (`sentinel.c`).
const HELLO: &str = "__sentinel__:hello";

/// What a Sentinel tells others (`sentinelProcessHelloMessage`): a newer configuration epoch is taken at once.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// The Sentinel in whose name it is told: its id, and where it listens.
    pub from: (NodeId, SocketAddr),
    /// What they call the primary.
    pub name: &'a str,
    /// Where the primary is.
    pub primary: &'a Address,
    /// Since which configuration epoch.
    pub config_epoch: Epoch,
}

impl AdminConnection {
    /// What a Sentinel knows of a primary; `None` if it does not know one of that name.
    pub async fn sentinel_view(
        &self,
        name: &str,
        within: Duration,
    ) -> Result<Option<SentinelView>, AskError> {
        // `SENTINEL MASTER name` tells an unknown name from other errors by its text only.
        let primaries = self.maps(cmd("SENTINEL").arg("MASTERS"), within).await?;
        let Some(primary) = primaries.into_iter().find(|one| one.get("name").is_some_and(|is| is == name))
        else {
            return Ok(None);
        };
        let replicas = self.maps(cmd("SENTINEL").arg("SLAVES").arg(name), within).await?;
        let replicas: Result<Vec<_>, _> = replicas.iter().map(replica).collect();
        Ok(Some(SentinelView {
            primary: place(&primary)?,
            config_epoch: Epoch(number(&primary, "config-epoch")?),
            other_sentinels: number(&primary, "num-other-sentinels")?,
            replicas: replicas?,
            fails_over: has_flag(&primary, "failover_in_progress"),
        }))
    }

    /// Where a Sentinel sends clients that ask for the primary of that name; `None` if it knows none.
    pub async fn primary_by_sentinel(
        &self,
        name: &str,
        within: Duration,
    ) -> Result<Option<Followed>, AskError> {
        let Value::Array(parts) =
            (match self.ask(cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name), within).await? {
                Value::Nil => return Ok(None),
                answer => answer,
            })
        else {
            return Err(AskError::garbled("it is no address"));
        };
        let [host, port] = parts.as_slice() else { return Err(AskError::garbled("it is no address")) };
        let text = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
            Value::SimpleString(text) => Some(text.clone()),
            _ => None,
        };
        let port = text(port).and_then(|port| port.parse().ok());
        match (text(host), port) {
            (Some(host), Some(port)) => Ok(Some(Followed { host, port })),
            _ => Err(AskError::garbled("it is no address")),
        }
    }

    /// Tells a Sentinel where the primary is.
    pub async fn hello(&self, hello: Hello<'_>, within: Duration) -> Result<(), AskError> {
        let Hello { from: (id, at), name, primary, config_epoch } = hello;
        // The third number is the epoch of votes: 0 raises none.
        let message = format!(
            "{},{},{id},0,{name},{},{},{}",
            at.ip(),
            at.port(),
            primary.ip,
            primary.port,
            config_epoch.0
        );
        self.tell(cmd("PUBLISH").arg(HELLO).arg(message), within).await.map(drop)
    }

    /// Makes a user that has these passwords and these rights, and no others.
    pub async fn set_user(
        &self,
        user: &str,
        passwords: &[&Password],
        rights: &str,
        within: Duration,
    ) -> Result<(), AskError> {
        let mut set = cmd("ACL");
        set.arg("SETUSER").arg(user).arg("reset").arg("on");
        for password in passwords {
            set.arg(format!(">{}", password.reveal()));
        }
        for right in rights.split(' ') {
            set.arg(right);
        }
        let told = self.order(&set, within).await;
        told.map_err(|error| error.without_text("ACL SETUSER"))
    }

    async fn maps(
        &self,
        command: &redis::Cmd,
        within: Duration,
    ) -> Result<Vec<BTreeMap<String, String>>, AskError> {
        let Value::Array(entries) = self.ask(command, within).await? else {
            return Err(AskError::garbled("it is no list"));
        };
        entries.into_iter().map(|entry| fields_of("an entry", entry)).collect()
    }
}

fn field<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, AskError> {
    fields.get(name).map(String::as_str).ok_or_else(|| AskError::garbled(format!("there is no `{name}`")))
}

fn number<T: std::str::FromStr>(fields: &BTreeMap<String, String>, name: &str) -> Result<T, AskError> {
    field(fields, name)?.parse().map_err(|_| AskError::garbled(format!("`{name}` is no number")))
}

fn place(fields: &BTreeMap<String, String>) -> Result<Followed, AskError> {
    Ok(Followed { host: field(fields, "ip")?.to_owned(), port: number(fields, "port")? })
}

fn has_flag(fields: &BTreeMap<String, String>, flag: &str) -> bool {
    fields.get("flags").is_some_and(|flags| flags.split(',').any(|one| one == flag))
}

fn replica(fields: &BTreeMap<String, String>) -> Result<KnownReplica, AskError> {
    Ok(KnownReplica { at: place(fields)?, down: has_flag(fields, "s_down") })
}
