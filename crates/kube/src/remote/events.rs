//! What happened, as Kubernetes keeps it: for an hour, where nothing else is configured.

use super::error::RemoteError;
use super::reach::Remote;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use std::collections::BTreeMap;
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::ANNOTATION_HAPPENED;
use valkeeper_model::Happened;

/// One event; equal ones are one with a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSeen {
    /// When it was seen last.
    pub at: Timestamp,
    /// What kind of thing happened.
    pub event: String,
    /// In words.
    pub message: String,
    /// How often.
    pub count: i32,
    /// The same as it was written, if it can be read.
    #[serde(skip)]
    pub happened: Option<Happened>,
}

/// Events as they come.
pub struct EventsFollowed {
    remote: Remote,
    uid: String,
    stream: BoxStream<'static, Result<watcher::Event<Event>, watcher::Error>>,
    /// Counts, by the object's name: what was told already is not told again after a break of the watch.
    told: BTreeMap<String, i32>,
    first: Vec<(String, EventSeen)>,
}

impl Remote {
    /// All that are kept, oldest first.
    pub async fn events(&self) -> Result<Vec<EventSeen>, RemoteError> {
        let uid = self.object().await?.uid().unwrap_or_default();
        let list = self.event_api().list(&ListParams::default().fields(&self.about())).await;
        let list = list.map_err(|error| self.failed(error))?;
        let mut seen: Vec<EventSeen> = list.items.iter().filter_map(|event| read(event, &uid)).collect();
        seen.sort_by_key(|event| event.at);
        Ok(seen)
    }

    /// All that are kept, and then each as it comes.
    pub async fn follow_events(&self) -> Result<EventsFollowed, RemoteError> {
        let uid = self.object().await?.uid().unwrap_or_default();
        let config = watcher::Config::default().fields(&self.about());
        let stream = watcher(self.event_api(), config).default_backoff().boxed();
        Ok(EventsFollowed { remote: self.clone(), uid, stream, told: BTreeMap::new(), first: Vec::new() })
    }

    fn event_api(&self) -> Api<Event> {
        Api::namespaced(self.reach.client.clone(), &self.reach.namespace)
    }

    fn about(&self) -> String {
        format!("regarding.kind={},regarding.name={}", RedisCluster::KIND, self.name)
    }
}

impl EventsFollowed {
    /// The next ones, oldest first.
    pub async fn next(&mut self) -> Result<Vec<EventSeen>, RemoteError> {
        loop {
            let mut news = Vec::new();
            match self.stream.next().await {
                Some(Ok(watcher::Event::Init)) => self.first.clear(),
                Some(Ok(watcher::Event::InitApply(event))) => self.first.extend(self.seen(&event)),
                Some(Ok(watcher::Event::InitDone)) => news = std::mem::take(&mut self.first),
                Some(Ok(watcher::Event::Apply(event))) => news.extend(self.seen(&event)),
                Some(Ok(watcher::Event::Delete(event))) => {
                    self.told.remove(&event.name_any());
                }
                Some(Err(error)) => {
                    let error = RemoteError::of_watch(&self.remote.reach.server, error);
                    if !error.passes() {
                        return Err(error);
                    }
                    tracing::warn!("{error}; it is tried again");
                }
                None => return Err(RemoteError::Other("the watch of events ended".to_owned())),
            }
            news.retain(|(name, event)| self.told.insert(name.clone(), event.count) != Some(event.count));
            if !news.is_empty() {
                let mut news: Vec<EventSeen> = news.into_iter().map(|(_, event)| event).collect();
                news.sort_by_key(|event| event.at);
                return Ok(news);
            }
        }
    }

    fn seen(&self, event: &Event) -> Option<(String, EventSeen)> {
        Some((event.name_any(), read(event, &self.uid)?))
    }
}

/// `None`: it is about an earlier cluster of that name.
fn read(event: &Event, uid: &str) -> Option<EventSeen> {
    if event.regarding.as_ref()?.uid.as_deref() != Some(uid) {
        return None;
    }
    let series = event.series.as_ref();
    let at = series
        .map(|series| series.last_observed_time.0)
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(event.deprecated_last_timestamp.as_ref().map(|time| time.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    Some(EventSeen {
        at,
        event: event.reason.clone().unwrap_or_default(),
        message: event.note.clone().unwrap_or_default(),
        happened: event
            .annotations()
            .get(ANNOTATION_HAPPENED)
            .and_then(|text| serde_json::from_str(text).ok()),
        count: series.map(|series| series.count).or(event.deprecated_count).unwrap_or(1).max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(more: &serde_json::Value) -> Event {
        let mut event = json!({
            "metadata": { "name": "demo.1" },
            "regarding": { "uid": "u" },
            "reason": "Formed",
            "note": "cluster formed",
            "eventTime": "2026-01-01T00:00:00.123456Z",
        });
        for (key, value) in more.as_object().unwrap() {
            event[key] = value.clone();
        }
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn a_series_is_told_with_its_count_at_its_last_time() {
        let once = read(&event(&json!({})), "u").unwrap();
        assert_eq!((once.event.as_str(), once.message.as_str(), once.count), ("Formed", "cluster formed", 1));
        assert_eq!(once.at, "2026-01-01T00:00:00.123456Z".parse().unwrap());
        let series = json!({ "series": { "count": 3, "lastObservedTime": "2026-01-01T00:05:00.000000Z" } });
        let often = read(&event(&series), "u").unwrap();
        assert_eq!((often.at, often.count), ("2026-01-01T00:05:00Z".parse().unwrap(), 3));
    }

    #[test]
    fn events_of_an_earlier_cluster_of_that_name_are_not_its_own() {
        assert_eq!(read(&event(&json!({})), "other"), None);
    }
}
