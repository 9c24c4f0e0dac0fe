//! The way of an agent to the Sentinels.

use crate::handle::Passwords;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use valkeeper_client::admin::Hello;
use valkeeper_client::{AdminConnection, AskError};
use valkeeper_model::{Address, ClusterName, InstanceName, SentinelFault, SentinelSeen};
use valkeeper_plan::mode::sentinel::Announcement;

/// What each Sentinel said.
pub(crate) type Seen = BTreeMap<InstanceName, SentinelSeen>;

/// Connections to Sentinels, kept. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SentinelLook {
    passwords: Passwords,
    connections: Arc<Mutex<BTreeMap<SocketAddr, AdminConnection>>>,
}

impl SentinelLook {
    pub(crate) fn new(passwords: Passwords) -> Self {
        Self { passwords, connections: Arc::default() }
    }

    /// Asks all of them at once.
    pub(crate) async fn look(
        &self,
        name: &ClusterName,
        sentinels: BTreeMap<InstanceName, Address>,
        within: Duration,
    ) -> Seen {
        self.forget_others(&sentinels);
        let mut looking = JoinSet::new();
        for (sentinel, address) in sentinels {
            let (connection, name) = (self.connection(&address), name.clone());
            looking.spawn(async move { (sentinel, view(&connection, &name, within).await) });
        }
        looking.join_all().await.into_iter().collect()
    }

    /// Tells those that are to be told, and asks all of them then.
    pub(crate) async fn tell(
        &self,
        announcement: Announcement,
        sentinels: BTreeMap<InstanceName, Address>,
        within: Duration,
    ) -> Seen {
        let Announcement { name, primary, config_epoch, to } = announcement;
        let mut telling = JoinSet::new();
        for (sentinel, sender) in to {
            let Some(address) = sentinels.get(&sentinel) else { continue };
            let (connection, name, primary) = (self.connection(address), name.clone(), primary.clone());
            telling.spawn(async move {
                let from = (sender.id, sender.address.socket());
                let hello = Hello { from, name: name.as_str(), primary: &primary, config_epoch };
                if let Err(error) = connection.hello(hello, within).await {
                    // The look that follows shows it, and what comes of it.
                    tracing::warn!(%sentinel, %error, "a Sentinel could not be told where the primary is");
                }
            });
        }
        telling.join_all().await;
        self.look(&name, sentinels, within).await
    }

    fn connection(&self, address: &Address) -> AdminConnection {
        let password = (self.passwords)().ok();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let at = address.socket();
        let connection =
            connections.entry(at).or_insert_with(|| AdminConnection::new(at, password.clone())).clone();
        // It may have been changed: used from the next connection on.
        connection.set_password(password);
        connection
    }

    fn forget_others(&self, sentinels: &BTreeMap<InstanceName, Address>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|at, _| sentinels.values().any(|address| address.socket() == *at));
    }
}

async fn view(connection: &AdminConnection, name: &ClusterName, within: Duration) -> SentinelSeen {
    SentinelSeen::Unseen(match connection.sentinel_view(name.as_str(), within).await {
        Ok(Some(view)) => return SentinelSeen::Known(view),
        Ok(None) => SentinelFault::UnknownPrimary { name: name.to_string() },
        Err(AskError::AuthRefused) => SentinelFault::AuthRefused,
        Err(error) if !error.alive() => SentinelFault::Silent { why: error.to_string() },
        Err(error) => SentinelFault::Other { said: error.to_string() },
    })
}
