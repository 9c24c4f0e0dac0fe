//! A small API server in memory behind the real client, for tests: objects by compare-and-set, lists, watches, refusals on demand.
//! It fills in and checks only what the operator relies on; what a real one does beside that is tried in a real Kubernetes.

mod address;

use crate::objects::shape::tests::merge;
use address::Address;
pub(super) use address::Verb;
use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// A write is seen by then, however busy the machine is.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By kind in the plural, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    version: u64,
    changes: Vec<Change>,
    watchers: Vec<(Address, mpsc::UnboundedSender<Bytes>)>,
    refusals: Vec<Refused>,
    writes: Vec<Write>,
}

/// What a watch tells.
#[derive(Clone)]
struct Change {
    version: u64,
    kind: String,
    namespace: String,
    event: &'static str,
    object: Value,
}

/// Requests that are refused.
struct Refused {
    verb: Verb,
    kind: &'static str,
    times: usize,
    status: Value,
}

/// A write that the operator has asked for.
#[derive(Clone)]
pub(super) struct Write {
    /// As in `create pods/demo-0`.
    pub(super) what: String,
    /// The HTTP status it was answered with.
    pub(super) code: u16,
    pub(super) body: Value,
}

/// The API server's answer when it does not do what it is asked.
pub(super) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

fn conflict() -> Value {
    failure(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
}

impl FakeApi {
    /// A client of it.
    pub(super) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        Client::new(service, "default")
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody else makes an object, or writes it anew.
    pub(super) fn put(&self, kind: &str, object: Value) {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        self.state().store(kind, &namespace, object);
    }

    /// Somebody else edits an object.
    pub(super) fn edit(&self, kind: &str, name: &str, patch: &Value) {
        let mut object = self.object(kind, name).unwrap();
        merge(&mut object, patch);
        self.put(kind, object);
    }

    /// Somebody else deletes an object.
    pub(super) fn delete(&self, kind: &str, name: &str) {
        let mut state = self.state();
        let key = state.objects.keys().find(|(of, _, named)| of == kind && named == name).cloned().unwrap();
        state.remove(&key);
    }

    /// Answers so many requests of that kind with this instead.
    pub(super) fn refuse(&self, verb: Verb, kind: &'static str, times: usize, status: Value) {
        self.state().refusals.push(Refused { verb, kind, times, status });
    }

    /// Refuses nothing any more.
    pub(super) fn allow(&self) {
        self.state().refusals.clear();
    }

    pub(super) fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let state = self.state();
        let mut objects = state.objects.iter();
        objects.find(|((of, _, named), _)| of == kind && named == name).map(|(_, object)| object.clone())
    }

    pub(super) fn names(&self, kind: &str) -> BTreeSet<String> {
        let state = self.state();
        state.objects.keys().filter(|(of, _, _)| of == kind).map(|(_, _, name)| name.clone()).collect()
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.names(kind).len()
    }

    /// What the operator has asked to be written until now.
    pub(super) fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    /// Waits until that is so.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(SEEN_WITHIN, waiting).await.is_err() {
            let writes: Vec<String> =
                self.writes().iter().map(|write| format!("{} {}", write.what, write.code)).collect();
            panic!("{what}: not within {SEEN_WITHIN:?}; written: {writes:#?}");
        }
    }

    async fn answer(&self, request: Request<Body>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let address = Address::of(&head.method, &head.uri);
        let mut state = self.state();
        if address.verb == Verb::Watch {
            return Response::new(state.watch(address));
        }
        let answer = match state.refusal(&address) {
            Some(refusal) => Err(refusal),
            None => state.carry_out(&address, &body),
        };
        let (code, text) = match &answer {
            Ok(object) => (200, object.to_string()),
            Err(status) => {
                (status["code"].as_u64().and_then(|code| code.try_into().ok()).unwrap(), status.to_string())
            }
        };
        if address.verb.writes() {
            let name = body["metadata"]["name"].as_str().unwrap_or(&address.name);
            let what = format!("{} {}/{name}", address.verb.as_str(), address.kind);
            state.writes.push(Write { what, code, body });
        }
        let body = Full::new(Bytes::from(text)).boxed_unsync();
        Response::builder().status(code).body(body).unwrap()
    }
}

impl State {
    fn refusal(&mut self, address: &Address) -> Option<Value> {
        let matches =
            |one: &&mut Refused| one.times > 0 && one.verb == address.verb && one.kind == address.kind;
        let found = self.refusals.iter_mut().find(matches)?;
        found.times -= 1;
        Some(found.status.clone())
    }

