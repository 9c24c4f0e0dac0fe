//! A cluster that hibernates: its servers are stopped and its pods removed, and its data is kept.

use crate::{FencedBy, Layout, Newer};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the annotation of a cluster on Kubernetes asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HibernationWish {
    /// It is to run.
    #[default]
    Off,
    /// It is to hibernate.
    On,
}

/// A value that asks for nothing that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither on nor off")]
pub struct NoHibernationWish;

impl HibernationWish {
    /// The annotation.
    pub const ANNOTATION: &str = "redis.io/hibernation";

    /// Reads its value.
    pub fn read(text: &str) -> Result<Self, NoHibernationWish> {
        match text {
            "on" | "true" => Ok(Self::On),
            "off" | "false" | "" => Ok(Self::Off),
            _ => Err(NoHibernationWish),
        }
    }
}

/// How far a cluster is that hibernates, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hibernation {
    /// Its servers are being stopped, replicas first.
    Stopping,
    /// All of them were seen down: it has no pods.
    Stopped,
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(Newer),
}

/// How far it is, by all that the layout says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HibernationStage {
    /// It runs.
    Awake,
    /// Its servers are being stopped.
    Stopping,
    /// It has no pods.
    Stopped,
}

impl Layout {
    /// Does it hibernate? A version that does not know of it may have let an instance run meanwhile: no pod is taken from such a cluster before its servers
    /// have been stopped again.
    pub fn hibernation_stage(&self) -> HibernationStage {
        let all_kept_down = || self.instances.values().all(|one| one.fences.has(&FencedBy::Hibernation));
        match &self.hibernation {
            None => HibernationStage::Awake,
            Some(Hibernation::Stopped) if all_kept_down() => HibernationStage::Stopped,
            Some(_) => HibernationStage::Stopping,
        }
    }
}

impl fmt::Display for HibernationWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::HibernationWish::{Off, On};
    use super::*;
    use std::sync::Arc;

    fn layout() -> Layout {
        Layout::read(include_bytes!("../tests/frozen/layout-1.json")).expect("a layout")
    }

    #[test]
    fn on_and_off_and_nothing_else() {
        let read = ["on", "true", "off", "false", "", "On", "yes"].map(HibernationWish::read);
        let none = Err(NoHibernationWish);
        assert_eq!(read, [Ok(On), Ok(On), Ok(Off), Ok(Off), Ok(Off), none, none]);
    }

    #[test]
    fn a_cluster_of_which_an_instance_may_run_is_not_stopped() {
        let mut layout = layout();
        assert_eq!(layout.hibernation_stage(), HibernationStage::Awake);
        layout.hibernation = Some(Hibernation::Stopped);
        assert_eq!(layout.hibernation_stage(), HibernationStage::Stopping);
        for one in Arc::make_mut(&mut layout.instances).values_mut() {
            one.fences.set(FencedBy::Hibernation);
        }
        assert_eq!(layout.hibernation_stage(), HibernationStage::Stopped);
        let stored = serde_json::to_vec(&layout).expect("text");
        let read = Layout::read(&stored).expect("a layout");
        assert_eq!(read.hibernation_stage(), HibernationStage::Stopped);
        // An older version lifts a fence: it writes the flag, and keeps what it does not know.
        let mut older: serde_json::Value = serde_json::from_slice(&stored).expect("JSON");
        older["instances"]["sample-0"]["fenced"] = false.into();
        let read = Layout::read(older.to_string().as_bytes()).expect("a layout");
        assert_eq!(read.hibernation_stage(), HibernationStage::Stopping);
    }
}
