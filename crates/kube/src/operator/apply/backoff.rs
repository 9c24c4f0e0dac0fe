//! What the API server has refused is not tried again at once, each object for itself.

use crate::operator::cache::Object;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use valkeeper_model::Waiting;

/// Before the next try, doubled up to the second: a quota that is raised tells nobody.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What was refused, by object.
#[derive(Debug, Default)]
pub(crate) struct Backoff(BTreeMap<Object, Refused>);

#[derive(Debug)]
struct Refused {
    /// What was tried, as a word: something else is tried at once.
    what: String,
    waiting: Option<Waiting>,
    until: Instant,
    pause: Duration,
}

impl Backoff {
    /// May it be tried now?
    pub(crate) fn lets(&self, object: &Object, what: &str, now: Instant) -> bool {
        self.0.get(object).is_none_or(|held| held.until <= now || held.what != what)
    }

    /// It was refused; what people are told of that, if anything.
    pub(crate) fn refused(&mut self, object: Object, what: String, waiting: Option<Waiting>, now: Instant) {
        let again = self.0.get(&object).filter(|held| held.what == what);
        let pause = again.map_or(PAUSE.0, |held| (held.pause * 2).min(PAUSE.1));
        self.0.insert(object, Refused { what, waiting, until: now + pause, pause });
    }

    pub(crate) fn done(&mut self, object: &Object) {
        self.0.remove(object);
    }

    /// Forgets what nobody wants to do any more.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&Object) -> bool) {
        self.0.retain(|object, _| wanted(object));
    }

    /// What people are told.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.0.values().filter_map(|held| held.waiting.as_ref())
    }

    /// The same of one object.
    pub(crate) fn waiting_for(&self, object: &Object) -> Option<&Waiting> {
        self.0.get(object)?.waiting.as_ref()
    }

    /// How long until something may be tried again.
    pub(crate) fn next(&self, now: Instant) -> Option<Duration> {
        self.0.values().map(|held| held.until.saturating_duration_since(now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_waits_for_itself_and_for_longer_each_time() {
        let (one, other) = (Object::new("Pod", "demo-1"), Object::new("Pod", "demo-2"));
        let (mut held, mut now) = (Backoff::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            held.refused(one.clone(), "a".to_owned(), None, now);
            assert!(held.lets(&other, "a", now));
            assert!(!held.lets(&one, "a", now));
            let pause = held.next(now).unwrap();
            pauses.push(pause.as_secs());
            now += pause;
            assert!(held.lets(&one, "a", now));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn what_is_made_otherwise_is_tried_at_once() {
        let (pod, now) = (Object::new("Pod", "demo-1"), Instant::now());
        let mut held = Backoff::default();
        held.refused(pod.clone(), "a".to_owned(), Some(Waiting::NoSupervisor), now);
        assert!(held.lets(&pod, "b", now));
        held.refused(pod.clone(), "b".to_owned(), Some(Waiting::NoSupervisor), now);
        assert_eq!(held.next(now), Some(PAUSE.0));
        assert_eq!(held.waiting().count(), 1);
        held.done(&pod);
        assert!(held.lets(&pod, "b", now));
        assert_eq!(held.waiting().count(), 0);
    }
}
