//! The `ConfigMap` that stores the layout.

use super::Owner;
use serde_json::{Value, json};
use valkeeper_kube_api::names::{self, LAYOUT_KEY};
use valkeeper_model::Layout;

/// The layout as it is stored.
pub(crate) fn config_map(owner: &Owner, layout: &Layout) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": owner.metadata(&names::layout_config_map(&owner.home.cluster)),
        "data": { LAYOUT_KEY: serde_json::to_string(layout)? },
    }))
}
