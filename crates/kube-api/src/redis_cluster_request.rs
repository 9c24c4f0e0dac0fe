//! `RedisClusterRequest`: one thing a user asks of a running cluster. An object of its own, so that who may ask, and who
//! has asked, is Kubernetes' ordinary RBAC and audit.

use crate::object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, Serializer};
use valkeeper_model::{Refusal, Request};

/// A switchover, failover, fence, unfence, restart, forget or acceptance of a source that a user asks for, and what came of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RedisClusterRequest {
    /// Name, namespace and what Kubernetes notes.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is asked.
    #[serde(default)]
    pub spec: RequestSpec,
    /// What came of it. Only the operator writes it.
    #[serde(default, deserialize_with = "object::readable")]
    pub status: Option<RequestStatus>,
}

object::resource!(RedisClusterRequest, "RedisClusterRequest", "redisclusterrequests");

/// What is asked, and of which cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestSpec {
    /// The name of the `RedisCluster`, in the same namespace.
    #[serde(default)]
    pub cluster: String,
    /// The request as JSON. Unread, as one that cannot be read must not stop the watch of the others.
    #[serde(default)]
    pub request: serde_json::Value,
}

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestStatus {
    /// Is it over, whichever way it ended? Then nothing about it changes any more.
    pub done: bool,
    /// Why it was not carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// The same for people: what is going on, what was done, or why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl RedisClusterRequest {
    /// Asks something of a cluster. Kubernetes completes the name, so that the same can be asked twice.
    pub fn new(cluster: &str, namespace: &str, request: &Request) -> Result<Self, serde_json::Error> {
        let metadata = ObjectMeta {
            generate_name: Some(format!("{cluster}-")),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        let mut request = serde_json::to_value(request)?;
        // Its definition knows no nothings: what is not named is not there.
        if let Some(fields) = request.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        let spec = RequestSpec { cluster: cluster.to_owned(), request };
        Ok(Self { metadata, spec, status: None })
    }

    /// What is asked. A new spec is none of it, and neither is a promotion, which the spec has to hold: that is what the `RedisCluster` is for.
    pub fn request(&self) -> Result<Request, UnknownRequest> {
        let request = serde_json::from_value(self.spec.request.clone())
            .map_err(|error| UnknownRequest(error.to_string()))?;
        match request {
            Request::Apply { .. } => Err(UnknownRequest("a new spec goes into the RedisCluster".to_owned())),
            Request::FollowAnnotations { .. } => {
                Err(UnknownRequest("annotations are those of the RedisCluster".to_owned()))
            }
            Request::Promote => {
                Err(UnknownRequest("a promotion is spec.replicaMode.promote of the RedisCluster".to_owned()))
            }
            Request::HandOverTo { .. } | Request::CancelHandOver => {
                Err(UnknownRequest("a cluster on Kubernetes does not hand over to a copy yet".to_owned()))
            }
            request => Ok(request),
        }
    }

    /// Is there nothing left to do about it?
    pub fn is_done(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.done)
    }
}

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.request cannot be understood: {0}")]
pub struct UnknownRequest(String);

impl RequestStatus {
    /// It was carried out.
    pub fn succeeded(message: impl Into<String>) -> Self {
        Self { done: true, refused: None, message: message.into() }
    }

    /// It was refused.
    pub fn refused(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        Self { done: true, refused: Some(refusal), message }
    }
}

impl Serialize for RedisClusterRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object::serialize((Self::KIND, &self.metadata, &self.spec, self.status.as_ref()), serializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use valkeeper_model::ClusterSpec;

    #[test]
    fn requests_and_refusals_survive() {
        let request =
            Request::Failover { shard: "s1".parse().unwrap(), force: true, accept_data_loss: false };
        let mut asked = RedisClusterRequest::new("demo", "shop", &request).unwrap();
        asked.status = Some(RequestStatus::refused(Refusal::NoSuchShard { shard: "s1".parse().unwrap() }));
        let json = serde_json::to_value(&asked).unwrap();
        assert_eq!(json["spec"]["request"]["request"], "failover");
        assert_eq!(json["status"]["refused"]["refusal"], "noSuchShard");
        let read: RedisClusterRequest = serde_json::from_value(json).unwrap();
        assert_eq!(read.request(), Ok(request));
        assert_eq!(read.status, asked.status);
        assert!(read.is_done());
    }

    #[test]
    fn what_is_no_request_is_said() {
        let mut asked = RedisClusterRequest::default();
        assert!(asked.request().is_err());
        let apply = Request::Apply { spec: Box::new(ClusterSpec::new("demo".parse().unwrap())) };
        asked.spec.request = serde_json::to_value(apply).unwrap();
        let error = asked.request().unwrap_err().to_string();
        assert!(error.contains("RedisCluster"), "{error}");
    }
}
