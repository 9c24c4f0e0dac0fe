//! What only a newer version of Valkeeper knows.
//!
//! Programs of two versions work side by side while one is replaced by the other. A newer one's report must not be lost as a whole because one word in it is not known: the word
//! is kept as it was written, told as far as it can be, and passed on unchanged. It is never taken for another word.
//!
//! Who asks for something is refused where the question is not known (`Ask`, `AgentOrder`, `Request`): these have no such fallback.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// A word that this version does not know, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    written: Value,
    message: Option<String>,
}

impl Newer {
    /// The same, with what its writer says in words, if anything.
    #[must_use]
    pub fn saying(self, message: &str) -> Self {
        let message = Some(message).filter(|message| !message.is_empty());
        Self { message: message.map(str::to_owned), ..self }
    }

    /// What it is called, as far as can be told.
    fn name(&self) -> Option<&str> {
        const TAGS: [&str; 7] = ["reason", "event", "refusal", "step", "kind", "fault", "because"];
        match &self.written {
            Value::String(name) => Some(name),
            Value::Object(fields) => {
                let tag = TAGS.iter().find_map(|tag| fields.get(*tag)?.as_str());
                tag.or_else(|| fields.keys().next().map(String::as_str))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.message, self.name()) {
            (Some(message), _) => f.write_str(message),
            (None, Some(name)) => {
                write!(f, "`{name}`, which a newer version of Valkeeper knows: {}", self.written)
            }
            (None, None) => write!(f, "something that a newer version of Valkeeper knows: {}", self.written),
        }
    }
}

/// Fields that only a newer version knows, as they were written. They are written again with the object that they are of: an older program that changes
/// a layout must not take away what a newer one has put into it. A field that is known to nobody is kept too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NewerFields(BTreeMap<String, Value>);

impl Ord for Newer {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |one: &Self| (one.written.to_string(), one.message.clone());
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Newer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Newer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Newer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            written @ (Value::String(_) | Value::Object(_)) => Ok(Self { written, message: None }),
            other => Err(serde::de::Error::custom(format!("{other} is no word"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use crate::{
        AccessFault, Activity, AgentReport, Happened, LookRefused, Observed, Phase, Refusal, Report, Unseen,
        Waiting,
    };
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    /// It is read, and written again as it was.
    fn survives<T: DeserializeOwned + Serialize>(written: &Value) -> T {
        let read: T = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), *written);
        read
    }

    #[test]
    fn a_report_with_words_of_the_future_is_read_whole() {
        let reason = json!({ "reason": "SunTooHot", "instance": "c-0", "degrees": 51 });
        let known = json!({ "reason": "NoSupervisor" });
        let mut report = json!({
            "phase": "Healthy", "healthy": false, "shards": [], "instances": [], "waiting": [known, reason],
        });
        let read: Report = survives(&report);
        assert_eq!(read.waiting[0], Waiting::NoSupervisor);
        let told = read.waiting[1].to_string();
        assert!(told.contains("SunTooHot") && told.contains("51"), "{told}");
        assert!(read.waiting[1].is_flaw());
        // A known reason with a cause of the future.
        let failure =
            json!({ "reason": "StartFailed", "instance": "c-0", "failure": { "kind": "moonFull" } });
        assert!(survives::<Waiting>(&failure).to_string().contains("moonFull"));
        report["phase"] = "Melting".into();
        assert_eq!(serde_json::from_value::<Report>(report).unwrap().phase, Phase::Other);
    }

    #[test]
    fn events_and_refusals_of_the_future_are_kept() {
        let event = json!({ "event": "Rebalanced", "from": "c-0" });
        let read: Happened = survives(&event);
        assert_eq!(read.type_name().as_deref(), Some("Rebalanced"));
        let unhealthy = json!({ "event": "BecameUnhealthy", "waiting": { "reason": "SunTooHot" } });
        assert!(survives::<Happened>(&unhealthy).to_string().contains("SunTooHot"));
        let refusal = survives::<Refusal>(&json!({ "refusal": "tooEarly", "why": "it is dark" }));
        assert!(refusal.to_string().contains("it is dark"), "{refusal}");
        let unfit = json!({ "refusal": "notASuccessor", "instance": "c-0", "why": "tooShy" });
        assert!(survives::<Refusal>(&unfit).to_string().contains("tooShy"));
    }

    #[test]
    fn an_agent_of_the_future_is_understood_as_far_as_it_can_be() {
        let report = json!({
            "generation": 4, "address": { "ip": "127.0.0.1", "port": 7000, "bus_port": 17000 },
            "process": "down", "diskRole": "lost", "hasData": false, "server": { "unknown": "asleep" },
            "activity": { "rebalancing": { "to": "c-1" } }, "waiting": { "reason": "SunTooHot" },
            "password": { "fault": "tooObvious" }, "lookRefused": { "because": "shy" },
        });
        let read: AgentReport = serde_json::from_value(report).unwrap();
        assert_eq!(read.server, Observed::Unknown(Unseen::Other));
        assert!(matches!(read.activity, Activity::Newer(_)) && read.waiting.is_some());
        assert!(read.password.unwrap().to_string().contains("tooObvious"));
        assert!(matches!(read.look_refused, Some(LookRefused::Newer(_))));
        let fault: AccessFault = survives(&json!({ "fault": "queueTooLong" }));
        assert!(fault.to_string().contains("queueTooLong"));
    }
}
