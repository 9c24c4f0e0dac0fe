//! What there is to do about a cluster's Secrets: from what the watches have seen and what the operator has in memory. What a Secret
//! holds is not kept by the watches, so that some of it has to be read first. Pure.

use crate::objects::secrets::Data;
use crate::objects::template::Template;
use crate::operator::cache::{Object, SeenObjects};
use valkeeper_kube_api::names;
use valkeeper_model::{ClusterName, Layout};

/// Something to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretAction {
    /// Read the password. Is there none, the Secret is made, with the one in memory if there is one: who starts anew could not follow
    /// those that run with another.
    FindPassword,
    /// Make the CA's Secret again from memory: with another CA nobody would know anybody for minutes.
    RestoreCa,
    /// Read the CA: another operator may have changed it, and it is followed by another in time.
    ReviewCa,
    /// Read the agents' certificates.
    ReadCertificates,
}

/// Whether the operator has something in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It has.
    Kept,
    /// It has to be read.
    Empty,
}

impl Memory {
    pub(crate) fn of(is_kept: bool) -> Self {
        if is_kept { Self::Kept } else { Self::Empty }
    }
}

/// When a CA was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Review {
    /// Not long ago.
    Recent,
    /// Too long ago, or never.
    Due,
}

/// What the operator knows of a cluster's Secrets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownSecrets {
    pub(crate) password: Memory,
    pub(crate) ca: Memory,
    pub(crate) ca_review: Review,
    pub(crate) certificates: Memory,
}

/// What there is to do about the Secrets that Valkeeper makes for a cluster. Without a template it is not known whose the password is.
pub(crate) fn missing_secrets(
    cluster: &ClusterName,
    template: Option<&Template>,
    seen: &SeenObjects,
    known: KnownSecrets,
) -> Vec<SecretAction> {
    let is_gone = |name: &str| seen.object(&Object::new("Secret", name)).is_none();
    let mut actions = Vec::new();
    let ours_to_keep = template.is_some_and(|template| template.users_secret(cluster).is_none());
    if ours_to_keep && (known.password == Memory::Empty || is_gone(&names::auth_secret(cluster))) {
        actions.push(SecretAction::FindPassword);
    }
    let ca_gone = is_gone(&names::ca_secret(cluster));
    if ca_gone && known.ca == Memory::Kept {
        actions.push(SecretAction::RestoreCa);
    }
    if ca_gone || known.ca_review == Review::Due {
        actions.push(SecretAction::ReviewCa);
    }
    if known.certificates == Memory::Empty || is_gone(&names::agent_tls_secret(cluster)) {
        actions.push(SecretAction::ReadCertificates);
    }
    actions
}

/// The Secret with the password that the user has named, if pods are missing that would wait for it.
pub(crate) fn awaited_secret<'a>(
    layout: &Layout,
    template: &'a Template,
    seen: &SeenObjects,
) -> Option<&'a str> {
    let named = template.users_secret(&layout.cluster)?;
    let all_there = layout.instances.keys().all(|name| seen.pods.contains_key(name));
    (!all_there).then_some(named)
}

/// What pods that are missing lack, as the user has not given it in the Secret of that name. A pod without it would wait for its
/// volumes, and Kubernetes says of that nothing in the pod.
pub(crate) fn lack_of(named: &str, there: Option<&Data>) -> Option<String> {
    let (key, field) = (names::PASSWORD_KEY, "spec.authSecret.name");
    match there {
        None => Some(format!("the Secret {named} of {field} does not exist")),
        Some(data) if data.get(key).is_none_or(String::is_empty) => {
            Some(format!("the Secret {named} of {field} has no key {key}"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::cache::ObjectSeen;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use valkeeper_model::manifest;

    const ALL: [&str; 3] = ["demo-auth", "demo-ca", "demo-agent-tls"];
    const KNOWN: KnownSecrets = KnownSecrets {
        password: Memory::Kept,
        ca: Memory::Kept,
        ca_review: Review::Recent,
        certificates: Memory::Kept,
    };

    fn template(auth_secret: Option<&str>) -> Template {
        let manifest = manifest::parse(
            "demo.yaml",
            "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: demo\nspec:\n  mode: cluster\n  shards: 3\n",
        );
        let template = Template::of(&manifest.expect("valid"));
        Template { auth_secret: auth_secret.map(str::to_owned), ..template }
    }

    fn actions(there: &[&str], template: Option<&Template>, known: KnownSecrets) -> Vec<SecretAction> {
        let mut seen = SeenObjects::default();
        for name in there {
            seen.objects.insert(Object::new("Secret", name), ObjectSeen::of(&ObjectMeta::default()));
        }
        missing_secrets(&"demo".parse().unwrap(), template, &seen, known)
    }

    #[test]
    fn an_operator_that_has_just_begun_reads_everything() {
        use SecretAction::{FindPassword, ReadCertificates, RestoreCa, ReviewCa};
        let known = KnownSecrets { password: Memory::Empty, certificates: Memory::Empty, ..KNOWN };
        let ours = template(None);
        assert_eq!(actions(&[], Some(&ours), known), [FindPassword, RestoreCa, ReviewCa, ReadCertificates]);
        assert_eq!(actions(&ALL, Some(&ours), known), [FindPassword, ReadCertificates]);
        assert_eq!(actions(&ALL, Some(&ours), KNOWN), []);
    }

    #[test]
    fn each_secret_that_was_taken_away_is_made_again() {
        use SecretAction::{FindPassword, ReadCertificates, RestoreCa, ReviewCa};
        let without = |gone: &str| -> Vec<&str> { ALL.into_iter().filter(|name| *name != gone).collect() };
        let ours = template(None);
        let lost = |gone: &str| actions(&without(gone), Some(&ours), KNOWN);
        assert_eq!(lost("demo-auth"), [FindPassword]);
        assert_eq!(lost("demo-ca"), [RestoreCa, ReviewCa]);
        assert_eq!(lost("demo-agent-tls"), [ReadCertificates]);
        let due = KnownSecrets { ca_review: Review::Due, ..KNOWN };
        assert_eq!(actions(&ALL, Some(&ours), due), [ReviewCa]);
        let none = KnownSecrets { ca: Memory::Empty, ..KNOWN };
        assert_eq!(
            actions(&without("demo-ca"), Some(&ours), none),
            [ReviewCa],
            "there is nothing to restore"
        );
    }

    #[test]
    fn a_users_own_password_is_never_made() {
        let without = ["demo-ca", "demo-agent-tls"];
        let known = KnownSecrets { password: Memory::Empty, ..KNOWN };
        assert_eq!(actions(&without, Some(&template(Some("mine"))), known), []);
        assert_eq!(actions(&without, None, known), [], "nor while it is not known whose it is");
        // By its usual name it is Valkeeper's.
        let usual = template(Some("demo-auth"));
        assert_eq!(actions(&without, Some(&usual), known), [SecretAction::FindPassword]);
    }

    #[test]
    fn what_the_user_has_not_given_is_named() {
        assert_eq!(
            lack_of("mine", None).as_deref(),
            Some("the Secret mine of spec.authSecret.name does not exist")
        );
        let empty = Data::from([("password".to_owned(), String::new())]);
        assert!(lack_of("mine", Some(&empty)).unwrap().ends_with("has no key password"));
        let given = Data::from([("password".to_owned(), "x".to_owned())]);
        assert_eq!(lack_of("mine", Some(&given)), None);
    }
}
