//! From a checked document to a typed spec.

use super::check::{Findings, describe, similar, whole_number};
use super::schema::{Preset, SPEC};
use super::tree::{Meaning, Node, Value};
use super::{Manifest, Target, annotations, check, read_kubernetes, read_replica_mode};
use crate::spec::{
    self, ClusterSpec, DriftPolicy, FieldProblem, MaxMemory, MaxMemoryPolicy, MemoryWish, Mode, Persistence,
    PrimaryUpdate, RestartPolicy, UpdateSpec, ZonePolicy, normal_name, parse_duration_ms,
    parse_quantity_bytes, printable, rules,
};
use crate::{ClusterName, SentinelSpec};
use std::collections::BTreeMap;

/// `None` if there is no way to make a spec; the problems say why. They may also make a spec useless.
pub(super) fn manifest(root: &Node, findings: &mut Findings) -> Option<Manifest> {
    if !matches!(root.value, Value::Map(_)) {
        let reason = format!("expected a manifest, found {}", describe(root));
        findings.problem_at(
            root.place,
            "",
            reason,
            Some("a manifest begins with apiVersion: redis.io/v1".to_owned()),
        );
        return None;
    }
    // The fields of another kind are no mistakes of this one.
    if !is_redis_cluster(root, findings) {
        return None;
    }
    check::document(root, findings);
    let name = cluster_name(root, findings);
    let Some(fields) = root.get("spec") else {
        missing("spec", "write spec: with mode: cluster in it", findings);
        return None;
    };
    if !matches!(fields.value, Value::Map(_)) {
        return None;
    }
    let mode = mode(fields, findings);
    let replica_mode = read_replica_mode::replica_mode(root, fields, mode, findings);
    // A stand-in lets the rest be checked although the name is wrong.
    let named = name.or_else(|| "unnamed".parse().ok())?;
    let (spec, wish) = cluster_spec(named, mode.unwrap_or_default(), fields, findings);
    let sentinel = sentinel(fields, mode, findings);
    let spec = ClusterSpec { sentinel, replica_mode, ..spec };
    let for_kubernetes = findings.target == Target::Kubernetes;
    let kubernetes = read_kubernetes::spec(fields, for_kubernetes, findings);
    for problem in spec::validate(&spec) {
        if mode.is_some() || !LAYOUT.contains(&problem.field.as_str()) {
            findings.problem(problem);
        }
    }
    let annotated = annotations::read(root, &kubernetes, spec.persistence, findings);
    if !for_kubernetes {
        annotations::note_useless(root, findings);
    }
    let mut all_warnings = spec::warnings(&spec);
    if !spec.directives.contains_key("maxmemory") {
        all_warnings.extend(wish.warnings(spec.max_memory));
    }
    if for_kubernetes {
        all_warnings.extend(kubernetes.warnings());
    }
    let mut warnings: Vec<_> = all_warnings.into_iter().map(|warning| findings.note(warning)).collect();
    warnings.sort_by_key(|note| note.line);
    let mut without_effect = std::mem::take(&mut findings.without_effect);
    without_effect.sort_by_key(|note| note.line);
    let image = text_of(fields, "imageName").filter(|image| !image.is_empty()).map(str::to_owned);
    Some(Manifest { spec, kubernetes, annotated, image, without_effect, warnings })
}

/// What each mode counts in another way: not to be judged where the mode is not known.
const LAYOUT: [&str; 5] = [
    "spec.shards",
    "spec.replicasPerShard",
    "spec.instances",
    "spec.minSyncReplicas",
    "spec.maxSyncReplicas",
];

fn missing(field: &str, hint: &str, findings: &mut Findings) {
    findings.problem(FieldProblem::new(field, "missing").hint(hint));
}

pub(super) fn text_of<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &node.get(key)?.value {
        Value::Scalar(scalar) if scalar.meaning() == Meaning::Text => Some(&scalar.text),
        _ => None,
    }
}

/// The text of a value that was checked and may look like a number.
pub(super) fn written<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &node.get(key)?.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

pub(super) fn number_of(node: &Node, key: &str) -> Option<u32> {
    match &node.get(key)?.value {
        Value::Scalar(scalar) => whole_number(scalar),
        _ => None,
    }
}

fn bytes_of(node: &Node, key: &str) -> Option<u64> {
    written(node, key).and_then(|text| parse_quantity_bytes(text).ok())
}

pub(super) fn milliseconds_of(node: &Node, key: &str) -> Option<u64> {
    written(node, key).and_then(|text| parse_duration_ms(text).ok())
}

