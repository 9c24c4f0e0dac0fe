//! What the volumes of a cluster that exists allow: data stays where it is, and no volume gets smaller. The webhook judges a change before it
//! is stored; where there is none, or it was away, the operator does before it follows.

use super::jittered;
use super::judged::Judged;
use super::task::Task;
use crate::objects::template::Template;
use crate::objects::whose::{LABEL_MANAGED_BY, MANAGED_BY};
use crate::operator::platform::PodPlatform;
use crate::wire::Home;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use kube::{Api, Client};
use valkeeper_kube_api::names;
use valkeeper_model::manifest::Manifest;
use valkeeper_model::spec::parse_quantity_bytes;
use valkeeper_model::{Bytes, KubernetesSpec, Refusal, Storage};

impl Task {
    /// The manifest as far as the volumes allow it, and what is not followed of it.
    pub(super) async fn fit_volumes(&mut self, manifest: &Manifest) -> (Template, Judged) {
        let mut template = Template::of(manifest);
        if self.followed.is_none() && !self.was_followed() {
            let storage = loop {
                match in_use(&self.context.client, &self.home).await {
                    Ok(storage) => break storage,
                    Err(error) => {
                        tracing::warn!(home = %self.home, %error, "the volumes cannot be looked at");
                        tokio::time::sleep(jittered(super::AGAIN.1)).await;
                    }
                }
            };
            self.followed = storage.map(|storage| KubernetesSpec { storage, ..manifest.kubernetes.clone() });
        }
        let Err(refusal) = self.follow(manifest) else { return (template, Judged::Followed) };
        if let Some(followed) = &self.followed {
            template.kubernetes.storage.clone_from(&followed.storage);
        }
        (template, Judged::Unfit(refusal))
    }

    /// New pods are made by this manifest, if the volumes allow it.
    pub(super) fn take_template(
        &mut self,
        platform: &PodPlatform,
        manifest: &Manifest,
    ) -> Result<(), Refusal> {
        self.follow(manifest)?;
        if platform.set_template(Template::of(manifest)) {
            self.seen.reprovision.notify_one();
        }
        Ok(())
    }

    /// The manifest is the one that is followed from now on, unless the volumes that are there cannot become what it says.
    fn follow(&mut self, manifest: &Manifest) -> Result<(), Refusal> {
        let before = self.followed.as_ref();
        if let Some(refusal) = before.and_then(|before| manifest.kubernetes.refuse_change_from(before)) {
            return Err(refusal);
        }
        self.followed = Some(manifest.kubernetes.clone());
        Ok(())
    }

    /// Was this very spec followed already, by an operator before this one? A cluster without a status is new: what an earlier one of its
    /// name has left may be larger than it asks for.
    fn was_followed(&self) -> bool {
        let generation = self.object.borrow().metadata.generation;
        self.status.as_ref().is_none_or(|status| status.follows(generation))
    }
}

/// The largest of the volumes that Valkeeper has had made for the cluster.
async fn in_use(client: &Client, home: &Home) -> kube::Result<Option<Storage>> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &home.namespace);
    let ours = format!("{}={},{LABEL_MANAGED_BY}={MANAGED_BY}", names::LABEL_CLUSTER, home.cluster);
    let claims = claims.list(&ListParams::default().labels(&ours)).await?;
    Ok(largest(&claims.items))
}

fn largest(claims: &[PersistentVolumeClaim]) -> Option<Storage> {
    let size = |claim: &PersistentVolumeClaim| {
        let spec = claim.spec.as_ref().filter(|spec| spec.volume_name.is_some())?;
        let text = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone();
        let bytes = parse_quantity_bytes(&text).ok()?;
        Some(Bytes { text, bytes })
    };
    let size = claims.iter().filter_map(size).max_by_key(|size| size.bytes)?;
    Some(Storage::Pvc { size, class: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_largest_volume_that_is_there_counts() {
        let claim = |size: &str, volume: Option<&str>| -> PersistentVolumeClaim {
            let spec = json!({ "volumeName": volume, "resources": { "requests": { "storage": size } } });
            serde_json::from_value(json!({ "spec": spec })).expect("a claim")
        };
        let bound = [claim("512Mi", Some("a")), claim("1Gi", Some("b")), claim("900Gi", None)];
        let size = Bytes { text: "1Gi".to_owned(), bytes: 1 << 30 };
        assert_eq!(largest(&bound), Some(Storage::Pvc { size, class: None }));
        assert_eq!(largest(&[claim("900Gi", None)]), None);
    }
}