    fn watch(&mut self, address: Address) -> UnsyncBoxBody<Bytes, Infallible> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let missed = self.changes.iter().filter(|change| change.version > address.since);
        for change in missed.filter(|change| change.is_for(&address)) {
            let _ = sender.send(change.line());
        }
        self.watchers.push((address, sender));
        let lines = stream::unfold(receiver, async |mut receiver: mpsc::UnboundedReceiver<Bytes>| {
            let line = receiver.recv().await?;
            Some((Ok(Frame::data(line)), receiver))
        });
        StreamBody::new(lines).boxed_unsync()
    }

    fn carry_out(&mut self, address: &Address, body: &Value) -> Result<Value, Value> {
        let key = (address.kind.clone(), address.namespace.clone(), address.name.clone());
        let there = self.objects.get(&key).cloned();
        let missing = || failure(404, "NotFound", &format!("{} {:?} not found", address.kind, address.name));
        match address.verb {
            Verb::List => {
                let version = self.version.to_string();
                let selected = self
                    .objects
                    .iter()
                    .filter(|((kind, namespace, _), object)| address.selects(kind, namespace, object));
                let items: Vec<&Value> = selected.map(|(_, object)| object).collect();
                let metadata = json!({ "resourceVersion": version });
                Ok(json!({ "apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items }))
            }
            Verb::Get | Verb::Watch => there.ok_or_else(missing),
            Verb::Create => {
                let mut object = body.clone();
                if let Some(prefix) = object["metadata"]["generateName"].as_str() {
                    object["metadata"]["name"] = json!(format!("{prefix}{}", self.version));
                }
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if self.objects.contains_key(&(key.0, key.1, name)) {
                    return Err(failure(409, "AlreadyExists", "it already exists"));
                }
                object["metadata"]["namespace"] = json!(address.namespace);
                Ok(self.store(&address.kind, &address.namespace, object))
            }
            Verb::Update => {
                let there = there.ok_or_else(missing)?;
                if body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"] {
                    return Err(conflict());
                }
                Ok(self.store(&address.kind, &address.namespace, body.clone()))
            }
            Verb::Patch => {
                let there = there.ok_or_else(missing)?;
                let holds = |key: &str| {
                    let wanted = &body["metadata"][key];
                    wanted.is_null() || *wanted == there["metadata"][key]
                };
                if !holds("uid") || !holds("resourceVersion") {
                    return Err(conflict());
                }
                let mut object = there.clone();
                merge(&mut object, body);
                // What changes nothing is no change: no watch tells of it.
                if object == there {
                    return Ok(there);
                }
                Ok(self.store(&address.kind, &address.namespace, object))
            }
            Verb::Delete => {
                let there = there.ok_or_else(missing)?;
                let wanted = &body["preconditions"]["uid"];
                if !wanted.is_null() && *wanted != there["metadata"]["uid"] {
                    return Err(conflict());
                }
                self.remove(&key);
                Ok(json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }))
            }
        }
    }

    /// With what an API server fills in.
    fn store(&mut self, kind: &str, namespace: &str, mut object: Value) -> Value {
        self.version += 1;
        let version = self.version;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(version.to_string());
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("uid-{version}"));
            metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        if let Some(text) = object.as_object_mut().and_then(|object| object.remove("stringData")) {
            for (key, value) in text.as_object().into_iter().flatten() {
                let bytes = value.as_str().unwrap_or_default().as_bytes().to_vec();
                object["data"][key] = json!(ByteString(bytes));
            }
        }
        if kind == "services" && object["spec"]["clusterIP"].is_null() {
            object["spec"]["clusterIP"] = json!("10.96.0.7");
        }
        let key = (kind.to_owned(), namespace.to_owned(), name);
        let event = if self.objects.insert(key, object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        self.tell(kind, namespace, event, &object);
        object
    }

    fn remove(&mut self, key: &(String, String, String)) {
        let Some(mut object) = self.objects.remove(key) else { return };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(&key.0, &key.1, "DELETED", &object);
    }

    fn tell(&mut self, kind: &str, namespace: &str, event: &'static str, object: &Value) {
        let (kind, namespace) = (kind.to_owned(), namespace.to_owned());
        let change = Change { version: self.version, kind, namespace, event, object: object.clone() };
        self.watchers
            .retain(|(address, sender)| !change.is_for(address) || sender.send(change.line()).is_ok());
        self.changes.push(change);
    }
}

impl Change {
    fn is_for(&self, address: &Address) -> bool {
        address.selects(&self.kind, &self.namespace, &self.object)
    }

    fn line(&self) -> Bytes {
        Bytes::from(format!("{}\n", json!({ "type": self.event, "object": self.object })))
    }
}
