//! What a request is about.

use hyper::{Method, Uri};
use serde_json::Value;

/// As Kubernetes' roles call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }
}

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) verb: Verb,
    /// In the plural.
    pub(super) kind: String,
    /// Empty for all of them.
    pub(super) namespace: String,
    /// Empty for all of a kind.
    pub(super) name: String,
    /// `key` or `key=value` each.
    labels: Vec<String>,
    /// A watch tells what is newer than this version.
    pub(super) since: u64,
}

impl Address {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        // `/api/v1/…` and `/apis/GROUP/VERSION/…`
        let mut parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        parts.drain(..if parts[0] == "api" { 2 } else { 3 });
        let namespace = match parts[..] {
            ["namespaces", namespace, _, ..] => {
                parts.drain(..2);
                namespace
            }
            _ => "",
        };
        let name = parts.get(1).copied().unwrap_or_default();
        let parameter = |name: &str| {
            let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next_back()
        };
        let verb = match (method.as_str(), parameter("watch").as_deref()) {
            ("GET", Some("true")) => Verb::Watch,
            ("GET", _) if name.is_empty() => Verb::List,
            ("GET", _) => Verb::Get,
            ("POST", _) => Verb::Create,
            ("PUT", _) => Verb::Update,
            ("PATCH", _) => Verb::Patch,
            ("DELETE", _) => Verb::Delete,
            other => panic!("a request that the fake does not know: {other:?} {uri}"),
        };
        let labels = parameter("labelSelector").unwrap_or_default();
        Self {
            verb,
            kind: parts[0].to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect(),
            since: parameter("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default(),
        }
    }

    pub(super) fn selects(&self, kind: &str, namespace: &str, object: &Value) -> bool {
        let has = |label: &String| match label.split_once('=') {
            Some((key, value)) => object["metadata"]["labels"][key] == value,
            None => !object["metadata"]["labels"][label].is_null(),
        };
        self.kind == kind
            && (self.namespace.is_empty() || self.namespace == namespace)
            && self.labels.iter().all(has)
    }
}

/// Of `%XX`.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut text, part| {
        let (code, rest) = part.split_at(2);
        text.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        text + rest
    })
}
