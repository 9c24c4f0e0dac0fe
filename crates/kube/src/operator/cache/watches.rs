//! The watches: whatever changes in Kubernetes is known within milliseconds, and nothing is asked again and again.

use super::{Cache, Object, ObjectSeen, home_of, pod_seen};
use crate::operator::metrics::Phases;
use crate::wire::Home;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use valkeeper_kube_api::names::{LABEL_CLUSTER, LABEL_ZONE};
use valkeeper_kube_api::{RedisCluster, RedisClusterRequest};
use valkeeper_model::ZoneName;

/// Objects of a list that are read at a time: all pods of hundreds of clusters at once would be most of what the operator ever needs.
const PAGE: u32 = 50;

/// The longest pause before a watch that broke is taken up again: a definition that comes back is to be noticed.
const AGAIN_AT_LATEST: Duration = Duration::from_secs(5);

/// The client's own pauses, which grow to a minute, no longer than that.
#[derive(Default)]
struct Again(DefaultBackoff);

impl Iterator for Again {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(AGAIN_AT_LATEST))
    }
}

impl Backoff for Again {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Which namespaces are looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// These.
    Only(Vec<String>),
}

impl Scope {
    fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::All => vec![Api::all(client.clone())],
            Self::Only(names) => names.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
        }
    }
}

/// A change of what users write.
#[derive(Debug)]
pub(crate) enum Wished {
    /// A cluster, new or changed.
    Cluster(Home, Box<RedisCluster>),
    /// It is gone.
    Gone(Home),
    /// Something asked of a cluster.
    Request(Box<RedisClusterRequest>),
}

/// What the watches fill.
pub(crate) struct Watches {
    pub(crate) client: Client,
    pub(crate) scope: Scope,
    pub(crate) cache: Arc<Cache>,
    pub(crate) zones: watch::Sender<BTreeSet<ZoneName>>,
    /// Told of what may not be watched.
    pub(crate) phases: Arc<Phases>,
}

impl Watches {
    /// Starts all that say what is there; each of the receivers gets a message when the first look of one of them is complete.
    pub(crate) fn observe(&self) -> (usize, mpsc::UnboundedReceiver<()>) {
        let (complete, completed) = mpsc::unbounded_channel();
        let mut count = 0;
        let labelled = || all().labels(LABEL_CLUSTER);
        for api in self.scope.apis::<Pod>(&self.client) {
            count += 1;
            let cache = Arc::clone(&self.cache);
            let read = |pod: Pod| pod_seen(&pod).map(|(home, name, seen)| ((home, name), seen));
            let denied = self.denied(&api);
            follow(watcher(api, labelled()), (complete.clone(), denied), read, move |(home, name), seen| {
                cache.of(&home).saw_pod(name, seen);
            });
        }
        count += self.objects("PersistentVolumeClaim", &complete, ObjectSeen::of_claim);
        // A Secret's content is not kept.
        count += self.objects("Secret", &complete, |secret: &PartialObjectMeta<Secret>| {
            ObjectSeen::of(&secret.metadata)
        });
        count += self.objects("ConfigMap", &complete, |map: &PartialObjectMeta<ConfigMap>| {
            ObjectSeen::of(&map.metadata)
        });
        count += self.objects("Service", &complete, ObjectSeen::whole::<Service>);
        count += self.objects("PodDisruptionBudget", &complete, ObjectSeen::whole::<PodDisruptionBudget>);
        count += self.objects("NetworkPolicy", &complete, ObjectSeen::whole::<NetworkPolicy>);
        // Its version changes with each renewal, and nobody here acts on that.
        count += self.objects("Lease", &complete, |lease: &Lease| ObjectSeen {
            version: String::new(),
            ..ObjectSeen::whole(lease)
        });
        count += self.objects("ServiceAccount", &complete, ObjectSeen::whole::<ServiceAccount>);
        count += self.objects("Role", &complete, ObjectSeen::whole::<Role>);
        count += self.objects("RoleBinding", &complete, ObjectSeen::whole::<RoleBinding>);
        self.nodes(complete);
        (count + 1, completed)
    }

