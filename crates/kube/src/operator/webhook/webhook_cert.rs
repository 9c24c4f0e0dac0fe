//! Keeps the certificate in its Secret, and its CA in the webhook's configuration. Every operator looks after both, since the
//! one that acts may be of a version that knows nothing of them; that one alone renews. Whatever two do at the same time, the one whose
//! view was older is refused by the version of what it has read, and looks again.

use super::certificate::Certified;
use super::serve::Serving;
use super::{SERVICE, WEBHOOK, configuration_name};
use crate::ca::{CaError, Lifetimes};
use crate::objects::secrets::text_of;
use crate::operator::metrics::Phases;
use crate::wire::CredentialsError;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{ValidatingWebhook, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use time::OffsetDateTime;
use valkeeper_kube_api::names::field_managers;

/// Between two looks when all was well.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// When it was not: no `RedisCluster` can be written meanwhile.
const AGAIN: Duration = Duration::from_secs(10);
/// One request to the API server.
const WITHIN: Duration = Duration::from_secs(5);
/// What is needed for it.
pub(super) struct WebhookCert {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) life: Lifetimes,
    pub(super) serving: Arc<Serving>,
    pub(super) phases: Arc<Phases>,
}

/// Why it is not as it should be.
#[derive(Debug, thiserror::Error)]
enum WebhookCertError {
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("Kubernetes does not answer in time")]
    Late,
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// The webhook serves.
    Serves,
    /// It is not installed here, for this reason.
    NotInstalled(&'static str),
}

/// What the configuration says of our webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Configured {
    /// It is ours. Whom API servers trust, and the version this was read in.
    Ours { trusted: String, version: Option<String> },
    /// It is not.
    Not(&'static str),
}

impl WebhookCert {
    /// Until the program ends.
    pub(super) async fn run(self) {
        let mut told = String::new();
        let mut tell = |text: String| {
            let news = text != told;
            told = text;
            news
        };
        loop {
            let pause = match self.look().await {
                Ok(Found::Serves) => {
                    self.phases.ready.store(true, Ordering::Relaxed);
                    if tell("serves".to_owned()) {
                        tracing::info!("the webhook serves");
                    }
                    LOOK_EVERY
                }
                Ok(Found::NotInstalled(why)) => {
                    self.phases.ready.store(true, Ordering::Relaxed);
                    if tell(why.to_owned()) {
                        tracing::info!(why, "no webhook is installed");
                    }
                    AGAIN
                }
                Err(error) => {
                    let text = error.to_string();
                    if tell(text.clone()) {
                        tracing::warn!(error = text, "the webhook's certificate cannot be looked after");
                    }
                    AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&self) -> Result<Found, WebhookCertError> {
        // First: its version is then older than the Secret, and a CA that another operator has put there meanwhile is
        // not taken back.
        let (trusted, version) = match self.configured().await? {
            Configured::Ours { trusted, version } => (trusted, version),
            Configured::Not(why) => return Ok(Found::NotInstalled(why)),
        };
        let certified = self.certified().await?;
        if trusted != certified.ca.trusted() {
            self.trust(&certified.ca.trusted(), version.as_deref()).await?;
            tracing::info!("API servers are told whom to trust");
        }
        self.serving.serve_as(certified)?;
        Ok(Found::Serves)
    }

    async fn configured(&self) -> Result<Configured, WebhookCertError> {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        match within(configurations.get_opt(&configuration_name(&self.namespace))).await {
            Ok(there) => Ok(configured(there.as_ref(), &self.namespace)),
            // The permission comes with the webhook.
            Err(WebhookCertError::Kubernetes(kube::Error::Api(status))) if status.code == 403 => {
                Ok(Configured::Not("its configuration may not be read"))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes API servers trust these CAs, and touches nothing else. As fields of their own manager these survive when the
    /// install, which says nothing about them, is applied again.
    async fn trust(&self, trusted: &str, version: Option<&str>) -> Result<(), WebhookCertError> {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let params = PatchParams::apply(field_managers::WEBHOOK).force();
        let name = configuration_name(&self.namespace);
        let patch = Patch::Apply(trusting(&name, trusted, version));
        within(configurations.patch(&name, &params, &patch)).await.map(drop)
    }

    /// The certificate of the Secret, made or renewed if it must be.
    async fn certified(&self) -> Result<Certified, WebhookCertError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        loop {
            let now = OffsetDateTime::now_utc();
            let there = within(secrets.get_opt(SERVICE)).await?;
            let next = match there.as_ref().and_then(|secret| Certified::read(&text_of(secret))) {
                Some(read) => {
                    let acts = self.phases.leading.load(Ordering::Relaxed);
                    let renewed = if acts { read.renewed(&self.namespace, now, self.life)? } else { None };
                    let Some(renewed) = renewed else { return Ok(read) };
                    renewed
                }
                // Taken away or damaged while it is in use: the same again, or API servers would trust none of the others.
                None => match self.serving.certified() {
                    Some(in_use) => in_use,
                    None => Certified::new(&self.namespace, now, self.life)?,
                },
            };
            let metadata = there.as_ref().map(|secret| secret.metadata.clone());
            let object = secret(&next, metadata);
            let written = match there {
                None => within(secrets.create(&PostParams::default(), &object)).await,
                Some(_) => within(secrets.replace(SERVICE, &PostParams::default(), &object)).await,
            };
            match written {
                Ok(_) => return Ok(next),
                // Another operator was faster.
                Err(WebhookCertError::Kubernetes(kube::Error::Api(status))) if status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WebhookCertError> {
    Ok(tokio::time::timeout(WITHIN, asked).await.map_err(|_| WebhookCertError::Late)??)
}

/// The Secret; with the version it was read in if it is there.
fn secret(certified: &Certified, there: Option<ObjectMeta>) -> Secret {
    let metadata =
        there.unwrap_or_else(|| ObjectMeta { name: Some(SERVICE.to_owned()), ..ObjectMeta::default() });
    let data = certified.data().into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
    Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(data.collect()), ..Secret::default() }
}

fn configured(there: Option<&ValidatingWebhookConfiguration>, namespace: &str) -> Configured {
    let Some(there) = there else { return Configured::Not("there is no configuration of it") };
    let ours = |webhook: &&ValidatingWebhook| webhook.name == WEBHOOK;
    let Some(webhook) = there.webhooks.iter().flatten().find(ours) else {
        return Configured::Not("its configuration has another webhook");
    };
    let service = webhook.client_config.service.as_ref();
    // Two installs in one Kubernetes must not take it from each other.
    if service.is_none_or(|service| service.namespace != namespace) {
        return Configured::Not("its configuration is that of another install");
    }
    let trusted = webhook.client_config.ca_bundle.as_ref().map(|bundle| String::from_utf8_lossy(&bundle.0));
    Configured::Ours {
        trusted: trusted.unwrap_or_default().into_owned(),
        version: there.metadata.resource_version.clone(),
    }
}

/// The one field that is ours; list entries are found by their name.
fn trusting(name: &str, trusted: &str, version: Option<&str>) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": name, "resourceVersion": version },
        "webhooks": [{
            "name": WEBHOOK,
            "clientConfig": { "caBundle": ByteString(trusted.as_bytes().to_vec()) },
        }],
    })
}

#[cfg(test)]
mod tests;
