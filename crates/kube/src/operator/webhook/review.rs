//! The API server's question and the answer to it, as JSON.

use super::REVIEW_VERSION;
use super::judge::{AdmissionRequest, Unreadable, Verdict, judge};
use serde::Deserialize;
use serde_json::{Value, json};

const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";

/// A question that is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoReview {
    #[error("it is no JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("it is no {KIND} of {GROUP}/{REVIEW_VERSION}")]
    OtherKind,
    #[error("its request cannot be read: {0}")]
    Request(serde_json::Error),
    #[error(transparent)]
    Object(#[from] Unreadable),
}

/// Judges what is asked about.
pub(crate) fn answer(body: &[u8]) -> Result<Value, NoReview> {
    let review: Value = serde_json::from_slice(body).map_err(NoReview::NotJson)?;
    let version = format!("{GROUP}/{REVIEW_VERSION}");
    if review["apiVersion"] != version || review["kind"] != KIND {
        return Err(NoReview::OtherKind);
    }
    let request = AdmissionRequest::deserialize(&review["request"]).map_err(NoReview::Request)?;
    let mut response = json!({ "uid": request.uid });
    match judge(&request)? {
        Verdict::Allowed { warnings } => {
            response["allowed"] = json!(true);
            if !warnings.is_empty() {
                response["warnings"] = json!(warnings);
            }
        }
        Verdict::Denied { why } => {
            response["allowed"] = json!(false);
            // As the rules of the definition are told.
            response["status"] = json!({ "code": 422, "reason": "Invalid", "message": why });
        }
    }
    Ok(json!({ "apiVersion": version, "kind": KIND, "response": response }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(spec: &Value) -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5", "operation": "CREATE", "object": {"metadata": {"name": "demo"}, "spec": spec},
                "kind": {"group": "redis.io", "version": "v1", "kind": "RedisCluster"}, "dryRun": false,
            },
        })
    }

    fn ask(review: &Value) -> Result<Value, NoReview> {
        answer(review.to_string().as_bytes())
    }

    #[test]
    fn the_answer_is_to_the_question() {
        let said = |response: Value| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        let good = json!({"mode": "cluster", "replicasPerShard": 1});
        assert_eq!(ask(&review(&good)).unwrap(), said(json!({"uid": "705ab4f5", "allowed": true})));
        let costly =
            json!({"mode": "cluster", "replicasPerShard": 1, "storage": {"type": "emptyDir", "size": "1Gi"}});
        let answer = ask(&review(&costly)).unwrap();
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(answer["response"]["warnings"].as_array().map(Vec::len), Some(1));
        let answer = ask(&review(&json!({"mode": "cluster", "shards": 2}))).unwrap();
        let message = "spec.shards: 2 is fewer than 3 shards\n  \
                       hint: a primary is replaced by a majority vote of the others, which takes three";
        let status = json!({"code": 422, "reason": "Invalid", "message": message});
        assert_eq!(answer, said(json!({"uid": "705ab4f5", "allowed": false, "status": status})));
    }

    #[test]
    fn what_is_no_question_gets_no_answer() {
        let good = review(&json!({"mode": "cluster"}));
        let without = |path: &str, field: &str| {
            let mut review = good.clone();
            review.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(field);
            review
        };
        for (path, field) in [
            ("", "apiVersion"),
            ("", "kind"),
            ("", "request"),
            ("/request", "uid"),
            ("/request", "operation"),
            ("/request", "kind"),
            ("/request", "object"),
        ] {
            assert!(ask(&without(path, field)).is_err(), "{field}");
        }
        for text in ["", "1", "null", "[]", "{", "\u{0}", "\"AdmissionReview\""] {
            assert!(answer(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(answer(deep.as_bytes()), Err(NoReview::NotJson(_))));
    }
}
