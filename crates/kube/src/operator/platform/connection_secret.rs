//! The Secret in which clients find how to connect, if the manifest names one. It holds the password, so that what has its name and is not ours is
//! neither read nor written.

use super::{PlatformError, Provisioned, Shared};
use crate::objects::secrets::{connection, text_of};
use crate::objects::template::Template;
use crate::operator::cache::Object;
use valkeeper_client::Password;
use valkeeper_kube_api::names::PASSWORD_KEY;
use valkeeper_model::{Layout, Waiting};

impl Shared {
    /// Writes it if it does not say what is so; what keeps it from that. Nothing waits for it.
    pub(super) async fn publish_connection(
        &self,
        layout: &Layout,
        template: Option<&Template>,
        done: &Provisioned,
    ) -> Option<Waiting> {
        let template = template?;
        let name = template.kubernetes.connection_secret.as_deref()?;
        let published = async {
            let Some(password) = self.password_in_use(template, done).await? else { return Ok(()) };
            let wanted = connection(&self.owner, name, layout.config.mode, &password);
            let there = self.secrets().get_opt(name).await?;
            super::secrets::must_be_ours(&self.owner, there.as_ref(), name)?;
            let differs =
                there.is_none_or(|there| serde_json::json!(text_of(&there)) != wanted["stringData"]);
            if differs {
                self.writer.write(&wanted).await?;
            }
            Ok(())
        };
        let published: Result<(), PlatformError> = published.await;
        published.err().map(|error| {
            tracing::warn!(home = %self.owner.home, %error, "the connection Secret cannot be written");
            error.waiting(&Object::new("Secret", name))
        })
    }

    /// The password that clients use: of the user's own Secret, or of ours.
    async fn password_in_use(
        &self,
        template: &Template,
        done: &Provisioned,
    ) -> Result<Option<Password>, PlatformError> {
        let Some(named) = template.users_secret(&self.owner.home.cluster) else {
            return Ok(done.password.clone());
        };
        let there = self.secrets().get_opt(named).await?.map(|secret| text_of(&secret));
        let password = there.as_ref().and_then(|data| data.get(PASSWORD_KEY));
        Ok(password.and_then(|text| Password::read(Ok(text.clone().into_bytes())).ok()))
    }
}
