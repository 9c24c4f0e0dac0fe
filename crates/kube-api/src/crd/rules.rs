//! The rules of [`valkeeper_model::spec::rules`] in CEL, the language of the API server. `self` is the spec.

use super::fields::{DURATION, QUANTITY};
use serde_json::{Value, json};
use valkeeper_model::manifest::schema::{Effect, SPEC};
use valkeeper_model::spec::reserved_directives;
use valkeeper_model::spec::rules::{self as said, Rule};
use valkeeper_model::{CalledAs, Refusal};

/// The field's value is there.
const MAX_MEMORY: &str = "has(self.memory) && has(self.memory.maxMemory)";
const PERCENT: &str = "has(self.memory) && has(self.memory.maxMemoryPercent)";
const LIMIT: &str = "has(self.resources) && has(self.resources.limits) && 'memory' in self.resources.limits";
/// RFC 1123, as Kubernetes names objects.
const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The longest of them has 253 characters.
const LONGEST_NAME: u32 = 320;
/// What a host name or an address is made of.
const HOST: &str = "^\\\\s*[A-Za-z0-9_.:-]+\\\\s*$";
/// What the layout of a cluster must be is no matter of another mode.
const CLUSTER: &str = "!(has(self.mode) && self.mode == 'cluster')";
/// The same for mode standalone, which is meant without a mode too.
const STANDALONE: &str = "(has(self.mode) && self.mode != 'standalone')";
/// The number of shards that the API server writes into an object of any mode is no wish.
const NO_SHARDS: &str = "(self.shards == 0 || self.shards == 3)";

/// All rules about a spec by itself, and those about its changes that need no look at the status.
pub(super) fn of_spec() -> Vec<Value> {
    let mut rules = layout();
    rules.extend(standalone());
    rules.extend(timeouts());
    rules.extend(memory());
    rules.extend(directives());
    rules.extend(others());
    rules.extend(replica_mode());
    rules.extend(not_yet());
    rules.push(cannot_change(
        "spec.storage.type",
        "self.storage.type == oldSelf.storage.type",
        ".storage.type",
    ));
    rules
}

/// Limits names that a rule holds against a pattern, blanks around them included: the API server reckons with the longest text that a request
/// may hold where there is no limit, and takes no definition whose rules may cost too much.
pub(super) fn limit_texts(spec: &mut Value) {
    let source = &mut spec["properties"]["replicaMode"]["properties"]["source"]["properties"];
    for field in ["host", "authSecretName"] {
        source[field]["maxLength"] = LONGEST_NAME.into();
    }
}

/// Rules about the whole object.
pub(super) fn of_object() -> Vec<Value> {
    let name = "self.metadata.name";
    let held = format!("size({name}) <= 40 && {name}.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')");
    let mut naming = rule(&said::CLUSTER_NAME, &held, &[name]);
    // The API server lets no rule point deeper into metadata.
    naming["fieldPath"] = ".metadata".into();
    // Until there is a layout, nothing is lost by another wish.
    let founded = "has(oldSelf.status) && has(oldSelf.status.shards) && size(oldSelf.status.shards) > 0";
    let instances = format!(
        "!({founded}) || !has(self.spec.instances) || !has(oldSelf.spec.instances) \
         || self.spec.instances == oldSelf.spec.instances"
    );
    let instances = cannot_change("spec.instances", &instances, ".spec.instances");
    vec![naming, instances]
}

