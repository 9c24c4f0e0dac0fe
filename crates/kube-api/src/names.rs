//! What things are called: objects of a cluster, labels, annotations, field managers. Clients of the operator this API
//! comes from rely on them.

use valkeeper_model::{ClusterName, ClusterSpec, InstanceName};

/// The group of all our kinds.
pub const GROUP: &str = "redis.io";
/// Its only version.
pub const VERSION: &str = "v1";
/// Both, as `apiVersion` has them.
pub const API_VERSION: &str = "redis.io/v1";

/// The port clients use.
pub const CLIENT_PORT: u16 = 6379;
/// The engine's cluster bus.
pub const BUS_PORT: u16 = 16379;
/// The port of Sentinels.
pub const SENTINEL_PORT: u16 = 26379;

/// Label: the cluster an object belongs to.
pub const LABEL_CLUSTER: &str = "redis.io/cluster";
/// Label: the instance a pod or volume belongs to.
pub const LABEL_INSTANCE: &str = "redis.io/instance";
/// An event as programs read it.
pub const ANNOTATION_HAPPENED: &str = "redis.io/happened";
/// Label: the observed role of a pod, `primary` or `replica`.
pub const LABEL_ROLE: &str = "redis.io/role";
/// Label: what a pod does; [`WORKLOAD_DATA`] for those that hold data.
pub const LABEL_WORKLOAD: &str = "redis.io/workload";
/// Label: the shard of a pod or volume.
pub const LABEL_SHARD: &str = "redis.io/shard";
/// Label of a node, Kubernetes' own: its zone.
pub const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// The value of [`LABEL_WORKLOAD`] on pods that run a server.
pub const WORKLOAD_DATA: &str = "data";
/// The same on pods that run a Sentinel.
pub const WORKLOAD_SENTINEL: &str = "sentinel";
/// The value of [`LABEL_ROLE`] on pods that run a Sentinel.
pub const ROLE_SENTINEL: &str = "sentinel";

/// Label: a Secret that says how clients connect.
pub const LABEL_CONNECTION_SECRET: &str = "redis.io/connection-secret";

/// Annotation: what a pod or volume claim was made from. It differs from the wanted one: what never ran, or never had a volume, is
/// replaced.
pub const ANNOTATION_SPEC_HASH: &str = "redis.io/spec-hash";
/// A user's `"true"`: the roll under way may restart primaries. Taken away when it was taken.
pub const ANNOTATION_APPROVE: &str = "redis.io/approve-primary-update";
/// By which template a pod was made: it is replaced in its turn when the cluster has another.
pub const ANNOTATION_TEMPLATE: &str = "redis.io/template";
/// Annotation on a volume claim: the piece of the layout it belongs to (instance, shard, node id, cluster id), so that a
/// lost layout can be rebuilt from the volumes.
pub const ANNOTATION_LAYOUT: &str = "redis.io/layout";
/// On the Lease of a cluster of mode `standalone`: the votes of its register.
pub const ANNOTATION_REGISTER: &str = "redis.io/register";
/// Annotation on a pod that did not begin on its node: how often it was changed so that the kubelet looks at it again.
pub const ANNOTATION_TOUCHED: &str = "redis.io/touched";

/// Who writes a field by server-side apply. One per concern, so that none takes fields from another.
pub mod field_managers {
    /// Pods, volume claims, services and what else a cluster consists of.
    pub const OBJECTS: &str = "valkeeper-objects";
    /// Status of our kinds.
    pub const STATUS: &str = "valkeeper-status";
    /// Role labels of pods.
    pub const ROLES: &str = "valkeeper-roles";
    /// Certificates in webhook configurations.
    pub const WEBHOOK: &str = "valkeeper-webhook";
    /// What a user does from the command line.
    pub const CLI: &str = "valkeeper-cli";
}

/// The key of the password in its Secret.
pub const PASSWORD_KEY: &str = "password";
/// The key of the layout in its `ConfigMap`.
pub const LAYOUT_KEY: &str = "layout.json";

/// The pod of an instance.
pub fn pod(instance: &InstanceName) -> String {
    instance.to_string()
}

