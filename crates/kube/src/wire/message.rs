//! What is said beyond [`Ask`] and its answers. Fields that a receiver does not know are ignored, so that older and newer
//! agents and controllers understand each other.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use valkeeper_model::{Ask, Epoch, Happened, PasswordFault};

/// Where requests go.
pub(crate) mod path {
    /// An [`AskOf`](super::AskOf); answered with `Result<Answer, AskFailed>`.
    pub(crate) const ASK: &str = "/v1/ask";
    /// An order for the agent, from the controller.
    pub(crate) const ORDER: &str = "/v1/order";
    /// The password of the source ([`SourcePassword`](super::SourcePassword)), from the controller.
    pub(crate) const SOURCE_PASSWORD: &str = "/v1/source-password";
    /// What the agent is ([`About`](super::About)).
    pub(crate) const ABOUT: &str = "/v1/about";
    /// Another program to go on as, from the controller.
    pub(crate) const PROGRAM: &str = "/v1/program";
    /// An agent tells the controller what has changed ([`News`](super::News)).
    pub(crate) const NEWS: &str = "/v1/news";
}

/// A question with its limit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AskOf {
    pub(crate) ask: Ask,
    /// How long the asker waits, milliseconds.
    pub(crate) within_ms: u64,
}

/// What an agent tells its controller unasked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct News {
    /// Where it is: known to itself before Kubernetes has told anybody.
    pub(crate) ip: IpAddr,
    /// The pod it is in, to tell it from an earlier one of the name.
    pub(crate) pod_uid: String,
    /// What has happened since the last news that came through.
    pub(crate) happened: Vec<Happened>,
    /// The term, or epoch, of which its server is the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) primary_of: Option<Epoch>,
}

/// What the user's Secret holds that names the password of the source. Never printed (law 11).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourcePassword {
    /// The name of the Secret.
    pub(crate) secret: String,
    /// The password, or why it cannot be used.
    pub(crate) password: Result<String, PasswordFault>,
}

impl fmt::Debug for SourcePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourcePassword").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// What an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    /// The version of its program.
    pub(crate) version: String,
    /// SHA-256 of its program, hex.
    pub(crate) program: String,
}

/// What earlier versions send. The files in `tests/frozen/` are never changed, whatever becomes of these types; the number in a name is the
/// `v1` of the paths.
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use serde_json::Value;

    /// It is read, with a field that a newer version has added, and written again as it was.
    fn survives<T: for<'a> Deserialize<'a> + Serialize>(text: &str) -> T {
        let frozen: Value = serde_json::from_str(text).unwrap();
        let mut newer = frozen.clone();
        newer.as_object_mut().unwrap().insert("added".to_owned(), Value::Bool(true));
        let read: T = serde_json::from_value(newer).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), frozen);
        read
    }

    #[test]
    fn what_the_first_version_of_the_wire_says_is_understood() {
        let asked: AskOf = survives(include_str!("../../tests/frozen/ask-1.json"));
        assert!(matches!(asked.ask, Ask::Force { .. }) && asked.within_ms == 100);
        let news: News = survives(include_str!("../../tests/frozen/news-1.json"));
        assert!(matches!(news.happened[..], [Happened::Started { .. }]));
        let password: SourcePassword = survives(include_str!("../../tests/frozen/source-password-1.json"));
        assert_eq!(password.password.as_deref(), Ok("example"));
        assert!(!format!("{password:?}").contains("example"));
        let about: About = survives(include_str!("../../tests/frozen/about-1.json"));
        assert_eq!((about.version.as_str(), about.program.len()), ("0.1.0", 64));
    }
}