/// A CEL literal.
fn literal(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A message with values. Formatting is the only way to put them in whose cost the API server can estimate.
fn message(text: &str, values: &[&str]) -> String {
    let format = literal(&text.replace('%', "%%").replace("{}", "%s"));
    format!("{format}.format([{}])", values.join(", "))
}

fn rule(of: &Rule, holds: &str, values: &[&str]) -> Value {
    let places = of.reason.matches("{}").count();
    assert!(values.is_empty() || places == values.len(), "the API server refuses a format like that: {of:?}");
    let path = of.field.strip_prefix("spec").map_or_else(|| format!(".{}", of.field), str::to_owned);
    let hint = of.hint.map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    let mut rule = json!({
        "rule": holds,
        "message": format!("{}{hint}", of.reason.replace("{}", "this value")),
        "fieldPath": path,
    });
    if !values.is_empty() {
        rule["messageExpression"] = message(&format!("{}{hint}", of.reason), values).into();
    }
    rule
}

fn cannot_change(field: &str, holds: &str, path: &str) -> Value {
    let refusal = Refusal::CannotChange { field: field.to_owned() };
    let hint =
        refusal.hint(CalledAs::KubectlValkeeper).map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    json!({"rule": holds, "message": format!("{refusal}{hint}"), "fieldPath": path, "reason": "FieldValueForbidden"})
}

fn layout() -> Vec<Value> {
    let of_cluster = |of: &Rule, holds: &str, values: &[&str]| {
        let values: Vec<&str> = values.to_vec();
        rule(of, &format!("{CLUSTER} || {holds}"), &values)
    };
    let (shards, replicas) = ("self.shards", "self.replicasPerShard");
    let servers = "self.shards * (self.replicasPerShard + 1)";
    let (min, max) = ("self.minSyncReplicas", "self.maxSyncReplicas");
    vec![
        rule(
            &said::MODE_MISSING_BESIDE_SHARDS,
            &format!("has(self.mode) || ({NO_SHARDS} && {replicas} == 0)"),
            &[],
        ),
        of_cluster(&said::INSTANCES_IN_CLUSTER, "!has(self.instances) || self.instances == 0", &[]),
        of_cluster(&said::TOO_FEW_SHARDS, &format!("{shards} >= 3"), &[shards]),
        of_cluster(&said::TOO_MANY_SHARDS, &format!("{shards} <= 1000"), &[shards]),
        of_cluster(
            &said::TOO_MANY_INSTANCES,
            &format!("{shards} > 1000 || {servers} <= 2000"),
            &[shards, replicas, servers],
        ),
        of_cluster(&said::MIN_SYNC_OVER_REPLICAS, &format!("{min} <= {replicas}"), &[min, replicas]),
        of_cluster(&said::MAX_SYNC_OVER_REPLICAS, &format!("{max} <= {replicas}"), &[max, replicas]),
        of_cluster(&said::MAX_SYNC_UNDER_MIN, &format!("{max} == 0 || {max} >= {min}"), &[max, min]),
    ]
}

/// The same of mode standalone.
fn standalone() -> Vec<Value> {
    let named = "!(has(self.mode) && self.mode == 'standalone')";
    let of_replicas = Rule { field: "spec.replicasPerShard", ..said::SHARDS_OF_CLUSTER };
    let counted = "!has(self.instances) || self.instances < 1";
    let (min, max, replicas) = ("self.minSyncReplicas", "self.maxSyncReplicas", "(self.instances - 1)");
    let of_standalone =
        |of: &Rule, holds: &str, values: &[&str]| rule(of, &format!("{STANDALONE} || {holds}"), values);
    vec![
        rule(&said::SHARDS_OF_CLUSTER, &format!("{named} || {NO_SHARDS}"), &[]),
        rule(&of_replicas, &format!("{named} || self.replicasPerShard == 0"), &[]),
        of_standalone(
            &said::INSTANCES_RANGE,
            "!has(self.instances) || (self.instances >= 1 && self.instances <= 16)",
            &["self.instances"],
        ),
        of_standalone(
            &said::MIN_SYNC_OVER_INSTANCES,
            &format!("{counted} || {min} <= {replicas}"),
            &[min, replicas],
        ),
        of_standalone(
            &said::MAX_SYNC_OVER_INSTANCES,
            &format!("{counted} || {max} <= {replicas}"),
            &[max, replicas],
        ),
        of_standalone(&said::MAX_SYNC_UNDER_MIN, &format!("{max} == 0 || {max} >= {min}"), &[max, min]),
    ]
}

/// Is the text anything but of this pattern? The API server says that by itself, and asks the rules all the same.
fn no_match(text: &str, pattern: &str) -> String {
    format!("!{text}.matches({})", literal(pattern))
}

fn timeouts() -> Vec<Value> {
    let within = |of: &Rule, field: &str, least: &str| {
        let value = format!("duration({field})");
        let no_duration = no_match(field, DURATION);
        let held = format!(
            "!has({field}) || {no_duration} || ({value} >= duration('{least}') && {value} <= duration('10m'))"
        );
        rule(of, &held, &[&format!("{value}.getMilliseconds()")])
    };
    vec![
        within(&said::NODE_TIMEOUT_RANGE, "self.nodeTimeout", "500ms"),
        within(&said::UNRESPONSIVE_AFTER_RANGE, "self.unresponsiveAfter", "1s"),
    ]
}

/// The rule that a quantity, where it is one, is not nothing.
fn something(of: &Rule, field: &str) -> Value {
    let no_quantity = no_match(&format!("string({field})"), QUANTITY);
    rule(of, &format!("{no_quantity} || quantity(string({field})).isGreaterThan(quantity('0'))"), &[])
}

fn memory() -> Vec<Value> {
    let (amount, percent) = ("self.memory.maxMemory", "self.memory.maxMemoryPercent");
    let limit = "self.resources.limits['memory']";
    let no_amounts = format!(
        "{} || {}",
        no_match(&format!("string({amount})"), QUANTITY),
        no_match(&format!("string({limit})"), QUANTITY)
    );
    let bytes = |field: &str| format!("quantity(string({field}))");
    let in_range = format!("({percent} >= 1 && {percent} <= 100)");
    let mut no_memory = something(&said::NO_MEMORY, amount);
    no_memory["rule"] =
        format!("!({MAX_MEMORY}) || {}", no_memory["rule"].as_str().unwrap_or_default()).into();
    vec![
        no_memory,
        rule(&said::TWO_MEMORY_LIMITS, &format!("!({MAX_MEMORY} && {PERCENT})"), &[]),
        rule(
            &said::MEMORY_OVER_LIMIT,
            &format!(
                "!({MAX_MEMORY} && {LIMIT}) || {no_amounts} || {}.compareTo({}) <= 0",
                bytes(amount),
                bytes(limit)
            ),
            &[&format!("{}.asInteger()", bytes(amount)), &format!("{}.asInteger()", bytes(limit))],
        ),
        rule(&said::PERCENT_RANGE, &format!("!({PERCENT}) || {in_range}"), &[percent]),
        rule(&said::PERCENT_OF_NOTHING, &format!("!({PERCENT} && {in_range}) || ({LIMIT})"), &[]),
    ]
}

/// A name of a directive that fits one of the patterns, whatever its case and the blanks around it.
fn fits(patterns: impl Iterator<Item = &'static str>) -> String {
    let pattern = |text: &str| text.replace('*', ".*");
    let all: Vec<String> = patterns.map(pattern).collect();
    format!("k.matches('(?i)^\\\\s*({})\\\\s*$')", all.join("|"))
}

fn directives() -> Vec<Value> {
    let (owned, tuning) = reserved_directives();
    let reserved = format!("({} && !{})", fits(owned), fits(tuning.iter().copied()));
    let of_memory = fits(["maxmemory", "maxmemory-policy"].into_iter());
    let named = "k.matches('^\\\\s*[A-Za-z0-9_.-]+\\\\s*$')";
    let listed = |wrong: &str| format!("self.redis.filter(k, {wrong})");
    let mut of_reserved =
        rule(&said::DIRECTIVE_RESERVED, &format!("!has(self.redis) || self.redis.all(k, !{reserved})"), &[]);
    // The reader points at each of them; here one message is about all.
    let reason = format!("{}: {{}}", said::DIRECTIVE_RESERVED.reason);
    of_reserved["messageExpression"] = message(&reason, &[&listed(&reserved)]).into();
    vec![
        rule(
            &said::DIRECTIVE_NAME,
            &format!("!has(self.redis) || self.redis.all(k, {named})"),
            &[&listed(&format!("!{named}"))],
        ),
        of_reserved,
        rule(
            &said::DIRECTIVE_BESIDE_MEMORY,
            &format!("!has(self.redis) || !has(self.memory) || self.redis.all(k, !{of_memory})"),
            &[],
        ),
    ]
}

fn others() -> Vec<Value> {
    let secret = "self.authSecret.name";
    vec![
        rule(&said::AUTH_SECRET_NAME_MISSING, &format!("!has(self.authSecret) || has({secret})"), &[]),
        rule(
            &said::AUTH_SECRET_NAME,
            &format!(
                "!has(self.authSecret) || !has({secret}) || \
                 (size({secret}) <= 253 && {secret}.matches('{SUBDOMAIN}'))"
            ),
            &[secret],
        ),
        rule(
            &said::CLASS_OF_EMPTY_DIR,
            "self.storage.type != 'emptyDir' || !has(self.storage.storageClassName)",
            &[],
        ),
        something(&said::NO_STORAGE, "self.storage.size"),
        rule(&said::NO_IMAGE, "self.imageName != ''", &[]),
    ]
}

/// Following another cluster. What each part of a host name may be is left to the reader.
fn replica_mode() -> Vec<Value> {
    let flag = |name: &str| {
        format!("(has(self.replicaMode) && has(self.replicaMode.{name}) && self.replicaMode.{name})")
    };
    let (enabled, promote) = (flag("enabled"), flag("promote"));
    let source = |field: &str| {
        let there = format!("(has(self.replicaMode.source) && has(self.replicaMode.source.{field}))");
        (there, format!("self.replicaMode.source.{field}"))
    };
    let ((has_host, host), (has_secret, secret)) = (source("host"), source("authSecretName"));
    let (has_sentinel, sentinel) = source("sentinel");
    let followed =
        |of: &Rule, holds: &str, values: &[&str]| rule(of, &format!("!{enabled} || {holds}"), values);
    vec![
        rule(&said::PROMOTE_WITHOUT_ENABLED, &format!("!{promote} || {enabled}"), &[]),
        followed(&said::REPLICA_MODE_OF_CLUSTER, CLUSTER, &[]),
        followed(
            &said::SOURCE_MISSING,
            &format!("!({CLUSTER}) || ({has_host} && size({host}) > 0) || {has_sentinel}"),
            &[],
        ),
        followed(&said::SOURCE_TWICE, &format!("!{has_sentinel} || !({has_host} && size({host}) > 0)"), &[]),
        followed(
            &said::SOURCE_SENTINELS_MISSING,
            &format!(
                "!{has_sentinel} || (has({sentinel}.hosts) && size({sentinel}.hosts) > 0 && has({sentinel}.masterName) \
                 && size({sentinel}.masterName) > 0)"
            ),
            &[],
        ),
        followed(
            &said::SOURCE_HOST,
            &format!("!{has_host} || size({host}) == 0 || {host}.matches('{HOST}')"),
            &[&host],
        ),
        followed(
            &said::SOURCE_SECRET_NAME,
            &format!(
                "!{has_secret} || size({secret}) == 0 || \
                 (size({secret}) <= 253 && {secret}.matches('{SUBDOMAIN}'))"
            ),
            &[&secret],
        ),
    ]
}

/// Fields that are known and refused.
fn not_yet() -> Vec<Value> {
    SPEC.iter()
        .filter_map(|field| match field.effect {
            Effect::Later(instead) => Some(json!({
                "rule": format!("!has(self.{})", field.name),
                "message": format!("not supported yet; hint: {instead}"),
                "fieldPath": format!(".{}", field.name),
                "reason": "FieldValueForbidden",
            })),
            _ => None,
        })
        .collect()
}