fn is_redis_cluster(root: &Node, findings: &mut Findings) -> bool {
    let place = |key: &str| root.get(key).map_or(root.place, |node| node.place);
    let expect = |key: &str, right: &'static str, findings: &mut Findings| {
        let Some(found) = text_of(root, key) else {
            if root.get(key).is_none() {
                let hint = Some(format!("write {key}: {right}"));
                findings.problem_at(root.place, key, "missing", hint);
            }
            return true;
        };
        if found == right {
            return true;
        }
        let reason = match found {
            "RedisBackup" | "RedisScheduledBackup" => format!("`{found}` is not supported yet"),
            _ => format!("`{}` is not `{right}`", printable(found)),
        };
        let slip = similar(found, [right].into_iter()).is_some();
        let hint =
            if slip { format!("did you mean `{right}`?") } else { format!("this program reads {right}") };
        findings.problem_at(place(key), key, reason, Some(hint));
        slip
    };
    let version = expect("apiVersion", "redis.io/v1", findings);
    let kind = expect("kind", "RedisCluster", findings);
    version && kind
}

fn cluster_name(root: &Node, findings: &mut Findings) -> Option<ClusterName> {
    let field = rules::CLUSTER_NAME.field;
    let Some(name) = root.get("metadata").and_then(|metadata| text_of(metadata, "name")) else {
        if findings.is_clean(field) && findings.is_clean("metadata") {
            missing(
                field,
                "write metadata: and under it name: demo, or whatever the cluster is called",
                findings,
            );
        }
        return None;
    };
    let parsed = name.parse().ok();
    if parsed.is_none() {
        findings.problem(rules::CLUSTER_NAME.broken(&[&printable(name)]));
    }
    parsed
}

/// The fields that count shards and their replicas, and are set.
fn shards_counted(fields: &Node, target: Target) -> Vec<&'static str> {
    // The API server writes the default into an object of any mode.
    let by_default = |name: &str, number: u32| {
        let mut preset = SPEC.iter().filter(|field| field.name == name).filter_map(|field| field.preset);
        target == Target::Kubernetes
            && preset.any(|preset| matches!(preset, Preset::Number(of) if of == number))
    };
    let counts =
        |name: &&str| number_of(fields, name).is_some_and(|number| number > 0 && !by_default(name, number));
    ["shards", "replicasPerShard"].into_iter().filter(counts).collect()
}

/// The mode; `None` if it is not supported, or not known.
fn mode(fields: &Node, findings: &mut Findings) -> Option<Mode> {
    let counted = shards_counted(fields, findings.target);
    let refused = match (text_of(fields, "mode"), fields.get("mode")) {
        (Some("cluster"), _) => {
            if number_of(fields, "instances").is_some_and(|instances| instances > 0) {
                findings.problem(rules::INSTANCES_IN_CLUSTER.broken(&[]));
            }
            return Some(Mode::Cluster);
        }
        (None, None) if !counted.is_empty() => rules::MODE_MISSING_BESIDE_SHARDS.broken(&[]),
        (Some("standalone" | "sentinel"), _) | (None, None) => {
            for name in counted {
                let problem = rules::SHARDS_OF_CLUSTER.broken(&[]);
                findings.problem(FieldProblem { field: format!("spec.{name}"), ..problem });
            }
            let sentinel = text_of(fields, "mode") == Some("sentinel");
            return Some(if sentinel { Mode::Sentinel } else { Mode::Standalone });
        }
        // What is no mode at all was reported as that.
        _ => return Some(Mode::Cluster),
    };
    findings.problem(refused);
    None
}

fn cluster_spec(
    name: ClusterName,
    mode: Mode,
    fields: &Node,
    findings: &mut Findings,
) -> (ClusterSpec, MemoryWish) {
    let default = ClusterSpec::new(name);
    let min_sync_replicas = number_of(fields, "minSyncReplicas").unwrap_or(0);
    let max_sync_replicas = number_of(fields, "maxSyncReplicas").unwrap_or(0);
    let (counted, field) = match mode {
        Mode::Cluster => (number_of(fields, "replicasPerShard"), "spec.replicasPerShard"),
        // No instances make no replicas, and are found by their own rule.
        Mode::Standalone | Mode::Sentinel => {
            (number_of(fields, "instances").map(|instances| instances.wrapping_sub(1)), "spec.instances")
        }
    };
    let replicas_per_shard = counted.unwrap_or_else(|| {
        // When it is written wrong, nothing may be concluded from it about the others.
        if findings.is_clean(field) { 0 } else { min_sync_replicas.max(max_sync_replicas) }
    });
    let node_timeout_ms = milliseconds_of(fields, "nodeTimeout").unwrap_or(default.node_timeout_ms);
    let wish = memory_wish(fields);
    let memory = fields.get("memory");
    let max_memory_policy = memory.map(|memory| {
        text_of(memory, "maxMemoryPolicy")
            .and_then(|policy| policy.parse().ok())
            .unwrap_or(MaxMemoryPolicy::NoEviction)
    });
    let spec = ClusterSpec {
        mode,
        shards: match mode {
            Mode::Cluster => number_of(fields, "shards").unwrap_or(default.shards),
            Mode::Standalone | Mode::Sentinel => 1,
        },
        replicas_per_shard,
        zones: match text_of(fields, "zones") {
            Some("besteffort") => ZonePolicy::BestEffort,
            _ => ZonePolicy::Required,
        },
        node_timeout_ms,
        unresponsive_after_ms: milliseconds_of(fields, "unresponsiveAfter")
            .unwrap_or_else(|| ClusterSpec::default_unresponsive_after_ms(node_timeout_ms)),
        persistence: match text_of(fields, "persistence") {
            Some("rdb") => Persistence::Rdb,
            Some("none") => Persistence::None,
            _ => Persistence::Aof,
        },
        directives: directives(fields, findings),
        max_memory: max_memory(&wish, fields, findings),
        max_memory_policy,
        min_sync_replicas,
        max_sync_replicas,
        auth_secret: auth_secret(fields, findings),
        drift: match text_of(fields, "drift") {
            Some("keep") => DriftPolicy::Keep,
            _ => DriftPolicy::Correct,
        },
        update: update(fields),
        ..default
    };
    (spec, wish)
}

