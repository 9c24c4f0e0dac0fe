//! Who keeps an instance down on purpose, and what the annotation says of it.

use crate::spec::printable;
use crate::{InstanceName, Newer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// Who set a fence. It is lifted by the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FencedBy {
    /// `valkeeper fence`.
    Request,
    /// The annotation of the cluster on Kubernetes.
    Annotation,
    /// The whole cluster hibernates.
    Hibernation,
    /// What only a newer version sets, and lifts.
    #[serde(untagged)]
    Newer(Newer),
}

/// The fences of an instance. It is kept down as long as there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fences(BTreeSet<FencedBy>);

impl Fences {
    /// `valkeeper fence`, and nobody else.
    pub fn by_request() -> Self {
        Self(BTreeSet::from([FencedBy::Request]))
    }

    /// Is there any?
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Is there one by that one?
    pub fn has(&self, by: &FencedBy) -> bool {
        self.0.contains(by)
    }

    /// One more.
    pub fn set(&mut self, by: FencedBy) {
        self.0.insert(by);
    }

    /// One less.
    pub fn lift(&mut self, by: &FencedBy) {
        self.0.remove(by);
    }

    /// Those that are left when that one lifts its own.
    #[must_use]
    pub fn without(mut self, by: &FencedBy) -> Self {
        self.lift(by);
        self
    }

    /// What a reader takes for granted where nothing is written.
    pub(crate) fn is_by_request(&self) -> bool {
        *self == Self::by_request()
    }
}

/// How fences are written beside an instance: the flag that every version knows, and who set them if that is not the command alone. A version that knows
/// the flag only keeps the other field as it is: the flag counts, and what was lifted by it is lifted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    fenced: bool,
    #[serde(default = "Fences::by_request", skip_serializing_if = "Fences::is_by_request")]
    fenced_by: Fences,
}

pub(crate) fn serialize<S: Serializer>(fences: &Fences, serializer: S) -> Result<S::Ok, S::Error> {
    let fenced_by = if fences.any() { fences.clone() } else { Fences::by_request() };
    Written { fenced: fences.any(), fenced_by }.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fences, D::Error> {
    let written = Written::deserialize(deserializer)?;
    Ok(match (written.fenced, written.fenced_by.any()) {
        (false, _) => Fences::default(),
        (true, true) => written.fenced_by,
        (true, false) => Fences::by_request(),
    })
}

/// The instances that the annotation names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FencedInstances {
    /// These, or none.
    Named(BTreeSet<InstanceName>),
    /// All that there are: the whole cluster is to be down.
    All,
}

impl Default for FencedInstances {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

/// Why an annotation says nothing of instances.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FencedInstancesFault {
    /// It is something else.
    #[error("expected a JSON list of names, found `{0}`")]
    NoList(String),
    /// An entry cannot be an instance's name.
    #[error("`{0}` is no instance's name")]
    NoName(String),
    /// All and some at the same time.
    #[error("`*` stands beside names")]
    StarAmongNames,
}

impl FencedInstances {
    /// The annotation.
    pub const ANNOTATION: &str = "redis.io/fencedInstances";

    /// Reads its value.
    pub fn read(text: &str) -> Result<Self, FencedInstancesFault> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let entries: Vec<String> =
            serde_json::from_str(text).map_err(|_| FencedInstancesFault::NoList(printable(text)))?;
        match &entries[..] {
            [star] if star == "*" => return Ok(Self::All),
            _ if entries.iter().any(|entry| entry == "*") => {
                return Err(FencedInstancesFault::StarAmongNames);
            }
            _ => {}
        }
        let name = |entry: &String| entry.parse().map_err(|_| FencedInstancesFault::NoName(printable(entry)));
        entries.iter().map(name).collect::<Result<_, _>>().map(Self::Named)
    }

    /// Is that one among them?
    pub fn has(&self, instance: &InstanceName) -> bool {
        match self {
            Self::Named(names) => names.contains(instance),
            Self::All => true,
        }
    }
}

impl fmt::Display for FencedInstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Named(names) => {
                f.write_str(&names.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use serde_json::{Value, json};

    #[derive(Serialize, Deserialize)]
    struct Holder {
        #[serde(flatten, with = "super")]
        fences: Fences,
        #[serde(flatten)]
        newer: crate::NewerFields,
    }

    fn again(written: &Value) -> (Fences, Value) {
        let read: Holder = serde_json::from_value(written.clone()).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        (read.fences, written)
    }

    #[test]
    fn older_versions_read_and_write_the_flag() {
        let request = json!({ "fenced": true });
        assert_eq!(again(&request), (Fences::by_request(), request.clone()));
        let none = json!({ "fenced": false });
        assert_eq!(again(&none), (Fences::default(), none.clone()));
        let both = json!({ "fenced": true, "fencedBy": ["request", "annotation"] });
        let (fences, written) = again(&both);
        assert!(fences.has(&FencedBy::Request) && fences.has(&FencedBy::Annotation));
        assert_eq!(written, both);
        // An older version has lifted the fence, and left what it does not know.
        let lifted = json!({ "fenced": false, "fencedBy": ["annotation"] });
        assert_eq!(again(&lifted), (Fences::default(), none));
        // Whoever set it: it is down.
        let nobody = json!({ "fenced": true, "fencedBy": [] });
        assert_eq!(again(&nobody), (Fences::by_request(), request));
        let newer = json!({ "fenced": true, "fencedBy": ["moon"] });
        let (fences, written) = again(&newer);
        assert!(fences.any() && !fences.has(&FencedBy::Request) && !fences.has(&FencedBy::Annotation));
        assert_eq!(written, newer);
    }

    #[test]
    fn an_annotation_names_some_or_all_or_nobody() {
        let names =
            |names: &[&str]| FencedInstances::Named(names.iter().map(|name| name.parse().unwrap()).collect());
        for (text, wanted) in [
            ("", Ok(names(&[]))),
            ("[]", Ok(names(&[]))),
            (r#"["c-0", "c-3"]"#, Ok(names(&["c-0", "c-3"]))),
            (r#"["*"]"#, Ok(FencedInstances::All)),
            (r#"["*", "c-0"]"#, Err(FencedInstancesFault::StarAmongNames)),
            ("c-0", Err(FencedInstancesFault::NoList("c-0".to_owned()))),
            ("[3]", Err(FencedInstancesFault::NoList("[3]".to_owned()))),
            (r#"["C 0"]"#, Err(FencedInstancesFault::NoName("C 0".to_owned()))),
        ] {
            assert_eq!(FencedInstances::read(text), wanted, "{text}");
        }
    }
}
