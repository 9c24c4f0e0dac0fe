use super::super::certificate::tests::made;
use super::*;
use crate::install::{Install, manifests};

fn installed() -> ValidatingWebhookConfiguration {
    let install = Install {
        namespace: "system".to_owned(),
        image: "i".to_owned(),
        replicas: 1,
        namespaces: Vec::new(),
        webhook: true,
        domain: None,
    };
    serde_json::from_value(manifests(&install).pop().unwrap()).unwrap()
}

#[test]
fn the_installed_configuration_is_ours_in_our_namespace_only() {
    let there = installed();
    let nobody = Configured::Ours { trusted: String::new(), version: None };
    assert_eq!(configured(Some(&there), "system"), nobody);
    assert!(matches!(configured(Some(&there), "other"), Configured::Not(_)));
    assert!(matches!(configured(None, "system"), Configured::Not(_)));
    let without = ValidatingWebhookConfiguration { webhooks: None, ..there };
    assert!(matches!(configured(Some(&without), "system"), Configured::Not(_)));
}

#[test]
fn what_is_written_is_read_again_and_is_nothing_that_the_install_owns() {
    let patch = trusting("valkeeper", "AB", Some("7"));
    let mut there = installed();
    let bundle = serde_json::from_value(patch["webhooks"][0]["clientConfig"]["caBundle"].clone()).unwrap();
    let webhook = there.webhooks.as_mut().and_then(|all| all.first_mut()).unwrap();
    assert_eq!(webhook.client_config.ca_bundle, None, "the install must not take it back");
    webhook.client_config.ca_bundle = Some(bundle);
    there.metadata.resource_version = Some("7".to_owned());
    let now = Configured::Ours { trusted: "AB".to_owned(), version: Some("7".to_owned()) };
    assert_eq!(configured(Some(&there), "system"), now);
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&patch["webhooks"][0]["clientConfig"]), ["caBundle"]);
    assert_eq!(fields(&patch["metadata"]), ["name", "resourceVersion"]);
}

#[test]
fn the_secret_is_read_as_it_was_written_and_replaces_only_what_was_read() {
    let (certified, ..) = made();
    let fresh = secret(&certified, None);
    assert_eq!(Certified::read(&text_of(&fresh)), Some(certified.clone()));
    assert_eq!((fresh.metadata.name.as_deref(), fresh.type_.as_deref()), (Some(SERVICE), Some("Opaque")));
    let version = Some("9".to_owned());
    let there = ObjectMeta { resource_version: version.clone(), ..fresh.metadata };
    assert_eq!(secret(&certified, Some(there)).metadata.resource_version, version);
}
