//! A client of the whole cluster, for a person's commands: it finds the slot's server, follows redirects, and when a
//! connection breaks tries the other servers at once instead of waiting for a new map.

use super::redirect::Redirect;
use super::shard_map::{Guides, MappedNode, PlainServer, ShardMap};
use crate::admin::{AdminConnection, AskError};
use crate::{Endpoint, Password, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use valkeeper_model::Slot;

/// Longest answer: the engine's largest value is 512 MB, and an array of values may hold several.
const LONGEST_ANSWER: u64 = 2 << 30;

/// Pauses between tries when the cluster answers, but not yet with what was asked.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
];

/// How long one server is waited for where any other could answer instead.
const PATIENCE: Duration = Duration::from_millis(500);

/// Redirects in a row without anything else: more are servers that point at each other.
const REDIRECTS: u32 = 16;

/// Why a command got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nobody could be asked where the slots are.
    #[error("no server of the cluster answers: {0}")]
    NoServer(AskError),
    /// The server's own error: the cluster works, the command does not.
    #[error("{0}")]
    Reply(AskError),
    /// The time is over. What was tried last ended so.
    #[error("not answered in time; last: {last}")]
    Timeout {
        /// The last try.
        last: AskError,
    },
    /// A command that needs a connection of its own.
    #[error("`{0}` needs a connection of its own")]
    Unsupported(String),
    /// There is no command.
    #[error("no command given")]
    Empty,
}

/// Sends commands where their keys are. A command whose connection breaks is sent again elsewhere, so it may be carried
/// out twice, as with every client that retries.
pub struct ClusterClient {
    seeds: Vec<Endpoint>,
    password: Option<Password>,
    known: Mutex<Known>,
}

/// A reply, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    /// The reply.
    pub value: Value,
    /// Who gave it, of a command without a key: any server might have been asked, and answers for itself.
    pub alone: Option<Endpoint>,
}

#[derive(Default)]
struct Known {
    map: Option<Arc<ShardMap>>,
    connections: HashMap<Endpoint, AdminConnection>,
}

impl ClusterClient {
    /// Connects to nothing yet.
    pub fn new(seeds: Vec<Endpoint>, password: Option<Password>) -> Self {
        Self { seeds, password, known: Mutex::default() }
    }

    /// Sends a command and answers the reply. Error replies of the server are [`ClusterError::Reply`].
    pub async fn command<A: AsRef<[u8]>>(&self, args: &[A], within: Duration) -> Result<Value, ClusterError> {
        Ok(self.deliver_command(args, within).await?.value)
    }

    /// The same, and who answered a command that has no key: it is about that server alone.
    pub async fn deliver_command<A: AsRef<[u8]>>(
        &self,
        args: &[A],
        within: Duration,
    ) -> Result<Delivered, ClusterError> {
        let deadline = Instant::now() + within;
        let name = args.first().ok_or(ClusterError::Empty)?;
        refuse_what_changes_the_connection(name.as_ref())?;
        let mut last = AskError::Timeout;
        let work = async {
            let map = self.map(within).await?;
            let slot = self.slot_of(args, &map, deadline).await?;
            self.deliver(args, slot, map, deadline, &mut last).await
        };
        match tokio::time::timeout_at(deadline, work).await {
            Ok(answer) => answer,
            Err(_) => Err(ClusterError::Timeout { last }),
        }
    }

    /// Sends a command to one server and nowhere else.
    pub async fn command_to<A: AsRef<[u8]>>(
        &self,
        endpoint: &Endpoint,
        args: &[A],
        within: Duration,
    ) -> Result<Value, ClusterError> {
        let name = args.first().ok_or(ClusterError::Empty)?;
        refuse_what_changes_the_connection(name.as_ref())?;
        self.connection(endpoint).raw(args, within).await.map_err(|error| match error {
            last @ AskError::Timeout => ClusterError::Timeout { last },
            error @ AskError::Unreachable(_) => ClusterError::NoServer(error),
            error => ClusterError::Reply(error),
        })
    }

