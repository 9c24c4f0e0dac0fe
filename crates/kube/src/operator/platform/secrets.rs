//! The Secrets that pods mount: reads what has to be known of them, and makes what is missing.

use super::identity::{controller_identity, ensure_ca};
use super::{PlatformError, Provisioned, Shared};
use crate::ca::due_for_renewal;
use crate::objects::Owner;
use crate::objects::secrets::{self, text_of};
use crate::objects::template::Template;
use crate::objects::whose::{Marks, Whose};
use crate::operator::apply::missing_secrets::{
    KnownSecrets, Memory, Review, SecretAction, awaited_secret, lack_of, missing_secrets,
};
use crate::operator::apply::object_writer::NotDone;
use crate::operator::cache::Object;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use valkeeper_client::Password;
use valkeeper_engine::password;
use valkeeper_kube_api::names;
use valkeeper_model::{Layout, Waiting};

/// A CA is good for years: it is looked at seldom.
const REVIEWED_EVERY: Duration = Duration::from_secs(300);
/// What is tried with a cluster's Secrets, as a word.
const SECRETS: &str = "all of them";

impl Shared {
    /// The Secrets that pods mount. What is missing that only the user can give; or why ours cannot be made.
    pub(super) async fn foundations(
        &self,
        layout: &Layout,
        template: Option<&Template>,
        done: &mut Provisioned,
    ) -> Result<Option<String>, Waiting> {
        let secrets = Object::new("Secret", &names::agent_tls_secret(&self.owner.home.cluster));
        let is_held_back = !done.backoff.lets(&secrets, SECRETS, Instant::now());
        if let Some(waiting) = done.backoff.waiting_for(&secrets).filter(|_| is_held_back) {
            return Err(waiting.clone());
        }
        let result = async {
            self.make_secrets(layout, template, done).await?;
            match template {
                Some(template) => self.lack(layout, template).await,
                None => Ok(Some("the manifest cannot be read, so that nothing is made by it".to_owned())),
            }
        };
        let result: Result<_, PlatformError> = result.await;
        match result {
            Ok(lack) => {
                done.backoff.done(&secrets);
                Ok(lack)
            }
            Err(error) => {
                tracing::warn!(home = %self.owner.home, %error, "the Secrets are not as they should be");
                let waiting = error.waiting(&secrets);
                done.backoff.refused(secrets, SECRETS.to_owned(), Some(waiting.clone()), Instant::now());
                Err(waiting)
            }
        }
    }

    async fn make_secrets(
        &self,
        layout: &Layout,
        template: Option<&Template>,
        done: &mut Provisioned,
    ) -> Result<(), PlatformError> {
        for action in missing_secrets(&self.owner.home.cluster, template, &self.seen.all(), done.known()) {
            match action {
                SecretAction::FindPassword => self.find_password(template, done).await?,
                SecretAction::RestoreCa => {
                    if let Some(known) = &done.ca {
                        self.writer.create(&secrets::ca_secret(&self.owner, known)).await?;
                    }
                }
                SecretAction::ReviewCa => self.review_ca(done).await?,
                SecretAction::ReadCertificates => {
                    let name = names::agent_tls_secret(&self.owner.home.cluster);
                    let there = self.secrets().get_opt(&name).await?;
                    done.agents = there.map(|secret| text_of(&secret)).unwrap_or_default();
                }
            }
        }
        self.renew_certificates(layout, done).await
    }

    async fn find_password(
        &self,
        template: Option<&Template>,
        done: &mut Provisioned,
    ) -> Result<(), PlatformError> {
        let own = names::auth_secret(&self.owner.home.cluster);
        let there = self.secrets().get_opt(&own).await?;
        // One that the manifest names is used whosever it is.
        if template.is_some_and(|template| template.auth_secret.is_none()) {
            must_be_ours(&self.owner, there.as_ref(), &own)?;
        }
        let there = there.map(|secret| text_of(&secret));
        let kept = there.as_ref().and_then(|data| data.get(names::PASSWORD_KEY)).map(Password::new);
        let own = kept.or_else(|| done.password.clone()).unwrap_or_else(password);
        if there.is_none() {
            self.writer.create(&secrets::auth(&self.owner, &own)).await?;
        }
        done.password = Some(own);
        Ok(())
    }

    async fn review_ca(&self, done: &mut Provisioned) -> Result<(), PlatformError> {
        let now = OffsetDateTime::now_utc();
        let ca = ensure_ca(&self.client, &self.owner, now, self.life).await?;
        let own_ends = due_for_renewal(&done.own, now);
        if done.ca.as_ref() != Some(&ca) || own_ends {
            let identity = controller_identity(&self.owner, &ca, now, self.life)?;
            done.own.clone_from(&identity.certificate);
            self.credentials.replace(identity)?;
            self.caller.forget();
        }
        done.ca = Some(ca);
        done.reviewed = Some(Instant::now());
        Ok(())
    }

    /// Makes the agents' certificates that are missing or about to end.
    async fn renew_certificates(&self, layout: &Layout, done: &mut Provisioned) -> Result<(), PlatformError> {
        let Some(ca) = &done.ca else { return Ok(()) };
        let (instances, now) = (layout.instances.keys().cloned(), OffsetDateTime::now_utc());
        let secret = secrets::agents(&self.owner, ca, instances, &done.agents, now, self.life)?;
        if let Some(secret) = secret {
            self.writer.write(&secret).await?;
            done.agents = serde_json::from_value(secret["stringData"].clone())?;
        }
        Ok(())
    }

    async fn lack(&self, layout: &Layout, template: &Template) -> Result<Option<String>, PlatformError> {
        let Some(named) = awaited_secret(layout, template, &self.seen.all()) else { return Ok(None) };
        let there = self.secrets().get_opt(named).await?;
        Ok(lack_of(named, there.map(|secret| text_of(&secret)).as_ref()))
    }

    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.owner.home.namespace)
    }
}

impl Provisioned {
    fn known(&self) -> KnownSecrets {
        let is_recent = self.reviewed.is_some_and(|at| at.elapsed() < REVIEWED_EVERY);
        KnownSecrets {
            password: Memory::of(self.password.is_some()),
            ca: Memory::of(self.ca.is_some()),
            ca_review: if is_recent { Review::Recent } else { Review::Due },
            certificates: Memory::of(!self.agents.is_empty()),
        }
    }
}

/// What is there under the name of a Secret of ours is neither changed nor used unless it is.
pub(super) fn must_be_ours(owner: &Owner, there: Option<&Secret>, name: &str) -> Result<(), NotDone> {
    let Some(there) = there else { return Ok(()) };
    let named = Object::new("Secret", name);
    match Marks::of(&there.metadata).whose(owner) {
        Whose::Ours => Ok(()),
        Whose::Leaving => Err(NotDone::Leaving(named)),
        Whose::Prepared | Whose::Foreign => Err(NotDone::Foreign(named)),
    }
}
