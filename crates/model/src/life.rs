//! How far instances and shards are in their lives. The layout holds it for each of them; the controller moves it on by what it observes.
//!
//! Versions before this one had one flag for the whole cluster, `formed`: all slots have been served once. The flag is still written beside the
//! lives, for neighbours of such a version, and a layout or an order without lives is read by it.

use crate::{Instance, Layout, Newer, Shard};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// The life of an instance. It decides what an empty data directory is: a new one, or a lost one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InstanceLife {
    /// Its cluster is being founded. An empty directory is a new one, from which its server begins with its part of the cluster. Until all
    /// slots have been served once.
    #[default]
    Founding,
    /// It was added to a cluster that serves. An empty directory is a new one; its server begins as a replica of the one that serves its
    /// shard. Until it has been seen in sync.
    Joining,
    /// It has held its shard's data. An empty directory is a lost one.
    Member,
    /// It is to be removed, and is none of the copies that its shard is to have. An empty directory is a lost one.
    Leaving,
    /// It is stopped for good, and is removed when it is down. An empty directory is a lost one.
    Retired,
    /// What only a newer version knows. An empty directory is a lost one: nothing is begun in it.
    #[serde(untagged)]
    Newer(Newer),
}

impl InstanceLife {
    /// Is it one of the copies that its shard is to have?
    pub fn stays(&self) -> bool {
        match self {
            Self::Founding | Self::Joining | Self::Member => true,
            Self::Leaving | Self::Retired | Self::Newer(_) => false,
        }
    }

    /// Is it on its way out?
    pub fn leaves(&self) -> bool {
        matches!(self, Self::Leaving | Self::Retired)
    }
}

/// The life of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShardLife {
    /// Its slots have not been served yet.
    #[default]
    Founding,
    /// It serves its slots.
    Member,
    /// It gives its slots away and is removed when it has none. Its primary votes as long as it owns slots.
    Leaving,
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(Newer),
}

impl Layout {
    /// Is the cluster being founded: has it never served all its slots?
    pub fn is_founding(&self) -> bool {
        self.instances.values().any(|instance| instance.life == InstanceLife::Founding)
    }

    /// The same layout once all slots have been served.
    #[must_use]
    pub fn founded(mut self) -> Self {
        let founding = |shard: &Shard| shard.life == ShardLife::Founding;
        if self.shards.values().any(founding) {
            for shard in Arc::make_mut(&mut self.shards).values_mut().filter(|shard| founding(shard)) {
                shard.life = ShardLife::Member;
            }
        }
        self.with_lives(|instance| (instance.life == InstanceLife::Founding).then_some(InstanceLife::Member))
    }

    /// The same layout with another life for those instances for which one is given.
    #[must_use]
    pub fn with_lives(mut self, next: impl Fn(&Instance) -> Option<InstanceLife>) -> Self {
        if self.instances.values().any(|instance| next(instance).is_some()) {
            for instance in Arc::make_mut(&mut self.instances).values_mut() {
                if let Some(life) = next(instance) {
                    instance.life = life;
                }
            }
        }
        self
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Fields<'a>(&'a Layout);
        impl Serialize for Fields<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Layout::serialize(self.0, serializer)
            }
        }
        #[derive(Serialize)]
        struct Written<'a> {
            formed: bool,
            #[serde(flatten)]
            fields: Fields<'a>,
        }
        Written { formed: !self.is_founding(), fields: Fields(self) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Layout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            formed: bool,
            #[serde(flatten, deserialize_with = "Layout::deserialize")]
            layout: Layout,
        }
        let Written { formed, layout } = Written::deserialize(deserializer)?;
        // Only a version that does not know lives writes that the cluster is formed while an instance is being founded.
        Ok(if formed && layout.is_founding() { layout.founded() } else { layout })
    }
}

/// The life of an order's instance, beside the flag of versions that know no lives.
pub(crate) mod ordered {
    use super::InstanceLife;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Written {
        formed: bool,
        #[serde(default)]
        life: InstanceLife,
    }

    pub(crate) fn serialize<S: Serializer>(life: &InstanceLife, serializer: S) -> Result<S::Ok, S::Error> {
        // An agent that knows no lives founds nothing for an instance that joins.
        Written { formed: *life != InstanceLife::Founding, life: life.clone() }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InstanceLife, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written { formed: true, life: InstanceLife::Founding } => InstanceLife::Member,
            Written { life, .. } => life,
        })
    }
}
