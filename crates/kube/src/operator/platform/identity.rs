//! A cluster's CA, and what the controller proves to its agents with.

use super::PlatformError;
use super::secrets::must_be_ours;
use crate::ca::{Ca, Lifetimes};
use crate::objects::Owner;
use crate::objects::secrets::{self, text_of};
use crate::wire::{Identity, Who};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use time::OffsetDateTime;
use valkeeper_kube_api::names;

/// The CA of the Secret, made or followed by another if it must be. Two operators agree on one: who comes second reads it.
pub(super) async fn ensure_ca(
    client: &Client,
    owner: &Owner,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Ca, PlatformError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &owner.home.namespace);
    let name = names::ca_secret(&owner.home.cluster);
    loop {
        let there = api.get_opt(&name).await?;
        must_be_ours(owner, there.as_ref(), &name)?;
        let read = there.as_ref().and_then(|secret| secrets::read_ca(&text_of(secret)));
        let ca = secrets::ca(&owner.home.to_string(), read.clone(), now, life)?;
        if read.as_ref() == Some(&ca) {
            return Ok(ca);
        }
        let mut object: Secret = serde_json::from_value(secrets::ca_secret(owner, &ca))?;
        let written = match there {
            None => api.create(&PostParams::default(), &object).await,
            Some(there) => {
                object.metadata.resource_version = there.metadata.resource_version;
                api.replace(&name, &PostParams::default(), &object).await
            }
        };
        match written {
            Ok(_) => return Ok(ca),
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn controller_identity(
    owner: &Owner,
    ca: &Ca,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Identity, PlatformError> {
    let issued = ca.issue(vec![Who::Controller.name(&owner.home)], now, life)?;
    Ok(Identity { trusted_cas: ca.trusted(), certificate: issued.certificate, key: issued.key })
}
