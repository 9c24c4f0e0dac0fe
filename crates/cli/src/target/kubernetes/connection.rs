//! How clients within Kubernetes reach a cluster.

use crate::document::connection::{ByRole, Connection, PasswordPlace};
use crate::failure::Failure;
use valkeeper_kube::api::InstanceStatus;
use valkeeper_kube::api::names::{self, CLIENT_PORT, PASSWORD_KEY, SENTINEL_PORT};
use valkeeper_kube::remote::Remote;
use valkeeper_model::Mode;

pub(super) async fn connection(remote: &Remote) -> anyhow::Result<Connection> {
    let object = remote.object().await.map_err(Failure::from)?;
    let (cluster, namespace) = (remote.name(), remote.namespace());
    let instances = object.status.iter().flat_map(|status| &status.instances_status);
    let host = |(name, instance): (_, &InstanceStatus)| {
        // An older operator says no name; it gave the usual ones.
        let usual = || names::host(cluster, name, namespace, names::DEFAULT_DOMAIN);
        format!("{}:{CLIENT_PORT}", instance.host.clone().unwrap_or_else(usual))
    };
    let seeds = instances.map(host).collect();
    let at = |service: String| format!("{service}.{namespace}.svc:{CLIENT_PORT}");
    let mode = object.status.as_ref().map(|status| status.mode).unwrap_or_default();
    let sentinel = || format!("{}.{namespace}.svc:{SENTINEL_PORT}", names::sentinel_service(cluster));
    let sentinels = (mode == Mode::Sentinel).then(sentinel);
    let named = object.manifest().ok().and_then(|manifest| manifest.spec.auth_secret);
    let secret = named.unwrap_or_else(|| names::auth_secret(cluster));
    Ok(Connection {
        service: Some(at(names::any_service(cluster))),
        seeds,
        by_role: (!mode.has_slots()).then(|| ByRole {
            primary: at(names::primary_service(cluster)),
            replica: at(names::replica_service(cluster)),
            any: at(names::any_service(cluster)),
            sentinels: sentinels.into_iter().collect(),
            sentinel_name: cluster.to_string(),
        }),
        username: "default",
        password: PasswordPlace::Secret {
            password_command: format!(
                "kubectl -n {namespace} get secret {secret} -o jsonpath='{{.data.{PASSWORD_KEY}}}' | base64 -d"
            ),
            password_secret: secret,
            password_key: PASSWORD_KEY,
        },
    })
}
