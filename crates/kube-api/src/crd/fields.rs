//! From the reader's tables to an `OpenAPI` schema.

use serde_json::{Map, Value, json};
use valkeeper_model::manifest::schema::{Field, Preset, Shape};

/// As the reader takes a quantity of bytes. Kubernetes takes smaller units too, which mean nothing for bytes.
pub(super) const QUANTITY: &str =
    r"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE]\+?[0-9]+)?$";
/// As the reader takes a duration.
pub(super) const DURATION: &str = r"^(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ms|s|m|h))+)$";
/// Longer ones are no numbers that anybody means; the limit keeps the cost of rules in bounds.
const MAX_NUMBER: u32 = 63;
/// The engine has some 300 directives.
const MAX_ENTRIES: u32 = 512;

/// A mapping with these fields and no others.
pub(super) fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    json!({"type": "object", "properties": properties})
}

fn property(field: &Field) -> Value {
    let mut schema = shape(&field.shape);
    schema["description"] = field.about.into();
    match field.preset {
        Some(Preset::Yes) => schema["default"] = true.into(),
        Some(Preset::No) => schema["default"] = false.into(),
        Some(Preset::Number(number)) => schema["default"] = number.into(),
        Some(Preset::Word(word)) => schema["default"] = word.into(),
        Some(Preset::Empty) => schema["default"] = json!({}),
        // A key without a value is an absent one, as for Kubernetes' own kinds. With a default it is so by itself.
        // Among words the API server takes no null.
        None if schema["enum"].is_array() => {}
        None => schema["nullable"] = true.into(),
    }
    schema
}

fn quantity() -> Value {
    json!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": QUANTITY,
        "maxLength": MAX_NUMBER,
    })
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer => json!({"type": "integer", "format": "int32", "minimum": 0}),
        Shape::IntegerIn(least, most) => {
            json!({"type": "integer", "format": "int32", "minimum": least, "maximum": most})
        }
        Shape::Quantity => quantity(),
        Shape::Duration => json!({"type": "string", "pattern": DURATION, "maxLength": MAX_NUMBER}),
        Shape::OneOf(words) => json!({"type": "string", "enum": words}),
        Shape::TextMap => json!({
            "type": "object",
            "maxProperties": MAX_ENTRIES,
            "additionalProperties": {"type": "string"},
        }),
        Shape::Quantities => json!({"type": "object", "additionalProperties": quantity()}),
        Shape::Fields(fields) => object(fields),
        Shape::List(item) => json!({"type": "array", "items": self::shape(item)}),
        Shape::NamedFields => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        Shape::Anything => json!({"x-kubernetes-preserve-unknown-fields": true}),
    }
}

/// Moves of a request.
const MOST_MOVES: u32 = 512;

/// The spec of a request: [`valkeeper_model::Request`] but for a new spec, field by field, so that a slip such as `forse` is
/// refused and what was asked cannot be changed afterwards.
pub(super) fn request() -> Value {
    let needs = |field: &str, requests: &[&str]| {
        let listed = requests.iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(", ");
        json!({
            "rule": format!("!(self.request in [{listed}]) || has(self.{field})"),
            "messageExpression": format!("\"%s needs {field}\".format([self.request])"),
            "message": format!("this request needs {field}"),
        })
    };
    let name = |about: &str| json!({"type": "string", "maxLength": 63, "description": about});
    let flag = |about: &str| json!({"type": "boolean", "default": false, "description": about});
    json!({
        "description": "What is asked.",
        "type": "object",
        "required": ["cluster", "request"],
        "properties": {
            "cluster": {
                "description": "The name of the RedisCluster, in the same namespace.",
                "type": "string", "minLength": 1, "maxLength": 63,
            },
            "request": {
                "description": "The request and what it is about.",
                "type": "object",
                "required": ["request"],
                "properties": {
                    "request": {
                        "description": "What is to be done.",
                        "type": "string",
                        "enum": [
                            "switchover", "failover", "fence", "unfence", "restart", "forget", "acceptSource", "approvePrimaries",
                            "replace", "cordonZone", "drainZone", "uncordonZone",
                            "moveSlots", "cancelSlotMoves", "rebalance", "moveTogether",
                        ],
                    },
                    "shard": name("Of a switchover or failover: in which shard."),
                    "to": name("Of a switchover: the instance that becomes primary; the best one if none is named. Of moveSlots: the shard that takes them."),
                    "from": name("Of moveSlots: the shard that gives them."),
                    "which": {
                        "description": "Of moveSlots: how many, the highest of the shard, or which.",
                        "type": "object", "minProperties": 1, "maxProperties": 1,
                        "properties": {
                            "count": {"description": "So many.", "type": "integer", "minimum": 1, "maximum": 16384},
                            "these": {
                                "description": "These, as ranges with blanks between them: 0-99 300.",
                                "type": "string", "minLength": 1, "maxLength": 65536,
                            },
                        },
                    },
                    "by": {
                        "description": "Of rebalance: what is to be even. By keys, memory or load is `kubectl valkeeper rebalance`, which asks the servers and makes a moveTogether.",
                        "type": "string", "enum": ["slots"],
                    },
                    // No more and no longer: the API server counts what comparing them may cost.
                    "moves": {
                        "description": "Of moveTogether: which slots go from which shard to which. All moves are begun, or none.",
                        "type": "array", "minItems": 1, "maxItems": MOST_MOVES,
                        "items": {
                            "type": "object",
                            "required": ["from", "to", "slots"],
                            "properties": {
                                "from": name("The shard that gives them."),
                                "to": name("The shard that takes them."),
                                "slots": {
                                    "description": "These, as ranges with blanks between them: 0-99 300.",
                                    "type": "string", "minLength": 1, "maxLength": 65536,
                                },
                            },
                        },
                    },
                    "instance": name("Of fence, unfence, restart and replace: which instance."),
                    "host": {
                        "description": "Of replace: what is known of where the instance runs. With `goneForGood` its agent is not waited for.",
                        "type": "string", "enum": ["answers", "goneForGood"], "default": "answers",
                    },
                    "zone": name("Of cordonZone, drainZone and uncordonZone: which zone."),
                    "nodes": {
                        "description": "Of forget: the ids of the nodes, which are no members of the cluster.",
                        "type": "array", "minItems": 1, "maxItems": 1000,
                        "items": {"type": "string", "pattern": "^[0-9a-f]{40}$", "maxLength": 40},
                    },
                    "force": flag("Of failover: although the primary is well. Of fence: although nobody can follow it."),
                    "acceptDataLoss": flag("Of failover: let a shard come back empty whose every copy is gone."),
                },
                "x-kubernetes-validations": [
                    needs("shard", &["failover"]),
                    needs("instance", &["fence", "unfence", "restart", "replace"]),
                    needs("zone", &["cordonZone", "drainZone", "uncordonZone"]),
                    needs("nodes", &["forget"]),
                    needs("from", &["moveSlots"]),
                    needs("to", &["moveSlots"]),
                    needs("which", &["moveSlots"]),
                    needs("by", &["rebalance"]),
                    needs("moves", &["moveTogether"]),
                ],
            },
        },
        "x-kubernetes-validations": [{
            "rule": "self == oldSelf",
            "message": "a request cannot be changed; hint: make another one",
        }],
    })
}
