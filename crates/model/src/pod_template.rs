//! How the pods of instances are made, as far as one that runs is replaced for it. Only the platform that makes pods reads what is in it.

use crate::ServerVersion;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Tells one pod template from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateHash(String);

impl TemplateHash {
    /// As it is written beside a pod.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TemplateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How pods are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Of the body.
    pub hash: TemplateHash,
    /// In a form of the platform's own.
    pub body: Value,
    /// The server program in it, as far as its image's name tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<ServerVersion>,
}

impl PodTemplate {
    /// Its body by its hash, as a layout keeps it.
    pub fn bodies(of: Option<&Self>) -> BTreeMap<TemplateHash, Value> {
        of.map(|template| (template.hash.clone(), template.body.clone())).into_iter().collect()
    }

    /// Its server program by its hash, the same.
    pub fn versions(of: Option<&Self>) -> BTreeMap<TemplateHash, ServerVersion> {
        of.and_then(|template| Some((template.hash.clone(), template.serves.clone()?))).into_iter().collect()
    }
}
