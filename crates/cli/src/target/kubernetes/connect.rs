//! `connect` for a cluster on Kubernetes. The password is never printed, only where it stands (law 11).

use crate::args::Format;
use crate::failure::Failure;
use crate::output;
use serde::Serialize;
use valkeeper_kube::api::InstanceStatus;
use valkeeper_kube::api::names::{self, CLIENT_PORT, PASSWORD_KEY};
use valkeeper_kube::remote::Remote;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connect {
    service: String,
    seeds: Vec<String>,
    username: &'static str,
    password_secret: String,
    password_key: &'static str,
    password_command: String,
}

pub(crate) async fn connect(remote: &Remote, format: Format) -> anyhow::Result<()> {
    let object = remote.object().await.map_err(Failure::from)?;
    let (cluster, namespace) = (remote.name(), remote.namespace());
    let instances = object.status.iter().flat_map(|status| &status.instances_status);
    let host = |(name, instance): (_, &InstanceStatus)| {
        // An older operator says no name; it gave the usual ones.
        let usual = || names::host(cluster, name, namespace, names::DEFAULT_DOMAIN);
        format!("{}:{CLIENT_PORT}", instance.host.clone().unwrap_or_else(usual))
    };
    let seeds = instances.map(host).collect();
    let named = object.manifest().ok().and_then(|manifest| manifest.spec.auth_secret);
    let secret = named.unwrap_or_else(|| names::auth_secret(cluster));
    let connect = Connect {
        service: format!("{}.{namespace}.svc:{CLIENT_PORT}", names::any_service(cluster)),
        seeds,
        username: "default",
        password_command: format!(
            "kubectl -n {namespace} get secret {secret} -o jsonpath='{{.data.{PASSWORD_KEY}}}' | base64 -d"
        ),
        password_secret: secret,
        password_key: PASSWORD_KEY,
    };
    output::value(format, &connect, || page(&connect))
}

fn page(connect: &Connect) -> String {
    let Connect { service, seeds, password_secret, password_key, password_command, .. } = connect;
    let seeds = if seeds.is_empty() { "-".to_owned() } else { seeds.join("\n          ") };
    format!(
        "url       redis://default@{service} (a cluster: use a client that knows clusters)\n\
         seeds     {seeds}\n\
         username  default\n\
         password  in Secret {password_secret}, key {password_key}\n\n\
         password  {password_command}\n\
         example   REDISCLI_AUTH=\"$({password_command})\" valkey-cli -c -h {host}\n\n\
         from outside: `kubectl valkeeper cli`. A port-forward reaches one server only: it sends clients on to the names of \
         other pods, which are known in Kubernetes alone\n",
        host = service.split(':').next().unwrap_or_default(),
    )
}