    fn objects<K>(
        &self,
        kind: &'static str,
        complete: &mpsc::UnboundedSender<()>,
        read: fn(&K) -> ObjectSeen,
    ) -> usize
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let apis = self.scope.apis::<K>(&self.client);
        let count = apis.len();
        for api in apis {
            let cache = Arc::clone(&self.cache);
            let denied = self.denied(&api);
            let stream = watcher(api, all().labels(LABEL_CLUSTER));
            let read = move |object: K| {
                let metadata = object.meta();
                let home = home_of(metadata.namespace.as_deref(), metadata.labels.as_ref())?;
                Some(((home, object.name_any()), read(&object)))
            };
            follow(stream, (complete.clone(), denied), read, move |(home, name), seen| {
                cache.of(&home).saw_object(Object::new(kind, &name), seen);
            });
        }
        count
    }

    /// Tells whether that may be watched: without it nothing can be looked after.
    fn denied<K: Resource>(&self, api: &Api<K>) -> impl Fn(String) + Send + use<K> + 'static {
        let (phases, path) = (Arc::clone(&self.phases), api.resource_url().to_owned());
        move |why| phases.denied(&path, &why)
    }

    fn nodes(&self, complete: mpsc::UnboundedSender<()>) {
        let zones = self.zones.clone();
        let mut of_nodes: BTreeMap<String, ZoneName> = BTreeMap::new();
        let cache = Arc::clone(&self.cache);
        let api = Api::<Node>::all(self.client.clone());
        let denied = self.denied(&api);
        let stream = watcher(api, all());
        let read = |node: Node| {
            let zone: Option<ZoneName> = node.labels().get(LABEL_ZONE).and_then(|zone| zone.parse().ok());
            Some((node.name_any(), (zone, is_silent(&node))))
        };
        follow(stream, (complete, denied), read, move |node, seen| {
            let (zone, is_silent) = seen.unwrap_or_default();
            cache.saw_node(&node, is_silent);
            match zone {
                Some(zone) => of_nodes.insert(node, zone),
                None => of_nodes.remove(&node),
            };
            let now: BTreeSet<ZoneName> = of_nodes.values().cloned().collect();
            zones.send_if_modified(|zones| {
                let changed = *zones != now;
                *zones = now;
                changed
            });
        });
    }

    /// Starts those that say what users want.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Wished> {
        let (sender, receiver) = mpsc::unbounded_channel();
        // Nobody waits for the first look of these.
        let (complete, _) = mpsc::unbounded_channel();
        for api in self.scope.apis::<RedisCluster>(&self.client) {
            let sender = sender.clone();
            let read = |mut cluster: RedisCluster| {
                // Kept as long as the cluster is there: who wrote which field is most of it, and nobody here asks. Nor for its version,
                // which every write of its status changes.
                cluster.metadata.managed_fields = None;
                cluster.metadata.resource_version = None;
                Some((home_of_cluster(&cluster)?, cluster))
            };
            let denied = self.denied(&api);
            follow(watcher(api, all()), (complete.clone(), denied), read, move |home, cluster| {
                let _ = sender.send(match cluster {
                    Some(cluster) => Wished::Cluster(home, Box::new(cluster)),
                    None => Wished::Gone(home),
                });
            });
        }
        for api in self.scope.apis::<RedisClusterRequest>(&self.client) {
            let sender = sender.clone();
            let read = |request: RedisClusterRequest| Some((request.metadata.uid.clone()?, request));
            let denied = self.denied(&api);
            follow(watcher(api, all()), (complete.clone(), denied), read, move |_, request| {
                if let Some(request) = request.filter(|request| !request.is_done()) {
                    let _ = sender.send(Wished::Request(Box::new(request)));
                }
            });
        }
        receiver
    }
}

/// Does Kubernetes not hear of it, or call it not ready?
fn is_silent(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status != "True")
}

/// That it may not be watched, in the API server's words.
fn denial(error: &watcher::Error) -> Option<&str> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))
    | watcher::Error::WatchError(status)) = error
    else {
        return None;
    };
    (status.code == 403).then_some(status.message.as_str())
}

fn all() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Where a cluster lives.
pub(crate) fn home_of_cluster(cluster: &RedisCluster) -> Option<Home> {
    let metadata = &cluster.metadata;
    Some(Home { namespace: metadata.namespace.clone()?, cluster: metadata.name.as_deref()?.parse().ok()? })
}

/// Follows one kind for ever. Of what is there only its identity is kept: what was there before a break of the watch and is not
/// there after it has been deleted meanwhile.
fn follow<K, S, Id, Value>(
    stream: S,
    (complete, denied): (mpsc::UnboundedSender<()>, impl Fn(String) + Send + 'static),
    read: impl Fn(K) -> Option<(Id, Value)> + Send + 'static,
    mut saw: impl FnMut(Id, Option<Value>) + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    S: Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
    Id: Ord + Clone + Send + 'static,
    Value: Send + 'static,
{
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream.backoff(Again::default()));
        let (mut known, mut before) = (BTreeSet::new(), BTreeSet::new());
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Init) => before = std::mem::take(&mut known),
                Ok(Event::InitApply(object) | Event::Apply(object)) => {
                    if let Some((id, value)) = read(object) {
                        before.remove(&id);
                        known.insert(id.clone());
                        saw(id, Some(value));
                    }
                }
                Ok(Event::InitDone) => {
                    for gone in std::mem::take(&mut before) {
                        saw(gone, None);
                    }
                    let _ = complete.send(());
                }
                Ok(Event::Delete(object)) => {
                    if let Some((id, _)) = read(object) {
                        known.remove(&id);
                        saw(id, None);
                    }
                }
                Err(error) => {
                    let kind = K::kind(&());
                    if let Some(why) = denial(&error) {
                        denied(why.to_owned());
                        tracing::warn!(why, %kind, "not allowed to watch; tried again");
                    } else {
                        tracing::warn!(%error, %kind, "a watch broke; it is taken up again");
                    }
                }
            }
        }
    });
}
