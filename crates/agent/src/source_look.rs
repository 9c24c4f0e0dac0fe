//! A look at the source of a cluster that follows another.

use crate::handle::Secrets;
use crate::sentinels_of_source::SentinelsOfSource;
use crate::source_gate::SourceGate;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use valkeeper_client::admin::{ReplicationRole, ServerInfo};
use valkeeper_client::{AdminConnection, AskError, Password};
use valkeeper_model::{Address, Followed, Source, SourceFault, SourcePlace, SourceView};
use valkeeper_plan::agent::{GateSeen, Passes};

/// The way to the source. Its name is resolved at each look, so that one that moves is found where it is; the connection is kept as long as
/// the name leads to the same place. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SourceLook {
    secrets: Secrets,
    kept: Arc<Mutex<Option<Kept>>>,
    gate: SourceGate,
    sentinels: SentinelsOfSource,
}

#[derive(Clone)]
struct Kept {
    source: Source,
    at: SocketAddr,
    connection: AdminConnection,
}

impl SourceLook {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            kept: Arc::default(),
            gate: SourceGate::default(),
            sentinels: SentinelsOfSource::default(),
        }
    }

    /// The source's password; `None` where it wants none.
    pub(crate) fn password(&self, source: &Source) -> Result<Option<Password>, SourceFault> {
        let Some(secret) = &source.auth_secret else { return Ok(None) };
        (self.secrets)(secret)
            .map(Some)
            .map_err(|why| SourceFault::PasswordUnusable { secret: secret.clone(), why })
    }

    /// The gate before the own server, told what it may let through; `None` if it cannot listen.
    pub(crate) async fn gate(&self, passes: Passes, seen: Option<&SourceView>) -> Option<GateSeen> {
        self.gate.told(passes, seen).await
    }

    pub(crate) async fn look(&self, source: &Source, within: Duration) -> Result<SourceView, SourceFault> {
        let password = self.password(source)?;
        let (found, within) = match &source.at {
            SourcePlace::Host { host, port } => {
                let unresolved = |why| SourceFault::Unresolved { why };
                (resolved((host, *port), within).await.map_err(unresolved)?, within)
            }
            // Half of the time is left for the source.
            SourcePlace::Sentinels { sentinel } => {
                let half = within / 2;
                (vec![self.sentinels.ask(sentinel, password.as_ref(), half).await?], half)
            }
        };
        let mut last = SourceFault::Unresolved { why: "the name has no address".to_owned() };
        // The one that answered last first: a name with several addresses must not lead to and fro.
        let known = self.kept().map(|kept| kept.at);
        let mut in_turn = found;
        in_turn.sort_by_key(|at| Some(*at) != known);
        let each = within / u32::try_from(in_turn.len().max(1)).unwrap_or(1);
        for at in in_turn {
            let connection = self.connection(source, at, password.as_ref());
            match connection.server_info(each).await {
                Ok(info) => return view(at, info),
                Err(error) => last = fault(&error),
            }
        }
        Err(last)
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connection(&self, source: &Source, at: SocketAddr, password: Option<&Password>) -> AdminConnection {
        if let Some(kept) = self.kept().filter(|kept| kept.at == at && kept.source == *source) {
            // It may have been changed: used from the next connection on.
            kept.connection.set_password(password.cloned());
            return kept.connection;
        }
        let connection = AdminConnection::new_as(source.user.clone(), at, password.cloned());
        let kept = Kept { source: source.clone(), at, connection: connection.clone() };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        connection
    }
}

/// The addresses of a name.
pub(crate) async fn resolved(name: (&str, u16), within: Duration) -> Result<Vec<SocketAddr>, String> {
    match tokio::time::timeout(within, tokio::net::lookup_host(name)).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

fn view(at: SocketAddr, info: ServerInfo) -> Result<SourceView, SourceFault> {
    if info.loading {
        return Err(SourceFault::Loading);
    }
    let follows = match &info.replication.role {
        ReplicationRole::Primary { .. } => None,
        ReplicationRole::Replica(link) => {
            Some(Followed { host: link.primary.host.clone(), port: link.primary.port })
        }
    };
    Ok(SourceView {
        address: Address {
            ip: at.ip(),
            port: at.port(),
            bus_port: at.port().wrapping_add(Address::BUS_OFFSET),
        },
        engine: info.engine,
        version: info.version,
        follows,
        cluster_mode: info.cluster_enabled,
        replid: info.replication.replid,
        branched_from: info.replication.branched_from(),
        offset: info.replication.offset,
        keys: info.keys,
    })
}

fn fault(error: &AskError) -> SourceFault {
    match error {
        AskError::AuthRefused => SourceFault::AuthRefused,
        AskError::NoPermission(said) => SourceFault::RightMissing { said: said.clone() },
        AskError::Loading => SourceFault::Loading,
        AskError::Timeout | AskError::Unreachable(_) | AskError::NoDescriptors => {
            SourceFault::Unreachable { why: error.to_string() }
        }
        AskError::Busy | AskError::MisConf(_) | AskError::Refused { .. } | AskError::Garbled { .. } => {
            SourceFault::Other { said: error.to_string() }
        }
    }
}
