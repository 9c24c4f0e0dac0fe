//! What all our kinds have in common when they are written.

use crate::names::API_VERSION;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An object with its `apiVersion` and `kind`, which server-side apply needs and our types do not carry.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, Spec, Status> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a ObjectMeta,
    spec: &'a Spec,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Status>,
}

pub(crate) fn serialize<S: Serializer, Spec: Serialize, Status: Serialize>(
    (kind, metadata, spec, status): (&'static str, &ObjectMeta, &Spec, Option<&Status>),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Written { api_version: API_VERSION, kind, metadata, spec, status }.serialize(serializer)
}

/// A status that cannot be read counts as none. It may come from another version of Valkeeper, it says nothing that is not
/// observed again, and an error here would stop the watch of all objects.
pub(crate) fn readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// Implements [`kube_core::Resource`] for one of our kinds, without the code and schema that a derive would bring along:
/// its schema comes from the tables of `valkeeper-model`.
macro_rules! resource {
    ($type:ty, $kind:literal, $plural:literal) => {
        impl $type {
            /// Its kind.
            pub const KIND: &'static str = $kind;
            /// The kind's name in addresses and in the names of its definition.
            pub const PLURAL: &'static str = $plural;
        }

        impl kube_core::Resource for $type {
            type DynamicType = ();
            type Scope = kube_core::NamespaceResourceScope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                Self::KIND.into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $crate::names::GROUP.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $crate::names::VERSION.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                Self::PLURAL.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use resource;
