//! Does an operator act? Read from its lease, where the user may read that.

use super::error::RemoteError;
use super::reach::Reach;
use crate::operator::LEASE;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::api::ListParams;
use std::time::Duration;

/// The namespace that an install takes if none is chosen: looked into where the user may not look into all.
const USUAL_NAMESPACE: &str = "valkeeper-system";
/// A holder renews every three seconds. This much more is left to clocks that differ.
const OVERDUE: SignedDuration = SignedDuration::from_secs(30);
/// Between two looks that tell without any clock whether a lease is renewed.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A lease that nobody has renewed in so many looks has no holder: the next operator would have taken it.
const LOOKS: u32 = 6;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// An operator.
    Operator {
        /// Its pod.
        name: String,
    },
    /// None.
    Nobody {
        /// When one was there last; none if never.
        since: Option<Timestamp>,
    },
    /// The user may not read it.
    Unknown,
}

impl Reach {
    /// Who acts. With a clock that is wrong by more than half a minute, an operator that acts may count as none.
    pub async fn lead(&self) -> Result<Lead, RemoteError> {
        let leases = match self.leases().await {
            Ok(leases) => leases,
            Err(RemoteError::Forbidden(_)) => return Ok(Lead::Unknown),
            Err(error) => return Err(error),
        };
        let now = Timestamp::now();
        let all = leases.iter().map(|lease| judge(lease, now));
        // Several installs may share a Kubernetes: which of them this namespace is of, only they know. The oldest that acts is named.
        Ok(all.fold(Lead::Nobody { since: None }, later))
    }

    async fn leases(&self) -> Result<Vec<LeaseSpec>, RemoteError> {
        let everywhere: Api<Lease> = Api::all(self.client.clone());
        let ours = ListParams::default().fields(&format!("metadata.name={LEASE}"));
        match everywhere.list(&ours).await.map_err(|error| self.failed(error)) {
            Ok(mut list) => {
                // Of two installs that look after the same clusters the older one acts.
                list.items.sort_by_key(|lease| lease.metadata.creation_timestamp.as_ref().map(|time| time.0));
                Ok(list.items.into_iter().filter_map(|lease| lease.spec).collect())
            }
            Err(RemoteError::Forbidden(_)) => {
                let usual: Api<Lease> = Api::namespaced(self.client.clone(), USUAL_NAMESPACE);
                let lease = usual.get_opt(LEASE).await.map_err(|error| self.failed(error))?;
                // It may well be in a namespace that cannot be looked into.
                let missing = || RemoteError::Forbidden("the operator's lease".to_owned());
                Ok(vec![lease.and_then(|lease| lease.spec).ok_or_else(missing)?])
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until it is certain that no operator acts; for ever if one does, or if it cannot be known.
    pub(super) async fn nobody_leads(&self) -> Option<Timestamp> {
        let mut renewed = None;
        let mut looks = 0;
        loop {
            match self.leases().await {
                Ok(leases) => {
                    let now = newest(&leases);
                    looks = if now == renewed { looks + 1 } else { 0 };
                    renewed = now;
                    if looks >= LOOKS {
                        return renewed;
                    }
                }
                Err(RemoteError::Forbidden(_)) => return std::future::pending().await,
                // Nothing can be said while the API server is away.
                Err(_) => looks = 0,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn newest(leases: &[LeaseSpec]) -> Option<Timestamp> {
    leases.iter().filter_map(|lease| lease.renew_time.as_ref().map(|time| time.0)).max()
}

fn judge(lease: &LeaseSpec, now: Timestamp) -> Lead {
    let renewed = lease.renew_time.as_ref().map(|time| time.0);
    let holder = lease.holder_identity.as_ref().filter(|holder| !holder.is_empty());
    let fresh = renewed.is_some_and(|renewed| now.duration_since(renewed) < OVERDUE);
    match holder {
        Some(name) if fresh => Lead::Operator { name: name.clone() },
        _ => Lead::Nobody { since: renewed },
    }
}

fn later(one: Lead, other: Lead) -> Lead {
    match (one, other) {
        (Lead::Nobody { since: a }, Lead::Nobody { since: b }) => Lead::Nobody { since: a.max(b) },
        (Lead::Nobody { .. }, found) | (found, _) => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    fn lease(holder: Option<&str>, renewed: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_has_a_holder_as_long_as_it_is_renewed() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000);
        let ago = |seconds| now - SignedDuration::from_secs(seconds);
        let operator = Lead::Operator { name: "a".to_owned() };
        assert_eq!(judge(&lease(Some("a"), ago(3)), now), operator);
        // Its clock is ahead of ours.
        assert_eq!(judge(&lease(Some("a"), ago(-40)), now), operator);
        assert_eq!(judge(&lease(Some("a"), ago(31)), now), Lead::Nobody { since: Some(ago(31)) });
        assert_eq!(judge(&lease(Some(""), ago(1)), now), Lead::Nobody { since: Some(ago(1)) });
        assert_eq!(judge(&lease(None, ago(1)), now), Lead::Nobody { since: Some(ago(1)) });
    }

    #[test]
    fn of_several_the_one_that_acts_counts() {
        let operator = Lead::Operator { name: "a".to_owned() };
        let (old, newer) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1));
        let nobody = |since| Lead::Nobody { since: Some(since) };
        assert_eq!(later(nobody(old), operator.clone()), operator);
        assert_eq!(later(operator.clone(), nobody(newer)), operator);
        assert_eq!(later(nobody(old), nobody(newer)), nobody(newer));
    }
}