fn update(fields: &Node) -> UpdateSpec {
    let primaries = match text_of(fields, "primaryUpdateStrategy") {
        Some("supervised") => PrimaryUpdate::Supervised,
        _ => PrimaryUpdate::Unsupervised,
    };
    let default = UpdateSpec { primaries, ..UpdateSpec::default() };
    let Some(update) = fields.get("update") else { return default };
    UpdateSpec {
        canary_ms: milliseconds_of(update, "canary").unwrap_or(default.canary_ms),
        restart: match text_of(update, "restart") {
            Some("manual") => RestartPolicy::Manual,
            _ => RestartPolicy::Rolling,
        },
        primaries,
    }
}

/// The Sentinels that mode `sentinel` has; `None` in another mode.
fn sentinel(fields: &Node, mode: Option<Mode>, findings: &mut Findings) -> Option<SentinelSpec> {
    let written = fields.get("sentinel");
    if mode.is_some_and(|mode| mode != Mode::Sentinel) {
        if written.is_some() {
            findings.problem(rules::SENTINEL_IN_ANOTHER_MODE.broken(&[]));
        }
        return None;
    }
    let number = |key: &str| written.and_then(|sentinel| number_of(sentinel, key));
    let default = SentinelSpec::of(number("instances").unwrap_or(SentinelSpec::DEFAULT_INSTANCES));
    Some(SentinelSpec { quorum: number("quorum").unwrap_or(default.quorum), ..default })
}

fn memory_wish(fields: &Node) -> MemoryWish {
    let memory = fields.get("memory");
    MemoryWish {
        max_memory: memory.and_then(|memory| bytes_of(memory, "maxMemory")),
        max_memory_percent: memory.and_then(|memory| number_of(memory, "maxMemoryPercent")),
        limit: fields
            .get("resources")
            .and_then(|resources| resources.get("limits"))
            .and_then(|limits| bytes_of(limits, "memory")),
    }
}

fn max_memory(wish: &MemoryWish, fields: &Node, findings: &mut Findings) -> Option<MaxMemory> {
    let limit_is_wrong = wish.limit.is_none()
        && fields
            .get("resources")
            .and_then(|r| r.get("limits"))
            .and_then(|limits| limits.get("memory"))
            .is_some();
    if limit_is_wrong {
        return None;
    }
    wish.resolve().unwrap_or_else(|problems| {
        for problem in problems {
            findings.problem(problem);
        }
        None
    })
}

fn auth_secret(fields: &Node, findings: &mut Findings) -> Option<String> {
    let reference = fields.get("authSecret")?;
    let name = text_of(reference, "name").map(str::to_owned);
    if name.is_none() && findings.is_clean("spec.authSecret") && findings.is_clean("spec.authSecret.name") {
        findings.problem(rules::AUTH_SECRET_NAME_MISSING.broken(&[]));
    }
    name
}

fn directives(fields: &Node, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut directives = BTreeMap::new();
    let Some(Node { value: Value::Map(entries), .. }) = fields.get("redis") else { return directives };
    let mut first_lines: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    for (key, node) in entries {
        let name = normal_name(&key.text);
        findings.remember(format!("spec.redis.{}", printable(&name)), key.place);
        match first_lines.get(&name) {
            // The same spelling was reported already, as a duplicate key.
            Some((spelling, line)) if *spelling != key.text => {
                let reason =
                    format!("the same directive as `{}`{}", printable(spelling), findings.on_line(*line));
                let hint = Some("remove one of them".to_owned());
                findings.problem_at(key.place, &format!("spec.redis.{}", printable(&key.text)), reason, hint);
            }
            Some(_) => {}
            None => _ = first_lines.insert(name.clone(), (&key.text, key.place.line)),
        }
        // A value of the wrong type was reported; the name is still to be checked.
        let value = match &node.value {
            Value::Scalar(scalar) => scalar.text.trim().to_owned(),
            _ => String::new(),
        };
        directives.insert(name, value);
    }
    directives
}
