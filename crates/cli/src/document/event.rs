//! What happened to a cluster.

use jiff::Timestamp;
use serde::Serialize;
use valkeeper_model::Happened;

/// One of `events -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    #[serde(flatten)]
    pub(crate) what: What,
    /// In words.
    pub(crate) message: String,
    /// On Kubernetes: how often, as equal ones are one there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<i32>,
}

/// What kind of thing happened.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum What {
    /// With all that is known of it.
    Whole(Happened),
    /// On Kubernetes: by its name, and as it was written if that can be read.
    Named {
        event: String,
        #[serde(skip)]
        happened: Option<Happened>,
    },
}

impl Event {
    /// What happened, if that can be read.
    pub(crate) fn happened(&self) -> Option<&Happened> {
        match &self.what {
            What::Whole(happened) => Some(happened),
            What::Named { happened, .. } => happened.as_ref(),
        }
    }

    /// For people.
    pub(crate) fn line(&self) -> String {
        let times = self.count.filter(|count| *count > 1).map(|count| format!(" ({count} times)"));
        format!("{:.3}  {}{}", self.at, self.message, times.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_as_its_platform_keeps_it() {
        let happened = Happened::Started { instance: "c-0".parse().unwrap() };
        let at = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let whole =
            Event { at, what: What::Whole(happened.clone()), message: "c-0 started".to_owned(), count: None };
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            r#"{"at":"2026-01-01T00:00:00.5Z","event":"Started","instance":"c-0","message":"c-0 started"}"#
        );
        assert_eq!(whole.line(), "2026-01-01T00:00:00.500Z  c-0 started");
        let named = What::Named { event: "Started".to_owned(), happened: Some(happened.clone()) };
        let named = Event { what: named, count: Some(2), ..whole };
        assert_eq!(
            serde_json::to_string(&named).unwrap(),
            r#"{"at":"2026-01-01T00:00:00.5Z","event":"Started","message":"c-0 started","count":2}"#
        );
        assert_eq!(named.line(), "2026-01-01T00:00:00.500Z  c-0 started (2 times)");
        assert_eq!(named.happened(), Some(&happened));
    }
}
