//! What is said beyond [`Ask`] and its answers. Fields that a receiver does not know are ignored, so that older and newer
//! agents and controllers understand each other.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use valkeeper_model::{Ask, Happened};

/// Where requests go.
pub(crate) mod path {
    /// An [`AskOf`](super::AskOf); answered with `Result<Answer, AskFailed>`.
    pub(crate) const ASK: &str = "/v1/ask";
    /// An order for the agent, from the controller.
    pub(crate) const ORDER: &str = "/v1/order";
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
