//! The password of the source, in a cluster that follows another: read from the user's Secret, and told to the agents. The Secret is not
//! mounted into the pods, as another one may be named while they run, and the kubelet brings a changed one only after a minute or two.

use super::{ORDER_WITHIN, Provisioned, Shared};
use crate::operator::apply::object_writer::told as told_of;
use crate::wire::{Repeat, SourcePassword, Who, path};
use k8s_openapi::api::core::v1::Secret;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use valkeeper_client::Password;
use valkeeper_kube_api::names::PASSWORD_KEY;
use valkeeper_model::{InstanceName, Layout, PasswordFault, Source};

/// Nobody tells that the Secret was changed, or how far the source is: both are looked at this often. A source of Valkeeper's takes the former
/// password for longer.
const LOOKED_AT: Duration = Duration::from_secs(10);

/// An agent is told anew after this, although it has heard it: its disk may have been too full to keep it, and it may have begun anew.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// The API server answers within this.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// What is to be told, and what was.
#[derive(Default)]
pub(super) struct Telling {
    told: Mutex<Told>,
    /// Held while the Secret is read and told of.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Told {
    /// As it was read last.
    newest: Option<SourcePassword>,
    /// What each agent has heard, and when.
    heard: BTreeMap<InstanceName, (Heard, Instant)>,
}

/// A password that an agent was told.
#[derive(Clone, PartialEq, Eq)]
struct Heard {
    /// The uid of its pod: an agent in another pod begins on what may be another volume.
    pod: String,
    password: SourcePassword,
}

impl Telling {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the agent in that pod has not heard, of the Secret that is used.
    fn unheard(&self, name: &InstanceName, pod: &str, secret: &str) -> Option<SourcePassword> {
        let told = self.told();
        let newest = told.newest.as_ref().filter(|newest| newest.secret == secret)?;
        let heard = told.heard.get(name).is_some_and(|(heard, at)| {
            heard.pod == pod && heard.password == *newest && at.elapsed() < TOLD_AGAIN_AFTER
        });
        (!heard).then(|| newest.clone())
    }
}

impl Shared {
    /// Has each agent know the password of the source, if one is followed. Waits for nobody: an API server or an agent that does not answer must
    /// not keep the rest of the cluster waiting.
    pub(super) fn tell_source_password(self: &Arc<Self>, layout: &Layout, done: &mut Provisioned) {
        let Some(source) = followed(layout) else {
            *self.source_password.told() = Told::default();
            return;
        };
        self.look_again(&mut done.again, LOOKED_AT);
        let Some(secret) = source.auth_secret.clone() else { return };
        let (shared, names) = (Arc::clone(self), layout.instances.keys().cloned().collect::<Vec<_>>());
        tokio::spawn(async move {
            let Ok(_one_at_a_time) = shared.source_password.reading.try_lock() else { return };
            shared.read_source_password(&secret).await;
            let told = names.iter().map(|name| shared.tell_source_password_to(name, &secret));
            futures::future::join_all(told).await;
        });
    }

    async fn read_source_password(&self, secret: &str) {
        let why = match tokio::time::timeout(READ_WITHIN, self.secrets().get_opt(secret)).await {
            Ok(Ok(there)) => {
                let newest = SourcePassword { secret: secret.to_owned(), password: read(there) };
                self.source_password.told().newest = Some(newest);
                return;
            }
            Ok(Err(error)) => told_of(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        // What was read before holds: that it cannot be seen now says nothing of it.
        tracing::warn!(home = %self.owner.home, secret, why, "the source's password cannot be read");
    }

    /// Tells one agent what it has not heard. One that does not answer is told again at the next look.
    pub(super) async fn tell_source_password_to(&self, name: &InstanceName, secret: &str) {
        let Some(pod) = self.seen.pods().get(name).map(|pod| pod.uid.clone()) else { return };
        let Some(at) = self.address(name) else { return };
        let Some(password) = self.source_password.unheard(name, &pod, secret) else { return };
        let to = Who::Agent(name.clone());
        let sent: Result<(), _> =
            self.caller.call(&to, at, path::SOURCE_PASSWORD, &password, Repeat::Yes, ORDER_WITHIN).await;
        match sent {
            Ok(()) => {
                let heard = (Heard { pod, password }, Instant::now());
                self.source_password.told().heard.insert(name.clone(), heard);
            }
            Err(error) => {
                tracing::debug!(home = %self.owner.home, to = to.claim(), %error, "the source's password did not arrive");
            }
        }
    }
}

/// The source, while it is followed.
fn followed(layout: &Layout) -> Option<&Source> {
    layout.replica_mode.as_deref().filter(|mode| mode.follows()).map(|mode| &mode.source)
}

/// What a Secret holds, if there is one.
fn read(secret: Option<Secret>) -> Result<String, PasswordFault> {
    let unreadable = |why: &str| PasswordFault::Unreadable { why: why.to_owned() };
    let data = secret.ok_or_else(|| unreadable("there is no such Secret"))?.data.unwrap_or_default();
    let bytes = data.get(PASSWORD_KEY).ok_or_else(|| unreadable("the Secret has no key password"))?;
    Password::written(&bytes.0).map(|password| password.reveal().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn who_has_heard_it_is_not_told_until_it_is_another_or_its_pod_is() {
        let telling = Telling::default();
        let name: InstanceName = "dr-0".parse().unwrap();
        let unheard = |pod: &str, secret: &str| telling.unheard(&name, pod, secret).is_some();
        assert!(!unheard("a", "east-auth"), "nothing was read yet");
        let password =
            |text: &str| SourcePassword { secret: "east-auth".to_owned(), password: Ok(text.to_owned()) };
        telling.told().newest = Some(password("first"));
        assert!(unheard("a", "east-auth") && !unheard("a", "another"));
        let heard = Heard { pod: "a".to_owned(), password: password("first") };
        telling.told().heard.insert(name.clone(), (heard, Instant::now()));
        assert!(!unheard("a", "east-auth") && unheard("b", "east-auth"));
        telling.told().newest = Some(password("second"));
        assert!(unheard("a", "east-auth"));
    }

    #[test]
    fn what_the_secret_lacks_is_named() {
        let with = |key: &str, bytes: &str| Secret {
            data: Some(BTreeMap::from([(key.to_owned(), ByteString(bytes.as_bytes().to_vec()))])),
            ..Secret::default()
        };
        let of = |secret: Option<Secret>| read(secret).map_err(|fault| fault.to_string());
        assert_eq!(of(Some(with(PASSWORD_KEY, "secret\n"))).as_deref(), Ok("secret"));
        assert_eq!(of(None).unwrap_err(), "it cannot be read: there is no such Secret");
        let lacking = "it cannot be read: the Secret has no key password";
        assert_eq!(of(Some(Secret::default())).unwrap_err(), lacking);
        assert_eq!(of(Some(with("user", "x"))).unwrap_err(), lacking);
        assert_eq!(of(Some(with(PASSWORD_KEY, " "))).unwrap_err(), "it is empty");
    }
}
