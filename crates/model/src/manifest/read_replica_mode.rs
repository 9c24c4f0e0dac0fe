//! `spec.replicaMode`.

use super::check::Findings;
use super::read::{milliseconds_of, number_of, text_of, written};
use super::tree::{Meaning, Node, Value};
use crate::spec::{Mode, is_dns_subdomain, printable, rules};
use crate::{
    AutomaticPromotion, DataLoss, ReplicaModeSpec, Source, SourcePlace, SourceSentinels, host_and_port,
};

/// What is to be followed; `None` if nothing is, or it is written wrong. `mode` is `None` where it is not known.
pub(super) fn replica_mode(
    root: &Node,
    fields: &Node,
    mode: Option<Mode>,
    findings: &mut Findings,
) -> Option<ReplicaModeSpec> {
    let replica_mode = fields.get("replicaMode")?;
    let promote = is_true(replica_mode, "promote");
    if !is_true(replica_mode, "enabled") {
        if promote {
            findings.problem(rules::PROMOTE_WITHOUT_ENABLED.broken(&[]));
        }
        return None;
    }
    if mode == Some(Mode::Cluster) {
        findings.problem(rules::REPLICA_MODE_OF_CLUSTER.broken(&[]));
        return None;
    }
    let source = replica_mode.get("source");
    let text = |key: &str| {
        let text = text_of(source?, key).map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let port = source.and_then(|source| number_of(source, "port"));
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(Source::DEFAULT_PORT);
    let at = match (text("host"), source.and_then(|source| source.get("sentinel"))) {
        (Some(_), Some(_)) => {
            findings.problem(rules::SOURCE_TWICE.broken(&[]));
            return None;
        }
        (Some(host), None) => {
            if !is_host(&host) {
                findings.problem(rules::SOURCE_HOST.broken(&[&printable(&host)]));
            }
            SourcePlace::Host { host, port }
        }
        (None, Some(sentinel)) => SourcePlace::Sentinels { sentinel: sentinels(sentinel, findings)? },
        (None, None) => {
            if findings.is_clean(rules::SOURCE_MISSING.field) && findings.is_clean("spec.replicaMode.source")
            {
                findings.problem(rules::SOURCE_MISSING.broken(&[]));
            }
            return None;
        }
    };
    let auth_secret = text("authSecretName");
    if let Some(name) = auth_secret.as_ref().filter(|name| !is_dns_subdomain(name)) {
        findings.problem(rules::SOURCE_SECRET_NAME.broken(&[&printable(name)]));
    }
    let (cluster_name, user) = (text("clusterName"), text("user"));
    let token = text_of(replica_mode, "token").map(str::trim).filter(|token| !token.is_empty());
    Some(ReplicaModeSpec {
        source: Source { cluster_name, at, user, auth_secret },
        promote,
        token: token.map(str::to_owned),
        data_loss: data_loss(root, findings),
        automatic: automatic(replica_mode, fields),
    })
}

/// `spec.replicaMode.source.sentinel`.
fn sentinels(sentinel: &Node, findings: &mut Findings) -> Option<SourceSentinels> {
    let hosts: Vec<String> = match sentinel.get("hosts").map(|hosts| &hosts.value) {
        Some(Value::List(items)) => items
            .iter()
            .filter_map(|item| match &item.value {
                Value::Scalar(scalar) => Some(scalar.text.trim().to_owned()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let wrong = hosts.iter().find(|entry| host_and_port(entry).is_none_or(|(host, _)| !is_host(host)));
    if let Some(wrong) = wrong {
        findings.problem(rules::SOURCE_SENTINEL_HOST.broken(&[&printable(wrong)]));
        return None;
    }
    let primary_name = text_of(sentinel, "masterName").map(str::trim).filter(|name| !name.is_empty());
    match primary_name {
        Some(name) if !hosts.is_empty() => Some(SourceSentinels { hosts, primary_name: name.to_owned() }),
        _ => {
            findings.problem(rules::SOURCE_SENTINELS_MISSING.broken(&[]));
            None
        }
    }
}

fn automatic(replica_mode: &Node, fields: &Node) -> Option<AutomaticPromotion> {
    let wanted = replica_mode.get("automaticPromotion")?;
    let instances = number_of(fields, "instances").unwrap_or(1);
    Some(AutomaticPromotion {
        after_ms: milliseconds_of(wanted, "after").unwrap_or(AutomaticPromotion::DEFAULT_AFTER_MS),
        witnesses: number_of(wanted, "witnesses")
            .unwrap_or_else(|| AutomaticPromotion::default_witnesses(instances)),
    })
}

/// In `metadata.annotations`: the history whose loss is accepted.
const ACCEPT_DATA_LOSS: &str = "redis.io/accept-data-loss";

fn data_loss(root: &Node, findings: &mut Findings) -> DataLoss {
    let annotations = root.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let Some(text) = annotations.and_then(|annotations| written(annotations, ACCEPT_DATA_LOSS)) else {
        return DataLoss::Refused;
    };
    text.trim().parse().map_or_else(
        |_| {
            findings.problem(rules::ACCEPTED_HISTORY.broken(&[&printable(text)]));
            DataLoss::Refused
        },
        DataLoss::AcceptedOf,
    )
}

fn is_true(node: &Node, key: &str) -> bool {
    matches!(
        node.get(key).map(|node| &node.value),
        Some(Value::Scalar(scalar)) if scalar.meaning() == Meaning::Bool(true)
    )
}

/// An IP address, or a name as DNS has them; an underscore is taken too, as resolvers do.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    host.parse::<std::net::IpAddr>().is_ok()
        || host.len() <= 253 && host.trim_end_matches('.').split('.').all(label)
}