    /// Asks all known servers where the slots are; the first to know answers.
    pub async fn shard_map(&self, within: Duration) -> Result<Arc<ShardMap>, ClusterError> {
        let mut asked = JoinSet::new();
        for connection in self.everyone() {
            asked.spawn(async move { place_of(&connection, within).await });
        }
        let mut failed = AskError::Unreachable("no server is known".to_owned());
        let mut plain = Vec::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(Place::Cluster(map))) if !map.shards.is_empty() => return Ok(self.learn(map)),
                Ok(Ok(Place::Cluster(_))) => failed = AskError::garbled("nobody owns a slot"),
                Ok(Ok(Place::Plain(server))) => {
                    let is_followed = server.is_followed();
                    plain.push(server);
                    if is_followed {
                        break;
                    }
                }
                Ok(Err(error)) => failed = error,
                Err(error) => failed = AskError::Unreachable(error.to_string()),
            }
        }
        let map = ShardMap::of_plain(&plain, &self.seeds);
        if map.shards.is_empty() {
            Err(ClusterError::NoServer(failed))
        } else {
            Ok(self.learn(self.with_seeds(map)))
        }
    }

    fn learn(&self, map: ShardMap) -> Arc<ShardMap> {
        let map = Arc::new(map);
        self.lock().map = Some(Arc::clone(&map));
        map
    }

    /// With every server that this client was told of: those without cluster mode do not know each other.
    fn with_seeds(&self, mut map: ShardMap) -> ShardMap {
        for shard in &mut map.shards {
            for seed in &self.seeds {
                let known = shard.primary.endpoint == *seed
                    || shard.replicas.iter().any(|replica| replica.endpoint == *seed);
                if !known {
                    shard.replicas.push(MappedNode { endpoint: seed.clone(), ..shard.primary.clone() });
                }
            }
        }
        map
    }

    /// The connection to one server, shared with this client.
    pub fn connection(&self, endpoint: &Endpoint) -> AdminConnection {
        let connect =
            || AdminConnection::with_longest_answer(endpoint.clone(), self.password.clone(), LONGEST_ANSWER);
        self.lock().connections.entry(endpoint.clone()).or_insert_with(connect).clone()
    }

    async fn map(&self, within: Duration) -> Result<Arc<ShardMap>, ClusterError> {
        let known = self.lock().map.clone();
        match known {
            Some(map) => Ok(map),
            None => self.shard_map(within).await,
        }
    }

    fn everyone(&self) -> Vec<AdminConnection> {
        let known = self.lock().map.clone();
        let mut places = self.seeds.clone();
        places.extend(known.iter().flat_map(|map| map.candidates(None)));
        places.sort_unstable();
        places.dedup();
        places.iter().map(|place| self.connection(place)).collect()
    }

    /// The slot of the command's first key, by the servers' own knowledge of their commands. One that no server can
    /// tell has no key or is wrong: then any server may answer, and if it is not the right one says so by a redirect.
    async fn slot_of<A: AsRef<[u8]>>(
        &self,
        args: &[A],
        map: &ShardMap,
        deadline: Instant,
    ) -> Result<Option<Slot>, ClusterError> {
        let question: Vec<&[u8]> =
            [&b"COMMAND"[..], b"GETKEYS"].into_iter().chain(args.iter().map(AsRef::as_ref)).collect();
        let mut failed = AskError::Timeout;
        for place in map.candidates(None) {
            match self.connection(&place).raw(&question, left(deadline).min(PATIENCE)).await {
                Ok(Value::Array(keys)) => {
                    return Ok(keys.first().and_then(|key| match key {
                        Value::BulkString(key) => Some(Slot::of_key(key)),
                        _ => None,
                    }));
                }
                Ok(_) | Err(AskError::Refused { .. }) => return Ok(None),
                Err(error) => failed = error,
            }
        }
        self.lock().map = None;
        Err(ClusterError::NoServer(failed))
    }

    async fn deliver<A: AsRef<[u8]>>(
        &self,
        args: &[A],
        slot: Option<Slot>,
        mut map: Arc<ShardMap>,
        deadline: Instant,
        last: &mut AskError,
    ) -> Result<Delivered, ClusterError> {
        let mut pauses = 0;
        loop {
            let mut places: VecDeque<_> = map.candidates(slot).into();
            let (mut asking, mut redirects) = (false, 0);
            while let Some(place) = places.pop_front() {
                let connection = self.connection(&place);
                let answer = if std::mem::take(&mut asking) {
                    connection.raw_asking(args, left(deadline)).await
                } else {
                    connection.raw(args, left(deadline)).await
                };
                match verdict(answer, &place, map.guides) {
                    Verdict::Done(Ok(value)) => {
                        let alone = slot.is_none().then_some(place);
                        return Ok(Delivered { value, alone });
                    }
                    // The server had all the time there was.
                    Verdict::Done(Err(last @ AskError::Timeout)) => {
                        return Err(ClusterError::Timeout { last });
                    }
                    Verdict::Done(Err(error)) => return Err(ClusterError::Reply(error)),
                    Verdict::Follow(error, redirect) => {
                        *last = error;
                        redirects += 1;
                        if redirects > REDIRECTS {
                            break;
                        }
                        let (to, ask) = match redirect {
                            Redirect::Moved(to) => (to, false),
                            Redirect::Ask(to) => (to, true),
                        };
                        self.lock().map = None;
                        asking = ask;
                        places.retain(|place| *place != to);
                        places.push_front(to);
                    }
                    Verdict::Elsewhere(error) => *last = error,
                    Verdict::Later(error) => {
                        *last = error;
                        break;
                    }
                }
            }
            tokio::time::sleep(PAUSES[pauses]).await;
            pauses = (pauses + 1).min(PAUSES.len() - 1);
            // With nobody to ask, the old map is the best there is.
            if let Ok(newer) = self.shard_map(left(deadline).min(PATIENCE)).await {
                map = newer;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server says of where the slots are.
enum Place {
    Cluster(ShardMap),
    Plain(PlainServer),
}

async fn place_of(connection: &AdminConnection, within: Duration) -> Result<Place, AskError> {
    let refused = match connection.cluster_nodes(within).await {
        Ok(view) => return Ok(Place::Cluster(ShardMap::of_view(&view, connection.endpoint()))),
        Err(refused @ AskError::Refused { .. }) => refused,
        Err(error) => return Err(error),
    };
    let info = connection.server_info(within).await?;
    if info.cluster_enabled {
        return Err(refused);
    }
    Ok(Place::Plain(PlainServer { endpoint: connection.endpoint().clone(), role: info.replication.role }))
}

/// What an answer means for the next try.
enum Verdict {
    Done(Result<Value, AskError>),
    Follow(AskError, Redirect),
    Elsewhere(AskError),
    Later(AskError),
}

fn verdict(answer: Result<Value, AskError>, asked: &Endpoint, guides: Guides) -> Verdict {
    let error = match answer {
        Ok(value) => return Verdict::Done(Ok(value)),
        Err(error) => error,
    };
    match &error {
        AskError::Unreachable(_) | AskError::NoDescriptors => Verdict::Elsewhere(error),
        AskError::Loading => Verdict::Later(error),
        AskError::Refused { code, text } => match Redirect::read(code, text, asked) {
            Some(redirect) => Verdict::Follow(error, redirect),
            // A replica, where no server sends on to its primary.
            None if code == "READONLY" && guides != Guides::Outside => Verdict::Elsewhere(error),
            None if matches!(code.as_str(), "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN") => {
                Verdict::Later(error)
            }
            None => Verdict::Done(Err(error)),
        },
        _ => Verdict::Done(Err(error)),
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Commands after which a shared connection would answer others what they did not ask.
fn refuse_what_changes_the_connection(name: &[u8]) -> Result<(), ClusterError> {
    const OWN: [&str; 15] = [
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SSUBSCRIBE",
        "UNSUBSCRIBE",
        "PUNSUBSCRIBE",
        "SUNSUBSCRIBE",
        "MONITOR",
        "SYNC",
        "PSYNC",
        "HELLO",
        "RESET",
        "QUIT",
        "MULTI",
        "EXEC",
        "WATCH",
    ];
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    if OWN.contains(&name.as_str()) { Err(ClusterError::Unsupported(name)) } else { Ok(()) }
}