/// The volume claim of an instance: `<cluster>-data-<n>` for `<cluster>-<n>`.
pub fn volume_claim(cluster: &ClusterName, instance: &InstanceName) -> String {
    let instance = instance.as_str();
    let own = instance.strip_prefix(cluster.as_str()).and_then(|rest| rest.strip_prefix('-'));
    format!("{cluster}-data-{}", own.unwrap_or(instance))
}

/// The headless Service: one DNS name per pod, and all pods of the cluster, ready or not.
pub fn headless_service(cluster: &ClusterName) -> String {
    format!("{cluster}-cluster")
}

/// The Service for clients: any pod that is ready.
pub fn any_service(cluster: &ClusterName) -> String {
    format!("{cluster}-any")
}

/// The Service for clients of a cluster without slots that write: the primary.
pub fn primary_service(cluster: &ClusterName) -> String {
    format!("{cluster}-leader")
}

/// The Service for clients of a cluster without slots that read and take what is a moment old: the replicas.
pub fn replica_service(cluster: &ClusterName) -> String {
    format!("{cluster}-replica")
}

/// The Service for clients that ask Sentinels where the primary is; also the name of the Sentinels' disruption budget.
pub fn sentinel_service(cluster: &ClusterName) -> String {
    format!("{cluster}-sentinel")
}

/// The register of a cluster of mode `standalone`: a Lease, and the account, role and binding of those that keep it.
pub fn register(cluster: &ClusterName) -> String {
    format!("{cluster}-register")
}

/// The DNS domain that a Kubernetes mostly has.
pub const DEFAULT_DOMAIN: &str = "cluster.local";

/// The host name of an instance's pod, in a Kubernetes with that DNS domain.
pub fn host(cluster: &ClusterName, instance: &InstanceName, namespace: &str, domain: &str) -> String {
    format!("{instance}.{}.{namespace}.svc.{domain}", headless_service(cluster))
}

/// The Secret with the password, when the spec names none. Key: [`PASSWORD_KEY`].
pub fn auth_secret(cluster: &ClusterName) -> String {
    ClusterSpec::made_secret(cluster)
}

/// The Secret with the key of the CA that signs the agents' certificates. Only the operator reads it.
pub fn ca_secret(cluster: &ClusterName) -> String {
    format!("{cluster}-ca")
}

/// The Secret with the agents' certificate and key, mounted into the pods.
pub fn agent_tls_secret(cluster: &ClusterName) -> String {
    format!("{cluster}-agent-tls")
}

/// The `ConfigMap` that stores the layout.
pub fn layout_config_map(cluster: &ClusterName) -> String {
    format!("{cluster}-layout")
}

/// The disruption budget.
pub fn disruption_budget(cluster: &ClusterName) -> String {
    cluster.to_string()
}

/// The network policy.
pub fn network_policy(cluster: &ClusterName) -> String {
    cluster.to_string()
}

/// A selector for all pods of a cluster that run a server.
pub fn selector(cluster: &ClusterName) -> String {
    format!("{LABEL_CLUSTER}={cluster},{LABEL_WORKLOAD}={WORKLOAD_DATA}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_users_rely_on() -> Result<(), valkeeper_model::InvalidId> {
        let cluster: ClusterName = "demo-2".parse()?;
        let instance = InstanceName::nth(&cluster, 7);
        assert_eq!(pod(&instance), "demo-2-7");
        assert_eq!(volume_claim(&cluster, &instance), "demo-2-data-7");
        assert_eq!(host(&cluster, &instance, "shop", "k.org"), "demo-2-7.demo-2-cluster.shop.svc.k.org");
        assert_eq!(selector(&cluster), "redis.io/cluster=demo-2,redis.io/workload=data");
        assert_eq!(API_VERSION, format!("{GROUP}/{VERSION}"));
        Ok(())
    }

    #[test]
    fn the_longest_cluster_name_leaves_names_that_dns_takes() -> Result<(), valkeeper_model::InvalidId> {
        let cluster: ClusterName = "c".repeat(40).parse()?;
        let instance = InstanceName::nth(&cluster, 1999);
        for name in [
            pod(&instance),
            volume_claim(&cluster, &instance),
            headless_service(&cluster),
            agent_tls_secret(&cluster),
            layout_config_map(&cluster),
            register(&cluster),
        ] {
            assert!(name.len() <= 63, "{name}");
        }
        Ok(())
    }
}
