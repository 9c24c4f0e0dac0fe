//! The DNS domain that the names of this Kubernetes end in: clients are sent on by name.

use valkeeper_kube_api::names::DEFAULT_DOMAIN;

/// What the kubelet has written for this pod; the usual one outside of a pod.
pub(crate) fn of_this_pod() -> String {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    of(&text).unwrap_or(DEFAULT_DOMAIN).to_owned()
}

/// Of a `resolv.conf` as kubelets write it: `search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`.
fn of(resolv_conf: &str) -> Option<&str> {
    let lines = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("search"));
    let mut searched = lines.flat_map(str::split_whitespace);
    searched.find_map(|domain| domain.strip_prefix("svc.")).map(|domain| domain.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_that_of_the_services() {
        let text = "nameserver 10.96.0.10\nsearch shop.svc.k8s.example.org svc.k8s.example.org k8s.example.org lan\noptions ndots:5\n";
        assert_eq!(of(text), Some("k8s.example.org"));
        assert_eq!(of("search a.svc.cluster.local svc.cluster.local. cluster.local"), Some("cluster.local"));
        assert_eq!(of("search lan\nnameserver 1.1.1.1"), None);
    }
}
